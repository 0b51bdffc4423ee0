"""Property 18, quorum: no two parts of the cluster may act at the same time.

By majority rule a part that is told that it has quorum holds more than half of the votes, so two such parts share a node. Whoever
was told of quorum believes in it until the next word: while one part has not yet noticed that another took over, both act; that
time is no breach, it is reported (``longest_overlap``). Source: votequorum(5); reference services.md §4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from corosyncd.totem.events import RingId
from corosyncsim.checkers.violation import Property, Violation

PROPERTY = Property(18, "quorum")


class Belief(NamedTuple):
    """What a node's programs were told, and until when it was the last word."""

    node_id: int
    begins: float
    ends: float
    quorate: bool
    ring_id: RingId
    members: frozenset[int]


def check(beliefs: Sequence[Belief], votes: int) -> Iterator[Violation]:
    """Every part that has quorum without a majority, and every two at one time without a common node; a node has one vote."""
    quorate = [belief for belief in beliefs if belief.quorate]
    for belief in quorate:
        if 2 * len(belief.members) <= votes:
            expected = f"{sorted(belief.members)} on ring {belief.ring_id} should not have quorum with {votes} votes"
            yield PROPERTY.broken(belief.node_id, belief.begins, expected)
        if belief.node_id not in belief.members:
            yield PROPERTY.broken(belief.node_id, belief.begins, f"it should be among the members {sorted(belief.members)}")
    for first, second in combinations(quorate, 2):
        if not first.members & second.members and _overlap(first, second) > 0:
            expected = f"{sorted(first.members)} and {sorted(second.members)} should not both have quorum"
            yield PROPERTY.broken(second.node_id, max(first.begins, second.begins), expected)


def longest_overlap(beliefs: Sequence[Belief]) -> float:
    """Seconds for which two nodes believed in quorum on rings of which one lacks the other."""
    quorate = [belief for belief in beliefs if belief.quorate]
    return max(
        (
            _overlap(first, second)
            for first, second in combinations(quorate, 2)
            if first.node_id not in second.members or second.node_id not in first.members
        ),
        default=0.0,
    )


def _overlap(first: Belief, second: Belief) -> float:
    return max(0.0, min(first.ends, second.ends) - max(first.begins, second.begins))
