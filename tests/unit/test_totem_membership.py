"""Claims on the membership protocol, shown by whole rings in memory (reference totem.md §3.4, §3.5, §3.10)."""

from __future__ import annotations

import pytest

from corosyncd.totem.events import Configuration, ConfigurationKind, Group, Notice, RingId
from corosyncd.totem.membership import Membership, Verdict
from corosyncd.totem.ring import Ring, State
from corosyncd.totem.timeouts import derive
from corosyncd.totem.wire import (
    CommitEntry,
    CommitToken,
    MembJoin,
    MergeDetect,
    OrfToken,
    Reason,
    decode,
    encode,
    encode_memb_join,
)
from tests.unit.totem_cluster import Cluster, Node, formed


def frames(node: Node, kind: type) -> list[tuple[float, int | None, object]]:
    """What a node has sent of one type."""
    return [(when, receiver, decoded) for when, receiver, frame in node.sent if isinstance(decoded := decode(frame), kind)]


def last_regular(node: Node) -> Configuration:
    return [item for item in node.configurations if item.kind is ConfigurationKind.REGULAR][-1]


def cut(cluster: Cluster, *sides: set[int]) -> None:
    cluster.passes = lambda sender, receiver, frame: any({sender, receiver} <= side for side in sides)


# Formation


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_nodes_that_start_together_form_one_ring(count: int) -> None:
    cluster = formed(count)
    members = tuple(range(1, count + 1))
    assert {node.ring.ring_id for node in cluster.nodes.values()} == {RingId(1, 5)}
    for node in cluster.nodes.values():
        assert last_regular(node) == Configuration(ConfigurationKind.REGULAR, RingId(1, 5), members, members, ())


def test_a_node_alone_forms_its_ring_by_its_own_join_that_comes_back() -> None:
    ring = Ring(1, derive({}, 3), 0, 5.0)
    ring.start(5.0)
    assert ring.state is State.GATHER
    assert ring.next_timer() == 5.0
    states = []
    while ring.next_timer() == 5.0 and not ring.members:
        ring.handle_timer(5.0)
        states.append(ring.state)
    assert ring.members == (1,)
    assert [state for index, state in enumerate(states) if state not in states[:index]] == [
        State.COMMIT,
        State.RECOVERY,
        State.OPERATIONAL,
    ]


def test_the_commit_token_makes_two_rotations_and_the_representative_starts_the_ring() -> None:
    cluster = formed(3)
    sent = [(receiver, token) for node in cluster.nodes.values() for _, receiver, token in frames(node, CommitToken)]
    commits = sorted(
        (token.token_seq, token.nodeid, receiver, token.memb_index) for receiver, token in sent if isinstance(token, CommitToken)
    )
    assert commits == [(1, 1, 2, 1), (2, 2, 3, 2), (3, 3, 1, 3), (4, 1, 2, 3), (5, 2, 3, 3), (6, 3, 1, 3)]
    first = frames(cluster[1], OrfToken)[0][2]
    assert isinstance(first, OrfToken)
    assert (first.seq, first.token_seq, first.aru, first.aru_addr, first.retrans_flg) == (0, 0, 0xFFFFFFFF, 1, 0)


def test_a_commit_token_that_is_lost_on_its_second_rotation_costs_one_retransmit_time() -> None:
    cluster = Cluster(3)
    lost: list[float] = []

    def passes(sender: int, receiver: int, frame: bytes) -> bool:
        token = decode(frame)
        if lost or not isinstance(token, CommitToken) or token.memb_index < 3 or (sender, receiver) != (1, 2):
            return True
        lost.append(cluster.now)
        return False

    cluster.passes = passes
    cluster.start()
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))
    assert cluster.now - lost[0] < cluster.parameters.token_retransmit + 0.1


def test_every_node_becomes_operational_on_its_fourth_visit_and_multicasts_on_no_earlier_one() -> None:
    """Going earlier puts frames of the new ring into the old queues of slower stock nodes."""
    cluster = Cluster(3)
    cluster.start()
    visits: dict[int, int] = {}
    for _ in range(1000):
        cluster.step()
        for node_id, node in cluster.nodes.items():
            if node.ring.state is State.OPERATIONAL and node.ring.members and node_id not in visits:
                visits[node_id] = node.ring.statistics.orf_token_rx
    assert visits == {1: 4, 2: 4, 3: 4}
    for node in cluster.nodes.values():
        kinds = [type(decode(frame)).__name__ for _, _, frame in node.sent]
        assert "Mcast" not in kinds[: kinds.index("OrfToken") + 4]


def test_the_first_ring_closes_no_other() -> None:
    transitional, regular = formed(2)[1].configurations
    assert (transitional.kind, transitional.members, transitional.left) == (ConfigurationKind.TRANSITIONAL, (), ())
    assert transitional.ring_id == regular.ring_id


def test_the_sequence_number_is_stored_before_any_frame_of_the_new_ring() -> None:
    ring = Ring(1, derive({}, 3), 40, 0.0)
    ring.start(0.0)
    ring.receive(encode_memb_join(MembJoin(0, 2, 0, 2, 50, (1, 2), ())), 0, 0.0)
    ring.receive(encode_memb_join(MembJoin(0, 2, 0, 2, 50, (1, 2), ())), 0, 0.0)
    kinds = [type(output).__name__ for output in ring.outputs()]
    assert ring.ring_id == RingId(1, 54)
    assert kinds.index("StoreRingSequence") < kinds.index("Unicast")


def test_a_join_carries_one_more_than_the_stored_sequence_number() -> None:
    ring = Ring(1, derive({}, 3), 9, 0.0)
    assert ring.ring_id == RingId(1, 10)


# Loss of nodes


def test_a_dead_node_costs_the_token_timeout_and_the_consensus_timeout() -> None:
    cluster = formed(3)
    cluster.run(3)
    cluster.kill(3)
    died = cluster.now
    cluster.run_until(lambda: cluster.formed((1, 2)))
    parameters = cluster.parameters
    assert parameters.token + parameters.consensus - parameters.hold <= cluster.now - died
    assert cluster.now - died <= parameters.token + parameters.consensus + parameters.hold + 0.1
    texts = [notice.text for notice in cluster[1].notices]
    assert "A processor failed, forming new configuration: token timed out (3650ms), waiting 4380ms for consensus." in texts
    assert "A new membership (1.9) was formed. Members left: 3" in texts
    assert "Failed to receive the leave message. failed: 3" in texts
    assert "Token has not been received in 2737 ms " in texts
    transitional, regular = cluster[2].configurations[-2:]
    assert (transitional.members, transitional.left) == ((1, 2), (3,))
    assert (regular.members, regular.joined, regular.left) == ((1, 2), (), ())
    assert cluster[1].ring.statistics.operational_token_lost + cluster[2].ring.statistics.operational_token_lost >= 1


def test_a_leave_re_forms_the_ring_at_once_and_the_leaver_is_silent() -> None:
    cluster = formed(3)
    cluster.run(3)
    left = cluster.now
    cluster[2].ring.leave(cluster.now)
    cluster[2].act()
    leave = frames(cluster[2], MembJoin)[-1][2]
    assert isinstance(leave, MembJoin)
    assert (leave.nodeid, leave.system_from, set(leave.proc), leave.failed) == (0, 2, {1, 3}, (2,))
    count = len(cluster[2].sent)
    cluster.run_until(lambda: cluster.formed((1, 3)))
    assert cluster.now - left < 0.01
    assert cluster[2].ring.next_timer() is None
    cluster[2].send(b"into the void")
    cluster.run(1)
    assert len(cluster[2].sent) == count
    assert not any("Failed to receive the leave" in notice.text for notice in cluster[1].notices)


def test_the_last_node_leaves_without_ado() -> None:
    cluster = formed(1)
    cluster[1].ring.leave(cluster.now)
    cluster[1].act()
    leave = frames(cluster[1], MembJoin)[-1][2]
    assert isinstance(leave, MembJoin)
    assert (leave.proc, leave.failed) == ((), (1,))


def test_a_node_that_loses_the_token_while_forming_gathers_again() -> None:
    cluster = Cluster(3)
    cluster.passes = lambda sender, receiver, frame: not (receiver == 3 and isinstance(decode(frame), CommitToken))
    cluster.start()
    cluster.run(4)
    assert any(node.ring.statistics.commit_token_lost for node in (cluster[1], cluster[2]))
    cluster.passes = lambda sender, receiver, frame: True
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))
    assert cluster[1].ring.ring_id.sequence > 5


# Return and merge


def test_a_restarted_node_with_its_stored_sequence_number_rejoins_at_once() -> None:
    cluster = formed(3)
    cluster.run(2)
    cluster.kill(3)
    cluster.run_until(lambda: cluster.formed((1, 2)))
    cluster.restart(3)
    back = cluster.now
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))
    assert cluster.now - back < 0.1
    assert last_regular(cluster[1]).joined == (3,)


def test_a_node_restarted_faster_than_it_was_missed_is_in_left_and_in_joined() -> None:
    cluster = formed(3)
    cluster.run(2)
    cluster.restart(3)
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))
    transitional, regular = cluster[1].configurations[-2:]
    assert (transitional.members, transitional.left) == ((1, 2), (3,))
    assert regular.joined == (3,)


def test_a_member_restarted_without_its_stored_sequence_number_is_not_heard_until_the_token_is_lost() -> None:
    cluster = formed(3)
    cluster.kill(3)
    cluster.run_until(lambda: cluster.formed((1, 2)))
    cluster.restart(3)
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))
    cluster.run(2)
    cluster.restart(3, remembers=False)
    cluster.run(1)
    assert cluster[1].ring.members == (1, 2, 3)
    assert cluster[1].ring.statistics.dropped[Reason.JOIN_IGNORED] >= 1
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))
    assert cluster[1].ring.statistics.operational_token_lost + cluster[2].ring.statistics.operational_token_lost >= 1


def test_ring_sequence_numbers_grow_by_four_from_the_highest_heard() -> None:
    cluster = Cluster(3)
    cluster.start([1, 2])
    cluster.run_until(lambda: cluster.formed((1, 2)))
    assert cluster[1].ring.ring_id == RingId(1, 5)
    cluster.start([3])
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))
    assert cluster[3].ring.ring_id == RingId(1, 9)
    assert {node.stored for node in cluster.nodes.values()} == {9}


@pytest.mark.parametrize("number", [1 << 62, (1 << 62) - 2, 1 << 63])
def test_a_forged_ring_number_does_not_keep_rings_from_forming(number: int) -> None:
    cluster = formed(3)
    forged = MembJoin(0, 2, 0, 2, number, (1, 2, 3), ())
    cluster[1].ring.receive(encode(forged), 0, cluster.now)
    cluster[1].act()
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))
    for victim, remembers in ((3, True), (1, True), (2, False), (1, False)):
        cluster.kill(victim)
        cluster.run_until(lambda gone=victim: cluster.formed(tuple({1, 2, 3} - {gone})))  # type: ignore[misc]
        cluster.restart(victim, remembers=remembers)
        cluster.run_until(lambda: cluster.formed((1, 2, 3)))


def test_a_node_with_the_highest_number_that_can_be_stored_meets_others() -> None:
    cluster = Cluster(3)
    cluster[2].stored = (1 << 62) + (1 << 32)
    cluster.start((1, 3))
    cluster.run_until(lambda: cluster.formed((1, 3)))
    cluster.restart(2)
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))


def test_a_commit_token_with_a_number_out_of_reach_is_refused() -> None:
    mine = Membership(1, 1)
    mine.restart()
    token = mine.create_commit_token()
    assert mine.accepts(token, RingId(1, 1))
    assert mine.accepts(token._replace(ring_sequence=1 << 62), RingId(1, 1))
    assert not mine.accepts(token._replace(ring_sequence=1 << 63), RingId(1, 1))


def test_idle_rings_find_each_other_by_merge_detects() -> None:
    cluster = formed(4)
    cut(cluster, {1, 2}, {3, 4})
    cluster.run_until(lambda: cluster.formed((1, 2)) and cluster.formed((3, 4)))
    cluster.run(3)
    cluster.passes = lambda sender, receiver, frame: True
    healed = cluster.now
    cluster.run_until(lambda: cluster.formed((1, 2, 3, 4)))
    assert cluster.now - healed <= cluster.parameters.hold + cluster.parameters.merge + 0.1
    assert cluster[1].ring.statistics.memb_merge_detect_rx
    assert [item.members for item in cluster[3].configurations[-2:]] == [(3, 4), (1, 2, 3, 4)]


def test_busy_rings_find_each_other_by_their_frames() -> None:
    cluster = formed(2)
    cut(cluster, {1}, {2})
    cluster.run_until(lambda: cluster.formed((1,)) and cluster.formed((2,)))
    cluster.run(1)
    cluster.passes = lambda sender, receiver, frame: not isinstance(decode(frame), MergeDetect)
    cluster[2].send(b"hello")
    cluster.run_until(lambda: cluster.formed((1, 2)), seconds=0.1)


def test_a_late_frame_of_an_older_ring_does_not_disturb_its_former_members() -> None:
    cluster = formed(2)
    cluster[1].send(b"first ring")
    cluster.run(1)
    late = [frame for _, receiver, frame in cluster[1].sent if receiver is None][-1]
    cluster[1].ring.force_gather(cluster.now)
    cluster[1].act()
    cluster.run_until(lambda: cluster[1].ring.ring_id.sequence > 5 and cluster.formed((1, 2)))
    entered = cluster[2].ring.statistics.gather_entered
    cluster[2].ring.receive(late, 0, cluster.now)
    assert cluster[2].ring.state is State.OPERATIONAL
    assert cluster[2].ring.statistics.gather_entered == entered


def test_force_gather_forms_the_ring_anew_with_the_same_members() -> None:
    cluster = formed(3)
    cluster.run(2)
    cluster[2].ring.force_gather(cluster.now)
    cluster[2].act()
    begun = cluster.now
    cluster.run_until(lambda: cluster[1].ring.ring_id.sequence > 5 and cluster.formed((1, 2, 3)))
    assert cluster.now - begun < 0.01
    for node in cluster.nodes.values():
        transitional, regular = node.configurations[-2:]
        assert (transitional.members, transitional.left) == ((1, 2, 3), ())
        assert (regular.members, regular.joined) == ((1, 2, 3), ())


def test_a_cut_that_is_not_transitive_ends_in_one_ring_once_it_heals() -> None:
    cluster = formed(3)
    cluster.passes = lambda sender, receiver, frame: {sender, receiver} != {1, 3}
    cluster.run(30)
    cluster.passes = lambda sender, receiver, frame: True
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))


def test_a_node_that_sends_but_does_not_receive_ends_in_a_ring_of_its_own() -> None:
    cluster = formed(3, {"fail_recv_const": 50, "token": 1000})
    cluster.passes = lambda sender, receiver, frame: not (receiver == 3 and frame[3] == 1)
    for number in range(200):
        cluster[1].send(b"%d" % number)
        cluster.run(0.002)
    assert any(notice.text.startswith("FAILED TO RECEIVE: node 3 ") for notice in cluster[3].notices)
    cluster.run_until(lambda: any(item.members == (3,) for item in cluster[3].configurations), seconds=20)


# What must be told apart


def test_a_join_that_shuts_this_node_out_is_ignored_in_an_operational_ring() -> None:
    cluster = formed(3)
    join = encode_memb_join(MembJoin(0, 2, 0, 2, 99, (1, 2, 3), (1,)))
    cluster[1].ring.receive(join, 0, cluster.now)
    assert cluster[1].ring.state is State.OPERATIONAL


def test_a_strangers_leave_is_ignored_in_an_operational_ring() -> None:
    cluster = formed(2)
    cluster[1].ring.receive(encode_memb_join(MembJoin(0, 0, 0, 9, 99, (), (9,))), 0, cluster.now)
    assert cluster[1].ring.state is State.OPERATIONAL


def test_accusations_count_only_from_the_last_configuration() -> None:
    mine = Membership(1, 1)
    mine.install((1, 2, 3))
    mine.restart()
    assert mine.consider(MembJoin(0, 9, 0, 9, 1, (1, 9), (3,))) is Verdict.CHANGED
    assert list(mine.failed) == []
    assert mine.consider(MembJoin(0, 2, 0, 2, 1, (1, 2, 3, 9), (3,))) is Verdict.CHANGED
    assert list(mine.failed) == [3]
    assert mine.consider(MembJoin(0, 3, 0, 3, 1, (1, 2, 3, 4), ())) is Verdict.NOTHING
    assert 4 not in mine.proc


def test_a_member_of_the_forming_ring_that_no_longer_accuses_a_node_clears_it() -> None:
    mine = Membership(1, 1)
    mine.restart()
    for node in (2, 3, 4):
        mine.add(node)
    mine.failed = {3: None, 4: None}
    join = MembJoin(0, 2, 0, 2, 5, (1, 2, 3, 4), (4,))
    mine.reopen(join)
    assert list(mine.failed) == [4]
    assert mine.consider(join) is Verdict.NOTHING
    assert mine.consensus == {1, 2}


def test_who_accuses_me_is_accused() -> None:
    mine = Membership(1, 1)
    mine.install((1, 2))
    mine.restart()
    assert mine.consider(MembJoin(0, 2, 0, 2, 1, (1, 2), (1,))) is Verdict.CHANGED
    assert mine.candidates() == (1,)


def test_all_must_repeat_the_same_sets_and_only_the_lowest_creates_the_ring() -> None:
    lowest, highest = Membership(1, 1), Membership(3, 1)
    for membership in (lowest, highest):
        membership.restart()
        for node in (1, 2, 3):
            membership.add(node)
    join = MembJoin(0, 2, 0, 2, 1, (3, 2, 1), ())
    assert lowest.consider(join) is Verdict.NOTHING
    assert lowest.consider(join._replace(nodeid=3, system_from=3)) is Verdict.CREATE_RING
    assert highest.consider(join) is Verdict.NOTHING
    assert highest.consider(join._replace(nodeid=1, system_from=1)) is Verdict.NOTHING
    assert highest.agreed()


def test_a_smaller_join_changes_nothing() -> None:
    mine = Membership(1, 1)
    mine.restart()
    mine.add(2)
    assert mine.consider(MembJoin(0, 2, 0, 2, 1, (2,), ())) is Verdict.NOTHING


def test_the_sets_of_a_round_are_bounded() -> None:
    mine = Membership(1, 1)
    mine.restart()
    assert mine.consider(MembJoin(0, 2, 0, 2, 1, tuple(range(2, 380)), ())) is Verdict.CHANGED
    assert mine.consider(MembJoin(0, 999, 0, 999, 1, tuple(range(900, 1000)), ())) is Verdict.NOTHING
    assert len(mine.proc) == 379
    mine.members = (2,)
    for first in range(1000, 3000, 300):
        mine.consider(MembJoin(0, 2, 0, 2, 1, (1, 2), tuple(range(first, first + 300))))
        mine.consider(MembJoin(0, first, 0, first, 1, (first,), (1,)))
        mine.consider(MembJoin(0, 0, 0, 9, 1, (1, 2), (first + 50_000,)))
    assert len(mine.proc | mine.failed) <= 384
    assert mine.left_on_purpose == set()


def test_accusations_of_hundreds_of_strangers_do_not_keep_a_node_from_forming_rings() -> None:
    cluster = formed(3)
    victim = cluster[1]
    for first in range(1000, 2000, 300):
        join = MembJoin(0, 2, 0, 2, victim.ring.ring_id.sequence, (1, 2, 3), tuple(range(first, first + 300)))
        victim.ring.receive(encode(join), 0, cluster.now)
        victim.act()
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))


def test_send_join_spreads_the_joins_of_different_nodes() -> None:
    cluster = Cluster(3, {"send_join": 40})
    start = cluster.now
    cluster.start()
    assert all(not frames(node, MembJoin) for node in cluster.nodes.values())
    cluster.run(0.06)
    first = [frames(node, MembJoin)[0][0] - start for node in cluster.nodes.values()]
    assert len(set(first)) == 3
    assert all(0 <= delay < 0.041 for delay in first)
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))


def test_gathers_without_end_make_an_operator_look_at_the_firewall() -> None:
    """The other node agrees all the time, and its commit token never comes."""
    now = 0.0
    ring = Ring(2, derive({}, 2), 0, now)
    ring.start(now)
    notices = []
    for _ in range(1000):
        ring.receive(encode_memb_join(MembJoin(0, 1, 0, 1, 1, (1, 2), ())), 0, now)
        now += 0.05
        ring.handle_timer(now)
        notices += [output for output in ring.outputs() if isinstance(output, Notice) and output.level == "warning"]
    assert ring.state is State.GATHER
    assert ring.statistics.continuous_gather > 3
    assert ring.statistics.firewall_enabled_or_nic_failure == 1
    (warning,) = notices
    assert "(reason: continuous gather)" in warning.text


def test_a_notice_of_formation_names_the_ring_in_hexadecimal() -> None:
    cluster = formed(3)
    assert "A new membership (1.5) was formed. Members joined: 1 2 3" in [notice.text for notice in cluster[3].notices]


def test_a_commit_token_that_is_not_for_my_sets_is_dropped_and_counted() -> None:
    ring = Ring(2, derive({}, 3), 0, 0.0)
    ring.start(0.0)
    ring.receive(encode_memb_join(MembJoin(0, 1, 0, 1, 1, (1, 2), ())), 0, 0.0)
    good = CommitToken(0, 1, 0, 1, 1, 9, 0, 1, (1, 2), (CommitEntry(0, 0, 0, 0, 0),) * 2)
    wrong = [
        good._replace(memb_index=2),
        good._replace(memb_index=0xFFFFFFFF),
        good._replace(memb_index=0),
        good._replace(ring_sequence=1),
        good._replace(ring_representative=2),
        good._replace(addresses=(2, 3)),
    ]
    for token in wrong:
        ring.receive(encode(token), 0, 0.0)
        assert ring.state is State.GATHER
    assert ring.statistics.dropped == {Reason.COMMIT_TOKEN: len(wrong)}
    ring.receive(encode(good), 0, 0.0)
    assert ring.state is State.COMMIT


def test_after_a_leave_nothing_is_received() -> None:
    cluster = formed(2)
    cluster[1].ring.leave(cluster.now)
    cluster[1].ring.outputs()
    cluster[1].ring.receive(encode_memb_join(MembJoin(0, 2, 0, 2, 99, (2,), ())), 0, cluster.now)
    cluster[1].ring.submit(Group.ENGINES, [b"x"])
    cluster[1].ring.handle_timer(cluster.now + 100)
    assert cluster[1].ring.outputs() == []
