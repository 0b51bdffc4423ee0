"""The property checkers: one small module each, over the history of a run.

``HISTORY_CHECKERS`` judge a finished history. ``ring_rules`` and ``early_accusation`` watch every step while the run goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from corosyncsim.checkers import (
    agreement,
    atomicity,
    causality,
    duplication,
    early_accusation,
    engine_death,
    holes,
    identity,
    inclusion,
    integrity,
    key_changes,
    liveness,
    process_groups,
    quorum,
    requests,
    ring_rules,
    self_delivery,
    sync_barrier,
    total_order,
    transition,
    transitivity,
)
from corosyncsim.checkers.violation import Checker, Property, Violation
from corosyncsim.history import History

__all__ = [
    "ABOVE_THE_RING",
    "HISTORY_CHECKERS",
    "ON_BARE_RINGS",
    "ON_WHOLE_NODES",
    "PROPERTIES",
    "Checker",
    "Property",
    "Violation",
    "check_history",
]

HISTORY_CHECKERS: dict[int, Checker] = {
    1: integrity.check,
    2: duplication.check,
    3: agreement.check,
    4: identity.check,
    5: inclusion.check,
    6: transition.check,
    7: self_delivery.check,
    8: atomicity.check,
    9: causality.check,
    10: total_order.check,
    11: holes.check,
    13: liveness.check_delivery,
    14: liveness.check_merge,
    22: transitivity.check,
    16: sync_barrier.check,
    17: process_groups.check,
    18: quorum.check_decisions,
    19: requests.check,
    20: key_changes.check,
    21: engine_death.check,
}
"""Checkers by the number of their property. Safe delivery (12) is not offered by this protocol stack, so it has none."""


PROPERTIES: dict[int, str] = {
    watched.number: watched.name
    for watched in (
        integrity.PROPERTY,
        duplication.PROPERTY,
        agreement.PROPERTY,
        identity.PROPERTY,
        inclusion.PROPERTY,
        transition.PROPERTY,
        self_delivery.PROPERTY,
        atomicity.PROPERTY,
        causality.PROPERTY,
        total_order.PROPERTY,
        holes.PROPERTY,
        liveness.DELIVERY,
        liveness.MERGE,
        ring_rules.PROPERTY,
        transitivity.PROPERTY,
        sync_barrier.PROPERTY,
        process_groups.PROPERTY,
        quorum.PROPERTY,
        requests.PROPERTY,
        key_changes.PROPERTY,
        engine_death.PROPERTY,
        early_accusation.PROPERTY,
    )
}
"""The names of all properties that are watched, by their numbers."""
ABOVE_THE_RING: Final = range(sync_barrier.PROPERTY.number, engine_death.PROPERTY.number + 1)
"""Properties of whole nodes: judged from what programs are told."""
ON_BARE_RINGS: Final = frozenset(PROPERTIES).difference(ABOVE_THE_RING)
ON_WHOLE_NODES: Final = frozenset(PROPERTIES) - frozenset((1, 2, 7, 8, 9, 10, 11))
"""Messages of whole nodes do not name themselves to the ring's checkers: 17 judges what programs are told."""


def check_history(history: History) -> Iterator[Violation]:
    """Every violation that any checker finds, property by property."""
    for check in HISTORY_CHECKERS.values():
        yield from check(history)
