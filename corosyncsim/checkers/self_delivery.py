"""Property 7, self-delivery: a process delivers what it sends.

What a process sends in a configuration it delivers in that configuration or in its transitional one, unless it fails. Source:
Moser et al., ICDCS 1994, specification 3.
"""

from __future__ import annotations

from collections.abc import Iterator

from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import Epoch, History

PROPERTY = Property(7, "self-delivery")


def check(history: History) -> Iterator[Violation]:
    """Every message that its living sender left behind; linear in events."""
    for process, epochs in history.epochs.items():
        for epoch in epochs:
            if epoch.failed or (epoch.next_ring is None and not _settled(history, epoch)):
                continue
            delivered = {delivery.message for delivery in epoch.delivered()}
            for sent in epoch.sent:
                if sent.message not in delivered:
                    expected = (
                        f"message {sent.message}, sent on ring {epoch.ring}, should have been delivered by its sender in it"
                    )
                    yield PROPERTY.broken(process.node_id, sent.time, expected)


def _settled(history: History, epoch: Epoch) -> bool:
    """Whether the epoch's messages had the time to arrive although no other configuration followed."""
    return history.quiet is not None and history.quiet.drained_at is not None
