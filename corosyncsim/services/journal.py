"""What the programs of a run asked, were answered and were told: the material of the properties above the ring.

A program is one connection of one process. Message bodies are kept as length and checksum. Times are seconds of the kernel's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from zlib import crc32

from coroipc.layouts import response_status
from corosyncd.totem.events import RingId
from corosyncsim.history import Process
from corosyncsim.kernel import Kernel
from corosyncsim.trace import Trace
from libcmap.session import KeyChange
from libcpg.messages import ConfigurationChange, Deliver, TotemConfiguration
from libquorum.messages import NodeListNotification, QuorumNotification

Place = tuple[int, int]
"""Node id and pid: how a group knows its members."""

NOBODY: Final = Process(0, 0)


class Asked(NamedTuple):
    """A request was committed."""

    time: float
    request: int
    answered: bool
    """Whether a response belongs to it."""


class Answered(NamedTuple):
    """A response was read."""

    time: float
    response: int
    status: int


class Heard(NamedTuple):
    """A message of the group."""

    time: float
    sender: Place
    size: int
    digest: int


class Changed(NamedTuple):
    """The group changed; the lists as they came, (node, pid, reason)."""

    time: float
    members: tuple[Place, ...]
    left: tuple[tuple[int, int, int], ...]
    joined: tuple[tuple[int, int, int], ...]


class RingTold(NamedTuple):
    """The ring that later events are ordered in."""

    time: float
    ring_id: RingId
    members: tuple[int, ...]


class QuorumTold(NamedTuple):
    """The decision about quorum."""

    time: float
    quorate: bool
    ring_id: RingId
    members: tuple[int, ...]


class NodesTold(NamedTuple):
    """The members of a ring, before quorum is decided."""

    time: float
    ring_id: RingId
    members: tuple[int, ...]


class KeyTold(NamedTuple):
    """A key of the map changed: values as the library gives them, None for none."""

    time: float
    key: str
    event: int
    new: object
    old: object


class Lost(NamedTuple):
    """The other side has ended the connection."""

    time: float
    reason: str


Entry = Asked | Answered | Heard | Changed | RingTold | QuorumTold | NodesTold | KeyTold | Lost


class Sent(NamedTuple):
    """A group message that a program has committed."""

    time: float
    size: int
    digest: int


@dataclass(slots=True)
class ClientJournal:
    """One program's part."""

    kernel: Kernel
    trace: Trace
    node_id: int
    number: int
    pid: int
    service: str
    process: Process = NOBODY
    """The life of the node that it last tried to connect to."""
    group: bytes | None = None
    connected_at: float | None = None
    ended_at: float | None = None
    lost_at: float | None = None
    left_at: float | None = None
    """When it has asked to leave its group."""
    entries: list[Entry] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    began_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.began_at = self.kernel.now

    def __str__(self) -> str:
        return f"{self.node_id}:{self.service}{self.number}"

    @property
    def left_group(self) -> bool:
        """Whether it has asked to leave its group."""
        return self.left_at is not None

    def write(self, what: str) -> None:
        """A line of the trace."""
        self.trace.write(str(self), what)

    def connected(self) -> None:
        """The engine has accepted it."""
        self.connected_at = self.kernel.now
        self.write(f"pid {self.pid} connects")

    def asked(self, request: bytes, *, answered: bool) -> None:
        """A request was committed."""
        number = int.from_bytes(request[:4], "little", signed=True)
        self.entries.append(Asked(self.kernel.now, number, answered))
        if self.trace.wanted:
            self.write(f"asks {number} ({len(request)} B)")

    def answered(self, response: bytes) -> None:
        """A response was read."""
        number = int.from_bytes(response[:4], "little", signed=True)
        status = response_status(response)
        self.entries.append(Answered(self.kernel.now, number, status))
        if self.trace.wanted:
            self.write(f"is answered {number} with status {status}")

    def told(self, event: Any, visible_at: float) -> None:
        """An event was read; it could have been since ``visible_at``."""
        entry = _entry(visible_at, event)
        if entry is not None:
            self.entries.append(entry)
            if self.trace.wanted:
                self.write(f"is told {_describe(entry)}")

    def lost(self, reason: str) -> None:
        """The connection has ended at the other side."""
        self.lost_at = self.kernel.now
        self.entries.append(Lost(self.kernel.now, reason))
        self.write(f"loses its connection: {reason}")

    def ended(self, how: str) -> None:
        """The program has ended."""
        self.ended_at = self.kernel.now
        self.write(how)

    def leaves(self) -> None:
        """It asks to leave its group."""
        self.left_at = self.kernel.now

    def sends(self, data: bytes) -> None:
        """A message of the group is handed to the library."""
        self.sent.append(Sent(self.kernel.now, len(data), crc32(data)))

    def not_sent(self) -> None:
        """The library has refused the last one."""
        self.sent.pop()


def _entry(time: float, event: Any) -> Entry | None:
    match event:
        case Deliver():
            return Heard(time, (event.nodeid, event.pid), len(event.data), crc32(event.data))
        case ConfigurationChange():
            members = tuple((address.nodeid, address.pid) for address in event.members)
            return Changed(time, members, tuple(map(tuple, event.left)), tuple(map(tuple, event.joined)))  # type: ignore[arg-type]
        case TotemConfiguration():
            return RingTold(time, RingId(event.ring_nodeid, event.ring_sequence), event.members)
        case QuorumNotification():
            return QuorumTold(time, event.quorate, RingId(event.ring_nodeid, event.ring_sequence), event.members)
        case NodeListNotification():
            return NodesTold(time, RingId(event.ring_nodeid, event.ring_sequence), event.members)
        case KeyChange():
            new, old = event.new, event.old
            return KeyTold(time, event.key, int(event.event), new and new.value, old and old.value)
    return None


def _describe(entry: Entry) -> str:
    match entry:
        case Heard(sender=(node_id, pid), size=size, digest=digest):
            return f"message {digest:08x} of {node_id}:{pid}, {size} B"
        case Changed(members=members, left=left, joined=joined):
            return f"members {_places(members)} left {_places(left)} joined {_places(joined)}"
        case RingTold(ring_id=ring_id, members=nodes):
            return f"ring {ring_id} of {list(nodes)}"
        case QuorumTold(quorate=quorate, ring_id=ring_id, members=nodes):
            return f"{'quorate' if quorate else 'not quorate'} on ring {ring_id} of {list(nodes)}"
        case NodesTold(ring_id=ring_id, members=nodes):
            return f"nodes of ring {ring_id}: {list(nodes)}"
        case KeyTold(key=key, new=new):
            return f"{key} = {new!r}"
    return str(entry)


def _places(places: tuple[tuple[int, ...], ...]) -> str:
    return "[" + " ".join(f"{place[0]}:{place[1]}" + (f"({place[2]})" if len(place) > 2 else "") for place in places) + "]"


class Synchronised(NamedTuple):
    """All services of a node are synchronised on a ring: from here on programs may be told what is ordered on it."""

    time: float
    ring_id: RingId


class Departed(NamedTuple):
    """A node has left its ring: what was ordered there belongs to its past."""

    time: float
    ring_id: RingId


class Death(NamedTuple):
    """An engine's process has ended, other than with its node."""

    time: float
    engine: str
    reason: str


class GivenUp(NamedTuple):
    """An executive ends an engine that it finds silent; ``silent_since`` is when the engine's process ran last."""

    time: float
    engine: str
    silent_since: float
    reason: str


class Decided(NamedTuple):
    """votequorum's decision as the quorum engine was told it."""

    time: float
    quorate: bool
    ring_id: RingId
    members: tuple[int, ...]


class Keyed(NamedTuple):
    """A key of the node's map changed; values as bytes with their types, None for none."""

    time: float
    key: str
    new: tuple[int, bytes] | None
    old: tuple[int, bytes] | None


class Reloaded(NamedTuple):
    """The configuration file was read again; ``keys`` are those of its changing part that the map has now, with their values."""

    time: float
    keys: tuple[tuple[str, object], ...]


NodeEvent = Synchronised | Departed | Death | GivenUp | Decided | Keyed | Reloaded


class Early(NamedTuple):
    """A message of a group that the ring delivered while the node's round was open."""

    time: float
    node_id: int
    ring_id: RingId
    sender: Place
    size: int
    digest: int


class Stale(NamedTuple):
    """Sync data that was delivered on another ring than the one whose round it was made for."""

    time: float
    node_id: int
    ring_id: RingId
    source: int
    rounds: tuple[RingId, ...]


@dataclass(slots=True)
class Journal:
    """Everything above the ring, of one run."""

    clients: list[ClientJournal] = field(default_factory=list)
    nodes: dict[Process, list[NodeEvent]] = field(default_factory=dict)
    early: list[Early] = field(default_factory=list)
    cut: set[tuple[Place, int, int]] = field(default_factory=set)
    """Messages (sender, size, checksum) of which a part left on one ring and the rest on another."""
    stale: list[Stale] = field(default_factory=list)
    electorate: tuple[int, ...] = ()
    """Every node with a vote."""
    wait_for_all: bool = False
    """Whether quorum waits until all nodes were seen together once."""
    stops: list[tuple[float, int]] = field(default_factory=list)
    """Nodes that began an orderly stop: (when, node)."""
    exits: list[tuple[float, int, str]] = field(default_factory=list)
    """Nodes that have ended themselves: (when, node, reason)."""
    unsettled: list[str] = field(default_factory=list)
    """What had not come to rest when the run ended."""
    examined: dict[str, dict[int, object]] = field(default_factory=dict)
    """At the end of a run that came to rest: each question with every node's answer to it."""
    leftover: list[tuple[int, str]] = field(default_factory=list)
    """Connections that an engine still held for programs that had ended: (node, which)."""
