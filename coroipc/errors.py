"""Status codes of the client interfaces and one exception class for each.

Source: corotypes.h's cs_error_t; reference client-api section 1.2.
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import ClassVar


class Status(IntEnum):
    """cs_error_t, without the CS_ and CS_ERR_ prefixes."""

    OK = 1
    LIBRARY = 2
    VERSION = 3
    INIT = 4
    TIMEOUT = 5
    TRY_AGAIN = 6
    INVALID_PARAM = 7
    NO_MEMORY = 8
    BAD_HANDLE = 9
    BUSY = 10
    ACCESS = 11
    NOT_EXIST = 12
    NAME_TOO_LONG = 13
    EXIST = 14
    NO_SPACE = 15
    INTERRUPT = 16
    NAME_NOT_FOUND = 17
    NO_RESOURCES = 18
    NOT_SUPPORTED = 19
    BAD_OPERATION = 20
    FAILED_OPERATION = 21
    MESSAGE_ERROR = 22
    QUEUE_FULL = 23
    QUEUE_NOT_AVAILABLE = 24
    BAD_FLAGS = 25
    TOO_BIG = 26
    NO_SECTIONS = 27
    CONTEXT_NOT_FOUND = 28
    TOO_MANY_GROUPS = 30
    SECURITY = 100


class CorosyncError(Exception):
    """Root of every error that a client call raises; ``status`` is the code a C caller would get."""

    status: ClassVar[Status]
    advice: ClassVar[str]

    def __init__(self, message: str = "") -> None:
        """``message`` says what was tried; the class adds what to do next."""
        super().__init__(f"{message}: {self.advice}" if message else self.advice)


class LibraryError(CorosyncError):
    """CS_ERR_LIBRARY."""

    status = Status.LIBRARY
    advice = "the connection to the daemon is broken or cannot be made; check that corosyncd runs, then connect again"


class VersionError(CorosyncError):
    """CS_ERR_VERSION."""

    status = Status.VERSION
    advice = "the interface version is not supported"


class InitError(CorosyncError):
    """CS_ERR_INIT."""

    status = Status.INIT
    advice = "the interface is not initialised"


class TimedOut(CorosyncError):
    """CS_ERR_TIMEOUT."""

    status = Status.TIMEOUT
    advice = "nothing happened within the time allowed"


class TryAgain(CorosyncError):
    """CS_ERR_TRY_AGAIN."""

    status = Status.TRY_AGAIN
    advice = "the daemon cannot serve this now (synchronising, or under pressure); repeat the call after a short pause"


class InvalidParameter(CorosyncError):
    """CS_ERR_INVALID_PARAM."""

    status = Status.INVALID_PARAM
    advice = "an argument is outside what the call allows"


class NoMemory(CorosyncError):
    """CS_ERR_NO_MEMORY."""

    status = Status.NO_MEMORY
    advice = "there is not enough memory"


class BadHandle(CorosyncError):
    """CS_ERR_BAD_HANDLE."""

    status = Status.BAD_HANDLE
    advice = "the handle was closed or never opened"


class Busy(CorosyncError):
    """CS_ERR_BUSY."""

    status = Status.BUSY
    advice = "an earlier operation is still under way; wait for its event, then repeat"


class AccessDenied(CorosyncError):
    """CS_ERR_ACCESS."""

    status = Status.ACCESS
    advice = "not permitted: the key is read-only, or this user is not in the daemon's uidgid list"


class NotExist(CorosyncError):
    """CS_ERR_NOT_EXIST."""

    status = Status.NOT_EXIST
    advice = "no such key, group, node or registration"


class NameTooLong(CorosyncError):
    """CS_ERR_NAME_TOO_LONG."""

    status = Status.NAME_TOO_LONG
    advice = "the name's length or characters are not allowed"


class Exist(CorosyncError):
    """CS_ERR_EXIST."""

    status = Status.EXIST
    advice = "it exists already"


class NoSpace(CorosyncError):
    """CS_ERR_NO_SPACE."""

    status = Status.NO_SPACE
    advice = "/dev/shm has no room for the connection; free some or enlarge it"


class Interrupted(CorosyncError):
    """CS_ERR_INTERRUPT."""

    status = Status.INTERRUPT
    advice = "a membership change interrupted the message; send it again from its start"


class NameNotFound(CorosyncError):
    """CS_ERR_NAME_NOT_FOUND."""

    status = Status.NAME_NOT_FOUND
    advice = "no node or name like that"


class NoResources(CorosyncError):
    """CS_ERR_NO_RESOURCES."""

    status = Status.NO_RESOURCES
    advice = "the daemon has no resources left for this"


class NotSupported(CorosyncError):
    """CS_ERR_NOT_SUPPORTED."""

    status = Status.NOT_SUPPORTED
    advice = "the daemon does not support this call"


class BadOperation(CorosyncError):
    """CS_ERR_BAD_OPERATION."""

    status = Status.BAD_OPERATION
    advice = "the operation is not possible in this state"


class FailedOperation(CorosyncError):
    """CS_ERR_FAILED_OPERATION."""

    status = Status.FAILED_OPERATION
    advice = "the daemon tried and failed; its log says why"


class MessageError(CorosyncError):
    """CS_ERR_MESSAGE_ERROR."""

    status = Status.MESSAGE_ERROR
    advice = "the message does not fit the present configuration (an old ring id?)"


class QueueFull(CorosyncError):
    """CS_ERR_QUEUE_FULL."""

    status = Status.QUEUE_FULL
    advice = "the queue is full; repeat after a short pause"


class QueueNotAvailable(CorosyncError):
    """CS_ERR_QUEUE_NOT_AVAILABLE."""

    status = Status.QUEUE_NOT_AVAILABLE
    advice = "the queue is not available"


class BadFlags(CorosyncError):
    """CS_ERR_BAD_FLAGS."""

    status = Status.BAD_FLAGS
    advice = "unknown flags"


class TooBig(CorosyncError):
    """CS_ERR_TOO_BIG."""

    status = Status.TOO_BIG
    advice = "the message is larger than the connection allows"


class NoSections(CorosyncError):
    """CS_ERR_NO_SECTIONS."""

    status = Status.NO_SECTIONS
    advice = "the iteration has ended"


class ContextNotFound(CorosyncError):
    """CS_ERR_CONTEXT_NOT_FOUND."""

    status = Status.CONTEXT_NOT_FOUND
    advice = "no such context"


class TooManyGroups(CorosyncError):
    """CS_ERR_TOO_MANY_GROUPS."""

    status = Status.TOO_MANY_GROUPS
    advice = "too many groups"


class SecurityError(CorosyncError):
    """CS_ERR_SECURITY."""

    status = Status.SECURITY
    advice = "a security check failed"


_CLASSES: dict[int, type[CorosyncError]] = {cls.status: cls for cls in CorosyncError.__subclasses__()}


def error_for(status: int, message: str = "") -> CorosyncError:
    """The exception that stands for a status code; an unknown code becomes LibraryError and is named in the message."""
    cls = _CLASSES.get(status)
    if cls is None:
        return LibraryError(f"{message} (unknown status {status})".strip())
    return cls(message)


def check(status: int, message: str = "") -> None:
    """Raise the matching error unless the status is OK."""
    if status != Status.OK:
        raise error_for(status, message)


_FROM_ERRNO: dict[int, Status] = {
    errno.EBADF: Status.BAD_HANDLE,
    errno.ENOMEM: Status.NO_MEMORY,
    errno.ENOMSG: Status.TRY_AGAIN,
    errno.ENOBUFS: Status.TRY_AGAIN,
    errno.ETIMEDOUT: Status.TRY_AGAIN,
    errno.EAGAIN: Status.TRY_AGAIN,
    errno.EBADE: Status.FAILED_OPERATION,
    errno.ETIME: Status.TIMEOUT,
    errno.EINVAL: Status.INVALID_PARAM,
    errno.EBUSY: Status.BUSY,
    errno.EACCES: Status.ACCESS,
    errno.EOVERFLOW: Status.NAME_TOO_LONG,
    errno.EEXIST: Status.EXIST,
    errno.ENOSPC: Status.NO_SPACE,
    errno.EINTR: Status.INTERRUPT,
    errno.ENOENT: Status.NOT_EXIST,
    errno.ENODEV: Status.NOT_EXIST,
    errno.ENOSYS: Status.NOT_SUPPORTED,
    errno.EOPNOTSUPP: Status.NOT_SUPPORTED,
    errno.EBADMSG: Status.MESSAGE_ERROR,
    errno.EMSGSIZE: Status.TOO_BIG,
    errno.E2BIG: Status.TOO_BIG,
}


def status_from_errno(number: int) -> Status:
    """How a transport error number looks to a caller; everything without an entry is LIBRARY."""
    return _FROM_ERRNO.get(number, Status.LIBRARY)
