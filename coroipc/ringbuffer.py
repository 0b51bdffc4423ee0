"""The ring buffer in shared memory: one writer, one reader, chunks of bytes, and a semaphore that counts them.

The layout is libqb's. Header: an array of 32-bit words, the pointers counted in words of the data::

    byte    0  write_pt   next word to write; only the writer stores it
            4  read_pt    next word to read; only the reader stores it
            8  word count of the data
           12  path of the header file, 4096 bytes, NUL terminated
         4108  path of the data file, 4096 bytes, NUL terminated
         8204  reference count: 1 created, 2 opened by the peer, 0 closed by either
         8208  sem_t, 32 bytes: committed and unread chunks
         8240  user word: the flow-control value on a request ring
         8248  end

Data: a ring of chunks, each ``size in bytes | magic | payload padded to words``; a chunk may wrap anywhere between two words.

Neither side trusts the other: each keeps its own pointer and the sizes in private, loads the peer's words once and bounds them.
On x86-64 stores become visible in program order and the semaphore is a full barrier, so plain whole-word stores suffice.

Source: reference ipc sections 2 and 3.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Sequence
from mmap import PAGESIZE
from typing import Any

from coroipc.mapping import Mapping
from coroipc.semaphores import ProcessSharedSemaphore, Semaphore, SemaphoreOverflow

Buffer = bytes | bytearray | memoryview

WRITE_POINTER = 0
READ_POINTER = 1
WORD_COUNT = 2
HEADER_PATH_OFFSET = 12
DATA_PATH_OFFSET = 4108
PATH_SIZE = 4096
REFERENCE_COUNT = 8204 // 4
SEMAPHORE_OFFSET = 8208
USER_WORD = 8240 // 4
HEADER_SIZE = 8248
CREATED_HEADER_SIZE = 8252
"""What the server makes: 4 bytes of user data. A C client cuts response and event headers back to HEADER_SIZE."""

COMMITTED = 0xA1A1A1A1
ALLOCATED = 0xA110CED0
RECLAIMED = 0xD0D0D0D0

CHUNK_OVERHEAD = 8
FREE_MARGIN = 12
"""A chunk is written only if its length and this many bytes are free: the pointers of a full ring never meet."""

DIRECT_COPY_SIZE = 8192
"""A batch's chunk of this size or more is copied straight into the ring; smaller ones are joined first."""

LONGEST_PREFIX = 254

_CHUNK_HEADER = struct.Struct("=II")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

_Characters = ctypes.Array[ctypes.c_char]


class RingCorrupt(Exception):
    """The peer has written something that no correct peer writes; the connection cannot go on."""


def data_size(max_message_size: int) -> int:
    """Bytes of the data file for a connection of that message size: both sides must compute the same."""
    return -(-(max_message_size + FREE_MARGIN + 1) // PAGESIZE) * PAGESIZE


class RingBuffer:
    """One ring, seen from its writer's or its reader's side; never used from both sides by one object.

    ``semaphore`` is the ring's; ``largest`` is the size of the largest chunk that an empty ring takes.
    """

    __slots__ = (
        "_data",
        "_data_view",
        "_header",
        "_mappings",
        "_read",
        "_size",
        "_word_count",
        "_words",
        "_write",
        "largest",
        "semaphore",
    )

    def __init__(self, header: _Characters, data: _Characters, semaphore: Semaphore, *, initialise: bool) -> None:
        """A ring over memory that is there already: ctypes character arrays (``from_buffer`` of any shared segment).

        ``header`` has at least HEADER_SIZE bytes, ``data`` a multiple of 4. ``initialise`` is the creator's part: pointers 0,
        reference count 1. Otherwise the words found must agree with the size of ``data``: RingCorrupt if not.
        """
        size = ctypes.sizeof(data)
        if ctypes.sizeof(header) < HEADER_SIZE or size % 4 or size <= FREE_MARGIN:
            raise ValueError("the memory given is too small for a ring, or not a multiple of 4 bytes")
        self._mappings: tuple[Mapping, ...] = ()
        self._data: Any = data  # slices are bytes, which the type of ctypes arrays does not say
        self._size = size
        self._word_count = size // 4
        self.largest = size - FREE_MARGIN
        self._header = memoryview(header).cast("B")[:HEADER_SIZE].cast("I")
        self._data_view = memoryview(data).cast("B")
        self._words = self._data_view.cast("I")
        self.semaphore = semaphore
        if initialise:
            self._header[WRITE_POINTER] = 0
            self._header[READ_POINTER] = 0
            self._header[WORD_COUNT] = self._word_count
            self._header[USER_WORD] = 0
            self._header[REFERENCE_COUNT] = 1
        self._write = self._header[WRITE_POINTER]
        self._read = self._header[READ_POINTER]
        if self._header[WORD_COUNT] != self._word_count or self._write >= self._word_count or self._read >= self._word_count:
            self._release_views()
            raise RingCorrupt("the ring's header does not agree with the size of its data")

    @classmethod
    def create(cls, prefix: str, max_message_size: int, uid: int, gid: int) -> RingBuffer:
        """Make the two files of a connection's ring, ``prefix-header`` and ``prefix-data``, for the peer ``uid``:``gid``.

        Space is reserved at once, so that a full /dev/shm shows here (OSError ENOSPC) and not as SIGBUS later. On an error
        nothing is left behind. A chown that is not permitted is tolerated (a server that is not root serves its own user).
        """
        header_path, data_path = prefix + "-header", prefix + "-data"
        if len(os.fsencode(prefix)) > LONGEST_PREFIX:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), prefix)
        made: list[str] = []
        mappings: list[Mapping] = []
        try:
            for path, size in ((header_path, CREATED_HEADER_SIZE), (data_path, data_size(max_message_size))):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                made.append(path)
                try:
                    os.ftruncate(descriptor, size)
                    os.posix_fallocate(descriptor, 0, size)
                    os.fchmod(descriptor, 0o600)
                    _give_to(descriptor, uid, gid)
                    mappings.append(Mapping(descriptor, min(size, HEADER_SIZE) if path is header_path else size))
                finally:
                    os.close(descriptor)
            header = mappings[0].characters
            semaphore = ProcessSharedSemaphore(header, SEMAPHORE_OFFSET, initialise=True)
            with memoryview(header).cast("B") as view:
                for offset, path in ((HEADER_PATH_OFFSET, header_path), (DATA_PATH_OFFSET, data_path)):
                    encoded = os.fsencode(path)
                    view[offset : offset + len(encoded)] = encoded
            ring = cls(header, mappings[1].characters, semaphore, initialise=True)
        except BaseException:
            for mapping in mappings:
                mapping.close()
            for path in made:
                os.unlink(path)
            raise
        ring._mappings = tuple(mappings)
        return ring

    @classmethod
    def open(cls, prefix: str) -> RingBuffer:
        """Open a ring that a server has made, as its client. Raises OSError, RingCorrupt.

        The data file is the one that the header names, as C clients have it.
        """
        mappings: list[Mapping] = []
        try:
            mappings.append(_map_file(prefix + "-header", HEADER_SIZE))
            header = mappings[0].characters
            with memoryview(header).cast("B") as view:
                path = bytes(view[DATA_PATH_OFFSET : DATA_PATH_OFFSET + PATH_SIZE]).split(b"\0", 1)[0]
            mappings.append(_map_file(os.fsdecode(path), None))
            ring = cls(header, mappings[1].characters, ProcessSharedSemaphore(header, SEMAPHORE_OFFSET), initialise=False)
        except (RingCorrupt, ValueError, OSError) as error:
            for mapping in mappings:
                mapping.close()
            if isinstance(error, ValueError):
                raise RingCorrupt(f"{prefix}: {error}") from error
            raise
        ring._mappings = tuple(mappings)
        # Nobody else changes it now, so that a load and a store do for the atomic increment of C clients.
        ring._header[REFERENCE_COUNT] += 1
        return ring

    @property
    def reference_count(self) -> int:
        """2 while both sides hold the ring."""
        return self._header[REFERENCE_COUNT]

    @property
    def user_word(self) -> int:
        """The header's user word: flow control on a request ring."""
        return self._header[USER_WORD]

    @user_word.setter
    def user_word(self, value: int) -> None:
        self._header[USER_WORD] = value

    def free_bytes(self) -> int:
        """Room from the writer's point of view (section 3.4). Raises RingCorrupt."""
        # On a full ring the pointers never meet (FREE_MARGIN), so equal means empty whatever the semaphore says.
        read = self._header[READ_POINTER]
        if read >= self._word_count:
            raise RingCorrupt(f"read pointer {read} in a ring of {self._word_count} words")
        write = self._write
        if write == read:
            return self._size
        return ((read - write - 1) % self._word_count) * 4

    def write(self, pieces: Sequence[Buffer]) -> bool:
        """Write one chunk, the concatenation of ``pieces`` (byte-sized items); False when there is no room: nothing changed.

        Raises RingCorrupt, and ValueError for an empty chunk or one that no ring of this size ever takes.
        """
        size = 0
        for piece in pieces:
            size += len(piece)
        if not 0 < size <= self.largest:
            raise ValueError(f"a chunk of {size} bytes in a ring that takes 1 to {self.largest}")
        if size + FREE_MARGIN > self.free_bytes():
            return False
        words, start = self._words, self._write
        magic = start + 1 if start + 1 < self._word_count else 0
        words[start] = 0
        words[magic] = ALLOCATED
        position = start * 4 + CHUNK_OVERHEAD
        for piece in pieces:
            position = self._copy_in(position, piece)
        words[start] = size
        self._advance_write(start + 2 + ((size + 3) >> 2))
        words[magic] = COMMITTED
        self._post(1)
        return True

    def write_many(self, chunks: Iterable[Buffer]) -> int:
        """Write as many of ``chunks`` as fit, in order; how many that were.

        The chunks are laid out together, then the write pointer is stored once and the tokens are posted: no reader looks at a
        chunk before its token, so that the order within the batch is free. Raises RingCorrupt, and ValueError as ``write`` does.
        """
        free, start = self.free_bytes(), self._write
        position = start * 4
        words = 0
        count = 0
        parts: list[Buffer] = []
        pack = _CHUNK_HEADER.pack
        for chunk in chunks:
            size = len(chunk)
            if size + FREE_MARGIN > free:
                if size > self.largest:
                    raise ValueError(f"a chunk of {size} bytes in a ring that takes 1 to {self.largest}")
                break
            if size == 0:
                raise ValueError("an empty chunk cannot be told from none")
            length = 2 + ((size + 3) >> 2)
            if size < DIRECT_COPY_SIZE:
                parts += (pack(size, COMMITTED), chunk, _PADDING[size & 3])
            else:
                parts.append(pack(size, COMMITTED))
                position = self._copy_in(self._copy_in(position, b"".join(parts)), chunk)
                parts = [_PADDING[size & 3]]
            free -= length * 4
            if not words:
                # An empty ring counts one word more than a used one has (section 3.4).
                free = min(free, self._size - 4 - length * 4)
            words += length
            count += 1
        if count:
            self._copy_in(position, b"".join(parts))
            self._advance_write(start + words)
            self._post(count)
        return count

    def next_size(self) -> int:
        """Size of the next unread chunk, 0 when there is none. Raises RingCorrupt."""
        if self.semaphore.value() <= 0:
            return 0
        return self._check_chunk(self._read, self._used())

    def read(self, timeout: float | None = 0.0) -> bytes | None:
        """Take the next chunk, sleeping up to ``timeout`` seconds for it (None: without limit); None when none came.

        Raises RingCorrupt. Not for an event loop's thread unless ``timeout`` is 0.
        """
        if not (self.semaphore.try_wait() if timeout == 0.0 else self.semaphore.wait(timeout)):
            return None
        read = self._read
        size = self._check_chunk(read, self._used())
        begin = (read * 4 + CHUNK_OVERHEAD) % self._size
        end = begin + size
        data = self._data
        chunk: bytes = data[begin:end] if end <= self._size else data[begin : self._size] + data[0 : end - self._size]
        self._words[read] = 0
        self._words[(read + 1) % self._word_count] = RECLAIMED
        self._read = (read + 2 + ((size + 3) >> 2)) % self._word_count
        self._header[READ_POINTER] = self._read
        return chunk

    def read_many(self, maximum_chunks: int, maximum_bytes: int) -> list[bytes]:
        """Take the next chunks: at most that many, and no more than ``maximum_bytes`` of payload in all.

        A chunk that goes beyond the bytes stays in place, so the answer may be empty although ``next_size`` is not 0. The
        semaphore's value bounds the batch, and the walk over valid chunks bounds the semaphore. Raises RingCorrupt.
        """
        available = self.semaphore.value()
        if available < maximum_chunks:
            maximum_chunks = available
        if maximum_chunks <= 0:
            return []
        chunks: list[bytes] = []
        words, data, count, size_of_data = self._words, self._data, self._word_count, self._size
        read, used = self._read, self._used()
        for _ in range(maximum_chunks):
            magic = read + 1 if read + 1 < count else 0
            size = words[read]
            length = 2 + ((size + 3) >> 2)
            if words[magic] != COMMITTED or size == 0 or length > used:
                self._check_chunk(read, used)
            if size > maximum_bytes:
                break
            maximum_bytes -= size
            begin = read * 4 + CHUNK_OVERHEAD
            end = begin + size
            if end <= size_of_data:
                chunks.append(data[begin:end])
            elif begin >= size_of_data:
                chunks.append(data[begin - size_of_data : end - size_of_data])
            else:
                chunks.append(data[begin:size_of_data] + data[0 : end - size_of_data])
            words[read] = 0
            words[magic] = RECLAIMED
            used -= length
            read += length
            if read >= count:
                read -= count
        if chunks:
            # Tokens first, then the pointer: C writers count free space in that order.
            if self.semaphore.take(len(chunks)) != len(chunks):
                raise RingCorrupt("tokens have vanished from the semaphore")
            self._read = read
            self._header[READ_POINTER] = read
        return chunks

    def close(self, *, destroy: bool = False) -> None:
        """Let go: the reference count becomes 0, and the memory is unmapped. ``destroy`` is the creator's part. Repeatable."""
        if self._size == 0:
            return
        self._header[REFERENCE_COUNT] = 1
        self._header[REFERENCE_COUNT] = 0
        if destroy and isinstance(self.semaphore, ProcessSharedSemaphore):
            self.semaphore.destroy()
        self.semaphore.close()
        self._release_views()
        for mapping in self._mappings:
            mapping.close()

    def _release_views(self) -> None:
        self._header.release()
        self._words.release()
        self._data_view.release()
        self._data = (ctypes.c_char * 0)()
        self._size = 0

    def _used(self) -> int:
        """Words between our read pointer and the peer's write pointer."""
        write = self._header[WRITE_POINTER]
        if write >= self._word_count:
            raise RingCorrupt(f"write pointer {write} in a ring of {self._word_count} words")
        return (write - self._read) % self._word_count

    def _check_chunk(self, read: int, used: int) -> int:
        """The size of the chunk at ``read``; RingCorrupt if no valid chunk lies there within ``used`` words."""
        magic = self._words[(read + 1) % self._word_count]
        size = self._words[read]
        if used == 0:
            raise RingCorrupt("the semaphore announces a chunk that is not there")
        if magic != COMMITTED or size == 0 or 2 + ((size + 3) >> 2) > used:
            raise RingCorrupt(f"no valid chunk at word {read}: magic {magic:#x}, size {size}, {used} words in use")
        return size

    def _copy_in(self, position: int, piece: Buffer) -> int:
        """Copy into the data at a byte position (one past the end and more means from the start); the position behind it."""
        size = self._size
        if position >= size:
            position -= size
        end = position + len(piece)
        if end <= size:
            self._data_view[position:end] = piece
            return end
        first = size - position
        with memoryview(piece) as view:
            self._data_view[position:size] = view[:first]
            self._data_view[0 : end - size] = view[first:]
        return end - size

    def _advance_write(self, write: int) -> None:
        if write >= self._word_count:
            write -= self._word_count
        self._write = write
        self._header[WRITE_POINTER] = write

    def _post(self, count: int) -> None:
        try:
            self.semaphore.post(count)
        except SemaphoreOverflow as error:
            raise RingCorrupt("the semaphore is at its maximum") from error


def _give_to(descriptor: int, uid: int, gid: int) -> None:
    try:
        os.fchown(descriptor, uid, gid)
    except PermissionError:
        pass


def _map_file(path: str, size: int | None) -> Mapping:
    """Map a whole ring file (``size`` None) or its first bytes; a file shorter than that is corrupt."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        actual = os.fstat(descriptor).st_size
        if actual < (size or PAGESIZE):
            raise RingCorrupt(f"{path} has {actual} bytes only")
        return Mapping(descriptor, size or actual)
    finally:
        os.close(descriptor)
