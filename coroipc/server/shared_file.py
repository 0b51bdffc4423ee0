"""A file in /dev/shm that a client shares with the server beside its rings: opened with distrust, read and written, never mapped.

Its owner may do with it what he likes at any time. A mapping would let him kill the server (SIGBUS behind the end of a file that
was cut); a read is only short then. Source: reference client-api section 3.7; open(2), unlink(2).
"""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import Final

from coroipc.errors import AccessDenied, CorosyncError, InvalidParameter, NoResources, error_for, status_from_errno
from coroipc.server.files import DEFAULT_DIRECTORY, is_spare

SIZE_LIMIT: Final = 16 << 20
"""Bytes of a file that is taken: the size of the largest message of any connection."""
_SUFFIX: Final = rb"[A-Za-z0-9]{6}"
"""What mkstemp(3) makes of XXXXXX."""


class SharedFile:
    """One file of a client. Its name is gone: only the two sides that have it open know it now."""

    __slots__ = ("_descriptor", "size")

    def __init__(self, descriptor: int, size: int) -> None:
        """Use ``take``."""
        self._descriptor = descriptor
        self.size = size

    @classmethod
    def take(cls, path: bytes, prefix: str, size: int, uid: int, directory: str = DEFAULT_DIRECTORY) -> SharedFile:
        """Open ``directory``/``prefix``XXXXXX as ``path`` names it, of ``size`` bytes at least, and remove its name.

        Refused, and left alone, is every other path or size (InvalidParameter), what is a link or no regular file of user
        ``uid`` (AccessDenied), what cannot be opened (NotExist, AccessDenied), and one more when descriptors run out
        (NoResources).
        """
        folder = os.fsencode(directory)
        pattern = re.escape(folder + b"/" + os.fsencode(prefix)) + _SUFFIX
        if re.fullmatch(pattern, path) is None:
            raise InvalidParameter(f"{path!r} is no name for a shared file, {directory}/{prefix}XXXXXX is")
        if not 0 < size <= SIZE_LIMIT:
            raise InvalidParameter(f"a shared file of {size} bytes, at most {SIZE_LIMIT}")
        # O_NONBLOCK: neither a pipe nor a lease of another process may hold us up.
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags)
        except OSError as error:
            raise _failed(error, repr(path)) from error
        try:
            if is_spare(descriptor):
                raise NoResources("a shared file")
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != uid:
                raise AccessDenied(f"{path!r} is no regular file of user {uid}")
            if found.st_size < size:
                raise InvalidParameter(f"{path!r} has {found.st_size} bytes, and not {size}")
            _remove(path, found)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor, size)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the file. Raises InvalidParameter beyond its size, and where its owner has cut it meanwhile."""
        self._check(offset, length)
        data = os.pread(self._descriptor, length, offset)
        if len(data) < length:
            raise InvalidParameter(f"{length} bytes at {offset} of a shared file that has been cut to {offset + len(data)}")
        return data

    def write(self, offset: int, data: bytes) -> None:
        """Store bytes in the file. Raises InvalidParameter beyond its size, and by errno (NoSpace) where it takes none."""
        self._check(offset, len(data))
        try:
            os.pwrite(self._descriptor, data, offset)
        except OSError as error:
            raise _failed(error, "a shared file") from error

    def close(self) -> None:
        """Let go of it. A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _check(self, offset: int, length: int) -> None:
        if not 0 <= offset <= offset + length <= self.size:
            raise InvalidParameter(f"{length} bytes at {offset} of a shared file of {self.size}")


def _failed(error: OSError, what: str) -> CorosyncError:
    """A link (ELOOP) is refused like another user's file."""
    number = errno.EACCES if error.errno == errno.ELOOP else error.errno or errno.EIO
    return error_for(status_from_errno(number), f"{what}: {os.strerror(number)}")


def _remove(path: bytes, found: os.stat_result) -> None:
    """Unlink the name, unless it is another file's by now."""
    try:
        now = os.stat(path, follow_symlinks=False)
        if (now.st_dev, now.st_ino) == (found.st_dev, found.st_ino):
            os.unlink(path)
    except FileNotFoundError:
        pass  # Its owner was quicker.
