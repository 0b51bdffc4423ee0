"""Property 8, failure atomicity: companions deliver the same messages.

If two processes both go directly from a configuration to the same next one, they deliver the same set of messages in it and in
its transitional configuration. Source: Moser et al., ICDCS 1994, specification 4. A message whose beginning went out on an
earlier ring is not expected of a process that was not there (see ``corosyncsim.history``).
"""

from __future__ import annotations

from collections.abc import Iterator

from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import Epoch, History, Message, Ring

PROPERTY = Property(8, "failure atomicity")


def check(history: History) -> Iterator[Violation]:
    """Every message that one companion delivered and another did not; linear in deliveries."""
    companions: dict[tuple[Ring, Ring], list[Epoch]] = {}
    for epochs in history.epochs.values():
        for epoch in epochs:
            if epoch.next_ring is not None:
                companions.setdefault((epoch.ring, epoch.next_ring), []).append(epoch)
    for (ring, next_ring), group in companions.items():
        sets = [frozenset(delivery.message for delivery in epoch.delivered() if delivery.message) for epoch in group]
        everything = frozenset[Message]().union(*sets)
        for epoch, delivered in zip(group, sets, strict=True):
            for message in sorted(everything - delivered):
                sent = history.sent.get(message)
                if sent is not None and history.had_no_beginning(epoch.process, sent):
                    continue
                holder = next(other.process for other, theirs in zip(group, sets, strict=True) if message in theirs)
                time = epoch.transitional.time if epoch.transitional else 0.0
                expected = f"message {message} should be delivered in {ring}, as by {holder}, who also went on to {next_ring}"
                yield PROPERTY.broken(epoch.process.node_id, time, expected)
