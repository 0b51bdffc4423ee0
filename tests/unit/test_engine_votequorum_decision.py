"""The arithmetic of votes, against tables worked out by hand from votequorum(5), and its safety over random clusters."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corosyncd.engines.votequorum import decision
from corosyncd.engines.votequorum.decision import LARGEST_QUORUM, LARGEST_VOTE_SUM, Rules, TieBreaker, Votes
from corosyncd.engines.votequorum.nodes import Node, NodeFlag, NodeState, listed
from corosyncd.totem.events import RingId

RING = RingId(1, 4)
MEMBER, DEAD, LEAVING = NodeState.MEMBER, NodeState.DEAD, NodeState.LEAVING


def cluster(votes: dict[int, int], own_id: int = 0, expected: int = 0, rules: Rules | None = None, **fields: object) -> Votes:
    """All these nodes are members of one ring and expect the same."""
    expected = expected or sum(votes.values())
    nodes = {node: Node(node, count, expected, 0, MEMBER) for node, count in votes.items()}
    members = tuple(sorted(votes))
    state = Votes(own_id=own_id or members[0], nodes=nodes, rules=rules or Rules(), members=members, previous_members=members)
    return replace(state, expected_barrier=expected, **fields)  # type: ignore[arg-type]


def settled(votes: Votes, **how: bool) -> Votes:
    """After a recalculation."""
    return decision.recalculate(votes, **how).votes


def split(votes: Votes, members: tuple[int, ...], own_id: int) -> Votes:
    """What a node of one part of a cluster that was together decides."""
    apart, _ = decision.members_changed(replace(votes, own_id=own_id), members, RING)
    return settled(apart)


@pytest.mark.parametrize(
    ("nodes", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4), (8, 5), (16, 9), (31, 16), (32, 17), (100, 51)]
)
def test_the_quorum_is_more_than_half_of_what_is_expected(nodes: int, quorum: int) -> None:
    state = settled(cluster(dict.fromkeys(range(1, nodes + 1), 1)))
    assert (state.quorum, state.quorate) == (quorum, True)
    assert state.us.has(NodeFlag.QUORATE)


@pytest.mark.parametrize("present", range(1, 8))
def test_of_seven_expected_votes_four_are_needed(present: int) -> None:
    state = settled(cluster(dict.fromkeys(range(1, present + 1), 1), expected=7))
    assert (state.quorum, state.quorate) == (4, present >= 4)


def test_votes_weigh_not_nodes() -> None:
    assert settled(cluster({1: 3}, expected=5)).quorate
    assert not settled(cluster({1: 1, 2: 1}, expected=5)).quorate


def test_dead_and_leaving_nodes_do_not_vote() -> None:
    state = cluster({1: 1, 2: 1, 3: 1})
    state = state.with_nodes(replace(state.nodes[2], state=DEAD), replace(state.nodes[3], state=LEAVING))
    assert decision.calculate(state, allow_decrease=True) == (2, 1)


def test_more_votes_than_expected_raise_what_is_expected() -> None:
    outcome = decision.recalculate(cluster({1: 1, 2: 4}, expected=3))
    assert (outcome.raised_to, outcome.votes.us.expected_votes, outcome.votes.quorum) == (5, 5, 3)
    assert decision.recalculate(outcome.votes).raised_to == 0


def test_the_quorum_falls_only_where_that_is_allowed() -> None:
    state = replace(settled(cluster(dict.fromkeys(range(1, 6), 1))), quorum=3).with_expected(1)
    state = state.with_nodes(*(replace(state.nodes[node], state=DEAD) for node in (2, 3, 4, 5)))
    assert settled(state).quorum == 3
    assert settled(state, allow_decrease=True).quorum == 1


@pytest.mark.parametrize(("nodes", "quorum"), [(1, 1), (2, 1), (3, 2)])
def test_two_node_needs_one_vote_while_at_most_two_nodes_are_there(nodes: int, quorum: int) -> None:
    votes = dict.fromkeys(range(1, nodes + 1), 1)
    assert settled(cluster(votes, expected=max(2, nodes), rules=Rules(two_node=True))).quorum == quorum


def test_a_casting_device_counts_as_a_node_and_as_its_votes() -> None:
    state = cluster({1: 1, 2: 1}, expected=3, device_votes=1, rules=Rules(two_node=True))
    casting = state.with_nodes(replace(state.us, flags=NodeFlag.DEVICE_CASTS_VOTE))
    assert decision.calculate(state, allow_decrease=False) == (1, 2)
    assert decision.calculate(casting, allow_decrease=False) == (2, 3)


def test_a_device_that_does_not_cast_still_raises_what_is_expected() -> None:
    assert decision.recalculate(cluster({1: 1, 2: 1}, expected=2, device_votes=1)).raised_to == 3


def test_waiting_ends_only_at_exactly_the_expected_votes() -> None:
    rules = Rules(wait_for_all=True)
    alone = cluster({1: 1, 2: 1}, expected=3, rules=rules).with_waiting(True)
    waiting = settled(alone)
    assert (waiting.quorate, waiting.waiting, waiting.us.has(NodeFlag.WAITING)) == (False, True, True)
    together = settled(cluster({1: 1, 2: 1, 3: 1}, rules=rules).with_waiting(True))
    assert (together.quorate, together.waiting, together.us.has(NodeFlag.WAITING)) == (True, False, False)


def test_losing_quorum_makes_a_waiting_cluster_wait_again() -> None:
    state = settled(cluster({1: 1, 2: 1, 3: 1}, rules=Rules(wait_for_all=True)))
    apart = split(state, (1,), 1)
    assert (apart.quorate, apart.waiting) == (False, True)


def test_by_nodes_the_present_nodes_become_what_is_expected() -> None:
    state = settled(cluster({1: 1, 2: 1, 3: 1, 4: 1}))
    survivors, _ = decision.members_changed(state, (1, 2, 3), RING)
    after = settled(survivors, allow_decrease=True, by_nodes=True)
    assert (after.quorum, [after.nodes[node].expected_votes for node in (1, 2, 3, 4)]) == (2, [3, 3, 3, 4])


def test_a_downscale_stops_at_the_barrier() -> None:
    state = settled(cluster(dict.fromkeys(range(1, 5), 1), expected=4, rules=Rules(allow_downscale=True)))
    survivors, _ = decision.members_changed(replace(state, expected_barrier=4), (1, 2), RING)
    assert settled(survivors, allow_decrease=True, by_nodes=True).quorum == 3


def test_tracking_remembers_the_highest_expected_votes() -> None:
    state = settled(cluster({1: 1, 2: 1}, rules=Rules(expected_votes_tracking=True), tracking_barrier=1))
    assert state.tracking_barrier == 2
    assert settled(state.with_expected(1), allow_decrease=True).tracking_barrier == 2


@pytest.mark.parametrize(
    ("tie_breaker", "listed_nodes", "winner"),
    [
        (TieBreaker.NONE, (), None),
        (TieBreaker.LOWEST, (), (1, 4)),
        (TieBreaker.HIGHEST, (), (1, 4)),
        (TieBreaker.LIST, (2,), (2, 3)),
        (TieBreaker.LIST, (9, 3), (2, 3)),
        (TieBreaker.LIST, (4, 2), (1, 4)),
        (TieBreaker.LIST, (9,), None),
    ],
)
def test_an_even_split_is_won_by_the_tie_breaker(
    tie_breaker: TieBreaker, listed_nodes: tuple[int, ...], winner: tuple[int, ...] | None
) -> None:
    rules = Rules(tie_breaker=tie_breaker, tie_breaker_nodes=listed_nodes)
    state = settled(cluster(dict.fromkeys((1, 2, 3, 4), 1), rules=rules))
    won = [half for half in ((1, 4), (2, 3)) if split(state, half, half[0]).quorate]
    assert won == ([winner] if winner else [])


def test_a_half_that_was_never_quorate_knows_no_lowest_node() -> None:
    state = cluster({1: 1, 2: 1}, expected=4, rules=Rules(tie_breaker=TieBreaker.LOWEST))
    assert not settled(state).quorate


def test_master_wins_needs_the_flag_the_vote_and_our_own_consent() -> None:
    both = NodeFlag.DEVICE_MASTER_WINS | NodeFlag.DEVICE_CASTS_VOTE
    for flags, consent, quorate in ((both, True, True), (both, False, False), (NodeFlag.DEVICE_MASTER_WINS, True, False)):
        state = cluster({1: 1, 2: 1}, expected=7, rules=Rules(device_master_wins=consent))
        state = state.with_nodes(replace(state.nodes[2], flags=flags))
        assert settled(state).quorate is quorate


def test_lists_are_ascending_with_the_local_node_last() -> None:
    nodes = cluster({1: 1, 2: 1, 3: 1, 10: 1}).nodes
    assert [node.node_id for node in listed(nodes, 2)] == [1, 3, 10, 2]


def test_the_largest_sum_of_votes_has_a_quorum_of_eight_bits() -> None:
    assert decision.calculate(cluster({1: LARGEST_VOTE_SUM}), allow_decrease=True).quorum == LARGEST_QUORUM
    assert decision.calculate(cluster({1: LARGEST_VOTE_SUM + 1}), allow_decrease=True).quorum == LARGEST_QUORUM + 1


def test_absurd_votes_of_a_peer_stay_within_what_messages_hold() -> None:
    state = settled(cluster({1: 0xFFFFFFFF, 2: 0xFFFFFFFF}, expected=1, device_votes=0xFFFFFFFF))
    assert state.us.expected_votes == 0xFFFFFFFF


VOTES = st.lists(st.integers(0, 6), min_size=2, max_size=9).map(lambda votes: dict(enumerate(votes, start=1)))


@given(VOTES, st.data())
def test_two_parts_of_a_cluster_are_never_both_quorate(votes: dict[int, int], data: st.DataObject) -> None:
    side = set(data.draw(st.sets(st.sampled_from(sorted(votes)), min_size=1, max_size=len(votes) - 1)))
    tie_breaker = data.draw(st.sampled_from([TieBreaker.NONE, *([] if sum(votes.values()) % 2 else list(TieBreaker))]))
    rules = Rules(
        tie_breaker=tie_breaker,
        tie_breaker_nodes=tuple(data.draw(st.permutations(sorted(votes)))),
        wait_for_all=data.draw(st.booleans()),
    )
    together = settled(cluster(votes, rules=rules))
    parts = [tuple(sorted(side)), tuple(sorted(set(votes) - side))]
    assert sum(split(together, part, part[0]).quorate for part in parts) <= 1


@given(st.integers(2, 12), st.sampled_from(list(TieBreaker)), st.data())
def test_with_one_vote_each_no_tie_breaker_makes_two_parts_quorate(
    count: int, tie_breaker: TieBreaker, data: st.DataObject
) -> None:
    nodes = list(range(1, count + 1))
    side = set(data.draw(st.sets(st.sampled_from(nodes), min_size=1, max_size=count - 1)))
    rules = Rules(tie_breaker=tie_breaker, tie_breaker_nodes=tuple(data.draw(st.permutations(nodes))))
    together = settled(cluster(dict.fromkeys(nodes, 1), rules=rules))
    parts = [tuple(sorted(side)), tuple(sorted(set(nodes) - side))]
    assert sum(split(together, part, part[-1]).quorate for part in parts) <= 1


@given(VOTES, st.data())
def test_all_nodes_of_a_part_decide_alike(votes: dict[int, int], data: st.DataObject) -> None:
    part = tuple(sorted(data.draw(st.sets(st.sampled_from(sorted(votes)), min_size=1))))
    together = settled(cluster(votes, rules=Rules(tie_breaker=TieBreaker.LOWEST)))
    assert len({split(together, part, node).quorate for node in part}) == 1


@given(VOTES)
def test_a_decision_is_stable(votes: dict[int, int]) -> None:
    once = settled(cluster(votes))
    assert settled(once) == once
