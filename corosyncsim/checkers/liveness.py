"""Properties 13 and 14: without faults the cluster becomes one, and everything arrives.

14, merge and termination: when faults stop and links work, all processes that live come to one common regular configuration
within a stated bound. 13, liveness: in that configuration the token rotates, queues drain, and what was sent is delivered by all.
Source: Amir et al., ACM TOCS 13(4), 1995, sections 4 and 5 (termination).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import History

DELIVERY = Property(13, "liveness")
VIOLATIONS_LIMIT: Final = 10
MERGE = Property(14, "merge and termination")


def check_delivery(history: History) -> Iterator[Violation]:
    """What had not arrived when time was up, and what the last ring sent and a member lacks; linear in events."""
    quiet = history.quiet
    if quiet is None or quiet.one_configuration_at is None:
        return
    for reason in history.services.unsettled[:VIOLATIONS_LIMIT] if history.services else ():
        yield DELIVERY.broken(0, quiet.drained_by, f"this should have come to rest: {reason}")
    for process, message in quiet.undelivered[:VIOLATIONS_LIMIT]:
        expected = f"{process} should have delivered message {message}; {len(quiet.undelivered)} in all are missing"
        yield DELIVERY.broken(process.node_id, quiet.drained_by, expected)
    if quiet.drained_at is None:
        return
    for process in history.lives():
        last = history.epochs[process][-1]
        delivered = {delivery.message for delivery in last.delivered()}
        for sent in history.order_on_ring.get(last.ring, []):
            if sent.message not in delivered and not history.had_no_beginning(process, sent):
                expected = f"{process} should have delivered message {sent.message}, sent on the last ring {last.ring}"
                yield DELIVERY.broken(process.node_id, quiet.drained_at, expected)


def check_merge(history: History) -> Iterator[Violation]:
    """Nodes that did not come together in time."""
    quiet = history.quiet
    if quiet is None or quiet.one_configuration_at is not None:
        return
    expected = f"one configuration was due {quiet.one_configuration_by - quiet.began:.1f} s after the last fault; instead: "
    yield MERGE.broken(0, quiet.one_configuration_by, expected + "; ".join(quiet.still_apart))
