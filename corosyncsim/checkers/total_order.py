"""Property 10, total order: there is one order of everything that every process follows.

A single logical order can be given to all messages and all configuration changes such that each process sees those that it has
in this order: the union of all local orders has no cycle. Source: Moser et al., ICDCS 1994, specification 6.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from graphlib import CycleError, TopologicalSorter

from corosyncd.totem.events import ConfigurationKind
from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import NO_RING, Delivered, Event, History, Installed, Process, Ring

PROPERTY = Property(10, "total order")


def check(history: History) -> Iterator[Violation]:
    """One cycle, where there is any; linear in events."""
    order: TopologicalSorter[Hashable] = TopologicalSorter()
    for process, events in history.events.items():
        ring, previous = NO_RING, None
        for event in events:
            place = _place(process, event, ring)
            if place is None:
                continue
            if previous is not None and previous != place:
                order.add(place, previous)
            previous = place
            if isinstance(event, Installed) and event.kind is ConfigurationKind.REGULAR:
                ring = event.ring
    try:
        order.prepare()
    except CycleError as error:
        cycle: list[Hashable] = error.args[1]
        node_id, time = _last_seen(history, cycle)
        shown = " before ".join(_shown(place) for place in cycle[:8])
        yield PROPERTY.broken(node_id, time, f"no process should see these in another order than the rest: {shown}")


def _place(process: Process, event: Event, ring: Ring) -> Hashable:
    """What names the event at every process that has it."""
    match event:
        case Delivered():
            return event.message
        case Installed(kind=ConfigurationKind.REGULAR):
            return event.ring
        case Installed():
            # A first life has no companions, so its first transition is its own alone.
            return ("transition", ring, event.ring, process if ring == NO_RING else None)
        case _:
            return None


def _last_seen(history: History, cycle: list[Hashable]) -> tuple[int, float]:
    """Where and when the last event of the cycle was seen: the breach was complete only then."""
    members = set(cycle)
    node_id, last = 0, 0.0
    for process, events in history.events.items():
        for event in events:
            match event:
                case Delivered(message=place) | Installed(ring=place) if place in members and event.time >= last:
                    node_id, last = process.node_id, event.time
                case _:
                    pass
    return node_id, last


def _shown(place: Hashable) -> str:
    if isinstance(place, Ring):
        return f"ring {place}"
    return f"transition {place[1]}→{place[2]}" if isinstance(place, tuple) and place[0] == "transition" else str(place)
