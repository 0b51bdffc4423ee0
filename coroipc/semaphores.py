"""Counting semaphores between processes: one small protocol, three kinds.

libqb's rings carry a ``sem_t`` in their header file. The link between our own two processes uses named POSIX semaphores, or
System V ones where /dev/shm cannot hold them. A value counts the committed and unread chunks of one ring.

Source: reference ipc sections 3.1, 3.5 and 3.7; sem_overview(7).
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from struct import Struct
from typing import Any, Protocol

SEMAPHORE_SIZE = 32
"""Bytes of a ``sem_t`` of glibc on x86-64."""

# PyDLL keeps the interpreter lock: three times faster than CDLL, and right for calls that never sleep.
_quick = ctypes.PyDLL(None)
_sem_post = _quick["sem_post"]
_sem_trywait = _quick["sem_trywait"]
_sem_getvalue = _quick["sem_getvalue"]
_sem_init = _quick["sem_init"]
_sem_destroy = _quick["sem_destroy"]
# CDLL lets other threads run while this one sleeps.
_sleeping = ctypes.CDLL(None, use_errno=True)
_sem_timedwait = _sleeping["sem_timedwait"]
_semtimedop = _sleeping["semtimedop"]
_semtimedop.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p]

# Explicit, since a compiled loop does not look for signals by itself. It raises what a handler raises.
_run_signal_handlers = ctypes.pythonapi.PyErr_CheckSignals
_get_errno = ctypes.get_errno
_set_errno = ctypes.set_errno

_TIME = Struct("@ll")
"""struct timespec: seconds, nanoseconds."""
_TAKE_ONE = Struct("@Hhh").pack(0, -1, 0)
"""struct sembuf: number, operation, flags."""

_LONG_TIME = 86400.0
_KEY_ATTEMPTS = 64
"""Random keys tried before giving up."""


class SemaphoreOverflow(Exception):
    """The semaphore is at its maximum: its peer has corrupted it."""


class Semaphore(Protocol):
    """What a ring needs of a semaphore. Nothing but ``wait`` sleeps."""

    def post(self, count: int = 1) -> None:
        """Add ``count`` tokens, waking waiters. Raises SemaphoreOverflow."""

    def try_wait(self) -> bool:
        """Take a token if there is one."""

    def take(self, count: int) -> int:
        """Take up to ``count`` tokens without waiting; how many were taken."""

    def value(self) -> int:
        """Tokens at this moment: a hint, since a peer can write anything."""

    def wait(self, timeout: float | None) -> bool:
        """Take a token, sleeping up to ``timeout`` seconds (None: without limit); False when none came."""

    def close(self) -> None:
        """Let go of it; the object itself stays for the other side."""


class ProcessSharedSemaphore:
    """A ``sem_t`` that lies in shared memory, at an offset of a ctypes array that holds it.

    Only the C library's functions touch it, since a peer may be asleep in the futex.
    """

    __slots__ = ("_memory", "_reference", "_value", "_value_reference", "asleep")

    def __init__(self, memory: ctypes.Array[ctypes.c_char], offset: int, *, initialise: bool = False) -> None:
        """``initialise`` makes it anew with value 0 (its creator's task). Raises OSError, ValueError when it does not fit."""
        if offset < 0 or offset + SEMAPHORE_SIZE > ctypes.sizeof(memory):
            raise ValueError("the semaphore does not fit into the memory given")
        self._memory = memory
        self._reference = ctypes.byref(memory, offset)
        self._value = ctypes.c_int()
        self._value_reference = ctypes.byref(self._value)
        self.asleep = False
        """After an exception out of ``wait``: whether it struck the sleep, and no token was taken."""
        if initialise and _sem_init(self._reference, 1, 0) != 0:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def post(self, count: int = 1) -> None:
        """See Semaphore."""
        reference = self._reference
        for _ in range(count):
            if _sem_post(reference) != 0:
                raise SemaphoreOverflow

    def try_wait(self) -> bool:
        """See Semaphore."""
        return bool(_sem_trywait(self._reference) == 0)

    def take(self, count: int) -> int:
        """See Semaphore."""
        reference = self._reference
        for taken in range(count):
            if _sem_trywait(reference) != 0:
                return taken
        return count

    def value(self) -> int:
        """See Semaphore."""
        _sem_getvalue(self._reference, self._value_reference)
        return self._value.value

    def wait(self, timeout: float | None) -> bool:
        """See Semaphore. Waits on CLOCK_REALTIME as C peers do; Python's signal handlers run in between."""
        self.asleep = False
        if self.try_wait():
            return True
        limit = time.time() + (_LONG_TIME if timeout is None else timeout)
        while True:
            seconds = int(limit)
            until = _TIME.pack(seconds, int((limit - seconds) * 1_000_000_000))
            number = self._sleep(until)
            if number == 0:
                return True
            if number == errno.ETIMEDOUT:
                if timeout is not None:
                    return False
                limit = time.time() + _LONG_TIME
            elif number != errno.EINTR:
                raise OSError(number, os.strerror(number))

    def _sleep(self, until: bytes) -> int:
        """Wait once; 0 with a token, or the error's number. What a signal's handler raises meanwhile leaves the token there."""
        _set_errno(0)
        self.asleep = True
        try:
            taken = _sem_timedwait(self._reference, until) == 0
            number = 0 if taken else _get_errno()
            if number == errno.EINTR:
                _run_signal_handlers()
        except BaseException:
            # Handlers run right behind the call, also behind one that has succeeded: its error number is untouched then.
            if _get_errno() == 0:
                _sem_post(self._reference)
            raise
        self.asleep = False
        return number

    def destroy(self) -> None:
        """End its life (its creator's task, last of all)."""
        _sem_destroy(self._reference)

    def close(self) -> None:
        """Forget the memory, which may then be unmapped."""
        empty = ctypes.create_string_buffer(SEMAPHORE_SIZE)
        self._memory = empty
        self._reference = ctypes.byref(empty)


class NamedSemaphore:
    """A named POSIX semaphore (posix_ipc), for the link between the executive and an engine."""

    __slots__ = ("_busy", "_semaphore", "name")

    def __init__(self, name: str, *, create: bool) -> None:
        """Make it (mode 0600, value 0; FileExistsError when it is there) or open it. Raises OSError."""
        import posix_ipc

        self.name = name
        self._busy: type[Exception] = posix_ipc.BusyError
        try:
            self._semaphore: Any = (
                posix_ipc.Semaphore(name, posix_ipc.O_CREX, mode=0o600) if create else posix_ipc.Semaphore(name)
            )
        except posix_ipc.ExistentialError as error:
            kind = FileExistsError if create else FileNotFoundError
            raise kind(errno.EEXIST if create else errno.ENOENT, f"semaphore {name}") from error

    def post(self, count: int = 1) -> None:
        """See Semaphore."""
        release = self._semaphore.release
        try:
            for _ in range(count):
                release()
        except OSError as error:
            raise SemaphoreOverflow from error

    def try_wait(self) -> bool:
        """See Semaphore."""
        return self.take(1) == 1

    def take(self, count: int) -> int:
        """See Semaphore."""
        acquire = self._semaphore.acquire
        taken = 0
        try:
            while taken < count:
                acquire(0)
                taken += 1
        except self._busy:
            pass
        return taken

    def value(self) -> int:
        """See Semaphore."""
        return int(self._semaphore.value)

    def wait(self, timeout: float | None) -> bool:
        """See Semaphore."""
        try:
            self._semaphore.acquire(timeout)
        except self._busy:
            return False
        return True

    def unlink(self) -> None:
        """Remove the name; both sides keep what they have open."""
        self._semaphore.unlink()

    def close(self) -> None:
        """See Semaphore."""
        self._semaphore.close()


class SystemVSemaphore:
    """A System V semaphore (sysv_ipc), for containers whose /dev/shm cannot be used. Its value ends at 32,767.

    Unlike a POSIX one it is gone for all its users when one removes it. Then it counts nothing: who removed it has gone too, and
    says so in another way.
    """

    __slots__ = ("_busy", "_removed", "_semaphore", "key")

    def __init__(self, key: int | None) -> None:
        """Open the one with that ``key``; with None, make one under a fresh key (mode 0600, value 0). Raises OSError."""
        import sysv_ipc

        self._busy: type[Exception] = sysv_ipc.BusyError
        self._removed: type[Exception] = sysv_ipc.ExistentialError
        if key is None:
            self._semaphore: Any = self._make(sysv_ipc)
        else:
            try:
                self._semaphore = sysv_ipc.Semaphore(key)
            except sysv_ipc.ExistentialError as error:
                raise FileNotFoundError(errno.ENOENT, f"System V semaphore {key}") from error
        # Operations return at once; ``wait`` sleeps in semtimedop itself, since sysv_ipc may be built without it.
        self._semaphore.block = False
        self.key: int = self._semaphore.key

    @staticmethod
    def _make(sysv_ipc: Any) -> Any:
        # sysv_ipc's own fresh keys are the same in every process that starts within one second.
        for _ in range(_KEY_ATTEMPTS):
            key = int.from_bytes(os.urandom(4), "little") & 0x7FFFFFFF
            try:
                if key:  # Zero is IPC_PRIVATE, which nobody else could open.
                    return sysv_ipc.Semaphore(key, sysv_ipc.IPC_CREX, mode=0o600)
            except sysv_ipc.ExistentialError:
                continue
        raise FileExistsError(errno.EEXIST, "no free key for a System V semaphore")

    def post(self, count: int = 1) -> None:
        """See Semaphore. One call for the whole batch."""
        if count:
            try:
                self._semaphore.release(count)
            except self._removed:
                pass
            except (OSError, ValueError, OverflowError) as error:
                raise SemaphoreOverflow from error

    def try_wait(self) -> bool:
        """See Semaphore."""
        try:
            self._semaphore.acquire()
        except (self._busy, self._removed):
            return False
        return True

    def take(self, count: int) -> int:
        """See Semaphore. The only reader takes what it saw in one call."""
        count = min(count, self.value())
        if count:
            try:
                self._semaphore.acquire(None, count)
            except (self._busy, self._removed):
                return 0
        return count

    def value(self) -> int:
        """See Semaphore."""
        try:
            return int(self._semaphore.value)
        except self._removed:
            return 0

    def wait(self, timeout: float | None) -> bool:
        """See Semaphore."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            remaining = _LONG_TIME if deadline is None else max(deadline - time.monotonic(), 0.0)
            until = _TIME.pack(int(remaining), int(remaining % 1.0 * 1_000_000_000))
            if _semtimedop(self._semaphore.id, _TAKE_ONE, 1, until) == 0:
                return True
            number = ctypes.get_errno()
            if number == errno.EAGAIN and deadline is not None:
                return False
            if number == errno.EINTR:
                _run_signal_handlers()
            elif number != errno.EAGAIN:
                raise OSError(number, os.strerror(number))

    def unlink(self) -> None:
        """Remove it; System V semaphores outlive their users otherwise."""
        self._semaphore.remove()

    def close(self) -> None:
        """See Semaphore: System V semaphores have nothing to close."""
