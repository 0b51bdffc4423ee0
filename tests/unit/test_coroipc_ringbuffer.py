"""The ring: its bytes as a C peer sees them, its limits, and what it makes of lies."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coroipc.ringbuffer import HEADER_SIZE, SEMAPHORE_OFFSET, RingBuffer, RingCorrupt, data_size
from coroipc.semaphores import ProcessSharedSemaphore


def _ring_in_memory(size: int = 256) -> tuple[RingBuffer, RingBuffer, ctypes.Array[ctypes.c_char], ctypes.Array[ctypes.c_char]]:
    """Writer and reader over the same private memory."""
    header = (ctypes.c_char * HEADER_SIZE)()
    data = (ctypes.c_char * size)()
    writer = RingBuffer(header, data, ProcessSharedSemaphore(header, SEMAPHORE_OFFSET, initialise=True), initialise=True)
    reader = RingBuffer(header, data, ProcessSharedSemaphore(header, SEMAPHORE_OFFSET), initialise=False)
    return writer, reader, header, data


def _set_word(memory: ctypes.Array[ctypes.c_char], offset: int, value: int) -> None:
    struct.pack_into("=I", memory, offset, value)


def _bytes(path: str) -> bytes:
    return Path(path).read_bytes()


def test_a_created_ring_has_the_files_that_c_clients_expect(tmp_path: Path) -> None:
    prefix = str(tmp_path / "qb-request-cfg")
    ring = RingBuffer.create(prefix, 1048576, os.getuid(), os.getgid())
    header = _bytes(prefix + "-header")
    assert len(header) == 8252
    assert os.stat(prefix + "-data").st_size == 1052672 == data_size(1048576)
    assert stat.S_IMODE(os.stat(prefix + "-data").st_mode) == 0o600
    assert header[:12] == bytes.fromhex("000000000000000000040400")
    assert header[12:4108].rstrip(b"\0").decode() == prefix + "-header"
    assert header[4108:8204].rstrip(b"\0").decode() == prefix + "-data"
    assert header[8204:8208] == bytes.fromhex("01000000")
    assert header[8208:8240] == bytes.fromhex("000000000000000080000000") + bytes(20)
    client = RingBuffer.open(prefix)
    assert ring.reference_count == client.reference_count == 2
    client.close()
    assert ring.reference_count == 0
    ring.close(destroy=True)


def test_one_chunk_leaves_the_bytes_that_stock_leaves(tmp_path: Path) -> None:
    prefix = str(tmp_path / "qb-request-cfg")
    server = RingBuffer.create(prefix, 1048576, os.getuid(), os.getgid())
    client = RingBuffer.open(prefix)
    request = bytes.fromhex("06000000000000001000000000000000")
    assert client.write((request,))
    assert _bytes(prefix + "-data")[:40] == bytes.fromhex("10000000a1a1a1a1") + request + bytes(16)
    assert _bytes(prefix + "-header")[:8] == struct.pack("=II", 6, 0)
    assert server.read_many(64, 1 << 20) == [request]
    assert _bytes(prefix + "-data")[:40] == bytes.fromhex("00000000d0d0d0d0") + request + bytes(16)
    assert _bytes(prefix + "-header")[:8] == struct.pack("=II", 6, 6)
    assert _bytes(prefix + "-header")[8208:8212] == bytes(4)
    client.close()
    server.close(destroy=True)


def test_a_c_client_may_cut_the_header_to_its_own_size(tmp_path: Path) -> None:
    prefix = str(tmp_path / "qb-event-cfg")
    ring = RingBuffer.create(prefix, 4096, os.getuid(), os.getgid())
    os.truncate(prefix + "-header", 8248)
    client = RingBuffer.open(prefix)
    assert ring.write((b"event",))
    assert client.read() == b"event"
    client.close()
    ring.close()


@pytest.mark.parametrize(("wanted", "size"), [(100, 4096), (4083, 4096), (4084, 8192), (12328, 16384), (1048576, 1052672)])
def test_data_size_is_the_message_its_margin_and_one_byte_in_whole_pages(wanted: int, size: int) -> None:
    assert data_size(wanted) == size


def test_the_largest_chunk_of_a_default_ring_is_the_one_of_the_reference(tmp_path: Path) -> None:
    ring = RingBuffer.create(str(tmp_path / "r"), 1048576, os.getuid(), os.getgid())
    assert ring.largest == 1052660
    assert ring.write((bytes(1052660),))
    assert not ring.write((b"x",))
    with pytest.raises(ValueError, match="1052661 bytes"):
        ring.write((bytes(1052661),))
    ring.close()


def test_creating_where_no_room_is_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Errno") as caught:
        RingBuffer.create(str(tmp_path / "r"), 1 << 50, os.getuid(), os.getgid())
    assert caught.value.errno in (errno.ENOSPC, errno.EFBIG, errno.EINVAL)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="Errno") as caught:
        RingBuffer.create(str(tmp_path / ("x" * 250)), 100, os.getuid(), os.getgid())
    assert caught.value.errno == errno.ENAMETOOLONG


def test_opening_refuses_files_that_are_no_ring(tmp_path: Path) -> None:
    prefix = str(tmp_path / "r")
    with pytest.raises(FileNotFoundError):
        RingBuffer.open(prefix)
    RingBuffer.create(prefix, 100, os.getuid(), os.getgid()).close()
    header = bytearray(_bytes(prefix + "-header"))
    Path(prefix + "-header").write_bytes(header[:100])
    with pytest.raises(RingCorrupt, match="100 bytes only"):
        RingBuffer.open(prefix)
    header[8:12] = struct.pack("=I", 4096)
    Path(prefix + "-header").write_bytes(header)
    with pytest.raises(RingCorrupt, match="does not agree"):
        RingBuffer.open(prefix)


def test_a_full_ring_refuses_and_an_emptied_one_takes_again() -> None:
    writer, reader, _, _ = _ring_in_memory(64)
    assert writer.write((bytes(20),))
    assert writer.write((bytes(8),))
    assert writer.free_bytes() == 64 - 28 - 16 - 4
    assert not writer.write((bytes(8),))
    assert writer.write((bytes(4),))
    assert [len(chunk) for chunk in reader.read_many(2, 1000)] == [20, 8]
    assert writer.write((bytes(20),))
    assert [len(chunk) for chunk in reader.read_many(9, 1000)] == [4, 20]
    assert writer.free_bytes() == 64


def test_a_chunk_beyond_the_byte_budget_stays_in_place() -> None:
    writer, reader, _, _ = _ring_in_memory()
    assert reader.next_size() == 0
    assert writer.write_many([b"a" * 10, b"b" * 30, b"c" * 5]) == 3
    assert reader.read_many(64, 20) == [b"a" * 10]
    assert reader.read_many(64, 29) == []
    assert reader.next_size() == 30
    assert reader.read_many(64, 35) == [b"b" * 30, b"c" * 5]


def test_a_batch_is_bounded_by_the_semaphore_and_not_by_the_write_pointer() -> None:
    writer, reader, _, _ = _ring_in_memory()
    writer.write_many([b"one", b"two"])
    assert reader.semaphore.take(1) == 1
    assert reader.read_many(64, 1000) == [b"one"]
    assert reader.read_many(64, 1000) == []


def test_a_batch_writes_what_fits_in_order() -> None:
    writer, reader, _, _ = _ring_in_memory(64)
    assert writer.write_many([b"a" * 12, b"b" * 12, b"c" * 12]) == 2
    assert reader.read_many(64, 1000) == [b"a" * 12, b"b" * 12]
    with pytest.raises(ValueError, match="53 bytes"):
        writer.write_many([b"x", bytes(53)])
    with pytest.raises(ValueError, match="empty"):
        writer.write_many([b""])
    assert reader.read() is None


def test_waiting_reads_time_out_and_find_what_comes() -> None:
    writer, reader, _, _ = _ring_in_memory()
    assert reader.read(0.001) is None
    writer.write((b"late",))
    assert reader.read(None) == b"late"


@pytest.mark.parametrize(
    ("lie", "complaint"),
    [
        pytest.param(lambda header, data: _set_word(header, 0, 64), "write pointer", id="write pointer outside"),
        pytest.param(lambda header, data: _set_word(header, 0, 0), "not there", id="write pointer taken back"),
        pytest.param(lambda header, data: _set_word(header, 0, 3), "no valid chunk", id="write pointer inside the chunk"),
        pytest.param(lambda header, data: _set_word(data, 4, 0xA110CED0), "no valid chunk", id="not committed"),
        pytest.param(lambda header, data: _set_word(data, 0, 0), "no valid chunk", id="empty"),
        pytest.param(lambda header, data: _set_word(data, 0, 100), "no valid chunk", id="longer than what was written"),
        pytest.param(lambda header, data: _set_word(data, 0, 0xFFFFFFFF), "no valid chunk", id="huge"),
    ],
)
def test_a_lying_writer_is_found_out(lie: object, complaint: str) -> None:
    for read in (lambda ring: ring.read_many(64, 1 << 40), lambda ring: ring.read(), lambda ring: ring.next_size()):
        writer, reader, header, data = _ring_in_memory()
        writer.write((b"payload",))
        lie(header, data)  # type: ignore[operator]
        with pytest.raises(RingCorrupt, match=complaint):
            read(reader)


def test_an_inflated_semaphore_ends_the_walk_at_the_first_chunk_that_is_not_there() -> None:
    writer, reader, header, _ = _ring_in_memory()
    writer.write((b"payload",))
    _set_word(header, SEMAPHORE_OFFSET, 0x7FFFFFFF)
    with pytest.raises(RingCorrupt):
        reader.read_many(1 << 31, 1 << 40)
    with pytest.raises(RingCorrupt, match="maximum"):
        writer.write((b"more",))


def test_a_lying_reader_is_found_out() -> None:
    writer, _, header, _ = _ring_in_memory()
    _set_word(header, 4, 64)
    with pytest.raises(RingCorrupt, match="read pointer"):
        writer.write((b"payload",))
    with pytest.raises(RingCorrupt, match="read pointer"):
        writer.write_many([b"payload"])


def test_a_peer_cannot_move_our_own_pointer() -> None:
    writer, reader, header, _ = _ring_in_memory()
    writer.write((b"one",))
    _set_word(header, 4, 7)
    assert reader.read_many(64, 1000) == [b"one"]
    _set_word(header, 0, 50)
    writer.write((b"two",))
    assert reader.read() == b"two"


def test_a_closed_ring_can_be_closed_again_and_not_used() -> None:
    writer, _, _, _ = _ring_in_memory()
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="released"):
        writer.write((b"x",))


_sizes = st.lists(st.integers(1, 60), min_size=1, max_size=6)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 244)),
        st.tuples(st.just("write_many"), _sizes),
        st.tuples(st.just("read"), st.none()),
        st.tuples(st.just("read_many"), st.tuples(st.integers(0, 5), st.integers(0, 120))),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(_steps)
def test_the_ring_is_a_bounded_queue(steps: list[tuple[str, object]]) -> None:
    writer, reader, _, _ = _ring_in_memory(256)
    model: deque[bytes] = deque()
    number = 0

    def body(size: int) -> bytes:
        nonlocal number
        number += 1
        return bytes((number + index) & 255 for index in range(size))

    def fits(size: int) -> bool:
        used = sum(8 + (len(chunk) + 3) // 4 * 4 for chunk in model)
        return (256 if not used else 252 - used) >= size + 12

    for action, argument in steps:
        if action == "write":
            assert isinstance(argument, int)
            chunk = body(argument)
            expected = fits(argument)
            assert writer.write((chunk[:5], chunk[5:])) is expected
            model.extend([chunk] * expected)
        elif action == "write_many":
            assert isinstance(argument, list)
            chunks = [body(size) for size in argument]
            count = 0
            for chunk in chunks:
                if not fits(len(chunk)):
                    break
                model.append(chunk)
                count += 1
            assert writer.write_many(chunks) == count
        elif action == "read":
            assert reader.read() == (model.popleft() if model else None)
        else:
            assert isinstance(argument, tuple)
            maximum, budget = argument
            expected_chunks: list[bytes] = []
            while model and len(expected_chunks) < maximum and len(model[0]) <= budget:
                budget -= len(model[0])
                expected_chunks.append(model.popleft())
            assert reader.read_many(maximum, argument[1]) == expected_chunks
        assert reader.semaphore.value() == len(model)


def test_chunks_of_every_size_survive_every_position_of_the_end() -> None:
    writer, reader, _, _ = _ring_in_memory(64)
    for size in range(1, 40):
        for _ in range(17):
            chunk = os.urandom(size)
            assert writer.write_many([chunk]) == 1
            assert reader.read_many(1, size) == [chunk]
            assert writer.write((chunk,))
            assert reader.read() == chunk


def test_large_chunks_inside_a_batch_keep_their_order() -> None:
    writer, reader, _, _ = _ring_in_memory(65536)
    for _ in range(9):
        chunks = [os.urandom(size) for size in (3, 9001, 5, 8192, 8191, 1, 12001)]
        assert writer.write_many(chunks) == len(chunks)
        assert reader.read_many(64, 1 << 20) == chunks
