"""Files in /dev/shm that others own: the rings as a client opens them, what a program shares with cpg, what dead daemons leave.

Claims: RingCorrupt or OSError for a ring, CorosyncError for a shared file, nothing for a sweep; a sweep removes nothing but
rings, and only of processes that are dead.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections import Counter
from typing import Final

from coroipc.errors import CorosyncError
from coroipc.liveness import is_dead
from coroipc.ringbuffer import (
    CREATED_HEADER_SIZE,
    DATA_PATH_OFFSET,
    HEADER_SIZE,
    SEMAPHORE_OFFSET,
    RingBuffer,
    RingCorrupt,
    data_size,
)
from coroipc.server.files import sweep
from coroipc.server.shared_file import SharedFile
from fuzz.pieces import cut, joined
from fuzz.target import claim
from libcpg.zero_copy import FILE_PREFIX

DATA_BYTES: Final = data_size(1)
INNER_WORDS: Final = slice(SEMAPHORE_OFFSET + 4, SEMAPHORE_OFFSET + 12)
"""Of the semaphore: see ``rings``."""
CHANGES_EACH: Final = 8
RING, SHARED, LEFT = range(3)
"""What an input's first byte says."""
SHARED_FILE: Final = FILE_PREFIX + "abcdef"
PRECIOUS: Final = "qb-1-2-3-abcdef"
"""The rings of a process that lives."""
NAMES: Final = ("qb-4194305-2-3-abcdef", PRECIOUS, f"qb-{'9' * 40}-2-3-abcdef", "qb-²-2-3-abcdef", "qb-0-2-3-abcdef", "precious")


class FilesTarget:
    """An input: which files, then pieces: for a ring the sizes, then words of its header; a path and numbers; a name."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self._folder = tempfile.mkdtemp(prefix="corosyncd-fuzz-")
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._prefix = os.path.join(self._folder, "qb-request-fuzz")
        ring = RingBuffer.create(self._prefix, 1, os.getuid(), os.getgid())
        ring.close()
        # Kept open: a file that is truncated to nothing and closed is written out at once by some file systems.
        self._header = os.open(self._prefix + "-header", os.O_RDWR | os.O_CLOEXEC)
        self._data = os.open(self._prefix + "-data", os.O_RDWR | os.O_CLOEXEC)
        self._whole = os.pread(self._header, CREATED_HEADER_SIZE, 0)
        for name, make in ((SHARED_FILE, os.mknod), (FILE_PREFIX + "folder", os.mkdir), (FILE_PREFIX + "fifofi", os.mkfifo)):
            make(os.path.join(self._folder, name))
        os.symlink(self._prefix + "-data", os.path.join(self._folder, FILE_PREFIX + "linkli"))
        os.mkdir(os.path.join(self._folder, PRECIOUS))
        self.seeds = [*_ring_seeds(), *self._shared_seeds(), *(bytes((LEFT,)) + joined((name.encode(),)) for name in NAMES)]

    def _shared_seeds(self) -> list[bytes]:
        paths = [
            os.path.join(self._folder, FILE_PREFIX + end).encode() for end in ("abcdef", "folder", "fifofi", "linkli", "absent")
        ]
        sizes = [size.to_bytes(8, "little") for size in (1, 64, 4096, (1 << 24) + 1, (1 << 64) - 1)]
        return [bytes((SHARED,)) + joined((path, size, b"\x08" + bytes(7))) for path in paths for size in sizes]

    def run(self, data: bytes) -> None:
        """One look at files."""
        pieces = cut(data[1:], CHANGES_EACH)
        if data and pieces:
            (self._open_ring, self._take, self._sweep)[data[0] % 3](pieces)

    def _open_ring(self, pieces: list[bytes]) -> None:
        header = bytearray(self._whole)
        for change in pieces[1:]:
            at = int.from_bytes(change[:2], "little")
            header[at : at + len(change) - 2] = change[2:]
        header[INNER_WORDS] = bytes(8)
        sizes = pieces[0].ljust(8, b"\0")
        length, data = (int.from_bytes(size, "little") % (1 << 16) for size in (sizes[:4], sizes[4:8]))
        os.ftruncate(self._header, length)
        os.pwrite(self._header, header[:length], 0)
        os.ftruncate(self._data, 0)
        os.ftruncate(self._data, data)
        try:
            ring = RingBuffer.open(self._prefix)
        except (RingCorrupt, OSError) as error:
            self.dropped[type(error).__name__] += 1
            return
        try:
            ring.write_many((b"one", b"two"))
            chunks = ring.read_many(2, data)
            claim(sum(map(len, chunks)) <= data, "no more is read than there is")
        except RingCorrupt:
            self.dropped["RingCorrupt"] += 1
        finally:
            ring.close()

    def _take(self, pieces: list[bytes]) -> None:
        path, size, offset = (*pieces, b"", b"")[:3]
        shared = os.path.join(self._folder, SHARED_FILE)
        if not os.path.exists(shared):
            os.mknod(shared)
        os.truncate(shared, 4096)
        wanted, place = int.from_bytes(size[:8], "little", signed=True), int.from_bytes(offset[:8], "little", signed=True)
        try:
            file = SharedFile.take(path, FILE_PREFIX, wanted, os.getuid(), self._folder)
        except CorosyncError as error:
            self.dropped[type(error).__name__] += 1
            return
        try:
            file.write(place, b"address!")
            claim(file.read(place, 8) == b"address!", "what was written is read")
            file.read(0, len(offset))
        except CorosyncError as error:
            self.dropped[type(error).__name__] += 1
        finally:
            file.close()

    def _sweep(self, pieces: list[bytes]) -> None:
        name = pieces[0][:250].translate(None, b"/\0")
        path = os.path.join(os.fsencode(self._folder), name)
        try:
            os.mkdir(path)
        except OSError:
            return  # It is there already, or no name.
        os.close(os.open(os.path.join(path, b"qb-request-fuzz-header"), os.O_CREAT | os.O_CLOEXEC))
        removed = sweep(is_dead, self._folder)
        claim(not removed or [os.fsencode(gone) for gone in removed] == [path], f"nothing else is removed: {removed}")
        claim(os.path.exists(os.path.join(self._folder, PRECIOUS)), "what belongs to a process that lives stays")
        self.dropped["swept" if removed else "left alone"] += 1
        shutil.rmtree(path, ignore_errors=True)


def _ring_seeds() -> list[bytes]:
    sizes = [(length, data) for length in (HEADER_SIZE, CREATED_HEADER_SIZE, 4096) for data in (DATA_BYTES, 0, 4096, 4100)]
    words = [(0, 7), (4, 1 << 31), (8, 0), (8, 1025), (8208, 2), (8204, 0), (DATA_PATH_OFFSET, 0), (DATA_PATH_OFFSET + 5, 0)]
    changes = [at.to_bytes(2, "little") + value.to_bytes(4, "little") for at, value in words]
    return [
        bytes((RING,)) + joined((length.to_bytes(4, "little") + data.to_bytes(4, "little"), *some))
        for length, data in sizes
        for some in ((), *((change,) for change in changes))
    ]
