"""Nodes that disagree about who failed, and do not believe each other, wait for the consensus timer instead of shouting."""

from __future__ import annotations

from corosyncd.totem.membership import Membership, Verdict
from corosyncd.totem.wire import MembJoin


def stranger_who_accuses(mine: int, accused: int) -> tuple[Membership, MembJoin]:
    """A node with all of 1..4 in its sets that accuses one, and its join."""
    membership = Membership(mine, 1)
    membership.restart()
    for node in (1, 2, 3, 4):
        membership.add(node)
    membership.failed[accused] = None
    return membership, MembJoin(0, mine, 0, mine, 1, tuple(membership.proc), tuple(membership.failed))


def test_an_accusation_that_does_not_count_starts_no_new_round() -> None:
    one, join_of_one = stranger_who_accuses(1, 3)
    two, join_of_two = stranger_who_accuses(2, 4)
    assert one.consider(join_of_two) is Verdict.NOTHING
    assert two.consider(join_of_one) is Verdict.NOTHING
    assert (list(one.failed), list(two.failed)) == ([3], [4])


def test_the_same_accusation_of_me_starts_one_round_only() -> None:
    one, _ = stranger_who_accuses(1, 3)
    join = MembJoin(0, 2, 0, 2, 1, (1, 2, 3, 4), (1,))
    assert one.consider(join) is Verdict.CHANGED
    assert one.consider(join) is Verdict.NOTHING
