"""What a program of a process group was told, cut into views of the group and messages, and into lives where it saw holes.

A view begins with a ring, or with a change of the group on it. Where a program was delivered a message although it lacks an
earlier one of the same ring that others have, it had lost the others already: that is allowed in the transitional configuration,
which nobody announces to it. What it was told from there on until its next ring can be compared with nobody's; the program counts
as another process afterwards, as after a failure. A hole in a ring that it does not leave is no such thing.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from corosyncd.totem.events import RingId


class Address(NamedTuple):
    """A program as cpg names it."""

    node_id: int
    pid: int


class Spoken(NamedTuple):
    """A message was delivered; its bytes were those that its number stands for."""

    time: float
    sender: Address
    number: int
    size: int


class Changed(NamedTuple):
    """The group's membership changed."""

    time: float
    members: frozenset[Address]
    left: frozenset[Address]
    joined: frozenset[Address]
    of_a_round: bool = False
    """The reasons say that a synchronisation may have told it: nodes that went or came, processes that ended."""


class Moved(NamedTuple):
    """The node came to another ring. Who asks for it is told the present one when it joins, before its own join or after it."""

    time: float
    ring_id: RingId
    nodes: frozenset[int]


Told = Spoken | Changed | Moved


@dataclass(slots=True)
class Program:
    """One program's life. ``sizes``: the messages that it was asked to send, by number, with their sizes."""

    address: Address
    told: list[Told] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)
    ended: bool = False


class ViewKey(NamedTuple):
    """What names a view at all who saw it begin: the ring, and on it the change that made it (None for the ring's own)."""

    ring_id: RingId
    change: tuple[frozenset[Address], frozenset[Address]] | None = None
    apart: frozenset[Address] = frozenset()
    """Who was on a ring of their own on the way to this one, which programs are not told of."""


class View(NamedTuple):
    time: float
    key: ViewKey
    members: frozenset[Address]
    companions: frozenset[Address]
    by_ring: bool


class _Life:
    """Cuts what a program was told into views and messages. Changes that a round told right before a ring are the step to it."""

    def __init__(self) -> None:
        self._ring_id: RingId | None = None
        self._members: frozenset[Address] = frozenset()
        self._waiting: list[Changed] = []
        """Changes without a view yet: no ring is known, or they may be the beginning of a step."""

    def steps(self, program: Program) -> Iterator[View | Spoken]:
        """In the order in which it was told them."""
        for told in program.told:
            match told:
                case Changed():
                    self._waiting.append(told)
                    if not told.of_a_round:
                        yield from self._settle()
                case Moved(ring_id=ring_id) if self._ring_id in (None, ring_id) or not (self._members or self._waiting):
                    self._ring_id = ring_id
                    yield from self._settle()
                case Moved():
                    yield from self._step(told)
                case Spoken():
                    yield from self._settle()
                    yield told
        yield from self._settle()

    def _settle(self) -> Iterator[View]:
        """What waits was ordinary: views on the present ring."""
        if self._ring_id is None:
            return
        for change in self._waiting:
            key = ViewKey(self._ring_id, (change.joined, change.left))
            yield View(change.time, key, change.members, self._members - change.left, by_ring=False)
            self._members = change.members
        self._waiting.clear()

    def _step(self, told: Moved) -> Iterator[View]:
        """What waits came with the ring. Who left and is back was on another ring meanwhile, and so were we."""
        companions, left = self._members, frozenset[Address]()
        for change in self._waiting:
            companions -= change.left
            left |= change.left
            self._members = change.members
        self._waiting.clear()
        self._ring_id = told.ring_id
        if left & self._members:
            yield View(told.time, ViewKey(told.ring_id, apart=companions), companions, companions, by_ring=True)
        yield View(told.time, ViewKey(told.ring_id), self._members, companions, by_ring=True)


Step = View | Spoken
_Item = ViewKey | tuple[Address, int]


def lives(programs: Sequence[Program]) -> list[list[list[Step]]]:
    """Each program's lives: one, and one more behind each run of deliveries after a hole."""
    steps = [list(_Life().steps(program)) for program in programs]
    predecessors, had = _orders(steps)
    spoke = {(ring_id, item[0]) for (_, ring_id), items in had.items() for item in items if not isinstance(item, ViewKey)}
    holes = [_holes(number, sequence, predecessors, had, spoke) for number, sequence in enumerate(steps)]
    _share_holes([program.address.node_id for program in programs], steps, holes)
    return [_cut(sequence, behind, program.ended) for program, sequence, behind in zip(programs, steps, holes, strict=True)]


def _share_holes(nodes: Sequence[int], steps: Sequence[Sequence[Step]], holes: Sequence[dict[RingId, int]]) -> None:
    """Who joins behind a hole that another program of its node has seen lacks nothing, and yet nothing of its own counts."""
    for node_id, sequence, behind in list(zip(nodes, steps, [dict(each) for each in holes], strict=True)):
        for ring_id, start in behind.items():
            late = {item for index, ring, item in _items(sequence) if ring == ring_id and index >= start and item is not None}
            for other, (place, told) in enumerate(zip(nodes, steps, strict=True)):
                first = next(((index, item) for index, ring, item in _items(told) if ring == ring_id), None)
                if place == node_id and ring_id not in holes[other] and first is not None and first[1] in late:
                    holes[other][ring_id] = first[0]


def _items(sequence: Sequence[Step]) -> Iterator[tuple[int, RingId, _Item | None]]:
    """Index, ring and name of each step; None for a ring's own view, before which nothing happened on it."""
    ring_id: RingId | None = None
    for index, step in enumerate(sequence):
        if isinstance(step, View):
            ring_id = step.key.ring_id
            yield index, ring_id, step.key if step.key.change is not None else None
        elif ring_id is not None:
            yield index, ring_id, (step.sender, step.number)


_Predecessors = Mapping[tuple[RingId, _Item], set[_Item]]
_Had = Mapping[tuple[int, RingId], set[_Item]]


def _orders(steps: Sequence[Sequence[Step]]) -> tuple[_Predecessors, _Had]:
    """What came right before each item of a ring at anybody, and what each program had on each ring."""
    predecessors: dict[tuple[RingId, _Item], set[_Item]] = {}
    had: dict[tuple[int, RingId], set[_Item]] = {}
    for number, sequence in enumerate(steps):
        previous: tuple[RingId, _Item | None] | None = None
        for _, ring_id, item in _items(sequence):
            if item is not None:
                had.setdefault((number, ring_id), set()).add(item)
                if previous is not None and previous[0] == ring_id and previous[1] is not None:
                    predecessors.setdefault((ring_id, item), set()).add(previous[1])
            previous = ring_id, item
    return predecessors, had


def _holes(
    number: int, sequence: Sequence[Step], predecessors: _Predecessors, had: _Had, spoke: Container[tuple[RingId | None, Address]]
) -> dict[RingId, int]:
    """The index of the first step behind a hole, by ring. A program's first item on a ring that it joined is not behind one.

    Nor is what follows the first messages of a sender that came from elsewhere, which may have begun before (see ``groups``).
    """
    found: dict[RingId, int] = {}
    strangers: frozenset[Address] = frozenset()
    joined = False
    previous: RingId | None = None
    for index, ring_id, item in _items(sequence):
        step = sequence[index]
        if isinstance(step, View) and (step.by_ring or not joined):
            # Whoever joins knows nothing of where its node came from. Who said nothing on the ring before begins where he did.
            silent = {each for each in strangers & step.members if (previous, each) not in spoke}
            strangers = step.members - step.companions | silent if step.by_ring else step.members
        elif item is not None and joined and ring_id not in found:
            missing = predecessors.get((ring_id, item), set()) - had[number, ring_id]
            if any(isinstance(each, ViewKey) or each[0] not in strangers for each in missing):
                found[ring_id] = index
        if isinstance(step, Spoken):
            strangers -= {step.sender}
        joined, previous = True, ring_id
    return found


def _cut(sequence: Sequence[Step], holes: Mapping[RingId, int], ended: bool) -> list[list[Step]]:
    """Leave out what came behind holes, until the next ring."""
    found: list[list[Step]] = [[]]
    ends = {index: ring_id for ring_id, index in holes.items()}
    skipping = False
    for index, step in enumerate(sequence):
        if skipping and isinstance(step, View) and step.by_ring:
            skipping = False
            found.append([])
        if index in ends:
            leaves = ended or any(isinstance(later, View) and later.by_ring for later in sequence[index:])
            skipping = skipping or leaves
        if not skipping:
            found[-1].append(step)
    return found
