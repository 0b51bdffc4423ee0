"""What a node that was still recovering takes over from one that had installed the ring and gathers again."""

from __future__ import annotations

from corosyncd.totem.membership import Membership
from corosyncd.totem.wire import MembJoin


def recovering() -> Membership:
    """Node 1 in a round that agreed on the ring of 1 and 2, and that 3 and 4 have failed."""
    mine = Membership(1, 8)
    mine.install((1, 2, 3, 4))
    mine.restart()
    mine.failed = dict.fromkeys((3, 4))
    return mine


def test_an_accusation_that_the_sender_forgot_is_forgotten_with_the_node() -> None:
    """Node 2 installed the ring, heard of 4 alone, and knows nothing of 3: accusing 3 would split the next ring again."""
    mine = recovering()
    mine.reopen(MembJoin(0, 2, 0, 2, 12, (1, 2, 4), ()))
    assert (list(mine.proc), list(mine.failed)) == ([1, 2, 4], [])


def test_an_accusation_that_the_sender_repeats_stays() -> None:
    mine = recovering()
    mine.reopen(MembJoin(0, 2, 0, 2, 12, (1, 2, 3, 4), (3, 4)))
    assert (list(mine.proc), list(mine.failed)) == ([1, 2, 3, 4], [3, 4])


def committing() -> Membership:
    """Node 1 has the commit token of a ring of 1, 2 and 3 in its hands; 4 has failed."""
    mine = Membership(1, 8)
    mine.restart()
    mine.proc = dict.fromkeys((1, 2, 3, 4))
    mine.failed = dict.fromkeys((4,))
    return mine


def test_a_join_that_waits_for_another_node_asks_for_more_than_the_ring_being_committed() -> None:
    assert committing().asks_for_more(MembJoin(0, 3, 0, 3, 8, (1, 2, 3, 4, 5), (4,)))


def test_a_late_join_of_the_round_asks_for_nothing_more() -> None:
    mine = committing()
    assert not mine.asks_for_more(MembJoin(0, 3, 0, 3, 8, (1, 2, 3), ()))
    assert not mine.asks_for_more(MembJoin(0, 3, 0, 3, 8, (1, 2, 3, 4), ())), "4 was accused after this join had left"
    assert not mine.asks_for_more(MembJoin(0, 3, 0, 3, 8, (1, 2, 3, 4, 5), (4, 5)))
