"""What is queued on a link leaves in order, joined into few frames of limited size."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corosyncd.link import outbox as outbox_module
from corosyncd.link.frames import FRAME_BYTES, FRAME_MESSAGES, LARGEST_FRAME, Direction, Frame, decode
from corosyncd.link.outbox import BacklogFull, Outbox
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import RingId

RING = RingId(1, 4)
NEXT_RING = RingId(1, 8)


def frames(outbox: Outbox, direction: Direction) -> list[Frame]:
    outbox.seal()
    result = []
    while (pieces := outbox.head()) is not None:
        result.append(decode(b"".join(pieces), direction))
        outbox.pop()
    assert outbox.backlog_bytes == 0
    return result


def test_consecutive_deliveries_become_one_entry_of_one_frame() -> None:
    outbox = Outbox(Direction.TO_ENGINE)
    outbox.ring_id = RING
    outbox.deliver(1, 3, b"one")
    outbox.deliver(2, 0, b"three")
    outbox.queue([int(ToEngine.DELIVER), [3, 1, 2]], [b"ab"])
    assert frames(outbox, Direction.TO_ENGINE) == [
        (RING, [[int(ToEngine.DELIVER), [1, 3, 3, 2, 0, 5, 3, 1, 2]]], [b"one", b"three", b"ab"])
    ]


def test_multicasts_of_two_classes_do_not_merge_and_pieces_join() -> None:
    outbox = Outbox(Direction.TO_EXECUTIVE)
    outbox.multicast(0, (b"a", b"bc"), 3)
    outbox.multicast(0, (b"d",), 1)
    outbox.multicast(1, (b"e",), 1)
    (frame,) = frames(outbox, Direction.TO_EXECUTIVE)
    assert frame.entries == [[int(ToExecutive.MULTICAST), 0, [3, 1]], [int(ToExecutive.MULTICAST), 1, [1]]]
    assert frame.bodies == [b"abc", b"d", b"e"]


def test_a_new_ring_id_ends_the_frame() -> None:
    outbox = Outbox(Direction.TO_ENGINE)
    outbox.ring_id = RING
    outbox.queue([int(ToEngine.SYNC_ABORT)])
    outbox.ring_id = NEXT_RING
    outbox.queue([int(ToEngine.CONFIGURATION), [], [1]])
    assert [frame.ring_id for frame in frames(outbox, Direction.TO_ENGINE)] == [RING, NEXT_RING]


Step = tuple[str, int]


@given(st.lists(st.tuples(st.sampled_from(["message", "batch", "word"]), st.integers(0, 120_000)), max_size=40))
def test_order_is_kept_and_no_frame_passes_its_limits(steps: list[Step]) -> None:
    outbox = Outbox(Direction.TO_ENGINE)
    for number, (what, size) in enumerate(steps):
        if what == "message":
            outbox.deliver(number, 0, bytes(size))
        elif what == "batch":
            outbox.queue([int(ToEngine.DELIVER), [number, 0, size, number, 0, 2]], [bytes(size), b"ab"])
        else:
            outbox.queue([int(ToEngine.CREDIT), number])
    seen: list[tuple[str, int]] = []
    for frame in frames(outbox, Direction.TO_ENGINE):
        assert sum(map(len, frame.bodies)) <= FRAME_BYTES
        for entry in frame.entries:
            seen += [("message", source) for source in entry[1][::3]] if entry[0] == ToEngine.DELIVER else [("word", entry[1])]
    expected: list[tuple[str, int]] = []
    for number, (what, _) in enumerate(steps):
        expected += [("word", number)] if what == "word" else [("message", number)] * (2 if what == "batch" else 1)
    assert seen == expected


def test_a_frame_holds_a_limited_number_of_messages() -> None:
    outbox = Outbox(Direction.TO_ENGINE)
    for _ in range(FRAME_MESSAGES + 1):
        outbox.deliver(1, 0, b"x")
    assert [len(frame.bodies) for frame in frames(outbox, Direction.TO_ENGINE)] == [FRAME_MESSAGES, 1]


def test_the_largest_ring_message_travels_alone() -> None:
    outbox = Outbox(Direction.TO_EXECUTIVE)
    outbox.multicast(0, (b"a",), 1)
    outbox.multicast(0, (bytes(1024 * 1024),), 1024 * 1024)
    outbox.multicast(0, (b"b",), 1)
    assert [sum(map(len, frame.bodies)) for frame in frames(outbox, Direction.TO_EXECUTIVE)] == [1, 1024 * 1024, 1]


@pytest.mark.parametrize("entry", [[int(ToExecutive.KEEP), bytes(LARGEST_FRAME)]])
def test_an_entry_larger_than_a_frame_is_refused(entry: list[Any]) -> None:
    with pytest.raises(ValueError):
        Outbox(Direction.TO_EXECUTIVE).queue(entry)


def test_a_message_larger_than_a_frame_is_refused() -> None:
    with pytest.raises(ValueError):
        Outbox(Direction.TO_ENGINE).deliver(1, 0, bytes(LARGEST_FRAME))


def test_bodies_that_do_not_match_their_entry_are_refused() -> None:
    with pytest.raises(ValueError):
        Outbox(Direction.TO_ENGINE).queue([int(ToEngine.DELIVER), [1, 0, 4]], [b"abc"])


def test_the_backlog_has_a_limit_and_says_when_it_is_high(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "BACKLOG_HIGH", 300_000)
    monkeypatch.setattr(outbox_module, "BACKLOG_LIMIT", 1_000_000)
    outbox = Outbox(Direction.TO_ENGINE)
    outbox.deliver(1, 0, bytes(200_000))
    assert not outbox.congested
    for _ in range(3):
        outbox.deliver(1, 0, bytes(200_000))
    assert outbox.congested
    with pytest.raises(BacklogFull):
        outbox.deliver(1, 0, bytes(200_000))
    assert len(frames(outbox, Direction.TO_ENGINE)) == 4
