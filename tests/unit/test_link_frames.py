"""Frames survive their encoding, and whatever is not a frame is refused with a ValueError."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corosyncd.link.frames import Direction, decode, encode
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import RingId

ring_ids = st.builds(RingId, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
bodies_of_messages = st.lists(st.binary(max_size=60), max_size=12)
arguments = st.lists(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.text(max_size=8), st.binary(max_size=20)), max_size=4
)


def deliver_entry(bodies: list[bytes]) -> list[Any]:
    words: list[int] = []
    for source, body in enumerate(bodies):
        words += (source, source % 7, len(body))
    return [int(ToEngine.DELIVER), words]


@given(ring_ids, st.lists(bodies_of_messages, max_size=4), arguments)
def test_a_frame_to_an_engine_comes_back_as_it_was(ring_id: RingId, batches: list[list[bytes]], extra: list[Any]) -> None:
    entries = [deliver_entry(bodies) for bodies in batches] + [[int(ToEngine.KEYS), *extra]]
    flat = [body for bodies in batches for body in bodies]
    frame = decode(b"".join(encode(ring_id, entries, flat)), Direction.TO_ENGINE)
    assert frame == (ring_id, entries, flat)


@given(ring_ids, st.lists(bodies_of_messages, max_size=4), arguments)
def test_a_frame_to_the_executive_comes_back_as_it_was(ring_id: RingId, batches: list[list[bytes]], extra: list[Any]) -> None:
    entries = [[int(ToExecutive.MULTICAST), 0, [len(body) for body in bodies]] for bodies in batches]
    entries.insert(0, [int(ToExecutive.KEEP), *extra])
    flat = [body for bodies in batches for body in bodies]
    frame = decode(b"".join(encode(ring_id, entries, flat)), Direction.TO_EXECUTIVE)
    assert frame == (ring_id, entries, flat)


def test_text_that_is_not_utf8_survives_as_the_bytes_it_came_from() -> None:
    name = b"key.\xff\xfe".decode("utf-8", "surrogateescape")
    frame = decode(b"".join(encode(RingId(1, 4), [[int(ToEngine.KEYS), name]], [])), Direction.TO_ENGINE)
    assert frame.entries == [[int(ToEngine.KEYS), name]]


@given(st.binary(max_size=200), st.sampled_from(Direction))
def test_random_bytes_are_refused_or_decoded_but_never_break_the_reader(chunk: bytes, direction: Direction) -> None:
    try:
        frame = decode(chunk, direction)
    except ValueError:
        return
    assert all(type(entry[0]) is int for entry in frame.entries)


@given(st.data(), st.sampled_from(Direction))
def test_a_frame_with_bytes_changed_is_refused_or_decoded_within_its_bounds(data: st.DataObject, direction: Direction) -> None:
    chunk = bytearray(b"".join(encode(RingId(1, 8), [deliver_entry([b"abc", b"", b"defg"])], [b"abc", b"", b"defg"])))
    for _ in range(data.draw(st.integers(1, 4))):
        chunk[data.draw(st.integers(0, len(chunk) - 1))] = data.draw(st.integers(0, 255))
    try:
        frame = decode(bytes(chunk), direction)
    except ValueError:
        return
    assert sum(map(len, frame.bodies)) <= len(chunk)


def packed(head: Any, behind: bytes = b"") -> bytes:
    raw = msgpack.packb(head)
    return struct.pack("=I", len(raw)) + raw + behind


@pytest.mark.parametrize(
    ("chunk", "direction"),
    [
        (b"", Direction.TO_ENGINE),
        (b"\x05\0\0\0abcd", Direction.TO_ENGINE),
        (packed([1, 2]), Direction.TO_ENGINE),
        (packed([2**32, 2, []]), Direction.TO_ENGINE),
        (packed([1, -1, []]), Direction.TO_ENGINE),
        (packed([True, 1, []]), Direction.TO_ENGINE),
        (packed([1, 2, [[]]]), Direction.TO_ENGINE),
        (packed([1, 2, [["x"]]]), Direction.TO_ENGINE),
        (packed([1, 2, []], b"surplus"), Direction.TO_ENGINE),
        (packed([1, 2, [[1, [5, 0, 4]]]], b"abc"), Direction.TO_ENGINE),
        (packed([1, 2, [[1, [5, 0, -1]]]]), Direction.TO_ENGINE),
        (packed([1, 2, [[1, [5, 0]]]]), Direction.TO_ENGINE),
        (packed([1, 2, [[1, 5, 0, 0]]]), Direction.TO_ENGINE),
        (packed([1, 2, [[3, 0, [2**62, 1]]]], b"abc"), Direction.TO_EXECUTIVE),
        (packed([1, 2, [[3, 0, 3]]], b"abc"), Direction.TO_EXECUTIVE),
        (packed([1, 2, [[3, 0]]]), Direction.TO_EXECUTIVE),
        (packed([1, 2, [[20, {(1): 2}]]]), Direction.TO_EXECUTIVE),
    ],
)
def test_a_malformed_frame_is_refused(chunk: bytes, direction: Direction) -> None:
    with pytest.raises(ValueError):
        decode(chunk, direction)
