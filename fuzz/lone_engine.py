"""One real engine behind its real host, started, synchronised and with one client, for whatever others could send.

What it multicasts comes back to it, as the ring would bring it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from coroipc.errors import InvalidParameter
from corosyncd.engines.cfg.engine import CfgEngine
from corosyncd.engines.cmap.engine import CmapEngine
from corosyncd.engines.cpg.engine import CpgEngine
from corosyncd.engines.engine import Buffer, Client, Engine, SharedFile
from corosyncd.engines.host import EngineHost
from corosyncd.engines.mon.engine import MonEngine
from corosyncd.engines.pload.engine import PloadEngine
from corosyncd.engines.quorum.engine import QuorumEngine
from corosyncd.engines.votequorum.engine import VoteQuorumEngine
from corosyncd.keyspace.values import Value, text, uint32
from corosyncd.link.frames import Frame
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import RingId

ENGINES: Final[tuple[type[Engine], ...]] = (
    CmapEngine,
    CfgEngine,
    CpgEngine,
    QuorumEngine,
    VoteQuorumEngine,
    PloadEngine,
    MonEngine,
)
NODE, MEMBERS, RING = 1, (1, 2, 3), RingId(1, 8)
CREDIT: Final = 4 << 20
ADDED: Final = 4
"""The event of a key that is new."""
WORDS_LIMIT: Final = 10_000
"""Most that an engine may say because of one input."""
ANSWERS_LIMIT: Final = 10_000
LOOPS: Final = 8
"""Rounds in which what was multicast comes back and may bring forth more."""


class LoneEngine:
    """Built anew for each input. ``failures``: handlers that raised, as the host logged them."""

    def __init__(self, engine: type[Engine]) -> None:
        self.ring_id = RING
        self.responses: list[bytes] = []
        self.events: list[bytes] = []
        self.disconnected: list[str] = []
        self.failures: list[str] = []
        self.said: list[Sequence[Any]] = []
        self.multicasts: list[bytes] = []
        self.host = EngineHost(engine, NODE, None, self, self, self._log)  # type: ignore[arg-type]
        self.host.at(1000.0)
        keys = {
            "totem.cluster_name": text("fuzz"),
            "quorum.provider": text("corosync_votequorum"),
            **{f"nodelist.node.{index}.nodeid": uint32(number) for index, number in enumerate(MEMBERS)},
            **{f"nodelist.node.{index}.ring0_addr": text(f"10.0.0.{number}") for index, number in enumerate(MEMBERS)},
            "nodelist.local_node_pos": uint32(0),
        }
        entries = [[ADDED, name, value.type, value.data, *_NOTHING] for name, value in keys.items()]
        self.hear([ToEngine.KEYS, 0, entries], [ToEngine.CREDIT, CREDIT])
        if engine.description.synchronised:
            self.hear([ToEngine.CONFIGURATION, [], list(MEMBERS)], [ToEngine.SYNC_STEP])
            self.loop()
            self.hear([ToEngine.SYNC_ACTIVATE])
        self.hear([ToEngine.QUORUM, True, list(MEMBERS), 0], [ToEngine.QUORATE_CONFIRMED], [ToEngine.SYNC_COMPLETE])
        self.client = Client(1, 4242, 0, 0)
        self.host.connected(self.client)
        self.said.clear()

    def hear(self, *entries: list[Any], bodies: Sequence[bytes] = ()) -> None:
        """Words of the executive."""
        self.host.receive(Frame(RING, list(entries), list(bodies)))

    def deliver(self, source: int, function: int, body: bytes) -> None:
        """A ring message."""
        self.hear([ToEngine.DELIVER, [source, function, len(body)]], bodies=[body])

    def loop(self) -> None:
        """Own multicasts come round."""
        for _ in range(LOOPS):
            sent, self.multicasts = self.multicasts, []
            if not sent:
                return
            for body in sent:
                self.deliver(NODE, int.from_bytes(body[:2], "little"), body)

    # The host's outbox.

    def queue(self, entry: Sequence[Any], bodies: Sequence[Buffer] = ()) -> None:
        """A word for the executive; wishes to change keys are granted at once."""
        self.said.append(entry)
        if entry[0] == ToExecutive.KEYS_CHANGE and entry[1] is not None:
            self.hear([ToEngine.KEYS_RESULT, entry[1], [1] * len(entry[2])])
        elif entry[0] == ToExecutive.STATISTICS_REQUEST:
            self.hear([ToEngine.STATISTICS, entry[1], {}])
        elif entry[0] == ToExecutive.RELOAD:
            self.hear([ToEngine.RELOADED, entry[1], 1])

    def multicast(self, kind: int, pieces: Sequence[Buffer], length: int) -> None:
        """A ring message."""
        body = b"".join(pieces)
        assert len(body) == length, "the length that is said is the length that is sent"
        self.multicasts.append(body)

    # The host's programs.

    def respond(self, client: Client, response: bytes) -> None:
        """See corosyncd.engines.host.Programs, here and below."""
        self.responses.append(response)

    def notify(self, client: Client, event: bytes) -> None:
        self.events.append(event)

    def disconnect(self, client: Client, reason: str) -> None:
        self.disconnected.append(reason)

    def take_file(self, client: Client, path: bytes, prefix: str, size: int) -> SharedFile:
        raise InvalidParameter("no files here")

    def set_flow_control(self, client: Client, value: int) -> None:
        pass

    def set_gate(self, flow: int) -> None:
        pass

    def accept(self, accepting: bool) -> None:
        pass

    def close_all(self) -> list[Client]:
        return []

    def statistics(self) -> dict[str, list[Any]]:
        return {}

    def clear_statistics(self) -> None:
        pass

    def _log(self, level: str, line: str) -> None:
        if "Traceback" in line:
            self.failures.append(line)


_NOTHING: Final = (0, b"")
assert Value(*_NOTHING).data == b""
