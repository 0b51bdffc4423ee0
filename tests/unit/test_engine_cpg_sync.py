"""The cpg engines of several nodes over changes of the ring: who is told what, in which order."""

from __future__ import annotations

import pytest

from coroipc.errors import Status
from coroipc.layouts import response_status
from corosyncd.engines.cpg import CpgEngine, wire
from corosyncd.engines.cpg.wire import Function
from corosyncd.engines.engine import Client, MulticastClass
from corosyncd.totem.events import RingId
from libcpg.messages import (
    LIST_LIMIT,
    Address,
    ConfigurationChange,
    Deliver,
    JoinRequest,
    LeaveRequest,
    McastRequest,
    MembershipRequest,
    MembershipResponse,
    TotemConfiguration,
    WireEvent,
    decode_event,
)
from tests.unit.fake_host import Cluster, Node

Places = list[tuple[int, int]]


def join(node: Node, pid: int, group: bytes = b"g") -> Client:
    """A program that has asked to join."""
    client = node.connect(pid)
    (answer,) = node.request(client, JoinRequest(group, pid).encode())
    assert response_status(answer) == Status.OK
    return client


def events(node: Node, client: Client) -> list[WireEvent]:
    return [decode_event(event) for event in node.host.take_events(client)]


def changes(node: Node, client: Client) -> list[ConfigurationChange]:
    return [event for event in events(node, client) if isinstance(event, ConfigurationChange)]


def members(node: Node, group: bytes = b"g") -> Places:
    """The group as the node's engine knows it."""
    (answer,) = node.request(node.connect(), MembershipRequest(group).encode())
    return [(address.nodeid, address.pid) for address in MembershipResponse.decode(answer).members]


def change(group: bytes, present: Places, *, joined: Places = (), left: Places = (), reason: int) -> ConfigurationChange:  # type: ignore[assignment]
    entries = tuple(Address(*place) for place in present)
    went = tuple(Address(*place, reason) for place in left)
    came = tuple(Address(*place, reason) for place in joined)
    return ConfigurationChange(group, entries, went, came)


@pytest.fixture
def three() -> Cluster:
    """Three nodes on one ring."""
    return Cluster(CpgEngine, [1, 2, 3])


def test_all_nodes_see_joins_messages_and_leaves_in_one_order(three: Cluster) -> None:
    clients = {node_id: join(three[node_id], 10 * node_id) for node_id in (1, 2, 3)}
    three.run()
    for node_id, client in clients.items():
        three[node_id].request(client, McastRequest(bytes([node_id])).encode())
    three[2].request(clients[2], LeaveRequest(b"g", 20).encode())
    three.run()
    seen = {node_id: events(three[node_id], client) for node_id, client in clients.items()}
    assert seen[1][2:] == seen[2][1:] + seen[3][-1:] == seen[3]
    assert seen[3] == [
        change(b"g", [(1, 10), (2, 20), (3, 30)], joined=[(3, 30)], reason=1),
        Deliver(b"g", 1, 10, b"\1"),
        Deliver(b"g", 2, 20, b"\2"),
        change(b"g", [(1, 10), (3, 30)], left=[(2, 20)], reason=2),
        Deliver(b"g", 3, 30, b"\3"),
    ]


def test_a_round_sends_the_down_list_first_and_a_join_list_only_with_local_processes(three: Cluster) -> None:
    join(three[2], 7)
    three.run()
    three.delivered.clear()
    three.form([1, 2])
    assert [(source, message[0]) for source, message in three.delivered] == [
        (1, Function.DOWN_LIST),
        (2, Function.DOWN_LIST),
        (2, Function.JOIN_LIST),
    ]
    assert wire.decode_down_list(three.delivered[0][1]) == (3,)


def test_sync_data_are_of_the_sync_class_and_a_leave_during_the_round_is_normal(three: Cluster) -> None:
    client = join(three[1], 7)
    three.run()
    three.install([1, 2])
    three[1].engine.sync_step()
    three[1].disconnect(client)
    kinds = [(kind, message[0]) for kind, message in three[1].host.take_multicasts()]
    assert kinds == [
        (MulticastClass.SYNC, Function.DOWN_LIST),
        (MulticastClass.SYNC, Function.JOIN_LIST),
        (MulticastClass.NORMAL, Function.PROCESS_LEAVE),
    ]


def test_processes_of_a_failed_node_leave_in_one_event_a_group_and_the_ring_is_told_last(three: Cluster) -> None:
    witnesses = {group: join(three[1], number, group) for number, group in enumerate((b"b", b"a"))}
    for pid in (33, 31, 32):
        join(three[3], pid, b"a")
    join(three[3], 31, b"b")
    three.run()
    for witness in witnesses.values():
        events(three[1], witness)
    ring = three.form([1, 2])
    totem = TotemConfiguration(1, ring.ring_id.sequence, (1, 2))
    lost = [(3, 31), (3, 32), (3, 33)]
    told = [(client, decode_event(event)) for client, event in three[1].host.events]
    assert told[:2] == [
        (witnesses[b"a"], change(b"a", [(1, 1)], left=lost, reason=3)),
        (witnesses[b"b"], change(b"b", [(1, 0)], left=[(3, 31)], reason=3)),
    ]
    assert sorted(told[2:], key=lambda item: item[0].identifier) == [(witness, totem) for witness in witnesses.values()]


def test_a_connection_without_a_group_hears_of_the_ring(three: Cluster) -> None:
    bystander = three[1].connect()
    ring = three.form([1, 2])
    assert events(three[1], bystander) == [TotemConfiguration(1, ring.ring_id.sequence, (1, 2))]


def test_split_and_heal_drop_and_learn_processes_on_both_sides(three: Cluster) -> None:
    one, two, three_ = join(three[1], 10), join(three[2], 20), join(three[3], 30)
    three.run()
    three.install([3])
    left_ring, right_ring = three.form([1, 2]), three.rings[0]
    three.synchronise(right_ring)
    for node_id, client in ((1, one), (2, two), (3, three_)):
        events(three[node_id], client)
    three[1].request(one, McastRequest(b"left side").encode())
    three[3].request(three_, McastRequest(b"right side").encode())
    join(three[3], 31)
    three.run()
    assert left_ring.members == (1, 2)
    assert events(three[2], two) == [Deliver(b"g", 1, 10, b"left side")]
    events(three[1], one)
    events(three[3], three_)
    three.form([1, 2, 3])
    joined_here = change(b"g", [(1, 10), (2, 20), (3, 30), (3, 31)], joined=[(3, 31), (3, 30)], reason=4)
    joined_there = change(b"g", [(1, 10), (2, 20), (3, 30), (3, 31)], joined=[(2, 20), (1, 10)], reason=4)
    assert changes(three[1], one) == changes(three[2], two) == [joined_here]
    assert changes(three[3], three_) == [joined_there]


def test_a_group_learned_from_a_heal_lists_its_processes_in_reverse_order_of_arrival(three: Cluster) -> None:
    witness = join(three[1], 10)
    three.run()
    three.install([3])
    three.form([1, 2])
    three.synchronise(three.rings[0])
    for pid in (18965, 19551, 19944):
        join(three[3], pid)
    join(three[2], 5)
    three.run()
    events(three[1], witness)
    three.form([1, 2, 3])
    (heard,) = changes(three[1], witness)
    assert [(address.nodeid, address.pid) for address in heard.joined] == [(3, 19944), (3, 19551), (3, 18965)]


def test_a_node_that_returns_within_one_change_is_seen_to_leave_and_to_join(three: Cluster) -> None:
    witness = join(three[1], 10)
    join(three[3], 30)
    three.run()
    events(three[1], witness)
    three.start(3)
    ring = three.form([1, 2, 3])
    assert events(three[1], witness) == [
        change(b"g", [(1, 10)], left=[(3, 30)], reason=3),
        TotemConfiguration(1, ring.ring_id.sequence, (1, 2, 3)),
    ]


def test_a_new_node_learns_the_groups(three: Cluster) -> None:
    join(three[1], 10)
    join(three[2], 20)
    three.run()
    three.start(4)
    three.form([1, 2, 3, 4])
    assert members(three[4]) == members(three[1]) == [(1, 10), (2, 20)]


def test_a_process_that_dies_during_the_round_is_no_ghost(three: Cluster) -> None:
    witness, doomed = join(three[1], 10), join(three[3], 30)
    three.run()
    events(three[1], witness)
    three.start(2)
    ring = three.install([1, 2, 3])
    three.sync_steps(ring)
    three[3].disconnect(doomed)
    for node in ring.nodes:
        assert node.engine.sync_activate()
    three.run()
    assert [members(three[node_id]) for node_id in (1, 2, 3)] == [[(1, 10)]] * 3
    assert changes(three[1], witness) == [change(b"g", [(1, 10)], left=[(3, 30)], reason=5)]


def test_a_process_that_joins_while_the_round_runs_is_announced_once(three: Cluster) -> None:
    witness = join(three[1], 10)
    three.run()
    events(three[1], witness)
    ring = three.install([1, 2, 3])
    late = three[3].connect(30)
    three[3].request(late, JoinRequest(b"g", 30).encode())
    three.synchronise(ring)
    assert changes(three[1], witness) == [change(b"g", [(1, 10), (3, 30)], joined=[(3, 30)], reason=1)]
    assert [members(three[node_id]) for node_id in (1, 2, 3)] == [[(1, 10), (3, 30)]] * 3


def test_a_process_that_died_in_the_other_partition_leaves_as_down(three: Cluster) -> None:
    """The other side dropped its node with the split, but a node that stays hears of it only by the join lists."""
    witness, gone = join(three[1], 10), join(three[3], 30)
    join(three[3], 31)
    three.run()
    events(three[1], witness)
    # Node 3's engine loses the process while an aborted ring keeps it in everyone's transitional configuration.
    aborted = three.install([1, 2, 3])
    three.abort(aborted)
    three[3].disconnect(gone)
    ring = three.install([1, 2, 3])
    leave = three[3].host.take_multicasts()
    three[3].engine.deliver(3, Function.PROCESS_LEAVE, leave[0][1])
    three.synchronise(ring)
    assert changes(three[1], witness) == [change(b"g", [(1, 10), (3, 31)], left=[(3, 30)], reason=5)]


def test_an_aborted_rounds_join_lists_are_forgotten(three: Cluster) -> None:
    witness = join(three[1], 10)
    three.run()
    three.install([3])
    three.form([1, 2])
    three.synchronise(three.rings[0])
    join(three[3], 30)
    three.run()
    events(three[1], witness)
    three.install([1, 2, 3])
    ring = three.rings[-1]
    three.sync_steps(ring)
    three.abort(ring)
    three.form([1, 2])
    assert changes(three[1], witness) == []
    assert members(three[1]) == members(three[2]) == [(1, 10)]


def test_an_abort_half_way_changes_nothing_for_clients(three: Cluster) -> None:
    witness = join(three[1], 10)
    join(three[3], 30)
    three.run()
    events(three[1], witness)
    ring = three.install([1, 2])
    three.sync_steps(ring, until=1)
    three.abort(ring)
    assert events(three[1], witness) == []
    three.form([1, 2])
    assert changes(three[1], witness) == [change(b"g", [(1, 10)], left=[(3, 30)], reason=3)]


def test_a_node_that_completed_a_round_apart_while_ours_were_aborted_has_left_and_come_back(three: Cluster) -> None:
    # Seen with real daemons: node 3 alone completed a round and delivered messages there, while the rounds of 1 and 2 were
    # aborted until 3 was back; the last change alone says that 3 came along (services P13).
    witness, apart = join(three[1], 10), join(three[3], 30)
    three.run()
    events(three[1], witness)
    three.abort(three.install([1, 2]))
    three.form([3])
    events(three[3], apart)
    three.abort(three.install([1, 2, 3]))
    three.form([1, 2, 3])
    assert changes(three[1], witness) == [
        change(b"g", [(1, 10)], left=[(3, 30)], reason=3),
        change(b"g", [(1, 10), (3, 30)], joined=[(3, 30)], reason=4),
    ]
    assert changes(three[3], apart) == [change(b"g", [(1, 10), (3, 30)], joined=[(1, 10)], reason=4)]


def test_an_unchanged_ring_is_one_totem_event(three: Cluster) -> None:
    witness = join(three[1], 10)
    join(three[2], 20)
    three.run()
    events(three[1], witness)
    ring = three.form([1, 2, 3])
    assert events(three[1], witness) == [TotemConfiguration(1, ring.ring_id.sequence, (1, 2, 3))]


def test_an_orderly_stop_is_seen_as_processes_going_down(three: Cluster) -> None:
    witness, stopping = join(three[1], 10), join(three[3], 30)
    three.run()
    events(three[1], witness)
    three[3].disconnect(stopping)
    three[3].engine.stop()
    three.run()
    ring = three.form([1, 2])
    assert events(three[1], witness) == [
        change(b"g", [(1, 10)], left=[(3, 30)], reason=5),
        TotemConfiguration(1, ring.ring_id.sequence, (1, 2)),
    ]


def test_a_second_join_list_of_a_node_replaces_its_first() -> None:
    cluster = Cluster(CpgEngine, [1, 2])
    ring = cluster.install([1, 2])
    cluster.sync_steps(ring)
    for pid in (20, 21):
        cluster[1].engine.deliver(2, Function.JOIN_LIST, wire.encode_join_list([(pid, b"g")]))
    cluster[1].engine.sync_activate()
    assert members(cluster[1]) == [(2, 21)]


def test_a_join_list_outside_a_round_is_ignored() -> None:
    cluster = Cluster(CpgEngine, [1, 2])
    cluster[1].engine.deliver(2, Function.JOIN_LIST, wire.encode_join_list([(20, b"g")]))
    cluster.form([1, 2])
    assert members(cluster[1]) == []


# Successors of a dead engine.


def test_an_engine_ignores_the_ring_until_its_first_round() -> None:
    node = Node(CpgEngine, 1)
    node.engine.deliver(2, Function.PROCESS_JOIN, bytes(16) + wire.encode_process(b"g", 20, 1))
    node.engine.deliver(2, Function.PROCESS_JOIN, b"not even a message")
    assert members(node) == []
    node.engine.configuration_changed((1, 2), (1, 2), RingId(1, 8))
    node.engine.deliver(2, Function.PROCESS_JOIN, bytes(16) + wire.encode_process(b"g", 20, 1))
    assert members(node) == [(2, 20)]


def test_a_successor_learns_the_groups_and_its_predecessors_processes_go_down(three: Cluster) -> None:
    witness = join(three[1], 10)
    join(three[3], 30)
    three.run()
    events(three[1], witness)
    three.replace_engine(3)
    ring = three.form([1, 2, 3])
    assert events(three[1], witness) == [
        change(b"g", [(1, 10)], left=[(3, 30)], reason=5),
        TotemConfiguration(1, ring.ring_id.sequence, (1, 2, 3)),
    ]
    assert [members(three[node_id]) for node_id in (1, 2, 3)] == [[(1, 10)]] * 3


def test_a_join_that_a_dead_engine_had_sent_is_taken_back(three: Cluster) -> None:
    witness = join(three[1], 10)
    three.run()
    join(three[3], 30)
    late = three[3].host.take_multicasts()
    successor = three.replace_engine(3)
    three.form([1, 2, 3])
    events(three[1], witness)
    successor.host.multicasts.extend(late)
    three.run()
    assert changes(three[1], witness) == [
        change(b"g", [(1, 10), (3, 30)], joined=[(3, 30)], reason=1),
        change(b"g", [(1, 10)], left=[(3, 30)], reason=5),
    ]
    assert [members(three[node_id]) for node_id in (1, 2, 3)] == [[(1, 10)]] * 3


def test_a_leave_that_a_dead_engine_had_sent_does_not_end_a_new_members_events(three: Cluster) -> None:
    join(three[3], 30)
    three.run()
    three[3].host.multicasts.clear()
    successor = three.replace_engine(3)
    three.form([1, 2, 3])
    again = join(successor, 30)
    join_again = successor.host.take_multicasts()
    old = [
        (MulticastClass.NORMAL, bytes([function, 0, 2, 0]) + bytes(12) + wire.encode_process(b"g", 30, 5)) for function in (0, 1)
    ]
    successor.host.multicasts.extend(old + join_again)
    three.run()
    events(successor, again)
    assert [members(three[node_id]) for node_id in (1, 2, 3)] == [[(3, 30)]] * 3
    successor.request(again, McastRequest(b"still here").encode())
    three.run()
    assert events(successor, again) == [Deliver(b"g", 3, 30, b"still here")]


# Many members.


def test_a_change_of_200_processes_is_told_in_events_of_at_most_128() -> None:
    cluster = Cluster(CpgEngine, [1, 2])
    cluster.install([2])
    cluster.form([1])
    cluster.synchronise(cluster.rings[0])
    witness = join(cluster[1], 1)
    for pid in range(1000, 1200):
        join(cluster[2], pid)
    cluster.run()
    events(cluster[1], witness)

    cluster.form([1, 2])
    came = changes(cluster[1], witness)
    assert [len(each.joined) for each in came] == [128, 72]
    assert [len(each.members) for each in came] == [LIST_LIMIT, LIST_LIMIT]
    assert [address.pid for each in came for address in each.joined] == list(range(1199, 999, -1))
    # After its own part of the change: the first event's members are the witness and those it names.
    assert {(a.nodeid, a.pid) for a in came[0].members} <= {(1, 1)} | {(a.nodeid, a.pid) for a in came[0].joined}

    cluster.install([2])
    cluster.form([1])
    went = changes(cluster[1], witness)
    assert [len(each.left) for each in went] == [128, 72]
    assert [len(each.members) for each in went] == [73, 1]
    assert [address.pid for each in went for address in each.left] == list(range(1000, 1200))
    assert all(address.reason == 3 for each in went for address in each.left)


def test_membership_get_of_500_processes_fills_its_384_slots() -> None:
    cluster = Cluster(CpgEngine, [1])
    for pid in range(500):
        join(cluster[1], pid)
    cluster.run()
    assert members(cluster[1]) == [(1, pid) for pid in range(384)]
