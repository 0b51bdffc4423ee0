"""One real engine behind its real host, started, synchronised and with one client, for whatever others could send.

The rest of a node stands in: what the engine multicasts comes back to it as the ring would bring it, and its wishes to change
keys meet a real map, whose changes it hears.
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
from corosyncd.engines.wd.engine import WdEngine
from corosyncd.executive.key_keeper import KeyKeeper
from corosyncd.executive.record import EngineRecord, Phase
from corosyncd.keyspace.key_space import KeySpace
from corosyncd.keyspace.values import text, uint32, uint64
from corosyncd.link.frames import Frame
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import RingId
from tests.unit.fake_machine import FakeMachine

ENGINES: Final[tuple[type[Engine], ...]] = (
    CmapEngine,
    CfgEngine,
    CpgEngine,
    QuorumEngine,
    VoteQuorumEngine,
    PloadEngine,
    MonEngine,
    WdEngine,
)
NODE, MEMBERS, RING = 1, (1, 2, 3), RingId(1, 8)
CREDIT: Final = 4 << 20
WORDS_LIMIT: Final = 10_000
"""Most that an engine may say because of one input."""
EVENTS_LIMIT: Final = 10_000
ROUNDS: Final = 8
"""In which what was said and multicast is worked off and may bring forth more."""
KEYS: Final = {
    "totem.cluster_name": text("fuzz"),
    "quorum.provider": text("corosync_votequorum"),
    **{f"nodelist.node.{index}.nodeid": uint32(number) for index, number in enumerate(MEMBERS)},
    **{f"nodelist.node.{index}.ring0_addr": text(f"10.0.0.{number}") for index, number in enumerate(MEMBERS)},
    "nodelist.local_node_pos": uint32(0),
    "resources.watchdog_device": text("/dev/watchdog"),
}


class LoneEngine:
    """Built anew for each input. ``failures``: handlers that raised, as the host logged them."""

    def __init__(self, engine: type[Engine]) -> None:
        self.ring_id = RING
        self.now = 1000.0
        self.responses: list[bytes] = []
        self.events: list[bytes] = []
        self.disconnected: list[str] = []
        self.failures: list[str] = []
        self.refused: list[str] = []
        """Why it ended: words after which the executive stops the node, or the engine."""
        self.said = 0
        self.file = b""
        """What a file holds that a client shares."""
        self._words: list[Sequence[Any]] = []
        self._multicasts: list[bytes] = []
        self.record = EngineRecord(engine.description.name)
        self.keeper = KeyKeeper(KeySpace(), lambda: [self.record], lambda changes: None)
        self.keeper.publish(KEYS.items())
        self.host = EngineHost(engine, NODE, None, self, self, self._log, FakeMachine())  # type: ignore[arg-type]
        self.host.at(self.now)
        self.host.hello()
        self.work()
        if engine.description.synchronised:
            self.hear([ToEngine.CONFIGURATION, [], list(MEMBERS)], [ToEngine.SYNC_STEP])
            self.work()
            self.hear([ToEngine.SYNC_ACTIVATE])
        self.hear([ToEngine.QUORUM, True, list(MEMBERS), 0], [ToEngine.QUORATE_CONFIRMED], [ToEngine.SYNC_COMPLETE])
        self.client = Client(1, 4242, 0, 0)
        self.host.connected(self.client)
        self.work()
        self.said = 0

    def hear(self, *entries: list[Any], bodies: Sequence[bytes] = ()) -> None:
        """Words of the executive."""
        self.host.receive(Frame(RING, list(entries), list(bodies)))

    def deliver(self, source: int, function: int, body: bytes) -> None:
        """A ring message."""
        self.hear([ToEngine.DELIVER, [source, function, len(body)]], bodies=[body])

    def change(self, operation: Sequence[Any]) -> int:
        """A client changes a key, as KEYS_CHANGE says it; the status."""
        asked = EngineRecord("client")
        self.keeper.change(asked, 0, [operation])
        self.work()
        status: int = asked.outbox[0][1][2][0]
        return status

    def expire(self) -> None:
        """The time of the next timer has come."""
        due = self.host.next_timer()
        if due is not None:
            self.now = max(self.now, due)
            self.host.at(self.now)
            self.host.handle_timer()
            self.work()

    def work(self) -> None:
        """Work off what was said: the map answers, multicasts come round."""
        for _ in range(ROUNDS):
            words, self._words = self._words, []
            multicasts, self._multicasts = self._multicasts, []
            if not (words or multicasts or self.record.outbox):
                return
            for entry in words:
                self._answer(entry)
            entries, self.record.outbox = self.record.outbox, []
            for _ring_id, told, _bodies in entries:
                self.hear(told)
            for body in multicasts:
                self.deliver(NODE, int.from_bytes(body[:2], "little"), body)

    def _answer(self, entry: Sequence[Any]) -> None:
        record = self.record
        match entry[0]:
            case ToExecutive.HELLO:
                record.describe(entry[1])
                record.phase = Phase.GREETED
                self.keeper.snapshot(record)
            case ToExecutive.READY:
                record.phase = Phase.RUNNING
                record.put(ToEngine.CREDIT, CREDIT)
            case ToExecutive.KEYS_CHANGE:
                self.keeper.change(record, entry[1], entry[2])
            case ToExecutive.KEYS_CONFIRM:
                self.keeper.confirmed(record, entry[1])
            case ToExecutive.STATISTICS_REQUEST:
                record.put(ToEngine.STATISTICS, entry[1], {"stats.srp.token_hold_cancel_rx": list(uint64(7))})
            case ToExecutive.SET_QUORATE:
                self.hear([ToEngine.QUORUM, entry[1], entry[2], 0], [ToEngine.QUORATE_CONFIRMED])
            case ToExecutive.RELOAD:
                record.put(ToEngine.RELOADED, entry[1], 1)
            case ToExecutive.REFUSED | ToExecutive.FATAL:
                self.refused.append(str(entry[-1]))
            case _:
                pass

    # The host's outbox.

    def queue(self, entry: Sequence[Any], bodies: Sequence[Buffer] = ()) -> None:
        """A word for the executive."""
        self.said += 1
        self._words.append(entry)

    def multicast(self, kind: int, pieces: Sequence[Buffer], length: int) -> None:
        """A ring message."""
        body = b"".join(pieces)
        assert len(body) == length, "the length that is said is the length that is sent"
        self._multicasts.append(body)

    # The host's programs.

    def respond(self, client: Client, response: bytes) -> None:
        """See corosyncd.engines.host.Programs, here and below."""
        self.responses.append(response)

    def count_refusal(self, client: Client, status: int) -> None:
        pass

    def notify(self, client: Client, event: bytes) -> None:
        self.events.append(event)

    def disconnect(self, client: Client, reason: str) -> None:
        self.disconnected.append(reason)

    def take_file(self, client: Client, path: bytes, prefix: str, size: int) -> SharedFile:
        if not 0 < size <= len(self.file):
            raise InvalidParameter(f"the file has {len(self.file)} bytes, and not {size}")
        return _File(self.file, size)

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


class _File:
    """A file that a client shares, and does not cut."""

    def __init__(self, content: bytes, size: int) -> None:
        self._content = bytearray(content)
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        return bytes(self._content[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        self._check(offset, len(data))
        self._content[offset : offset + len(data)] = data

    def close(self) -> None:
        pass

    def _check(self, offset: int, length: int) -> None:
        if not 0 <= offset <= offset + length <= self.size:
            raise InvalidParameter(f"{length} bytes at {offset} of {self.size}")
