"""Links that are not transitive: what counts as an accusation by timeout, who is left out for it, and for how long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from corosyncd.totem.accusations import Accusations
from corosyncd.totem.broken_pairs import FIRST_BACKOFF, LONGEST_BACKOFF, MAXIMUM_RECORDS, RETURNS, BrokenPairs, Ends
from corosyncd.totem.timeouts import derive
from corosyncd.totem.wire import MAXIMUM_NODES, FrameType, MembJoin, encode_memb_join
from tests.unit.totem_cluster import Cluster

PARAMETERS = derive({}, 3)
ROW = 10.0
ALL = (1, 2, 3)

Step = tuple[float, int, tuple[int, ...], tuple[int, ...]]
"""Seconds, sender, proc list, failed list of a join that node 2 hears."""


def told(steps: list[Step], ring_seq: Callable[[int], int] = lambda step: 8) -> list[int]:
    """What the last of these joins tells node 2."""
    accusations = Accusations(2)
    accused: list[int] = []
    for number, (time, sender, proc, failed) in enumerate(steps):
        join = MembJoin(0, sender, 0, sender, ring_seq(number), proc, failed)
        accused = accusations.observe(join, PARAMETERS, time)
    return accused


WAIT = PARAMETERS.consensus
BOTH_AGREE: list[Step] = [(0.0, 1, ALL, ()), (0.0, 3, ALL, ()), (0.05, 1, ALL, ()), (0.5, 3, ALL, ())]

CASES: dict[str, tuple[list[Step], list[int]]] = {
    "1 waited for 3, whom this node heard twice": ([*BOTH_AGREE, (WAIT, 1, ALL, (3,))], [3]),
    "3 waited for 1": ([*BOTH_AGREE, (0.5, 1, ALL, ()), (WAIT, 3, ALL, (1,))], [1]),
    "3 was heard once only: the network may have lost it": ([*BOTH_AGREE[:3], (WAIT, 1, ALL, (3,))], []),
    "3 was heard once, as one of all: it waits for the commit token, and 1 has neither": (
        [(0.0, 1, ALL, ()), (WAIT / 2, 3, ALL, ()), (WAIT, 1, ALL, (3,))],
        [3],
    ),
    "3 was heard once, and 4 did not agree: 3 would have repeated it": (
        [(0.0, 1, (1, 2, 3, 4), ()), (WAIT / 2, 3, (1, 2, 3, 4), ()), (WAIT, 1, (1, 2, 3, 4), (3,))],
        [],
    ),
    "3 was heard once, as one of all, before 1 began to wait anew": (
        [(0.0, 1, (1, 2), ()), (WAIT / 4, 3, ALL, ()), (WAIT / 2, 1, ALL, ()), (WAIT, 1, ALL, (3,))],
        [],
    ),
    "3 is dead: nobody hears it": ([(0.0, 1, ALL, ()), (WAIT, 1, ALL, (3,))], []),
    "3 fell silent long before the wait began": ([*BOTH_AGREE, (2 * WAIT, 1, ALL, (3,))], []),
    "3 had other sets": (
        [(0.0, 1, ALL, ()), (0.0, 3, (2, 3), ()), (0.5, 3, (2, 3), ()), (WAIT, 1, ALL, (3,))],
        [],
    ),
    "1 told nothing before: it comes out of an operational ring": ([*BOTH_AGREE[1::2], (0.6, 1, ALL, (3,))], []),
    "1 accuses this node as well: it hears nobody": ([*BOTH_AGREE, (WAIT, 1, ALL, (2, 3))], []),
    "1 answers the accusation of 3": ([*BOTH_AGREE, (WAIT, 3, ALL, (1,)), (WAIT, 1, ALL, (3,))], []),
    "4 believes 1, a join interval later": (
        [
            *((time, sender, (1, 2, 3, 4), ()) for time in (0.0, 0.5) for sender in (1, 3, 4)),
            (WAIT, 1, (1, 2, 3, 4), (3,)),
            (WAIT + PARAMETERS.join, 4, (1, 2, 3, 4), (3,)),
        ],
        [],
    ),
    "4 waited for 3 as 1 did": (
        [
            *((time, sender, (1, 2, 3, 4), ()) for time in (0.0, 0.5) for sender in (1, 3, 4)),
            (WAIT, 1, (1, 2, 3, 4), (3,)),
            (WAIT + 0.001, 4, (1, 2, 3, 4), (3,)),
        ],
        [3],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_accusation_by_timeout_is_told_from_others(case: str) -> None:
    steps, accused = CASES[case]
    assert told(steps) == accused


def test_who_hears_an_accuser_is_silent_for_a_join_interval_whatever_changes_meanwhile() -> None:
    """A second change of sets within a millisecond must not make it speak at once: others would take it for one more accuser."""
    cluster = Cluster(3)
    node, join = cluster[2], cluster.parameters.join
    cluster.start([2])
    cluster.run(0.01)

    def hears(sender: int, proc: tuple[int, ...], failed: tuple[int, ...] = ()) -> None:
        node.inbox.append(encode_memb_join(MembJoin(0, sender, 0, sender, 8, proc, failed)))
        cluster.run(0.001)

    def joins_sent() -> list[float]:
        return [when for when, _, frame in node.sent if frame[3] == FrameType.MEMB_JOIN]

    for _ in range(3):
        hears(1, ALL)
        hears(3, ALL)
        cluster.run(join)
    before, accused_at = joins_sent(), cluster.now
    hears(1, ALL, (3,))
    hears(4, (4,))
    cluster.run(join)
    assert [round(when - accused_at, 6) for when in joins_sent()[len(before) :]] == [join]


def test_a_leave_is_no_accusation() -> None:
    accusations = Accusations(2)
    for time, sender, proc, failed in BOTH_AGREE:
        accusations.observe(MembJoin(0, sender, 0, sender, 8, proc, failed), PARAMETERS, time)
    assert accusations.observe(MembJoin(0, 0, 0, 1, 8, (2,), (3, 1)), PARAMETERS, WAIT) == []


def test_a_ring_that_failed_to_form_begins_the_accusers_wait_anew() -> None:
    steps = [*BOTH_AGREE, (1.0, 1, ALL, ()), (WAIT, 1, ALL, (3,))]
    assert told(steps) == [3]
    assert told(steps, lambda step: 12 if step >= len(BOTH_AGREE) else 8) == []


def test_what_was_told_before_the_last_configuration_is_forgotten() -> None:
    accusations = Accusations(2)
    for time, sender, proc, failed in BOTH_AGREE:
        accusations.observe(MembJoin(0, sender, 0, sender, 8, proc, failed), PARAMETERS, time)
    accusations.forget()
    assert accusations.observe(MembJoin(0, 1, 0, 1, 8, ALL, (3,)), PARAMETERS, WAIT) == []
    assert accusations.never_heard([1, 3]) == [3]


def test_a_node_whose_joins_do_not_name_this_one_has_not_answered() -> None:
    accusations = Accusations(2)
    accusations.heard(4)
    accusations.observe(MembJoin(0, 1, 0, 1, 8, (1, 2), ()), PARAMETERS, 0.0)
    accusations.observe(MembJoin(0, 3, 0, 3, 8, (1, 3), ()), PARAMETERS, 0.0)
    assert accusations.unanswered([1, 3, 4, 5]) == [3, 4]


def test_joins_in_the_names_of_endless_nodes_are_forgotten() -> None:
    accusations = Accusations(2)
    for node in range(10, 10 + 2 * MAXIMUM_NODES):
        accusations.observe(MembJoin(0, node, 0, node, 8, ALL, ()), PARAMETERS, 0.0)
    assert accusations.never_heard([10, 9 + MAXIMUM_NODES, 10 + MAXIMUM_NODES]) == [10 + MAXIMUM_NODES]


def broken(*accusations: tuple[int, tuple[int, ...]], node: int = 2, rounds: int = 2) -> BrokenPairs:
    """What a node knows after rounds with these accusations, one a second, from second 1 on; each ends with its ring alone."""
    pairs = BrokenPairs(node)
    for number in range(rounds):
        for accuser, nodes in accusations:
            pairs.accused(accuser, nodes, ROW, number + 1.0)
        pairs.installed((node,), number + 1.0)
    return pairs


VICTIMS: dict[str, tuple[list[tuple[int, tuple[int, ...]]], set[int]]] = {
    "one pair: the higher id": ([(1, (3,))], {3}),
    "one pair, accused from above": ([(3, (1,))], {3}),
    "one pair, from both sides": ([(1, (3,)), (3, (1,))], {3}),
    "pairs that share the lower node": ([(1, (3, 4))], {1}),
    "pairs that share a node, told by the others first": ([(3, (1,)), (4, (1,)), (1, (3, 4))], {1}),
    "two pairs that share nothing": ([(1, (3,)), (4, (5,))], {3, 5}),
}


@pytest.mark.parametrize("case", VICTIMS)
def test_the_victim_is_the_end_with_more_broken_pairs_then_the_higher_id(case: str) -> None:
    accusations, victims = VICTIMS[case]
    assert broken(*accusations).ignored(3.0) == victims


def test_one_accusation_ignores_nobody() -> None:
    assert broken((1, (3,)), rounds=1).ignored(2.0) == set()


def test_two_accusations_in_one_gather_are_one() -> None:
    pairs = BrokenPairs(2)
    assert pairs.accused(1, [3], ROW, 1.0) == pairs.accused(3, [1], ROW, 1.5) == []


def test_accusations_far_apart_are_not_in_a_row() -> None:
    pairs = broken((1, (3,)), rounds=1)
    assert pairs.accused(1, [3], ROW, 2.0 + ROW) == []
    pairs.installed((1, 2), 2.0 + ROW)
    assert [found.victim for found in pairs.accused(1, [3], ROW, 3.0 + ROW)] == [3]


def test_a_configuration_of_both_ends_forgets_the_pair() -> None:
    pairs = broken((1, (3,)), rounds=1)
    pairs.installed((1, 2, 3), 1.5)
    assert pairs.accused(1, [3], ROW, 2.0) == []


def test_one_failed_trial_doubles_the_backoff_up_to_its_limit() -> None:
    pairs, now, lengths = broken((1, (3,)), rounds=1), 2.0, []
    for _ in range(7):
        (found,) = pairs.accused(1, [3], ROW, now)
        lengths.append(found.seconds)
        assert pairs.ignores(3, now + found.seconds - 0.001)
        assert not pairs.ignores(3, now + found.seconds)
        pairs.installed((1, 2), now)
        now += found.seconds + 1.0
    assert lengths == [FIRST_BACKOFF, 60.0, 120.0, 240.0, 480.0, LONGEST_BACKOFF, LONGEST_BACKOFF]


def test_who_is_asked_for_in_a_later_gather_is_tried_at_once() -> None:
    pairs = broken((1, (3,)), rounds=1)
    pairs.accused(1, [3], ROW, 2.0)
    assert pairs.named({1, 3}, 2.1) == []
    pairs.installed((1, 2), 2.2)
    assert pairs.named({1, 3}, 2.3) == [3]
    assert not pairs.ignores(3, 2.3)


def victims_after(pairs: BrokenPairs, now: float, *asked: bool) -> list[int]:
    """Who is left out after each failed trial of 1 and 3: somebody asks at once, or the back-off has run."""
    victims = []
    for soon in asked:
        pairs.installed((2, 4), now)
        now += 0.1 if soon else LONGEST_BACKOFF
        pairs.named(pairs.ignored(now), now)
        (found,) = pairs.accused(1, [3], ROW, now)
        victims.append(found.victim)
    return victims


def test_a_victim_that_keeps_coming_back_is_spared_and_the_other_end_left_out_for_good() -> None:
    assert victims_after(broken((1, (3,))), 2.0, *[True] * RETURNS) == [3] * (RETURNS - 1) + [1]
    assert victims_after(broken((1, (3,))), 2.0, *[True] * RETURNS, False, False, True, True) == [3] * (RETURNS - 1) + [1] * 5


def test_a_node_that_knows_nothing_yet_brings_a_victim_back_without_another_being_left_out() -> None:
    asked = [True] * (RETURNS - 1)
    assert set(victims_after(broken((1, (3,))), 2.0, *asked, False, *asked, False)) == {3}


def test_nodes_that_left_out_different_ends_agree_in_the_end() -> None:
    """Each asks for whom the other leaves out."""
    mine, other = broken((1, (3,))), broken((1, (3,)))
    mine_victims = victims_after(mine, 2.0, *[True] * RETURNS)
    both = list(zip(victims_after(mine, 3.0, *[True] * RETURNS), victims_after(other, 3.0, *[True] * RETURNS), strict=True))
    assert mine_victims[-1] == 1
    assert both == [(1, 3)] * (RETURNS - 1) + [(1, 1)]


def test_a_spared_end_is_left_out_after_all_if_the_other_comes_back_as_often_again() -> None:
    victims = victims_after(broken((1, (3,))), 2.0, *[True] * (RETURNS + 2 * RETURNS))
    assert victims == [3] * (RETURNS - 1) + [1] * (2 * RETURNS) + [3]


def test_who_is_ignored_for_a_node_that_stays_away_comes_back() -> None:
    pairs = broken((1, (3,)))
    pairs.installed((1, 2), 3.0)
    assert pairs.release(5.0, 20.0) == []
    pairs.installed((2,), 20.0)
    assert pairs.release(5.0, 24.0) == []
    assert pairs.release(5.0, 25.0) == [3]
    assert not pairs.ignores(3, 25.0)


def test_a_node_that_is_heard_but_never_answers_is_ignored_until_it_does() -> None:
    pairs = BrokenPairs(3)
    assert pairs.unanswered([2], LONGEST_BACKOFF, 1.0) == []
    pairs.installed((3,), 1.0)
    assert [(found.victim, found.seconds) for found in pairs.unanswered([2], LONGEST_BACKOFF, 2.0)] == [(2, FIRST_BACKOFF)]
    assert pairs.ignores(2, 3.0)
    pairs.answered(2, 4.0)
    assert not pairs.ignores(2, 4.0)


def test_an_end_of_a_pair_names_it_but_leaves_the_decision_to_others() -> None:
    pairs = BrokenPairs(1)
    assert pairs.out_of_reach([3], ROW, 1.0) == []
    pairs.installed((1, 2), 1.0)
    (found,) = pairs.out_of_reach([3], ROW, 2.0)
    assert (found.ends, found.victim) == (Ends(1, 3), 0)
    assert pairs.ignored(2.0) == set()
    pairs.installed((1,), 3.0)
    assert pairs.release(5.0, 20.0) == []  # It ignored nobody who could come back.


def test_more_pairs_than_the_limit_forget_the_oldest() -> None:
    pairs = BrokenPairs(2)
    for node in range(3, 3 + 2 * MAXIMUM_RECORDS):
        pairs.accused(1, [node], ROW, 1.0)
    assert len(pairs.pairs) == MAXIMUM_RECORDS
