"""Claims on packing and reassembly: what is sent comes out, whatever its size, and what was missed is thrown away whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corosyncd.totem import packing, wire
from corosyncd.totem.assembly import NORMAL_SET, Assembly
from corosyncd.totem.events import Group, Queue, RingId
from corosyncd.totem.outbox import Outbox
from corosyncd.totem.packing import MAXIMUM_MESSAGE, ROUND_TAG, Packer, QueueFull
from corosyncd.totem.statistics import Statistics
from corosyncd.totem.wire import Mcast, Packed, Reason
from tests.unit.pcap import udp_payloads

RING = RingId(1, 5)
NET_MTU = 1410
LONGEST_BODY = MAXIMUM_MESSAGE - len(packing.GROUP_HEADERS[Group.ENGINES])


class Receiver:
    """An assembly, and what came out of it."""

    def __init__(self) -> None:
        self.statistics = Statistics()
        self.outbox = Outbox(9)
        self.assembly = Assembly(self.outbox, self.statistics)
        self.assembly.use(NORMAL_SET)

    def accept(self, *frames: bytes) -> list[tuple[int, Group, bytes]]:
        for frame in frames:
            self.assembly.accept(frame)
        messages, self.outbox.messages = self.outbox.messages, []
        return messages


def packer(net_mtu: int = NET_MTU) -> Packer:
    made = Packer(7, net_mtu)
    made.use(Queue.NORMAL)
    return made


def packed_of(frame: bytes) -> Packed:
    return wire.decode_packed(frame[wire.MCAST.size :])


def frame_of(fragmented: int, continuation: int, *chunks: bytes, node: int = 7) -> bytes:
    payload = wire.encode_packed(Packed(0, 0, fragmented, continuation, chunks))
    return wire.encode_mcast(Mcast(2, node, 0, node, 1, 0, *RING, 0, 0, payload))


def bodies(messages: list[tuple[int, Group, bytes]]) -> list[bytes]:
    return [body for _, _, body in messages]


ENGINES = packing.GROUP_HEADERS[Group.ENGINES]


def test_small_messages_share_a_frame() -> None:
    sender = packer()
    sender.submit(Group.ENGINES, [b"one", b"two"], Queue.NORMAL, 1)
    sender.submit(Group.SYNC, [b"three"], Queue.NORMAL, 2)
    (frame,) = sender.take(17, 8, 3, RING)
    assert packed_of(frame) == Packed(0, 0, 0, 0, (ENGINES + b"one", ENGINES + b"two", b"\x01\x00\x04\x00syncthree"))
    mcast = wire.decode(frame)
    assert isinstance(mcast, Mcast)
    assert (mcast.nodeid, mcast.system_from, mcast.seq, mcast.this_seqno, mcast.encapsulated) == (7, 7, 8, 3, 2)
    assert Receiver().accept(frame) == [(7, Group.ENGINES, b"one"), (7, Group.ENGINES, b"two"), (7, Group.SYNC, b"three")]


def test_a_body_of_20184_bytes_goes_out_as_stock_sends_it() -> None:
    sender = packer()
    sender.submit(Group.ENGINES, [bytes(20184)], Queue.NORMAL, 0)
    assert sender.backlog() == 15
    frames = sender.take(17, 1, 0, RING)
    packed = [packed_of(frame) for frame in frames]
    assert [len(item.chunks[0]) for item in packed] == [1400] * 14 + [589]
    assert [item.fragmented for item in packed] == [*range(1, 15), 0]
    assert [item.continuation for item in packed] == [0, *range(1, 15)]
    assert [len(frame) for frame in frames[:14]] == [1455] * 14


def test_the_fragment_number_runs_from_1_to_255_and_skips_0() -> None:
    sender = packer()
    sender.submit(Group.ENGINES, [bytes(1400 * 300)], Queue.NORMAL, 0)
    packed = [packed_of(frame) for frame in sender.take(1000, 1, 0, RING)]
    numbers = [item.fragmented for item in packed]
    assert numbers == [*range(1, 256), *range(1, 46), 0]
    assert [item.continuation for item in packed] == [0, *numbers[:-1]]


def test_a_message_does_not_begin_in_the_last_bytes_of_a_frame() -> None:
    sender = packer()
    sender.submit(Group.ENGINES, [bytes(1300), bytes(1300)], Queue.NORMAL, 0)
    assert [packed_of(frame).fragmented for frame in sender.take(17, 1, 0, RING)] == [0, 0]


def test_a_message_begins_in_a_frame_that_is_half_empty() -> None:
    sender = packer()
    sender.submit(Group.ENGINES, [bytes(700), bytes(1300)], Queue.NORMAL, 0)
    first, second = sender.take(17, 1, 0, RING)
    assert len(first) == 1455
    assert packed_of(first).fragmented == packed_of(second).continuation == 1
    assert bodies(Receiver().accept(first, second)) == [bytes(700), bytes(1300)]


def test_no_more_frames_are_made_than_allowed_and_their_places_follow_one_another() -> None:
    sender = packer()
    sender.submit(Group.ENGINES, [bytes(1390)] * 40, Queue.NORMAL, 0)
    assert sender.backlog() == 40
    frames = sender.take(17, 0xFFFFFFFE, 0xFFFFFFFF, RING)
    decoded = [wire.decode_mcast(frame) for frame in frames]
    assert len(frames) == 17
    assert [item.seq for item in decoded[:3]] == [0xFFFFFFFE, 0xFFFFFFFF, 0]
    assert [item.this_seqno for item in decoded[:3]] == [0xFFFFFFFF, 0, 1]
    assert sender.backlog() == 23
    assert len(sender.take(50, 1, 0, RING)) == 23
    assert sender.take(50, 1, 0, RING) == []
    assert sender.backlog() == 0


def test_a_message_of_1_mib_with_its_header_is_the_longest() -> None:
    sender = packer()
    with pytest.raises(ValueError, match="1048571 bytes at most"):
        sender.submit(Group.ENGINES, [b"x", bytes(LONGEST_BODY + 1)], Queue.NORMAL, 0)
    assert sender.backlog() == 0
    sender.submit(Group.ENGINES, [bytes(LONGEST_BODY)], Queue.NORMAL, 0)
    assert bodies(Receiver().accept(*sender.take(1000, 1, 0, RING))) == [bytes(LONGEST_BODY)]


def test_a_queue_has_a_limit() -> None:
    sender = packer()
    for _ in range(128):
        sender.submit(Group.ENGINES, [bytes(LONGEST_BODY)], Queue.NORMAL, 0)
    with pytest.raises(QueueFull):
        sender.submit(Group.ENGINES, [b"one too many"], Queue.NORMAL, 0)
    sender.submit(Group.ENGINES, [b"the other queue"], Queue.SYNC, 0)


def test_the_other_queue_waits() -> None:
    sender = packer()
    sender.submit(Group.ENGINES, [b"normal"], Queue.NORMAL, 0)
    sender.submit(Group.SYNC, [b"sync"], Queue.SYNC, 0)
    sender.use(Queue.SYNC)
    assert bodies(Receiver().accept(*sender.take(17, 1, 0, RING))) == [b"sync"]
    assert sender.backlog() == 0
    sender.use(Queue.NORMAL)
    assert bodies(Receiver().accept(*sender.take(17, 1, 0, RING))) == [b"normal"]


def test_a_cut_message_goes_on_where_it_was_when_its_queue_is_served_again() -> None:
    sender, receiver = packer(), Receiver()
    sender.submit(Group.ENGINES, [bytes(4000)], Queue.NORMAL, 0)
    assert receiver.accept(*sender.take(2, 1, 0, RING)) == []
    sender.use(Queue.SYNC)
    receiver.assembly.use(1)
    sender.submit(Group.ENGINES, [b"y" * 3000], Queue.SYNC, 0)
    assert bodies(receiver.accept(*sender.take(17, 3, 0, RING))) == [b"y" * 3000]
    sender.use(Queue.NORMAL)
    receiver.assembly.use(NORMAL_SET)
    assert bodies(receiver.accept(*sender.take(17, 6, 0, RING))) == [bytes(4000)]


def test_behind_a_message_that_a_ring_change_cut_the_frame_ends_and_a_newcomer_loses_that_one_alone() -> None:
    sender, newcomer = packer(), Receiver()
    sender.submit(Group.ENGINES, [bytes(3000), b"small", b"next"], Queue.NORMAL, 0)
    begun = sender.take(1, 1, 0, RING)
    sender.use(Queue.SYNC)
    sender.use(Queue.NORMAL)
    later = sender.take(10, 1, 1, RingId(1, 9))
    assert bodies(newcomer.accept(*later)) == [b"small", b"next"]
    assert bodies(Receiver().accept(*begun, *later)) == [bytes(3000), b"small", b"next"]


def test_queued_bytes_fall_when_the_last_fragment_has_left() -> None:
    sender = packer()
    sender.submit(Group.ENGINES, [bytes(100), bytes(3000)], Queue.NORMAL, 5)
    sender.submit(Group.ENGINES, [bytes(50)], Queue.NORMAL, 6)
    assert (sender.queued_bytes(5), sender.queued_bytes(6), sender.queued_bytes(7)) == (3100, 50, 0)
    sender.take(1, 1, 0, RING)
    assert sender.queued_bytes(5) == 3000
    sender.take(2, 2, 0, RING)
    assert (sender.queued_bytes(5), sender.queued_bytes(6)) == (0, 0)


def test_a_message_is_withdrawn_only_while_no_fragment_has_left() -> None:
    sender, receiver = packer(), Receiver()
    sender.submit(Group.ENGINES, [b"a" * 3000, b"b"], Queue.NORMAL, 5)
    sender.submit(Group.ENGINES, [b"kept"], Queue.NORMAL, 6)
    sender.submit(Group.ENGINES, [b"c"], Queue.NORMAL, 5)
    sender.submit(Group.SYNC, [b"d"], Queue.SYNC, 5)
    receiver.accept(*sender.take(1, 1, 0, RING))
    assert sender.withdraw(5) == 3
    assert sender.queued_bytes(5) == 3000
    assert bodies(receiver.accept(*sender.take(17, 2, 0, RING))) == [b"a" * 3000, b"kept"]
    assert sender.queued_bytes(5) == sender.backlog() == 0
    assert sender.withdraw(5) == 0


def test_withdrawing_leaves_the_backlog_exact() -> None:
    sender = packer()
    sender.submit(Group.ENGINES, [bytes(60)] * 1000, Queue.NORMAL, 1)
    sender.take(3, 1, 0, RING)
    sender.submit(Group.ENGINES, [bytes(60)] * 10, Queue.NORMAL, 2)
    sender.withdraw(1)
    assert sender.backlog() == 1
    assert len(sender.take(17, 1, 0, RING)) == 1
    assert sender.backlog() == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(list(Group)), st.lists(st.integers(0, 6000), min_size=1, max_size=8), st.integers(1, 5)),
        max_size=25,
    ),
    st.sampled_from([166, 1410, 65446]),
)
def test_any_messages_come_out_as_they_went_in(batches: list[tuple[Group, list[int], int]], net_mtu: int) -> None:
    sender, receiver = packer(net_mtu), Receiver()
    expected, received, number = [], [], 0
    for group, sizes, limit in batches:
        messages = []
        for size in sizes:
            number += 1
            messages.append((number.to_bytes(2, "big") * (size // 2 + 1))[:size])
        sender.submit(group, messages, Queue.NORMAL, 0)
        expected += [(7, group, message) for message in messages]
        frames = sender.take(limit, 1, 0, RING)
        assert all(len(frame) <= wire.MCAST.size + net_mtu for frame in frames)
        received += receiver.accept(*frames)
    received += receiver.accept(*sender.take(10**6, 1, 0, RING))
    assert received == expected
    assert sender.backlog() == sender.queued_bytes(0) == 0
    assert receiver.statistics.dropped == {}


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, LONGEST_BODY), min_size=1, max_size=4))
def test_messages_up_to_1_mib_come_out_as_they_went_in(sizes: list[int]) -> None:
    sender, receiver = packer(), Receiver()
    messages = [bytes([index + 1]) * size for index, size in enumerate(sizes)]
    sender.submit(Group.ENGINES, messages, Queue.NORMAL, 0)
    assert bodies(receiver.accept(*sender.take(10**6, 1, 0, RING))) == messages


def test_a_configuration_drops_what_was_queued_for_the_round_before_it_and_keeps_the_rest() -> None:
    sender, receiver = packer(), Receiver()
    sender.submit(Group.ENGINES, [b"round"], Queue.SYNC, ROUND_TAG + 2)
    sender.submit(Group.ENGINES, [b"poll"], Queue.SYNC, 5)
    sender.submit(Group.ENGINES, [b"leave"], Queue.NORMAL, 2)
    sender.end_round()
    sender.use(Queue.SYNC)
    assert bodies(receiver.accept(*sender.take(10, 1, 0, RING))) == [b"poll"]
    sender.use(Queue.NORMAL)
    assert bodies(receiver.accept(*sender.take(10, 2, 0, RING))) == [b"leave"]


# Throw-away (§2.4)


def test_who_enters_in_the_middle_of_a_message_loses_it_and_nothing_else() -> None:
    receiver = Receiver()
    assert receiver.accept(frame_of(3, 2, bytes(10))) == []
    assert receiver.accept(frame_of(4, 3, bytes(10))) == []
    assert bodies(receiver.accept(frame_of(0, 4, bytes(10), ENGINES + b"whole"))) == [b"whole"]
    assert bodies(receiver.accept(frame_of(0, 0, ENGINES + b"next"))) == [b"next"]
    assert receiver.statistics.dropped == {Reason.THROWN_AWAY: 3}


def test_behind_the_end_of_a_missed_message_another_may_begin() -> None:
    receiver = Receiver()
    assert receiver.accept(frame_of(1, 7, bytes(10), ENGINES + b"begin, ")) == []
    assert bodies(receiver.accept(frame_of(0, 1, b"end"))) == [b"begin, end"]
    assert bodies(receiver.accept(frame_of(0, 0, ENGINES + b"next"))) == [b"next"]


def test_a_gap_among_fragments_never_glues_strangers_together() -> None:
    receiver = Receiver()
    assert receiver.accept(frame_of(1, 0, ENGINES + b"begin ")) == []
    assert receiver.accept(frame_of(3, 2, b"two is missing")) == []
    assert receiver.accept(frame_of(1, 255, b"stock leaves the mode here")) == []
    assert receiver.accept(frame_of(0, 1, b"and glues this")) == []


def test_messages_before_a_cut_one_are_delivered_at_once() -> None:
    receiver = Receiver()
    assert bodies(receiver.accept(frame_of(1, 0, ENGINES + b"whole", ENGINES + b"cut "))) == [b"whole"]
    assert bodies(receiver.accept(frame_of(0, 1, b"off", ENGINES + b"whole too"))) == [b"cut off", b"whole too"]


def test_originators_do_not_disturb_each_other() -> None:
    receiver = Receiver()
    receiver.accept(frame_of(1, 0, ENGINES + b"A", node=1), frame_of(1, 0, ENGINES + b"B", node=2))
    assert receiver.accept(frame_of(0, 1, b"b", node=2), frame_of(0, 1, b"a", node=1)) == [
        (2, Group.ENGINES, b"Bb"),
        (1, Group.ENGINES, b"Aa"),
    ]


def test_what_a_node_that_left_had_begun_is_forgotten() -> None:
    receiver = Receiver()
    receiver.accept(frame_of(1, 0, ENGINES + b"A"))
    receiver.assembly.forget([7])
    assert receiver.accept(frame_of(0, 1, b"a")) == []


def test_a_group_header_cut_in_two_is_recognised() -> None:
    receiver = Receiver()
    assert bodies(receiver.accept(frame_of(1, 0, ENGINES[:3]), frame_of(0, 1, ENGINES[3:] + b"body"))) == [b"body"]


@pytest.mark.parametrize("message", [b"", b"\x01\x00\x01\x00", b"\x01\x00\x01\x00b body", b"\x02\x00\x01\x00\x04\x00async"])
def test_a_message_for_another_group_is_dropped_and_counted(message: bytes) -> None:
    receiver = Receiver()
    assert bodies(receiver.accept(frame_of(0, 0, message, ENGINES + b"ours"))) == [b"ours"]
    assert receiver.statistics.dropped == {Reason.GROUP: 1}


def test_an_unfinished_message_cannot_outgrow_the_buffer_of_a_stock_node() -> None:
    receiver = Receiver()
    number = 0
    for _ in range(20):
        frame = frame_of(number % 255 + 1, number, bytes(65000))
        receiver.accept(frame)
        number = number % 255 + 1
    assert receiver.statistics.dropped[Reason.ASSEMBLY_LIMIT] == 1
    assert receiver.accept(frame_of(0, number, b"end")) == []


@pytest.mark.parametrize("payload", [b"", bytes(7), bytes(6) + b"\x01\x00", bytes(6) + b"\x01\x00\x05\x00abcd", bytes(9)])
def test_a_badly_packed_frame_is_dropped_whole_and_counted(payload: bytes) -> None:
    receiver = Receiver()
    assert receiver.accept(wire.encode_mcast(Mcast(2, 7, 0, 7, 1, 0, *RING, 0, 0, payload))) == []
    assert receiver.statistics.dropped == {Reason.PACKING: 1}


def test_messages_in_the_other_byte_order_are_counted_and_not_delivered() -> None:
    receiver = Receiver()
    payload = wire.encode_packed(Packed(0, 0, 0, 0, (b"\x00\x01\x00\x01abig", b"\x00\x01\x00\x01aendian")), swapped=True)
    assert receiver.accept(wire.encode_mcast(Mcast(2, 7, 0, 7, 1, 0, *RING, 0, 0, payload), swapped=True)) == []
    assert receiver.accept(wire.encode_mcast(Mcast(2, 7, 0, 7, 1, 0, *RING, 0, 0, b"?"), swapped=True)) == []
    assert receiver.statistics.dropped == {Reason.FOREIGN_BYTE_ORDER: 2, Reason.PACKING: 1}


def test_the_messages_of_a_captured_ring_are_reassembled() -> None:
    capture = Path(__file__).parent.parent / "data" / "captures" / "udpu-3-cpg.pcap"
    mcasts = {frame.seq: data for _, _, data in udp_payloads(capture) if isinstance(frame := wire.decode(data), Mcast)}
    receiver = Receiver()
    messages = receiver.accept(*(mcasts[seq] for seq in sorted(mcasts)))
    assert receiver.statistics.dropped == {}
    # libcpg's bodies: a 16-byte header, then the fields of the multicast, then what the client sent.
    sizes = [int.from_bytes(body[8:12], "little") for _, _, body in messages]
    assert sizes == [len(body) for _, _, body in messages]
    assert any(size > 20000 for size in sizes)
