"""What the programs of a process group were told, as a history for the property checkers.

A program sees views of its group: ``cpg`` tells it the members, who left and who joined, and each ring. Here each program is a
process of its own, and each view is a configuration, so that extended virtual synchrony is judged where applications rely on it:
companions from one view to the next were delivered the same messages, in one order, without holes.

Three things are not said to programs, and are completed so that no promise is asked for that was not given:

- Where the transitional configuration begins. Where a ring ended a view, it is put at the view's beginning.
- When a frame left. A message counts as sent in the view in which its sender was delivered it (or, where its sender was not,
  another program), at its place in the order that all programs agree on.
- Which messages had begun on an earlier ring (see ``corosyncsim.history``). The first messages of a sender on a new ring may be
  missing at programs that did not come along with it: a run of first ones, never one in between. Rings on which the sender was
  not delivered to anybody count as none: their synchronisation was aborted before the rest of its message could leave.

Source: cpg_overview(3), cpg_model_initialize(3); reference services.md §3.3, totem.md §2.4.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import takewhile, zip_longest
from typing import Final, TypeVar

from corosyncd.totem.events import ConfigurationKind, RingId
from corosyncsim.group_lives import Address, Program, Spoken, View, ViewKey, lives
from corosyncsim.history import (
    NO_RING,
    Delivered,
    Event,
    Failed,
    History,
    Installed,
    Message,
    Process,
    Quiet,
    Ring,
    Sent,
    Submitted,
)

T = TypeVar("T")

VIEWS_LIMIT: Final = 1 << 16
"""Views of a group on one ring."""
_STEPS: Final = 4
"""Places in the order for the events at one place: sending, delivery, what follows."""


def read(programs: Sequence[Program], quiet: Quiet | None = None) -> History:
    """The history of a group; program number i (from 1) has the node id i. Raises ValueError above VIEWS_LIMIT."""
    return _Reader(programs).history(quiet)


def processes(programs: Sequence[Program]) -> dict[Address, Process]:
    """How the history names each program's first life."""
    return {program.address: Process(index, 1) for index, program in enumerate(programs, 1)}


class _Reader:
    """The passes from what was told to a history, in their order."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self._programs = programs
        self._node_ids = {address: process.node_id for address, process in processes(programs).items()}
        cut = lives(programs)
        self._lives = {Process(i, k): steps for i, each in enumerate(cut, 1) for k, steps in enumerate(each, 1)}
        self._messages = self._name_messages()
        self._names = self._view_names()
        self._ranks = self._order()
        self._sent: dict[Message, Sent] = {}

    def history(self, quiet: Quiet | None) -> History:
        for own in (True, False):  # The sender's own delivery decides where a message belongs, then anybody's.
            for process in self._lives:
                self._place_sendings(process, own=own)
        self._find_late_beginnings()
        history = History(sent=self._sent, quiet=quiet)
        for process in self._lives:
            program = self._programs[process.node_id - 1]
            goes_on = Process(process.node_id, process.life + 1) in self._lives
            history.events[process] = self._events(process, failed=goes_on or program.ended)
            history.storage_losses[process] = 0
        for message in self._messages.values():
            size = self._sizes(message.sender).get(message.number)
            if size is not None:
                history.submitted[message] = Submitted(0, 0.0, message, size, 0)
        return history

    def _sizes(self, sender: Process) -> dict[int, int]:
        return self._programs[sender.node_id - 1].sizes if sender.node_id <= len(self._programs) else {}

    def _name_messages(self) -> dict[tuple[Address, int], Message]:
        """A message belongs to the life of its sender that was on the ring where it came out."""
        life_on: dict[tuple[int, RingId], Process] = {}
        rings: dict[tuple[Address, int], RingId] = {}
        for process, steps in self._lives.items():
            ring_id: RingId | None = None
            for step in steps:
                if isinstance(step, View):
                    ring_id = step.key.ring_id
                    life_on.setdefault((process.node_id, ring_id), process)
                elif ring_id is not None:
                    rings.setdefault((step.sender, step.number), ring_id)
        last = {process.node_id: process for process in self._lives}
        names = {}
        for (address, number), ring_id in rings.items():
            node_id = self._node_id(address)
            sender = life_on.get((node_id, ring_id), last.get(node_id, Process(node_id, 1)))
            names[address, number] = Message(sender, number)
        return names

    def _message(self, step: Spoken) -> Message:
        name = self._messages.get((step.sender, step.number))
        return name or Message(Process(self._node_id(step.sender), 1), step.number)

    def _node_id(self, address: Address) -> int:
        """A number even for an address that no program of ours has: it will belong to no view."""
        return self._node_ids.setdefault(address, len(self._node_ids) + 1)

    def _view_names(self) -> dict[ViewKey, Ring]:
        """Views of one ring are numbered in the order in which its programs saw them."""
        rings: dict[RingId, TopologicalSorter[ViewKey]] = {}
        for steps in self._lives.values():
            previous: ViewKey | None = None
            for view in steps:
                if isinstance(view, View):
                    order = rings.setdefault(view.key.ring_id, TopologicalSorter())
                    follows = previous is not None and previous.ring_id == view.key.ring_id
                    order.add(view.key, *([previous] if follows and previous else []))
                    previous = view.key
        names: dict[ViewKey, Ring] = {}
        for ring_id, order in rings.items():
            keys = _sorted(order, (view.key for view in self._views() if view.key.ring_id == ring_id))
            if len(keys) > VIEWS_LIMIT:
                raise ValueError(f"more than {VIEWS_LIMIT} views of a group on ring {ring_id}")
            # Rings on the way come first, then the ring's own view, also where nobody saw both it and another.
            for index, key in enumerate(sorted(keys, key=lambda key: (not key.apart, key.change is not None))):
                names[key] = Ring(ring_id.representative, ring_id.sequence * VIEWS_LIMIT + index)
        return names

    def _views(self) -> Iterator[View]:
        return (step for steps in self._lives.values() for step in steps if isinstance(step, View))

    def _place(self, step: View | Spoken) -> Ring | Message:
        if isinstance(step, View):
            return self._names[step.key]
        return self._message(step)

    def _order(self) -> dict[Ring | Message, int]:
        """Everybody's order, as one; by time where there is none, which is for the checker of total order to say."""
        order: TopologicalSorter[Ring | Message] = TopologicalSorter()
        first: dict[Ring | Message, float] = {}
        for steps in self._lives.values():
            previous: list[Ring | Message] = []
            for step in steps:
                place = self._place(step)
                first[place] = min(step.time, first.get(place, step.time))
                order.add(place, *(each for each in previous if each != place))
                previous = [place]
        return {place: rank for rank, place in enumerate(_sorted(order, sorted(first, key=lambda place: first[place])), 1)}

    def _place_sendings(self, process: Process, *, own: bool) -> None:
        """What was delivered to a process, its own messages or any, and has no place yet was sent in its view."""
        ring = NO_RING
        for step in self._lives[process]:
            if isinstance(step, View):
                ring = self._names[step.key]
                continue
            message = self._message(step)
            if message.sender == process or not own:
                rank = self._ranks[message]
                self._sent.setdefault(message, Sent(rank * _STEPS, step.time, message, ring, ring, (rank, 0)))

    def _find_late_beginnings(self) -> None:
        """First messages of a sender on a ring that are missing at those who came from elsewhere: they began before it."""
        arrivals: dict[RingId, dict[Process, tuple[int, int]]] = {}
        """How many views each process had before a ring, and the place in the order from which it was in the group there."""
        views: dict[Process, list[Ring]] = {}
        delivered: dict[Process, set[Message]] = {}
        for process, steps in self._lives.items():
            views[process] = []
            delivered[process] = {self._message(step) for step in steps if isinstance(step, Spoken)}
            for view in (step for step in steps if isinstance(step, View)):
                if view.by_ring or not views[process]:
                    begin = 0 if view.by_ring else self._ranks[self._names[view.key]]
                    arrivals.setdefault(view.key.ring_id, {})[process] = len(views[process]), begin
                views[process].append(self._names[view.key])
        streams: dict[tuple[RingId, Process], list[Message]] = {}
        for message, sent in sorted(self._sent.items(), key=lambda item: item[1].position):
            streams.setdefault((_ring_id(sent.ring), message.sender), []).append(message)
        spoke: dict[Process, set[RingId]] = {}
        for ring_id, sender in streams:
            spoke.setdefault(sender, set()).add(ring_id)
        for (ring_id, sender), stream in streams.items():
            came, its = arrivals.get(ring_id, {}), views.get(sender, [])
            its = its[: came[sender][0]] if sender in came else its
            late: dict[Message, Ring] = {}
            for process, (count, begin) in came.items():
                origin = _parting(views[process][:count], its, spoke[sender])
                if origin is not None:
                    for message in self._missing_first(stream, begin, delivered[process]):
                        late[message] = min(origin, late.get(message, origin), key=lambda view: self._ranks.get(view, 0))
            for message, origin in late.items():
                if origin != self._sent[message].ring:
                    self._sent[message] = self._sent[message]._replace(begun_on=origin)

    def _missing_first(self, stream: Sequence[Message], begin: int, has: set[Message]) -> Iterator[Message]:
        """The messages from a place in the order on, up to the first that a process has."""
        mine = (message for message in stream if self._sent[message].position[0] > begin)
        return takewhile(lambda message: message not in has, mine)

    def _events(self, process: Process, *, failed: bool) -> list[Event]:
        """One life, as the checkers want it."""
        steps = self._lives[process]
        own: dict[Ring, list[Sent]] = {}
        for sent in self._sent.values():
            if sent.message.sender == process:
                own.setdefault(sent.ring, []).append(sent)
        starts = [index for index, step in enumerate(steps) if isinstance(step, View)]
        events: list[Event] = []
        for start, end in zip(starts, [*starts[1:], len(steps)], strict=False):
            view, following = steps[start], steps[end] if end < len(steps) else None
            assert isinstance(view, View)
            ring = self._names[view.key]
            if not view.by_ring or not events:
                companions = view.companions if events else frozenset()
                events.append(self._transition(view, companions, self._ranks[ring] * _STEPS))
            events.append(self._regular(view))
            if isinstance(following, View) and following.by_ring:
                events.append(self._transition(following, following.companions, self._ranks[ring] * _STEPS + 2))
            elif following is None and failed:
                # It may have died on the way to a ring that nobody told it, without companions.
                nowhere = Ring(0, process.node_id)
                events.append(
                    Installed(events[-1].order + 1, view.time, ConfigurationKind.TRANSITIONAL, nowhere, (process.node_id,))
                )
            events += self._between(steps[start + 1 : end], own.pop(ring, []), following)
        if failed:
            events.append(Failed(events[-1].order if events else 0, steps[-1].time if steps else 0.0))
        return events

    def _regular(self, view: View) -> Installed:
        ring = self._names[view.key]
        return Installed(self._ranks[ring] * _STEPS + 1, view.time, ConfigurationKind.REGULAR, ring, self._ids(view.members))

    def _transition(self, view: View, companions: frozenset[Address], order: int) -> Installed:
        kind = ConfigurationKind.TRANSITIONAL
        return Installed(order, view.time, kind, self._names[view.key], self._ids(companions))

    def _ids(self, addresses: frozenset[Address]) -> tuple[int, ...]:
        return tuple(sorted(self._node_id(address) for address in addresses))

    def _between(self, steps: Sequence[View | Spoken], own: Sequence[Sent], following: View | Spoken | None) -> Iterator[Event]:
        """Deliveries in one view, and the process's own sendings among them: in their places, or before the next view."""
        waiting = sorted(own, reverse=True)
        end = self._ranks[self._place(following)] * _STEPS if following is not None else None
        for step in steps:
            assert isinstance(step, Spoken)
            message = self._message(step)
            order = self._ranks[message] * _STEPS + 1
            while waiting and waiting[-1].order <= order:
                yield waiting.pop()
            yield Delivered(order, step.time, message, message.sender.node_id, step.size, 0)
        while waiting:
            sent = waiting.pop()
            yield sent._replace(order=min(sent.order, end)) if end is not None else sent


def _parting(mine: Sequence[Ring], its: Sequence[Ring], spoke: Container[RingId]) -> Ring | None:
    """The view from which a sender came another way than a process, back to the ring where it spoke last; None without one."""
    for view, origin in zip_longest(reversed(mine), reversed(its), fillvalue=NO_RING):
        if view != origin:
            return origin
        if _ring_id(view) in spoke:
            return None
    return None


def _ring_id(view: Ring) -> RingId:
    return RingId(view.representative, view.sequence // VIEWS_LIMIT)


def _sorted(order: TopologicalSorter[T], fallback: Iterable[T]) -> list[T]:
    """A linear order, or the fallback where the constraints have a cycle."""
    try:
        return list(order.static_order())
    except CycleError:
        return list(dict.fromkeys(fallback))
