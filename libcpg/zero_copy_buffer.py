"""A program's side of zero-copy buffers: the file, and the steps that hand it to the daemon, send from it and give it back.

Source: cpg_zcb_alloc and its siblings in cpg.h, reference client-api section 3.7. Newer stock daemons refuse buffers.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from typing import Final

from coroipc.errors import BadHandle, InvalidParameter, LibraryError, Status, TooBig, check, error_for, status_from_errno
from coroipc.layouts import response_status
from coroipc.library import Ask, Pause, Steps, ask
from libcpg.messages import ATOMIC_MESSAGE_LIMIT, MCAST_REQUEST, Guarantee
from libcpg.session import MCAST_FLOW_LIMIT, NO_ROOM_RETRIES, RETRY_SECONDS, Session
from libcpg.zero_copy import (
    ADDRESS,
    ADDRESS_OFFSET,
    DATA_OFFSET,
    DIRECTORY,
    FILE_PREFIX,
    MESSAGE_OFFSET,
    SIZE,
    AllocateRequest,
    ExecuteRequest,
    FreeRequest,
)

_ATTEMPTS: Final = 100


class ZeroCopyBuffer:
    """Memory shared with the daemon: write the message into ``data``, send it, as often as you like."""

    def __init__(self, size: int) -> None:
        """Use ``zero_copy_allocate`` of a connection. Raises CorosyncError by errno: NoSpace where /dev/shm is full."""
        self._file_size = DATA_OFFSET + size
        try:
            self.path, descriptor = _make_file()
            try:
                os.posix_fallocate(descriptor, 0, self._file_size)
                self._memory = mmap.mmap(descriptor, self._file_size)
            except BaseException:
                self.unlink()
                raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise error_for(status_from_errno(error.errno or 0), f"a zero-copy buffer of {size} bytes") from error
        self.data = memoryview(self._memory)[DATA_OFFSET:]
        """The message's place, writable."""
        SIZE.pack_into(self._memory, 0, self._file_size)
        self._freed = False

    @property
    def address(self) -> int:
        """What the daemon calls it; 0 when it has not taken it."""
        address: int = ADDRESS.unpack_from(self._memory, ADDRESS_OFFSET)[0]
        return address

    @property
    def file_size(self) -> int:
        """Bytes of the file."""
        return self._file_size

    def prepare(self, length: int, guarantee: int) -> None:
        """Write the head of a message of the first ``length`` bytes."""
        MCAST_REQUEST.head.pack_into(
            self._memory, MESSAGE_OFFSET, MCAST_REQUEST.identifier, MCAST_REQUEST.size + length, guarantee, length
        )

    def require_open(self, what: str) -> None:
        """Raises BadHandle once the buffer is free."""
        if self._freed:
            raise BadHandle(what)

    def unlink(self) -> None:
        """Remove the file's name, if the daemon has not."""
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def close(self) -> None:
        """Let go of the memory; it stays until views of ``data`` that are still held go too."""
        self._freed = True
        self.data.release()
        with suppress(BufferError):
            self._memory.close()


def _make_file() -> tuple[str, int]:
    """A new file with a name that mkstemp(3) could have made: daemons take no other."""
    for _ in range(_ATTEMPTS):
        path = f"{DIRECTORY}/{FILE_PREFIX}{os.urandom(3).hex()}"
        with suppress(FileExistsError):
            return path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    raise FileExistsError(f"no free name below {DIRECTORY}/{FILE_PREFIX}")


def allocate(session: Session, size: int) -> Steps[ZeroCopyBuffer]:
    """A buffer for messages of up to ``size`` bytes, shared with the daemon.

    C: cpg_zcb_alloc. Raises InvalidParameter, NoSpace (/dev/shm is full), NoResources (too many), NotSupported (a newer daemon),
    TryAgain, LibraryError.
    """
    if size < 0:
        raise InvalidParameter(f"cpg_zcb_alloc({size})")
    buffer = ZeroCopyBuffer(size)
    try:
        response = yield Ask(AllocateRequest(buffer.file_size, os.fsencode(buffer.path)).encode())
        # A stock daemon's answer has no status: its success is the address.
        if not buffer.address:
            check(response_status(response), f"cpg_zcb_alloc({size})")
            raise LibraryError(f"cpg_zcb_alloc({size}): the daemon has not taken the buffer")
    except BaseException:
        buffer.close()
        raise
    finally:
        buffer.unlink()
    return buffer


def mcast(session: Session, buffer: ZeroCopyBuffer, length: int | None = None, guarantee: int = Guarantee.AGREED) -> Steps[None]:
    """Send the buffer's first ``length`` bytes (None: all) to the joined group; it may be written again at once.

    C: cpg_zcb_mcast_joined. Raises TooBig past ``ATOMIC_MESSAGE_LIMIT``, InvalidParameter, BadHandle (freed), NotExist (no
    member), TryAgain, LibraryError.
    """
    what = f"cpg_zcb_mcast_joined({length} bytes)"
    buffer.require_open(what)
    if length is None:
        length = len(buffer.data)
    if not 0 <= length <= len(buffer.data) or guarantee not in tuple(Guarantee):
        raise InvalidParameter(what)
    if length > ATOMIC_MESSAGE_LIMIT:
        raise TooBig(what)
    buffer.prepare(length, guarantee)
    yield from ask(ExecuteRequest(buffer.address).encode(), what, MCAST_FLOW_LIMIT)


def free(session: Session, buffer: ZeroCopyBuffer) -> Steps[None]:
    """Give a buffer back; its memory is gone then.

    C: cpg_zcb_free. Raises BadHandle (freed already), LibraryError.
    """
    buffer.require_open("cpg_zcb_free")
    request = FreeRequest(buffer.file_size, buffer.address).encode()
    buffer.close()
    # A stock daemon's answer has no status; one that says "try again" and does not mean it does no harm.
    for _ in range(NO_ROOM_RETRIES):
        if response_status((yield Ask(request))) != Status.TRY_AGAIN:
            return
        yield Pause(RETRY_SECONDS)
