"""Property 11, no holes: what comes out in a regular configuration is the beginning of what was sent in it.

If somebody delivers m before m' and a process delivers m' in the same regular configuration, it delivers m as well. In the
transitional configuration a message may be missing before a later one only where its sender is outside the transitional
membership. Source: Moser et al., ICDCS 1994, specification 6 (no gaps) and section 2. The ring's own order, read on the wire, is
the yardstick, so that a message that nobody delivered counts too.
"""

from __future__ import annotations

from collections.abc import Iterator

from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import Delivered, Epoch, History, Message, Ring

PROPERTY = Property(11, "no holes")

Places = dict[Message | None, tuple[Ring, int]]
"""The ring of each message, and its place in the order there."""


def check(history: History) -> Iterator[Violation]:
    """Every message left out before a later one; linear in deliveries and sends."""
    places: Places = {
        sent.message: (ring, place) for ring, order in history.order_on_ring.items() for place, sent in enumerate(order)
    }
    for process, epochs in history.epochs.items():
        for epoch in epochs:
            for time, expected in _holes(history, epoch, places):
                yield PROPERTY.broken(process.node_id, time, expected)


def _holes(history: History, epoch: Epoch, places: Places) -> Iterator[tuple[float, str]]:
    order = history.order_on_ring.get(epoch.ring)
    if order is None:
        return
    delivered = {delivery.message for delivery in epoch.delivered()}
    last_regular = _furthest(epoch, epoch.regular, places)
    last = max(last_regular, _furthest(epoch, epoch.in_transition, places))
    companions = epoch.transitional.members if epoch.transitional else ()
    time = max((delivery.time for delivery in epoch.delivered()), default=0.0)
    for place in range(last + 1):
        sent = order[place]
        if sent.message in delivered or history.had_no_beginning(epoch.process, sent):
            continue
        if place < last_regular:
            yield time, f"message {sent.message} should not be left out before {order[last_regular].message} in ring {epoch.ring}"
        elif sent.message.sender.node_id in companions:
            expected = (
                f"message {sent.message} of a companion should not be left out before {order[last].message} in the transition"
            )
            yield time, f"{expected} from ring {epoch.ring}"


def _furthest(epoch: Epoch, deliveries: list[Delivered], places: Places) -> int:
    """The place on the ring of the latest of its messages among the deliveries; -1 for none."""
    found = [places[delivery.message] for delivery in deliveries if delivery.message in places]
    return max((place for ring, place in found if ring == epoch.ring), default=-1)
