"""Claims on the total order, hold and cancel, and hostile frames, shown by whole rings (reference totem.md §3.7, §3.9)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corosyncd.totem import wire
from corosyncd.totem.events import Deliver, Group, Multicast, Notice, Queue, Unicast
from corosyncd.totem.ring import Ring, State
from corosyncd.totem.timeouts import derive
from corosyncd.totem.wire import Mcast, MergeDetect, OrfToken, Packed, Reason, TokenHoldCancel, decode, encode
from tests.unit.totem_cluster import Cluster, Node, formed
from tests.unit.totem_vectors import BYTES, DECODED


def sent_frames(node: Node, kind: type, since: float = 0.0) -> list[float]:
    return [when for when, _, frame in node.sent if when >= since and isinstance(decode(frame), kind)]


def lossy(percent: int, seed: int = 1) -> Callable[[int, int, bytes], bool]:
    """Loses that share of the mcasts, by a small generator of its own."""
    state = seed

    def passes(sender: int, receiver: int, frame: bytes) -> bool:
        nonlocal state
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        return frame[3] != wire.FrameType.MCAST or (state >> 8) % 100 >= percent

    return passes


def all_have(cluster: Cluster, count: int) -> bool:
    return all(len(node.messages) == count for node in cluster.nodes.values() if node.alive)


# Total order


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_all_nodes_deliver_all_messages_in_one_order(count: int) -> None:
    cluster = formed(count)
    for number in range(100):
        for node in cluster.nodes.values():
            node.send(b"%d/%d" % (node.node_id, number), bytes(number * 30))
        cluster.run(0.0003)
    cluster.run_until(lambda: all_have(cluster, 200 * count))
    assert len({tuple(node.messages) for node in cluster.nodes.values()}) == 1
    mine = [body for originator, body in cluster[1].messages if originator == count and b"/" in body]
    assert mine == [b"%d/%d" % (count, number) for number in range(100)]


@pytest.mark.parametrize("percent", [5, 30])
def test_lost_frames_are_sent_again_and_the_order_holds(percent: int) -> None:
    cluster = formed(3)
    cluster.passes = lossy(percent)
    for number in range(60):
        for node in cluster.nodes.values():
            node.send(b"%d/%d" % (node.node_id, number), bytes(1000))
        cluster.run(0.001)
    cluster.run_until(lambda: all_have(cluster, 360))
    assert len({tuple(node.messages) for node in cluster.nodes.values()}) == 1
    assert sum(node.ring.statistics.mcast_retx for node in cluster.nodes.values()) > 0
    assert cluster.formed((1, 2, 3))
    assert cluster[1].ring.ring_id.sequence == 5


def test_a_lost_token_is_sent_again_after_the_retransmit_time() -> None:
    cluster = formed(3)
    lost: list[bytes] = []

    def passes(sender: int, receiver: int, frame: bytes) -> bool:
        if frame[3] == wire.FrameType.ORF_TOKEN and receiver == 3 and not lost:
            lost.append(frame)
            return False
        return True

    cluster.passes = passes
    cluster[1].send(b"after the loss")
    cluster.run_until(lambda: all_have(cluster, 1), seconds=cluster.parameters.token_retransmit + 0.1)
    assert lost
    assert cluster[1].ring.ring_id.sequence == 5


def test_every_frame_twice_changes_nothing() -> None:
    cluster = formed(3)
    transmit = cluster.transmit

    def twice(sender: int, receiver: int, frame: bytes) -> None:
        transmit(sender, receiver, frame)
        transmit(sender, receiver, frame)

    cluster.transmit = twice  # type: ignore[method-assign]
    cluster[2].send(*[b"%d" % number for number in range(500)])
    cluster.run_until(lambda: all_have(cluster, 500))
    assert [body for _, body in cluster[3].messages] == [b"%d" % number for number in range(500)]
    assert cluster[3].ring.statistics.dropped[Reason.TOKEN_DUPLICATE] > 0
    assert cluster[3].ring.statistics.dropped[Reason.DUPLICATE_OR_OUTSIDE_WINDOW] > 0


def test_a_message_of_1_mib_arrives_whole() -> None:
    cluster = formed(2)
    body = bytes(range(256)) * 4096
    cluster[1].send(body[:-5])
    cluster.run_until(lambda: all_have(cluster, 1))
    assert cluster[2].messages == [(1, body[:-5])]
    with pytest.raises(ValueError, match="at most"):
        cluster[1].send(body)


def test_the_window_is_never_exceeded_and_the_sums_never_wrap() -> None:
    cluster = formed(4)
    for _ in range(2):
        for node in cluster.nodes.values():
            node.send(*[bytes(1390)] * 200)
        cluster.run(0.002)
    cluster.run_until(lambda: all_have(cluster, 1600))
    cluster.run(1)
    fcc, backlog = [], []
    for node in cluster.nodes.values():
        for _, _, frame in node.sent:
            token = decode(frame)
            if isinstance(token, OrfToken):
                fcc.append(token.fcc)
                backlog.append(token.backlog)
    assert 17 < max(fcc) <= cluster.parameters.window_size
    assert 100 < max(backlog) < 2000
    last = [token for _, _, frame in cluster[1].sent if isinstance(token := decode(frame), OrfToken)][-1]
    assert (last.fcc, last.backlog) == (0, 0)


def test_frames_that_everybody_has_are_forgotten() -> None:
    cluster = formed(3)
    cluster[1].send(*[bytes(1000)] * 2000)
    cluster.run_until(lambda: all_have(cluster, 2000))
    cluster.run(0.1)
    assert all(not node.ring._core.queue.frames for node in cluster.nodes.values())


def test_sequence_numbers_wrap_in_the_middle_of_a_stream() -> None:
    cluster = formed(3)
    cluster.run(3)
    for node in cluster.nodes.values():
        core = node.ring._core
        near = 0xFFFFFFFF - 50
        core.queue.aru = core.queue.high_seq = core.queue.high_delivered = core.queue.released = near
        core.ordering.last_seq = core.ordering._last_aru = near
    first = cluster[1].ring._core
    held = wire.decode_orf_token(first.stored_token)
    first.stored_token = encode(held._replace(seq=near, aru=near))
    cluster.passes = lossy(5)
    for node in cluster.nodes.values():
        node.send(*[b"%d/%d" % (node.node_id, number) + bytes(600) for number in range(200)])
    cluster.run_until(lambda: all_have(cluster, 600))
    assert len({tuple(node.messages) for node in cluster.nodes.values()}) == 1
    assert cluster[1].ring._core.queue.aru < 1000
    assert cluster.formed((1, 2, 3))
    assert cluster[1].ring.ring_id.sequence == 5


def test_a_train_of_segments_is_so_many_datagrams() -> None:
    cluster = formed(2)
    trains: list[list[bytes]] = []
    cluster.multicast = lambda sender, frames: trains.append(list(frames))  # type: ignore[method-assign,assignment]
    cluster[1].send(*[bytes(1390)] * 10, b"short")
    cluster.run_until(lambda: sum(map(len, trains)) == 11)
    for train in trains:
        assert len({len(frame) for frame in train[:-1]}) == 1
        cluster[2].ring.receive(memoryview(b"".join(train)), len(train[0]), cluster.now)
    cluster[2].act()
    assert [len(body) for _, body in cluster[2].messages] == [1390] * 10 + [5]


def test_frames_leave_before_deliveries_and_multicasts_before_the_token() -> None:
    cluster = formed(3)
    cluster.run(2)
    seen: list[list[str]] = []
    ring = cluster[2].ring
    drain = ring.outputs
    cluster[2].act = lambda: seen.append([type(output).__name__ for output in drain()])  # type: ignore[method-assign]
    ring.submit(Group.ENGINES, [b"mine"], Queue.NORMAL)
    held = wire.decode_orf_token(cluster[1].ring._core.stored_token)
    ring.receive(encode(held), 0, cluster.now)
    assert [type(output) for output in drain()][-2:] == [Multicast, Unicast]
    assert ring.next_timer() == cluster.now
    assert [type(output) for output in drain()] == [Deliver]
    assert drain() == []


def test_deliveries_that_were_not_asked_for_come_before_the_next_step() -> None:
    cluster = formed(3)
    cluster.run(2)
    ring = cluster[2].ring
    ring.submit(Group.ENGINES, [b"mine"], Queue.NORMAL)
    held = wire.decode_orf_token(cluster[1].ring._core.stored_token)
    ring.receive(encode(held), 0, cluster.now)
    ring.outputs()
    ring.handle_timer(cluster.now)
    assert Deliver([(2, Group.ENGINES, b"mine")]) in ring.outputs()


# An idle ring


def test_an_idle_ring_makes_one_rotation_and_one_merge_detect_each_hold_time() -> None:
    cluster = formed(3, {"fast_failover": 0})
    cluster.run(3)
    since = cluster.now
    cluster.run(10 * cluster.parameters.hold)
    for node in cluster.nodes.values():
        assert 9 <= len(sent_frames(node, OrfToken, since)) <= 11
    assert 9 <= len(sent_frames(cluster[1], MergeDetect, since)) <= 11
    assert not sent_frames(cluster[2], MergeDetect)
    tokens, merges = sent_frames(cluster[1], OrfToken, since), sent_frames(cluster[1], MergeDetect, since)
    assert merges[1] - max(when for when in tokens if when < merges[1]) == pytest.approx(cluster.parameters.merge, abs=0.001)


def test_after_activity_the_token_makes_about_31_rotations_at_full_speed() -> None:
    cluster = formed(3)
    cluster.run(3)
    since = cluster.now
    cluster[2].send(b"work")
    cluster.run(0.1)
    assert 31 <= len(sent_frames(cluster[2], OrfToken, since)) <= 34


@pytest.mark.parametrize("sender", [1, 2, 3])
def test_work_cancels_the_hold_wherever_it_is(sender: int) -> None:
    cluster = formed(3)
    cluster.run(3.2)
    since = cluster.now
    cluster[sender].send(b"first", b"second")
    cluster[sender].send(b"third")
    cluster.run_until(lambda: all_have(cluster, 3), seconds=0.005)
    assert len(sent_frames(cluster[sender], TokenHoldCancel, since)) == 1
    assert cluster[1].ring.statistics.token_hold_cancel_rx >= 1


def test_a_lost_cancel_costs_no_more_than_the_hold_time() -> None:
    cluster = formed(3)
    cluster.run(3)
    cluster.passes = lambda sender, receiver, frame: frame[3] != wire.FrameType.TOKEN_HOLD_CANCEL
    cluster[3].send(b"late")
    cluster.run_until(lambda: all_have(cluster, 1), seconds=cluster.parameters.hold + 0.01)


def test_work_that_waited_for_the_end_of_synchronization_cancels_the_hold() -> None:
    cluster = formed(2)
    core = cluster[2].ring._core
    cluster[1].ring.force_gather(cluster.now)
    cluster[1].act()
    cluster[2]._barrier = lambda originator, body: None  # type: ignore[method-assign]
    cluster.run(3)
    assert cluster[2].ring.state is State.OPERATIONAL
    cluster[2].send(b"queued during synchronization")
    cluster.run(1)
    assert cluster[1].messages == []
    assert core.ordering.held
    cluster[2].ring.synchronization_complete(cluster.now)
    cluster[2].act()
    cluster.run(0.01)
    assert cluster[1].messages == [(2, b"queued during synchronization")]


def test_a_throttle_delays_each_token_but_never_beyond_a_quarter_of_the_retransmit_time() -> None:
    cluster = formed(2)
    ring = cluster[2].ring
    ring.token_delay = 100.0
    assert ring.token_delay == cluster.parameters.token_retransmit / 4
    ring.token_delay = 0.01
    cluster[1].send(b"slowly")
    since = cluster.now
    cluster.run(0.1)
    assert len(sent_frames(cluster[2], OrfToken, since)) <= 11
    assert cluster[2].messages == [(1, b"slowly")]
    ring.token_delay = 0.0
    cluster.run(4)
    assert cluster.formed((1, 2))
    assert cluster[1].ring.ring_id.sequence == 5


def test_other_parameters_hold_from_the_next_use_on() -> None:
    cluster = formed(2)
    cluster.run(3)
    changed = derive({"hold": 100}, 2)
    for node in cluster.nodes.values():
        node.ring.set_parameters(changed)
    cluster.run(1)
    since = cluster.now
    cluster.run(1)
    assert 9 <= len(sent_frames(cluster[2], OrfToken, since)) <= 11


def test_a_feature_that_is_switched_off_does_not_strike_any_more() -> None:
    cluster = Cluster(2, {"heartbeat_failures_allowed": 1})
    cluster.form()
    assert cluster.parameters.heartbeat
    cluster.run(3)
    gathers = cluster[2].ring.statistics.gather_entered
    for node in cluster.nodes.values():
        node.ring.set_parameters(derive({"token_warning": 0}, 2))
    cluster.run(10)
    assert cluster[2].ring.statistics.gather_entered == gathers
    assert not [notice for notice in cluster[2].notices if notice.text.startswith("Token has not been received")]


def test_the_net_mtu_of_the_start_stays() -> None:
    cluster = formed(2)
    for node in cluster.nodes.values():
        node.ring.set_parameters(derive({"netmtu": 9000}, 2))
    since = cluster.now
    cluster[1].send(bytes(20_000))
    cluster.run(0.1)
    assert cluster[2].messages == [(1, bytes(20_000))]
    sizes = {len(frame) for when, receiver, frame in cluster[1].sent if receiver is None and when >= since}
    assert max(sizes) == 1455


def test_the_retransmit_list_is_told_once_a_second() -> None:
    cluster = formed(2)
    cluster.passes = lossy(100)
    cluster[1].send(b"never arrives")
    cluster.run(0.5)
    lines = [notice.text for notice in cluster[2].notices if notice.text.startswith("Retransmit List: ")]
    assert lines == ["Retransmit List: 3 "]


def test_statistics_follow_the_traffic() -> None:
    cluster = formed(3)
    cluster[1].send(*[bytes(1390)] * 40)
    cluster.run_until(lambda: all_have(cluster, 40))
    cluster.run(0.5)
    one, two = cluster[1].ring.statistics, cluster[2].ring.statistics
    assert one.mcast_tx == 41
    assert one.mcast_rx == two.mcast_rx == 43
    assert (one.operational_entered, one.commit_entered, one.recovery_entered) == (1, 1, 1)
    assert one.mtt_rx_token >= 0
    one.refresh(cluster.now + 10)
    assert one.time_since_token_last_received >= 10_000
    one.clear()
    assert (one.mcast_tx, one.orf_token_rx, one.dropped) == (0, 0, {})


# The barrier


def test_delivery_stops_behind_a_barrier_until_the_outputs_are_handled() -> None:
    """Else the frame behind the last barrier would be assembled as if the round still ran."""
    cluster = formed(2)
    cluster[1].ring.force_gather(cluster.now)
    cluster[1].act()
    cluster[1]._barrier = lambda originator, body: None  # type: ignore[method-assign]
    cluster.run(0.2)
    ring, queue = cluster[1].ring, cluster[1].ring._core.queue

    def frame(seq: int, *chunks: bytes, fragmented: int = 0, continuation: int = 0) -> bytes:
        payload = wire.encode_packed(Packed(0, 0, fragmented, continuation, chunks))
        return encode(Mcast(2, 2, 0, 2, seq, 0, *queue.ring_id, 0, 0, payload))

    last = queue.aru
    engines, sync = b"\x01\x00\x01\x00a", b"\x01\x00\x04\x00sync"
    train = [frame(last + 1, sync + b"last barrier"), frame(last + 2, engines + b"one"), frame(last + 3, engines + b"two")]
    for item in train:
        ring.receive(item, 0, cluster.now)
    (delivery,) = [output for output in ring.outputs() if isinstance(output, Deliver)]
    assert delivery.messages == [(2, Group.SYNC, b"last barrier")]
    ring.synchronization_complete(cluster.now)
    deadline = ring.next_timer()
    assert deadline is not None
    assert deadline <= cluster.now
    ring.handle_timer(cluster.now)
    (delivery,) = [output for output in ring.outputs() if isinstance(output, Deliver)]
    assert delivery.messages == [(2, Group.ENGINES, b"one"), (2, Group.ENGINES, b"two")]


def test_a_message_cut_by_a_configuration_change_is_completed_after_the_synchronization() -> None:
    cluster = formed(3)
    cluster[2].send(bytes(200_000))
    cluster.run_until(lambda: cluster[1].ring._core.queue.high_seq > 20)
    assert cluster[1].messages == []
    cluster[3].ring.force_gather(cluster.now)
    cluster[3].act()
    cluster.run_until(lambda: all_have(cluster, 1))
    assert cluster[1].ring.ring_id.sequence > 5
    assert cluster[3].trace[-1] == (2, bytes(200_000))


def test_a_tag_is_withdrawn_and_its_bytes_are_counted() -> None:
    cluster = formed(1)
    ring = cluster[1].ring
    ring.submit(Group.ENGINES, [b"12345", b"678"], Queue.NORMAL, 7)
    assert ring.queued_bytes(7) == 8
    assert ring.withdraw(7) == 2
    assert ring.queued_bytes(7) == 0


# Hostile frames


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(BYTES)), st.booleans(), st.integers(0, 600), st.binary(max_size=64), st.integers(0, 3))
@example("V2", True, 265, b"\0", 0)  # a join in our own name that accuses us
def test_whatever_arrives_nothing_is_raised(name: str, swapped: bool, offset: int, noise: bytes, state: int) -> None:
    cluster = Cluster(2)
    cluster.start([1])
    for _ in range(state * 3):
        cluster.step()
    ring = cluster[1].ring
    frame = bytearray(encode(DECODED[name], swapped))
    offset %= len(frame)
    frame[offset : offset + len(noise)] = noise
    ring.receive(bytes(frame), 0, cluster.now)
    ring.receive(bytes(frame[: len(frame) // 2]), 0, cluster.now)
    ring.receive(bytes(frame) * 3, len(frame), cluster.now)
    cluster[1].act()
    cluster.step()


@settings(max_examples=150, deadline=None)
@given(
    st.builds(
        OrfToken,
        *(st.just(0), st.just(2), st.just(0)),
        *(st.one_of(st.integers(0, 40), st.integers(0, 0xFFFFFFFF)) for _ in range(4)),
        *(st.just(1), st.just(5)),
        *(st.integers(0, 0xFFFFFFFF) for _ in range(3)),
        st.lists(st.builds(wire.RetransmitRequest, st.just(1), st.just(5), st.integers(0, 40)), max_size=30).map(tuple),
    ),
)
def test_a_forged_token_of_my_ring_cannot_make_me_send_one_that_aborts_a_stock_node(token: OrfToken) -> None:
    cluster = formed(2)
    cluster[1].send(b"mine")
    ring, queue = cluster[1].ring, cluster[1].ring._core.queue
    before = queue.aru
    ring.receive(encode(token), 0, cluster.now)
    for output in ring.outputs():
        if isinstance(output, Unicast):
            onward = wire.decode_orf_token(output.frame)
            assert (onward.seq - before) & 0xFFFFFFFF < 16384 + 17
            assert len(onward.rtr) <= 30
    assert (queue.high_seq - queue.released) & 0xFFFFFFFF <= 16384


def test_malformed_frames_are_counted_by_reason() -> None:
    ring = Ring(1, derive({}, 3), 0, 0.0)
    ring.start(0.0)
    for frame in (b"", b"\x70\xc0\x03", b"garbage of some length", BYTES["V6"][:3] + b"\x09" + bytes(20), BYTES["V1"][:30]):
        ring.receive(frame, 0, 0.0)
    statistics = ring.statistics
    assert statistics.dropped == {Reason.SHORT_HEADER: 2, Reason.MAGIC: 1, Reason.TYPE: 1, Reason.SHORT_FRAME: 1}
    assert statistics.rx_msg_dropped == 1


def test_tokens_of_other_rings_and_out_of_range_are_dropped_and_counted() -> None:
    cluster = formed(2)
    cluster.run(2)
    core = cluster[1].ring._core
    held = wire.decode_orf_token(core.stored_token)
    for token in (held._replace(ring_sequence=1), held._replace(seq=held.seq + 16384), held._replace(seq=0)):
        core.statistics.dropped.clear()
        cluster[1].ring.receive(encode(token._replace(token_seq=held.token_seq + 100)), 0, cluster.now)
        (reason,) = core.statistics.dropped
        assert reason is (Reason.TOKEN_FOREIGN if token.ring_sequence == 1 else Reason.TOKEN_RANGE)


def test_a_peer_of_the_other_byte_order_takes_part_but_its_messages_are_not_read() -> None:
    """Everything that node 2 sends is byte-swapped on its way, payload head included."""
    cluster = Cluster(2)
    transmit = cluster.transmit

    def swapping(sender: int, receiver: int, frame: bytes) -> None:
        if sender == 2:
            decoded = decode(frame)
            if isinstance(decoded, Mcast) and decoded.encapsulated == wire.ORDINARY and frame[:2] == b"\x70\xc0":
                packed = wire.encode_packed(wire.decode_packed(decoded.payload), swapped=True)
                decoded = decoded._replace(payload=packed)
            frame = encode(decoded, swapped=True)
        transmit(sender, receiver, frame)

    cluster.transmit = swapping  # type: ignore[method-assign]
    cluster.start()
    cluster.run(1)
    assert all(node.ring.members == (1, 2) for node in cluster.nodes.values())
    assert cluster[1].ring.statistics.dropped[Reason.FOREIGN_BYTE_ORDER] >= 1
    cluster[1].ring.synchronization_complete(cluster.now)
    cluster[1].send(b"native")
    cluster.run(1)
    assert (1, b"native") in cluster[1].messages


def test_notices_carry_a_priority_word() -> None:
    cluster = formed(2)
    assert {notice.level for notice in cluster[1].notices} <= {"debug", "notice", "warning", "error"}
    assert all(isinstance(notice, Notice) for notice in cluster[1].notices)
