"""Claims on sequence numbers, sort queues and single visits of the token (reference totem.md §3.2, §3.7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corosyncd.totem.events import RingId
from corosyncd.totem.ordering import WINDOW, Ordering, SortQueue
from corosyncd.totem.sequence import BEFORE_ZERO, MASK, lower, precedes
from corosyncd.totem.statistics import Statistics
from corosyncd.totem.timeouts import MAXIMUM_WINDOW, derive
from corosyncd.totem.wire import OrfToken, RetransmitRequest

RING = RingId(1, 9)
ME = 2


class Source:
    """As many one-byte frames as wanted."""

    def __init__(self, waiting: int = 0) -> None:
        self.waiting = waiting

    def backlog(self) -> int:
        return self.waiting

    def take(self, limit: int, seq: int, this_seqno: int, ring: RingId) -> list[bytes]:
        count = min(limit, self.waiting)
        self.waiting -= count
        return [b"%d" % ((seq + index) & MASK) for index in range(count)]


def token(**fields: object) -> OrfToken:
    return OrfToken(0, 1, 0, 0, 1, 0, 0, *RING, 0, 0, 0, ())._replace(**fields)  # type: ignore[arg-type]


def ordering(**settings: int) -> Ordering:
    return Ordering(ME, derive(settings, 3), Statistics())


def requests(*seqs: int) -> tuple[RetransmitRequest, ...]:
    return tuple(RetransmitRequest(*RING, seq) for seq in seqs)


# Sequence numbers


def test_the_aru_of_a_first_token_lies_below_zero() -> None:
    assert precedes(BEFORE_ZERO, 0)
    assert not precedes(0, BEFORE_ZERO)


def test_numbers_wrap() -> None:
    assert precedes(0xFFFFFFF0, 5)
    assert not precedes(5, 0xFFFFFFF0)
    assert lower(5, 0xFFFFFFF0) == 0xFFFFFFF0
    assert precedes(0x7FFFFFFF, 0x80000000)
    assert precedes(0x80000000, 0x80000001)


@given(st.integers(0, MASK), st.integers(1, 0xFFFF))
def test_a_number_precedes_those_that_a_window_may_put_behind_it(first: int, step: int) -> None:
    second = (first + step) & MASK
    assert precedes(first, second)
    assert not precedes(second, first)
    assert not precedes(first, first)


# Sort queues


@given(st.permutations(range(1, 30)), st.integers(0, MASK))
def test_the_aru_follows_whatever_order_frames_arrive_in(order: list[int], start: int) -> None:
    queue = SortQueue(RING)
    queue.aru = queue.high_seq = queue.released = queue.high_delivered = start
    seen: set[int] = set()
    for seq in order:
        assert queue.insert((start + seq) & MASK, b"frame")
        seen.add(seq)
        contiguous = next(number for number in range(31) if number + 1 not in seen)
        assert queue.aru == (start + contiguous) & MASK
        assert queue.high_seq == (start + max(seen)) & MASK


def test_duplicates_and_frames_outside_the_window_are_refused() -> None:
    queue = SortQueue(RING)
    assert queue.insert(1, b"a")
    assert not queue.insert(1, b"b")
    assert queue.frames[1] == b"a"
    assert queue.insert(WINDOW, b"c")
    assert not queue.insert(WINDOW + 1, b"d")
    assert not queue.insert(0, b"e")
    queue.high_delivered = 1
    queue.release(1)
    assert not queue.insert(1, b"a")
    assert queue.insert(WINDOW + 1, b"d")


# Flow control


def test_while_others_have_something_waiting_one_node_sends_at_most_max_messages_a_visit() -> None:
    frames, onward = ordering().visit(token(backlog=1), SortQueue(RING), Source(100), 3, True)
    assert len(frames) == 17
    assert (onward.seq, onward.fcc, onward.backlog, onward.target_nodeid, onward.token_seq) == (17, 17, 101, 3, 2)


def test_a_lone_sender_takes_the_free_window_less_a_reserve_visit_after_visit() -> None:
    node, queue, source = ordering(), SortQueue(RING), Source(1000)
    onward = token()
    for _ in range(3):
        frames, onward = node.visit(onward, queue, source, 3, True)
        assert len(frames) == 45
        assert onward.fcc == 45


def test_a_lone_sender_counts_what_others_have_sent_as_taken() -> None:
    frames, onward = ordering().visit(token(fcc=20), SortQueue(RING), Source(100), 3, True)
    assert len(frames) == 25
    assert onward.fcc == 45


@pytest.mark.parametrize(("fcc", "sent"), [(0, 17), (33, 17), (40, 10), (50, 0), (60, 0), (MASK, 0)])
def test_all_nodes_together_send_at_most_the_window_a_rotation(fcc: int, sent: int) -> None:
    frames, onward = ordering().visit(token(fcc=fcc, backlog=1), SortQueue(RING), Source(100), 3, True)
    assert len(frames) == sent
    assert onward.fcc == (fcc + sent) & MASK


def test_a_node_sends_its_share_of_the_backlog() -> None:
    node, queue, source = ordering(), SortQueue(RING), Source(60)
    _, onward = node.visit(token(backlog=1), queue, source, 3, True)
    # Of 600 frames that wait, 60 were mine: a tenth of the window.
    frames, onward = node.visit(onward._replace(backlog=617, token_seq=5), queue, source, 3, True)
    assert len(frames) == 5
    assert onward.backlog == 617 - 60 + 43


def test_the_sums_in_the_token_change_by_exactly_what_a_node_contributes() -> None:
    node, queue, source = ordering(), SortQueue(RING), Source(20)
    onward = token(fcc=7, backlog=11)
    for _ in range(4):
        _, onward = node.visit(onward, queue, source, 3, True)
    assert (onward.fcc, onward.backlog) == (7, 11)


def test_a_new_ring_starts_its_sums_anew() -> None:
    node = ordering()
    node.visit(token(), SortQueue(RING), Source(10), 3, True)
    node.commit()
    _, onward = node.visit(token(), SortQueue(RING), Source(0), 3, True)
    assert (onward.fcc, onward.backlog) == (0, 0)


def test_the_largest_window_leaves_room_for_three_rotations() -> None:
    node, queue, source, visitor = ordering(window_size=MAXIMUM_WINDOW), SortQueue(RING), Source(WINDOW), token()
    for _ in range(3):
        frames, visitor = node.visit(visitor, queue, source, 3, True)
        assert len(frames) == MAXIMUM_WINDOW - MAXIMUM_WINDOW // 10


@pytest.mark.parametrize(("operational", "window"), [(False, WINDOW), (True, WINDOW // 2)])
def test_no_number_is_given_out_that_would_leave_the_window_of_a_slow_member(operational: bool, window: int) -> None:
    queue = SortQueue(RING)
    queue.aru = queue.high_seq = queue.high_delivered = window - 60
    frames, _ = ordering().visit(token(seq=window - 60, aru=0, aru_addr=3), queue, Source(10), 3, operational)
    assert frames == []
    queue.released = 1000
    frames, _ = ordering().visit(token(seq=window - 60, aru=0, aru_addr=3), queue, Source(10), 3, operational)
    assert len(frames) == 10


# Aru


def test_a_node_that_lacks_frames_holds_the_aru_down_and_lets_it_go() -> None:
    node, queue = ordering(), SortQueue(RING)
    queue.insert(1, b"1")
    _, onward = node.visit(token(seq=2, aru=2), queue, Source(), 3, True)
    assert (onward.aru, onward.aru_addr) == (1, ME)
    queue.insert(2, b"2")
    _, onward = node.visit(onward, queue, Source(), 3, True)
    assert (onward.aru, onward.aru_addr) == (2, 0)


def test_the_aru_that_another_holds_down_is_left_alone() -> None:
    queue = SortQueue(RING)
    for seq in (1, 2, 3):
        queue.insert(seq, b"")
    _, onward = ordering().visit(token(seq=3, aru=1, aru_addr=7), queue, Source(), 3, True)
    assert (onward.aru, onward.aru_addr) == (1, 7)


def test_frames_are_released_at_the_lower_of_two_tokens_arus_and_never_before_delivery() -> None:
    node, queue = ordering(), SortQueue(RING)
    for seq in range(1, 11):
        queue.insert(seq, b"")
    queue.high_delivered = 8
    node.visit(token(seq=10, aru=5, aru_addr=7), queue, Source(), 3, True)
    assert queue.released == 0
    node.visit(token(seq=10, aru=9, aru_addr=7), queue, Source(), 3, True)
    assert (queue.released, min(queue.frames)) == (5, 6)
    node.visit(token(seq=10, aru=10), queue, Source(), 3, True)
    assert queue.released == 8


def test_a_node_that_holds_the_aru_down_for_fail_recv_const_visits_fails_to_receive() -> None:
    node, queue = ordering(fail_recv_const=10), SortQueue(RING)
    visits = 0
    onward = token(seq=5, aru=0, aru_addr=ME)
    while not node.failed_to_receive:
        _, onward = node.visit(onward._replace(rtr=()), queue, Source(), 3, True)
        visits += 1
    assert visits == 11


# Retransmission


def test_a_missing_frame_is_asked_for_on_the_fifth_visit_that_notices_it() -> None:
    node, queue = ordering(), SortQueue(RING)
    queue.insert(2, b"2")
    lists = []
    for _ in range(6):
        _, onward = node.visit(token(seq=2), queue, Source(), 3, True)
        lists.append(onward.rtr)
    assert lists == [(), (), (), (), requests(1), requests(1)]


def test_a_frame_that_came_late_is_counted_anew() -> None:
    node, queue = ordering(), SortQueue(RING)
    for _ in range(4):
        node.visit(token(seq=1), queue, Source(), 3, True)
    queue.insert(1, b"1")
    _, onward = node.visit(token(seq=2), queue, Source(), 3, True)
    assert onward.rtr == ()


def test_a_long_gap_is_asked_for_without_a_pause_behind_the_first_list() -> None:
    node, queue = ordering(), SortQueue(RING)
    lists = []
    for _ in range(8):
        _, onward = node.visit(token(seq=100), queue, Source(), 3, True)
        lists.append([request.seq for request in onward.rtr])
        for seq in lists[-1]:
            queue.insert(seq, b"%d" % seq)
    assert lists == [[], [], [], [], [*range(1, 31)], [*range(31, 61)], [*range(61, 91)], [*range(91, 101)]]


def test_what_is_remembered_of_missing_frames_is_bounded() -> None:
    node, queue = ordering(miss_count_const=1), SortQueue(RING)
    for last in range(2, 3 * WINDOW, 30):
        _, onward = node.visit(token(seq=last), queue, Source(), 3, False)
        queue.release(queue.aru)
        for request in onward.rtr:
            queue.insert(request.seq, b"")
        queue.high_delivered = queue.aru
    assert len(node._misses) <= WINDOW + 30


def test_a_list_never_exceeds_30_entries_nor_repeats_one() -> None:
    node, queue = ordering(miss_count_const=1), SortQueue(RING)
    _, onward = node.visit(token(seq=100, rtr=requests(*range(1, 6))), queue, Source(), 3, True)
    assert [request.seq for request in onward.rtr] == list(range(1, 31))


def test_what_is_asked_for_is_sent_as_it_came_and_taken_off_the_list() -> None:
    node, queue = ordering(), SortQueue(RING)
    for seq in (1, 2, 4):
        queue.insert(seq, b"frame %d" % seq)
    foreign = RetransmitRequest(7, 5, 4)
    frames, onward = node.visit(token(seq=4, rtr=(*requests(1, 3, 4), foreign)), queue, Source(), 3, True)
    assert frames == [b"frame 1", b"frame 4"]
    assert onward.rtr == (*requests(3), foreign)
    assert onward.fcc == 2


def test_retransmissions_count_against_the_window_and_go_first() -> None:
    queue = SortQueue(RING)
    for seq in range(1, 21):
        queue.insert(seq, b"old")
    frames, onward = ordering().visit(token(seq=20, backlog=1, rtr=requests(*range(1, 16))), queue, Source(10), 3, True)
    assert frames == [b"old"] * 15 + [b"21", b"22"]
    assert onward.fcc == 17


def test_new_frames_follow_those_that_have_not_arrived_here() -> None:
    queue = SortQueue(RING)
    queue.insert(1, b"1")
    frames, onward = ordering().visit(token(seq=5, aru=5), queue, Source(2), 3, True)
    assert frames == [b"6", b"7"]
    assert (onward.seq, onward.aru, onward.aru_addr) == (7, 1, ME)
    assert (queue.aru, queue.high_seq) == (1, 7)


# Hold


@pytest.mark.parametrize(("representative", "visits"), [(True, 31), (False, 30)])
def test_the_token_counts_as_held_after_30_unchanged_visits_at_the_representative_one_more(
    representative: bool, visits: int
) -> None:
    node = ordering()
    node.note(5, representative)
    count = 0
    while not node.held:
        node.note(5, representative)
        count += 1
    assert count == visits
    node.note(6, representative)
    assert not node.held


def test_a_held_token_is_let_go_for_retransmission_where_that_is_configured() -> None:
    for configured in (0, 1):
        node, queue = ordering(cancel_token_hold_on_retransmit=configured), SortQueue(RING)
        queue.insert(1, b"1")
        node.held = True
        node.visit(token(seq=1, rtr=requests(1)), queue, Source(), 3, True)
        assert node.held is not bool(configured)
