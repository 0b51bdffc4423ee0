"""Votequorum on one to five nodes in memory: formation, loss and return, and every option of votequorum(5) at work."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corosyncd.engines.engine import MulticastClass
from corosyncd.engines.votequorum import wire
from corosyncd.engines.votequorum.ballot import WINDOW_TIMER
from corosyncd.engines.votequorum.decision import LARGEST_VOTE_SUM
from corosyncd.engines.votequorum.nodes import NodeFlag, NodeState
from corosyncd.keyspace.values import int32, text, uint8, uint32
from libvotequorum import messages
from libvotequorum.messages import InfoFlag
from tests.unit.quorum_cluster import QuorumCluster, configuration, set_keys


def cluster(count: int = 3, *, form: bool = True, **options: Any) -> QuorumCluster:
    """``count`` nodes with ids from 1 up."""
    nodes = range(1, count + 1)
    return QuorumCluster(nodes, configuration(nodes, **options), form=form)


# Formation, loss, return ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_nodes_that_form_a_ring_are_all_quorate(count: int) -> None:
    ring = cluster(count)
    assert ring.quorate() == [True] * count
    for node in ring.nodes:
        info = ring.info(node)
        assert (info.votes, info.expected_votes, info.total_votes, info.quorum) == (1, count, count, count // 2 + 1)
        assert ring.decisions[node][-1] == (True, tuple(range(1, count + 1)), ring.rings[0].ring_id)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_a_node_alone_is_not_quorate_and_the_majority_stays_so(count: int) -> None:
    ring = cluster(count)
    ring.form([1])
    ring.form(list(range(2, count + 1)))
    assert ring.quorate(1) == [False]
    assert ring.quorate(*range(2, count + 1)) == [count > 2] * (count - 1)
    assert ring.quorum(1) == count // 2 + 1


def test_a_node_that_starts_alone_waits_for_a_majority() -> None:
    ring = cluster(3, form=False)
    ring.form([1])
    assert ring.quorate(1) == [False]
    ring.form([1, 2])
    assert ring.quorate(1, 2) == [True, True]
    ring.form([1, 2, 3])
    assert ring.quorate() == [True, True, True]


def test_a_node_that_returns_is_counted_again() -> None:
    ring = cluster(3)
    ring.form([1, 2])
    assert ring.ballot(1).votes.nodes[3].state is NodeState.DEAD
    ring.start(3)
    ring.form([3])
    ring.form([1, 2, 3])
    assert ring.quorate() == [True, True, True]
    assert ring.info(1).total_votes == 3


def test_three_nodes_lose_quorum_one_by_one_and_the_quorum_does_not_follow() -> None:
    ring = cluster(5)
    for members, quorate in (([1, 2, 3, 4], True), ([1, 2, 3], True), ([1, 2], False)):
        ring.form(members)
        assert ring.quorate(1) == [quorate]
        assert ring.quorum(1) == 3


def test_votes_weigh() -> None:
    ring = QuorumCluster([1, 2, 3], configuration([1, 2, 3], {1: 3}))
    ring.form([1])
    ring.form([2, 3])
    assert ring.quorate() == [True, False, False]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=1, max_size=4), st.data())
def test_however_a_cluster_splits_and_merges_at_most_one_part_is_quorate(history: list[list[int]], data: st.DataObject) -> None:
    votes = {node: data.draw(st.integers(0, 3)) for node in (1, 2, 3, 4)}
    ring = QuorumCluster([1, 2, 3, 4], configuration([1, 2, 3, 4], votes))
    for sides in history:
        for side in set(sides):
            ring.form([node for node, where in enumerate(sides, start=1) if where == side])
        quorate = {where for where, yes in zip(sides, ring.quorate(), strict=True) if yes}
        assert len(quorate) <= 1
        alike = {(where, yes) for where, yes in zip(sides, ring.quorate(), strict=True)}
        assert len(alike) == len(set(sides)), "the nodes of one ring decide alike"


def test_the_first_message_and_a_round_go_out_on_the_queues_that_they_need() -> None:
    ring = cluster(1, form=False)
    node = ring[1]
    ((kind, message),) = node.host.take_multicasts()
    assert (kind, wire.decode(0, message)) == (MulticastClass.CURRENT, wire.NodeInfo(1, 1, 1, NodeFlag.FIRST))
    ring.install([1])
    assert node.engine.sync_step()
    sent = node.host.take_multicasts()
    assert [kind for kind, _ in sent] == [MulticastClass.SYNC] * 2
    assert [wire.decode(0, message) for _, message in sent] == [
        wire.NodeInfo(1, 1, 1, NodeFlag.FIRST),
        wire.NodeInfo(0, 0, 0, 0),
    ]


def test_a_node_is_first_until_it_meets_others() -> None:
    ring = cluster(2, form=False)
    ring.form([1])
    assert ring.ballot(1).votes.us.has(NodeFlag.FIRST)
    ring.form([1, 2])
    assert not ring.ballot(1).votes.us.has(NodeFlag.FIRST)


def test_an_older_message_of_our_own_does_not_roll_back_what_has_changed_since() -> None:
    ring = cluster(2)
    before = ring.ballot(1).votes
    ring[1].engine.deliver(1, 0, bytes(16) + wire.NodeInfo(1, 9, 9, NodeFlag.FIRST).body())
    assert ring.ballot(1).votes == before


def test_a_node_may_not_speak_for_another_nor_for_a_device_before_itself() -> None:
    ring = cluster(2)
    for source, info in ((2, wire.NodeInfo(1, 0, 0, 0)), (7, wire.NodeInfo(0, 3, 0, 0))):
        before = ring.ballot(1).votes
        with pytest.raises(ValueError):
            ring[1].engine.deliver(source, 0, bytes(16) + info.body())
        assert ring.ballot(1).votes == before


def test_nothing_is_published_before_the_round_has_activated() -> None:
    ring = cluster(3)
    for node in (1, 2):
        ring.decisions[node].clear()
    parts = [ring.install([1]), ring.install([2, 3])]
    for part in parts:
        ring.steps(part)
    assert ring.quorate() == [False, True, True]
    assert all(not ring[node].host.quorate and not ring.decisions[node] for node in (1, 2))
    for part in parts:
        ring.finish(part)
    assert [[decision[0] for decision in ring.decisions[node]] for node in (1, 2)] == [[False], [True]]


def test_an_aborted_round_is_followed_by_a_good_one() -> None:
    ring = cluster(3)
    half = ring.install([1, 2])
    ring.steps(half)
    ring.abort(half)
    ring.form([1, 2, 3])
    assert ring.quorate() == [True, True, True]


def test_an_inquorate_node_adopts_what_quorate_ones_expect() -> None:
    ring = cluster(5)
    ring.form([1])
    ring.form([2, 3, 4, 5])
    node = ring[2]
    node.request(node.connect(), messages.SetexpectedRequest(7).encode())
    ring.run()
    assert (ring.expected(1), ring.expected(2)) == (5, 7)
    ring.form([1, 2, 3, 4, 5])
    assert [ring.expected(node) for node in ring.nodes] == [7] * 5


def test_quorate_nodes_do_not_believe_what_an_inquorate_one_expects() -> None:
    ring = cluster(3)
    ring.form([1, 2])
    ring.keys[3] = configuration([1, 2, 3], expected_votes=9)
    ring.start(3)
    ring.form([3])
    ring.form([1, 2, 3])
    assert ring.quorate() == [True, True, True]
    assert ring.info(1, about=3).expected_votes == 3


# Options --------------------------------------------------------------------------------------------------------------------


def test_two_node_keeps_each_half_quorate() -> None:
    ring = cluster(2, two_node=1)
    assert ring.info().flags & InfoFlag.TWO_NODE
    ring.form([1])
    ring.form([2])
    assert ring.quorate() == [True, True]


def test_who_lost_quorum_in_a_round_that_was_aborted_waits_for_all_in_the_next_one() -> None:
    """Else the tie breaker would find itself alone for a second round, and take itself for half of an old ring of one."""
    ring = cluster(3, wait_for_all=1, auto_tie_breaker=1, auto_tie_breaker_node="1")
    alone = ring.install([1])
    ring.steps(alone)
    ring.abort(alone)
    ring.form([1])
    ring.form([2, 3])
    assert ring.quorate() == [False, True, True]
    assert ring.key("wait_for_all_status") == 1


def test_a_reload_does_not_fail_for_a_last_man_standing_that_was_disabled() -> None:
    ring = cluster(4, last_man_standing=1, auto_tie_breaker=1)
    ring[1].request(ring[1].connect(), messages.SetvotesRequest(2, 2).encode())
    ring.run()
    ring.form([1, 2, 3, 4])
    assert not ring.info().flags & InfoFlag.LAST_MAN_STANDING
    ring.change(4, {"nodelist.node.3.quorum_votes": uint32(2)})
    assert ring.info(1, about=4).votes == 2
    assert not ring.info(4).flags & InfoFlag.AUTO_TIE_BREAKER


def test_a_reload_that_cannot_tell_the_devices_votes_leaves_those_that_the_ring_counts() -> None:
    ring = cluster(3, device_model="net", device_votes=1)
    ring.change(3, {"quorum.device.votes": uint32(2)})
    assert ring.info(1).qdevice_votes == 2
    ring.change(1, {"quorum.device.votes": None, "quorum.expected_votes": uint32(5)})
    assert ring.info(1).qdevice_votes == 2


def test_two_node_waits_for_both_at_the_start() -> None:
    ring = cluster(2, form=False, two_node=1)
    ring.form([1])
    assert ring.quorate(1) == [False]
    assert ("notice", "Waiting for all cluster members. Current votes: 1 expected_votes: 2") in ring[1].host.lines
    ring.form([1, 2])
    assert ring.quorate() == [True, True]


def test_wait_for_all_is_satisfied_once_all_were_there() -> None:
    ring = cluster(3, form=False, wait_for_all=1)
    ring.form([1, 2])
    assert ring.quorate(1, 2) == [False, False]
    assert ring.key("wait_for_all_status") == 1
    ring.form([1, 2, 3])
    assert ring.quorate() == [True, True, True]
    assert ring.key("wait_for_all_status") == 0
    ring.form([1, 2])
    assert ring.quorate(1, 2) == [True, True]


def test_a_restarted_node_stops_waiting_when_it_meets_quorate_ones() -> None:
    ring = cluster(3, wait_for_all=1)
    ring.form([1, 2])
    ring.start(3)
    ring.form([3])
    assert ring.quorate(3) == [False]
    ring.form([2, 3])
    assert ring.quorate(2, 3) == [True, True]


def test_an_operator_may_cancel_waiting() -> None:
    ring = cluster(3, form=False, wait_for_all=1)
    ring.form([1, 2])
    ring.change(1, {"quorum.cancel_wait_for_all": uint8(1)})
    assert ring.quorate(1, 2) == [True, True]
    assert ring[1].host.map.get("quorum.cancel_wait_for_all") == uint8(0)
    assert ring.decisions[2][-1][0] is True


def test_the_last_men_standing_lower_what_they_expect_after_the_window() -> None:
    ring = cluster(4, last_man_standing=1, last_man_standing_window=500)
    for members, quorum in (([1, 2, 3], 2), ([1, 2], 2)):
        ring.form(members)
        assert ring.quorate(*members) == [True] * len(members)
        assert ring[1].host.timers[WINDOW_TIMER] == pytest.approx(ring[1].host.clock + 0.5)
        for node in members:
            ring.expire(node, WINDOW_TIMER)
        assert (ring.expected(), ring.quorum()) == (len(members), quorum)
    ring.form([1])
    assert ring.quorate(1) == [False], "the last one alone needs auto_tie_breaker too"


def test_the_window_means_nothing_to_those_who_lost_quorum_meanwhile() -> None:
    ring = cluster(4, last_man_standing=1)
    ring.form([1, 2, 3])
    ring.form([1])
    ring.expire(1, WINDOW_TIMER)
    assert (ring.expected(), ring.quorate(1)) == (4, [False])


def test_last_man_standing_with_a_tie_breaker_reaches_the_last_node() -> None:
    ring = cluster(4, last_man_standing=1, auto_tie_breaker=1, wait_for_all=1)
    for members in ([1, 2, 3], [1, 2], [1]):
        ring.form(members)
        for node in members:
            ring.expire(node, WINDOW_TIMER)
        assert ring.quorate(1) == [True]


def test_a_returning_node_raises_what_the_last_men_expect() -> None:
    ring = cluster(3, last_man_standing=1, wait_for_all=1)
    ring.form([1, 2])
    for node in (1, 2):
        ring.expire(node, WINDOW_TIMER)
    assert ring.expected() == 2
    ring.start(3)
    ring.form([3])
    ring.form([1, 2, 3])
    assert ring.expected() == 3
    assert ring.quorate() == [True, True, True]


def test_last_man_standing_ends_where_a_node_has_more_than_one_vote() -> None:
    ring = QuorumCluster([1, 2, 3], configuration([1, 2, 3], {3: 2}, last_man_standing=1))
    ring.form([1, 3])
    assert WINDOW_TIMER not in ring[1].host.timers
    assert not ring.info().flags & InfoFlag.LAST_MAN_STANDING


@pytest.mark.parametrize(("node", "winner"), [("lowest", [1, 2]), ("highest", [3, 4]), ("3 1", [3, 4]), ("2 3", [1, 2])])
def test_the_half_with_the_tie_breaker_stays_quorate(node: str, winner: list[int]) -> None:
    ring = cluster(4, auto_tie_breaker=1, auto_tie_breaker_node=node)
    ring.form([1, 2])
    ring.form([3, 4])
    assert ring.quorate() == [number in winner for number in (1, 2, 3, 4)]
    assert ring.key("atb_type") == {"lowest": 1, "highest": 2}.get(node, 3)
    assert ring.info().flags & InfoFlag.AUTO_TIE_BREAKER


def test_a_tie_breaker_that_an_odd_cluster_switches_off_is_shown_as_none() -> None:
    ring = cluster(3, auto_tie_breaker=1)
    assert ring.key("atb_type") == 0


def test_a_restarted_half_does_not_win_the_tie() -> None:
    ring = cluster(4, auto_tie_breaker=1)
    ring.form([1, 2])
    for node in (1, 2):
        ring.start(node)
    ring.form([1, 2])
    assert ring.quorate(1, 2) == [False, False]


def test_with_allow_downscale_a_leaving_node_is_no_longer_expected() -> None:
    ring = cluster(4, allow_downscale=1)
    ring.change(1, {"quorum.expected_votes": uint32(2)})
    ring[4].engine.stop()
    ring.run()
    assert ring.ballot(1).votes.nodes[4].state is NodeState.LEAVING
    assert ring.expected(1) == 3
    ring.form([1, 2, 3])
    assert (ring.quorate(1), ring.quorum(1)) == ([True], 3)


def test_a_node_without_allow_downscale_leaves_without_a_word() -> None:
    ring = cluster(2)
    ring[2].engine.stop()
    assert not ring[2].host.multicasts


def test_tracking_shows_the_highest_expected_votes() -> None:
    ring = cluster(3, expected_votes_tracking=1)
    assert ring.key("ev_tracking_barrier") == 3
    node = ring[1]
    node.request(node.connect(), messages.SetexpectedRequest(5).encode())
    ring.run()
    assert [ring.key("ev_tracking_barrier", node) for node in (1, 2, 3)] == [5, 5, 5]
    node.request(node.connect(), messages.SetexpectedRequest(3).encode())
    ring.run()
    assert ring.expected() == 5, "the barrier holds it up"


def test_a_barrier_that_the_host_has_stored_is_taken_at_the_start() -> None:
    keys = {**configuration([1, 2, 3], expected_votes_tracking=1), "runtime.votequorum.ev_tracking_barrier": uint32(5)}
    ring = QuorumCluster([1, 2, 3], keys)
    assert (ring.expected(), ring.quorum()) == (5, 3)


def test_what_a_peer_claims_beyond_any_allowed_sum_is_not_tracked() -> None:
    ring = cluster(2, expected_votes_tracking=1)
    ring[1].engine.deliver(2, 0, bytes(16) + wire.NodeInfo(2, 1, 70000, NodeFlag.QUORATE).body())
    ring[1].engine.deliver(1, 1, bytes(16) + wire.Reconfigure(2, 70000, wire.Parameter.EXPECTED_VOTES).body())
    ring.run()
    assert ring.expected(1) == 70000
    assert ring.key("ev_tracking_barrier") == LARGEST_VOTE_SUM, "a stored one would refuse the next start"


def test_votes_of_members_that_exceed_what_is_expected_raise_it() -> None:
    ring = cluster(3, expected_votes=2)
    assert (ring.expected(), ring.quorum()) == (3, 2)


# Changes at run time --------------------------------------------------------------------------------------------------------


def sent_by(ring: QuorumCluster, node: int) -> list[wire.Message]:
    """What a node has multicast since the last look."""
    sent = []
    for source, message in ring.delivered:
        if source == node:
            function = int.from_bytes(message[:2], "little")
            sent.append(wire.decode(function, message))
    ring.delivered.clear()
    return sent


def test_changed_votes_are_announced_in_stock_s_order() -> None:
    ring = cluster(3)
    ring.delivered.clear()
    ring.change(1, {"nodelist.node.0.quorum_votes": uint32(2)})
    assert sent_by(ring, 1) == [
        wire.NodeInfo(1, 2, 4, NodeFlag.QUORATE),
        wire.NodeInfo(0, 0, 0, 0),
        wire.Reconfigure(1, 2, wire.Parameter.NODE_VOTES),
        wire.Reconfigure(1, 4, wire.Parameter.EXPECTED_VOTES),
    ]
    assert [(ring.expected(node), ring.quorum(node)) for node in (1, 2, 3)] == [(4, 3)] * 3


def test_keys_are_not_read_while_a_reload_is_in_progress() -> None:
    ring = cluster(3)
    ring.delivered.clear()
    set_keys(ring[1], {"config.totemconfig_reload_in_progress": uint8(1)})
    ring.change(1, {"quorum.expected_votes": uint32(4)})
    assert sent_by(ring, 1) == []
    ring.change(1, {"config.reload_status": int32(1), "config.totemconfig_reload_in_progress": uint8(0)})
    assert wire.Reconfigure(1, 4, wire.Parameter.EXPECTED_VOTES) in sent_by(ring, 1)
    assert ring.key("ev_barrier", 2) == 4


def test_a_failed_reload_changes_nothing() -> None:
    ring = cluster(3)
    set_keys(ring[1], {"config.totemconfig_reload_in_progress": uint8(1), "quorum.expected_votes": uint32(4)})
    ring.delivered.clear()
    ring.change(1, {"config.reload_status": int32(7), "config.totemconfig_reload_in_progress": uint8(0)})
    assert sent_by(ring, 1) == []
    assert ring.expected() == 3


def test_a_configuration_that_makes_no_sense_is_logged_and_left_alone() -> None:
    ring = cluster(3)
    before = ring.ballot(1).settings
    ring.change(1, {"quorum.expected_votes": uint32(600)})
    assert ring.ballot(1).settings == before
    assert ring[1].host.lines[-1][0] == "crit"


def test_lowering_expected_votes_can_restore_quorum() -> None:
    ring = cluster(4)
    ring.form([1, 2])
    ring.decisions[1].clear()
    ring.change(1, {"quorum.expected_votes": uint32(2)})
    assert ring.quorate(1, 2) == [True, True]
    assert [decision[0] for decision in ring.decisions[1]] == [True]


def test_removing_two_node_raises_the_quorum() -> None:
    ring = cluster(2, two_node=1)
    for node in (1, 2):
        ring.change(node, {"quorum.two_node": None})
    assert ring.quorum() == 2
    assert ring.key("two_node") == 0
    assert ring.key("atb_type") == 0, "appears with the first re-reading"


def test_who_waits_for_all_because_of_two_node_alone_waits_no_more_without_it() -> None:
    ring = cluster(2, form=False, two_node=1)
    ring.form([1])
    assert (ring.quorate(1), ring.key("wait_for_all_status")) == ([False], 1)
    ring.change(1, {"quorum.two_node": None, "quorum.expected_votes": uint32(1)})
    assert (ring.quorate(1), ring.key("wait_for_all_status")) == ([True], 0)
    assert not ring.ballot(1).votes.us.has(NodeFlag.WAITING)
    ring.change(1, {"quorum.two_node": uint8(1), "quorum.expected_votes": uint32(5)})
    ring.form([1])
    assert not ring.ballot(1).votes.waiting


def test_keys_appear_when_they_first_have_a_meaning() -> None:
    ring = cluster(3, form=False)
    ring[1].host.apply_key_requests(ring[1].engine)
    assert ring.key("this_node_id") == 1
    assert (ring.key("two_node"), ring.key("ev_barrier")) == (0, 3)
    absent = (
        "lowest_node_id",
        "highest_node_id",
        "atb_type",
        "wait_for_all_status",
        "ev_tracking_barrier",
        "qdevice_can_operate",
    )
    assert [ring.key(name) for name in absent] == [None] * len(absent)
    ring.form([1, 2, 3])
    assert (ring.key("lowest_node_id"), ring.key("highest_node_id")) == (1, 3)


def test_unrelated_keys_change_nothing() -> None:
    ring = cluster(2)
    ring.delivered.clear()
    ring.change(1, {"quorum.cancel_wait_for_all": uint8(0), "totem.token": text("x")})
    assert sent_by(ring, 1) == []
