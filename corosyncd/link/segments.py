"""Shared memory of a link and the semaphores of its two rings: POSIX, or System V for containers without a usable /dev/shm.

A later start can sweep what a killed node has left: POSIX names hold the pid of their creator; a System V segment has a key of
our range, no user, and the keys of its semaphores in its first words.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import posix_ipc
import sysv_ipc

from coroipc.liveness import is_dead
from coroipc.mapping import Mapping
from coroipc.semaphores import NamedSemaphore, Semaphore, SystemVSemaphore

NAME_PREFIX: Final = "corosyncd-"
KEY_PREFIX: Final = 0x5C0C0000
KEY_WORDS = struct.Struct("=II")
"""At the beginning of a System V segment: the keys of its two semaphores."""
_KEY_MASK: Final = 0xFFFF
_ATTEMPTS: Final = 64
"""Random names or keys tried before giving up."""
_POSIX_DIRECTORY = Path("/dev/shm")
_LEFTOVER = re.compile(rf"(?:sem\.)?{NAME_PREFIX}([0-9]+)-.*")
_SYSTEM_V_TABLE = Path("/proc/sysvipc/shm")

Characters = ctypes.Array[ctypes.c_char]


class Segment(Protocol):
    """The memory of one link; ``semaphores`` belong to the ring towards the engine and to the one towards the executive."""

    characters: Characters
    semaphores: tuple[Semaphore, Semaphore]

    @property
    def description(self) -> list[Any]:
        """What ``attach`` needs on the other side."""

    def unlink(self) -> None:
        """Remove the names that are still there. System V semaphores stop working with theirs."""

    def close(self) -> None:
        """Unmap the memory: nobody may touch ``characters`` any more. The rings close the semaphores."""


class PosixSegment:
    """``shm_open`` and ``sem_open``."""

    __slots__ = ("_base", "_mapping", "_size", "characters", "semaphores")

    def __init__(self, base: str, size: int, *, create: bool) -> None:
        """Make it (FileExistsError) or open it (FileNotFoundError). Raises OSError."""
        self._base = base
        self._size = size
        try:
            memory = posix_ipc.SharedMemory(f"/{base}", posix_ipc.O_CREX if create else 0, mode=0o600)
        except posix_ipc.ExistentialError as error:
            number = errno.EEXIST if create else errno.ENOENT
            raise OSError(number, f"shared memory {base}: {os.strerror(number)}") from error
        try:
            if create:
                # Reserved now, so that a full /dev/shm is an error here and not a SIGBUS later.
                os.posix_fallocate(memory.fd, 0, size)
            elif os.fstat(memory.fd).st_size != size:
                raise OSError(errno.EBADMSG, f"shared memory {base} is not {size} bytes long")
            self._mapping = Mapping(memory.fd, size)
            to_engine, to_executive = _semaphore_names(base)
            self.semaphores: tuple[Semaphore, Semaphore] = (
                NamedSemaphore(to_engine, create=create),
                NamedSemaphore(to_executive, create=create),
            )
        except BaseException:
            if create:
                self.unlink()
            raise
        finally:
            memory.close_fd()
        self.characters: Characters = self._mapping.characters

    @classmethod
    def create(cls, purpose: str, size: int) -> PosixSegment:
        """A new one with a name of its own; ``purpose`` is part of the name. Raises OSError."""
        for _ in range(_ATTEMPTS):
            try:
                return cls(f"{NAME_PREFIX}{os.getpid()}-{purpose}-{os.urandom(3).hex()}", size, create=True)
            except FileExistsError:
                continue
        raise FileExistsError(errno.EEXIST, "no free name for the link's shared memory")

    @property
    def description(self) -> list[Any]:
        """See Segment."""
        return ["posix", self._base, self._size]

    def unlink(self) -> None:
        """See Segment."""
        _unlink_posix(self._base)

    def close(self) -> None:
        """See Segment."""
        self.characters = (ctypes.c_char * 0)()
        self._mapping.close()


class SystemVSegment:
    """``shmget`` and ``semget``. Its key stays until ``unlink``: a semaphore removed from under its users would stop working."""

    __slots__ = ("_memory", "characters", "semaphores")

    def __init__(self, memory: Any, semaphores: tuple[SystemVSemaphore, SystemVSemaphore]) -> None:
        """Use ``create`` or ``attach``."""
        self._memory = memory
        self.semaphores: tuple[Semaphore, Semaphore] = semaphores
        self.characters: Characters = (ctypes.c_char * memory.size).from_address(memory.address)

    @classmethod
    def create(cls, size: int) -> SystemVSegment:
        """A new one under a random key of our range. Raises OSError."""
        for _ in range(_ATTEMPTS):
            key = KEY_PREFIX | int.from_bytes(os.urandom(2), "little") & _KEY_MASK
            try:
                memory = sysv_ipc.SharedMemory(key, sysv_ipc.IPC_CREX, mode=0o600, size=size)
            except sysv_ipc.ExistentialError:
                continue
            semaphores = SystemVSemaphore(None), SystemVSemaphore(None)
            memory.write(KEY_WORDS.pack(*(semaphore.key & 0xFFFFFFFF for semaphore in semaphores)))
            return cls(memory, semaphores)
        raise FileExistsError(errno.EEXIST, "no free System V key for the link's shared memory")

    @classmethod
    def attach(cls, key: int) -> SystemVSegment:
        """The one that another process has made. Raises FileNotFoundError."""
        try:
            memory = sysv_ipc.SharedMemory(key)
        except sysv_ipc.ExistentialError as error:
            raise FileNotFoundError(errno.ENOENT, f"System V shared memory {key:#x}") from error
        first, second = KEY_WORDS.unpack(memory.read(KEY_WORDS.size))
        return cls(memory, (SystemVSemaphore(_signed(first)), SystemVSemaphore(_signed(second))))

    @property
    def description(self) -> list[Any]:
        """See Segment."""
        return ["sysv", self._memory.key]

    def unlink(self) -> None:
        """See Segment."""
        for semaphore in self.semaphores:
            with suppress(sysv_ipc.ExistentialError):
                semaphore.unlink()  # type: ignore[attr-defined]
        with suppress(sysv_ipc.ExistentialError):
            self._memory.remove()

    def close(self) -> None:
        """See Segment."""
        if self._memory.attached:
            self.characters = (ctypes.c_char * 0)()
            self._memory.detach()


def attach(description: list[Any]) -> Segment:
    """The segment that a description names. Raises OSError, ValueError for a description of another form."""
    match description:
        case ["posix", str(base), int(size)]:
            return PosixSegment(base, size, create=False)
        case ["sysv", int(key)]:
            return SystemVSegment.attach(key)
    raise ValueError(f"{description!r} does not describe a segment")


def sweep(directory: Path = _POSIX_DIRECTORY) -> None:
    """Remove the segments and semaphores of executives that no longer live.

    Everybody may put names there, also in order to trip us: what cannot be removed stays.
    """
    for path in directory.iterdir():
        match = _LEFTOVER.fullmatch(path.name)
        if match is not None and is_dead(int(match[1])):
            with suppress(OSError):
                path.unlink()
    for line in _SYSTEM_V_TABLE.read_text().splitlines()[1:]:
        fields = line.split()
        key, creator, users = int(fields[0]), fields[4], int(fields[6])
        if key & ~_KEY_MASK == KEY_PREFIX and users == 0 and is_dead(int(creator)):
            with suppress(OSError, sysv_ipc.Error):
                _remove_system_v(key)


def _remove_system_v(key: int) -> None:
    """Remove a segment, with those of its semaphores that are still there: who left it may have died in the middle of that.

    Another user's is left alone: the semaphores that it names could be anybody's.
    """
    memory = sysv_ipc.SharedMemory(key)
    words = KEY_WORDS.unpack(memory.read(KEY_WORDS.size)) if memory.size >= KEY_WORDS.size else ()
    memory.detach()
    if memory.cuid != os.geteuid() or not words:
        return
    for word in filter(None, words):  # Zero: it died before they were made.
        with suppress(FileNotFoundError, sysv_ipc.ExistentialError):
            SystemVSemaphore(_signed(word)).unlink()
    memory.remove()


def _semaphore_names(base: str) -> tuple[str, str]:
    return f"/{base}-e", f"/{base}-x"


def _unlink_posix(base: str) -> None:
    with suppress(posix_ipc.ExistentialError):
        posix_ipc.unlink_shared_memory(f"/{base}")
    for name in _semaphore_names(base):
        with suppress(posix_ipc.ExistentialError):
            posix_ipc.unlink_semaphore(name)


def _signed(word: int) -> int:
    """A key_t is a signed number, its word in the segment is not."""
    return word - (1 << 32) if word >= 1 << 31 else word
