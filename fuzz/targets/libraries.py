"""What client libraries decode: responses, events, the answer to a connection request; and what a supervisor is told.

Claims: only CorosyncError escapes, which is what programs expect; nothing that came out is longer than what went in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any, Final, cast

import libcfg.api
import libcfg.calls
import libcmap.calls
import libcmap.session
import libcpg.calls
import libcpg.session
import libquorum.api
import libquorum.calls
import libvotequorum.api
import libvotequorum.calls
from coroipc.errors import CorosyncError
from coroipc.handshake import RESPONSE, connection_response, parse_response
from coroipc.map_values import ValueType
from corosyncd.engines.cfg.engine import CfgEngine
from corosyncd.engines.cmap.engine import CmapEngine
from corosyncd.engines.cpg.engine import CpgEngine
from corosyncd.engines.engine import Engine
from corosyncd.engines.quorum.engine import QuorumEngine
from corosyncd.engines.votequorum.engine import VoteQuorumEngine
from fuzz.lone_engine import LoneEngine
from fuzz.target import LARGEST_INPUT, claim
from fuzz.targets.requests import BODIES, as_request
from libcmap.messages import Map, Notification, Track
from libcpg.session import Session
from libquorum.messages import Model
from libsam.pipes import Command, Message, Reader

Decoder = Callable[[bytes], Any]
TRACKERS: Final = 4
"""Of a cmap connection, so that its events mean something."""
CHANGE: Final = Notification(1, "resources.x.state", Track.MODIFY, ValueType.STRING, b"new\0", ValueType.UINT32, b"\1\0\0\0")
LIBRARIES: Final[dict[type[Engine], tuple[Any, Callable[[], Any]]]] = {
    CmapEngine: (libcmap.calls, lambda: _cmap_session()),
    CfgEngine: (libcfg.calls, libcfg.api.Session),
    CpgEngine: (libcpg.calls, lambda: Session(assembly_limit=LARGEST_INPUT)),
    QuorumEngine: (libquorum.calls, lambda: libquorum.api.Session(Model.V1)),
    VoteQuorumEngine: (libvotequorum.calls, libvotequorum.api.Session),
}
"""Engine to its library's calls, and to a new connection's state."""


class LibrariesTarget:
    """An input: decoder, then the message; an event comes twice."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self._decoders: list[Decoder] = []
        self.seeds: list[bytes] = []
        for engine, (calls, session) in LIBRARIES.items():
            responses, events = _sent(engine)
            changes = [CHANGE.encode()] if engine is CmapEngine else []
            self._add(lambda data, new=session: _events(new(), data), events + changes)  # type: ignore[misc]
            for call in calls.CALLS:
                self._add(lambda data, call=call: call.result(data, ()), responses)  # type: ignore[misc]
        rings = tuple(f"/dev/shm/qb-1-2-3-abcdef/qb-{kind}-cmap".encode() for kind in ("request", "response", "event"))
        answers = [
            connection_response(0, 1 << 20, 7, cast(Any, rings)),
            connection_response(-11),
            connection_response(-(1 << 31)),
        ]
        self._add(lambda data: parse_response(data[: RESPONSE.size].ljust(RESPONSE.size, b"\0"), 1), answers)
        commands = [Message(Command.START), Message(Command.DATA_STORE, b"data"), Message(Command.WARN_SIGNAL, signal=15)]
        self._add(_supervise, [b"".join(command.encode() for command in commands), Message(Command.DATA_STORE).encode()])

    def _add(self, decoder: Decoder, messages: list[bytes]) -> None:
        self.seeds += [bytes((len(self._decoders),)) + message for message in messages]
        self._decoders.append(decoder)

    def run(self, data: bytes) -> None:
        """One message."""
        if not data:
            return
        try:
            self._decoders[data[0] % len(self._decoders)](data[1:])
        except CorosyncError as error:
            self.dropped[type(error).__name__] += 1


def _sent(engine: type[Engine]) -> tuple[list[bytes], list[bytes]]:
    """Different responses and events that an engine sends its client, over requests of every shape, two in a row."""
    responses: dict[bytes, None] = {}
    events: dict[bytes, None] = {}
    requests = range(engine.description.requests)
    for first, body in product(requests, BODIES):
        lone = LoneEngine(engine)
        for identifier in (first, *requests[: 1 + first % 3]):
            lone.host.serve(lone.client, as_request(identifier, body))
            lone.work()
        responses.update(dict.fromkeys(lone.responses))
        events.update(dict.fromkeys(lone.events))
    return list(responses), list(events)


def _events(session: Any, event: bytes) -> None:
    for _ in range(2):
        session.event(event)


def _cmap_session() -> libcmap.session.Session:
    session = libcmap.session.Session(Map.ICMAP)
    session._open.update(range(TRACKERS))
    return session


def _supervise(data: bytes) -> None:
    reader, half = Reader(), len(data) // 2
    for part in (data[:half], data[half:]):
        for message in reader.feed(part):
            claim(len(message.data or b"") <= len(data), "no more is stored than was sent")
