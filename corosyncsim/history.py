"""What each process sent, delivered and installed: the material that the property checkers judge.

The events are those of the extended virtual synchrony specification (Moser et al., ICDCS 1994): send, deliver, configuration
change, failure. A *process* is one life of a node: after a crash and a restart it is another process. A message is *sent* when
the frame that completes it leaves its originator for the first time, on the ring that this frame names; until then it waits in
a queue and belongs to no configuration.

One thing is not in the specification. Packing cuts long messages into fragments, and a configuration change may fall between
two of them. The rest is sent on the next ring, where a process that was not there for the beginning has to throw it away. Such a
message has a ``begun_on`` that differs from the ring on which it is sent, and
``History.had_no_beginning`` says which processes could not have it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from corosyncd.totem.events import ConfigurationKind, RingId

if TYPE_CHECKING:
    from corosyncsim.services.journal import Journal


class Process(NamedTuple):
    """One life of a node; lives count from 1."""

    node_id: int
    life: int

    def __str__(self) -> str:
        return f"{self.node_id}.{self.life}"


class Message(NamedTuple):
    """Names a message: who sent it, and the number that the sender gave it."""

    sender: Process
    number: int

    def __str__(self) -> str:
        return f"{self.sender}:{self.number}"


class Ring(NamedTuple):
    """Names a configuration: the ring id, and how often its representative had lost its stored sequence when it was formed.

    A node that lost its disk counts from the beginning again and may reuse an id of its former life. That is the operator's
    loss and no fault of the protocol, so such a configuration gets a name of its own.
    """

    representative: int
    sequence: int
    losses: int = 0

    def __str__(self) -> str:
        suffix = f"'{self.losses}" if self.losses else ""
        return f"{self.representative:x}.{self.sequence:x}{suffix}"


NO_RING = Ring(0, 0)


class Submitted(NamedTuple):
    """A program handed over a message."""

    order: int
    time: float
    message: Message
    size: int
    digest: int


class Sent(NamedTuple):
    """The frame that completes a message left its originator for the first time."""

    order: int
    time: float
    message: Message
    ring: Ring
    begun_on: Ring
    position: tuple[int, int]
    """Frame sequence number on the ring, and place in the frame."""


class Delivered(NamedTuple):
    """A message came out. ``message`` is None where the bytes name none."""

    order: int
    time: float
    message: Message | None
    originator: int
    size: int
    digest: int


class Installed(NamedTuple):
    """A configuration came out."""

    order: int
    time: float
    kind: ConfigurationKind
    ring: Ring
    members: tuple[int, ...]


class Failed(NamedTuple):
    """The process ended: a crash, or an orderly leave."""

    order: int
    time: float
    how: str = "ends"


class Strike(NamedTuple):
    """A fault struck; ``until`` is when it is mended, the same time for one that has no length."""

    time: float
    until: float
    kind: str
    nodes: tuple[int, ...]
    text: str


class Note(NamedTuple):
    """Something worth telling that no property is about; ``who`` is a process, or what else spoke."""

    time: float
    who: str
    text: str


Event = Sent | Delivered | Installed | Failed


@dataclass(slots=True)
class Epoch:
    """What one process did between installing a regular configuration and leaving it."""

    process: Process
    ring: Ring
    members: tuple[int, ...]
    sent: list[Sent] = field(default_factory=list)
    regular: list[Delivered] = field(default_factory=list)
    transitional: Installed | None = None
    in_transition: list[Delivered] = field(default_factory=list)
    next_ring: Ring | None = None
    failed: bool = False

    def delivered(self) -> Iterator[Delivered]:
        """Everything delivered in the configuration and its transitional one, in order."""
        yield from self.regular
        yield from self.in_transition


class Quiet(NamedTuple):
    """How the phase without faults went; times in seconds, None where it did not happen."""

    began: float
    one_configuration_by: float
    one_configuration_at: float | None
    drained_by: float
    drained_at: float | None
    undelivered: tuple[tuple[Process, Message], ...]
    still_apart: tuple[str, ...]
    leaving: frozenset[Process] = frozenset()
    """Who was on the way from its last configuration to another when the run ended."""


@dataclass
class History:
    """Everything that the checkers of the specification need; complete when the run has ended."""

    events: dict[Process, list[Event]] = field(default_factory=dict)
    submitted: dict[Message, Submitted] = field(default_factory=dict)
    sent: dict[Message, Sent] = field(default_factory=dict)
    storage_losses: dict[Process, int] = field(default_factory=dict)
    """How often the node had lost its stored ring sequence when this process started."""
    started: dict[Process, float] = field(default_factory=dict)
    pauses: list[tuple[Process, float, float]] = field(default_factory=list)
    """Who was not scheduled, from when, until when."""
    strikes: list[Strike] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    services: Journal | None = None
    """What happened above the rings; None on bare ones."""
    quiet: Quiet | None = None
    """None while faults still act: then nothing may be expected to have arrived yet."""

    @cached_property
    def epochs(self) -> dict[Process, list[Epoch]]:
        """Each process's life cut at its regular configurations; the first epoch, before any of them, has NO_RING."""
        return {process: _epochs(process, events) for process, events in self.events.items()}

    @cached_property
    def order_on_ring(self) -> dict[Ring, list[Sent]]:
        """What was sent on each ring, in the order that the ring gave it."""
        rings: dict[Ring, list[Sent]] = {}
        for sent in self.sent.values():
            rings.setdefault(sent.ring, []).append(sent)
        for sendings in rings.values():
            sendings.sort(key=lambda sent: sent.position)
        return rings

    @cached_property
    def _path(self) -> dict[Process, list[Ring]]:
        return {process: [epoch.ring for epoch in epochs] for process, epochs in self.epochs.items()}

    def formed(self) -> set[Ring]:
        """The regular configurations that anybody has installed."""
        return {
            event.ring
            for events in self.events.values()
            for event in events
            if isinstance(event, Installed) and event.kind is ConfigurationKind.REGULAR
        }

    def ring_named(self, process: Process, ring_id: RingId, time: float) -> Ring:
        """The configuration that this id meant to the process at that time, as its installations tell."""
        name = Ring(ring_id.representative, ring_id.sequence)
        for event in self.events.get(process, ()):
            if isinstance(event, Installed) and event.time <= time and (event.ring[:2] == ring_id):
                name = event.ring
        return name

    def had_no_beginning(self, process: Process, sent: Sent) -> bool:
        """Whether the message's first fragment went out on a ring from which ``process`` did not come along with its sender."""
        if sent.begun_on == sent.ring or process == sent.message.sender:
            return False
        theirs, ours = self._path[sent.message.sender], self._path.get(process, [])
        if sent.begun_on not in theirs or sent.ring not in theirs or sent.begun_on not in ours:
            return True
        common = theirs[theirs.index(sent.begun_on) : theirs.index(sent.ring) + 1]
        start = ours.index(sent.begun_on)
        return ours[start : start + len(common)] != common

    def parted(self, ring: Ring, process: Process, other: Process, until: float) -> bool:
        """Whether two that were on a ring left it, or one to which they came together from it, on different ways.

        Of the way of ``process`` counts what it had installed at the time ``until``, and one ring more: what it delivered last
        may have been of a ring that it was about to leave. One that ended first went nowhere.
        """
        theirs = self._path.get(other, [])
        way: list[Ring] = []
        for event in self.events.get(process, ()):
            if isinstance(event, Failed) and way:
                return True
            if isinstance(event, Installed) and event.kind is ConfigurationKind.REGULAR and (way or event.ring == ring):
                way.append(event.ring)
                if event.time > until:
                    break
        if ring not in theirs:
            return False
        start = theirs.index(ring)
        return theirs[start : start + len(way)] != way

    def lives(self) -> Iterator[Process]:
        """The processes that had not ended when the run ended."""
        for process, events in self.events.items():
            if not events or not isinstance(events[-1], Failed):
                yield process


def _epochs(process: Process, events: list[Event]) -> list[Epoch]:
    epoch = Epoch(process, NO_RING, ())
    epochs = [epoch]
    for event in events:
        match event:
            case Delivered():
                (epoch.in_transition if epoch.transitional else epoch.regular).append(event)
            case Sent():
                epoch.sent.append(event)
            case Installed(kind=ConfigurationKind.TRANSITIONAL):
                epoch.transitional = event
            case Installed():
                epoch.next_ring = event.ring
                epoch = Epoch(process, event.ring, event.members)
                epochs.append(epoch)
            case Failed():
                epoch.failed = True
    return epochs


class RingNames:
    """Gives configurations their names: it knows which ids a representative may have used before it lost its disk."""

    def __init__(self) -> None:
        self._names: dict[RingId, Ring] = {}

    def name(self, ring_id: RingId, seen_at: int, losses: int) -> Ring:
        """The configuration that ``ring_id`` means at node ``seen_at``, which has lost its stored sequence ``losses`` times."""
        name = self._names.get(ring_id)
        if name is None or (seen_at == ring_id.representative and name.losses != losses):
            name = Ring(ring_id.representative, ring_id.sequence, losses if seen_at == ring_id.representative else 0)
            self._names[ring_id] = name
        return name
