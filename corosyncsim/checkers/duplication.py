"""Property 2, no duplication: a process delivers a message at most once, and nobody delivers it in another configuration.

Source: Moser et al., ICDCS 1994, specification 1 (a message is sent in one configuration, and delivered once, in it or in its
transitional configuration).
"""

from __future__ import annotations

from collections.abc import Iterator

from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import History, Message, Process, Ring

PROPERTY = Property(2, "no duplication")


def check(history: History) -> Iterator[Violation]:
    """Every second delivery, and every delivery in a second configuration; linear in the number of deliveries."""
    ring_of: dict[Message, tuple[Ring, Process]] = {}
    for process, epochs in history.epochs.items():
        seen: set[Message] = set()
        for epoch in epochs:
            for delivery in epoch.delivered():
                message = delivery.message
                if message is None:
                    continue
                if message in seen:
                    yield PROPERTY.broken(
                        process.node_id, delivery.time, f"message {message} should be delivered once, not again"
                    )
                seen.add(message)
                ring, first = ring_of.setdefault(message, (epoch.ring, process))
                if ring != epoch.ring:
                    expected = f"message {message} should be delivered in ring {ring}, as by {first}, not in {epoch.ring}"
                    yield PROPERTY.broken(process.node_id, delivery.time, expected)
