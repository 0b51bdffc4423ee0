"""How a connection begins: socket names, the connection request and its response.

Source: reference ipc section 1.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from dataclasses import dataclass
from struct import Struct

from coroipc.errors import LibraryError, TimedOut, error_for, status_from_errno
from coroipc.messages import AUTHENTICATE

REQUEST = Struct("<i4xi4xI4x")
"""id, size, wanted max_msg_size: 24 bytes."""

RESPONSE = Struct("<i4xi4xi4xiIQ4096s4096s4096s")
"""id, size, error (0 or a negative errno), transport, max_msg_size, cookie, path prefixes of the request, response and event
ring: 12,328 bytes, always whole."""

CREDENTIALS = Struct("=iII")
"""What SCM_CREDENTIALS carries: pid and the real uid and gid of the sender."""

CREDENTIALS_SPACE = socket.CMSG_SPACE(CREDENTIALS.size)

SOCKET_TRANSPORT = 0
SHARED_MEMORY_TRANSPORT = 1

DEFAULT_MAX_MESSAGE_SIZE = 1048576
"""What every library of Corosync asks for."""

FORCE_MARKER = "/etc/libqb/force-filesystem-sockets"
"""Where this file exists, client and server use sockets in the file system."""

DEFAULT_SOCKET_DIRECTORY = "/run"

_ABSTRACT_PATH_SIZE = 108


def instance_name(explicit: str | None = None) -> str | None:
    """The daemon instance to talk to: as given, else COROSYNC_INSTANCE; None is the default one, which C programs use."""
    return explicit or os.environ.get("COROSYNC_INSTANCE") or None


def socket_directory(explicit: str | None = None) -> str | None:
    """Where file-system sockets lie: as given, else COROSYNC_SOCKET_DIRECTORY, else /run if libqb's marker file asks for them.

    None means that sockets are abstract, which is the rule.
    """
    directory = explicit or os.environ.get("COROSYNC_SOCKET_DIRECTORY")
    if directory:
        return directory
    return DEFAULT_SOCKET_DIRECTORY if os.path.exists(FORCE_MARKER) else None


def socket_address(service: str, instance: str | None = None, filesystem_directory: str | None = None) -> bytes | str:
    """The address of a service for ``socket.bind`` and ``connect``.

    An abstract name includes its NUL padding to the full length of the structure. Raises ValueError for a name that does not fit.
    """
    name = f"{service}@{instance}" if instance else service
    if not service or "/" in name or "\0" in name:
        raise ValueError(f"not a socket name: {name!r}")
    if filesystem_directory is not None:
        path = os.path.join(filesystem_directory, name)
        if len(os.fsencode(path)) >= _ABSTRACT_PATH_SIZE:
            raise ValueError(f"the socket path {path} is too long")
        return path
    encoded = os.fsencode(name)
    if len(encoded) >= _ABSTRACT_PATH_SIZE - 1:
        raise ValueError(f"the socket name {name} is too long")
    return b"\0" + encoded.ljust(_ABSTRACT_PATH_SIZE - 1, b"\0")


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the server's response grants."""

    max_message_size: int
    request_prefix: str
    response_prefix: str
    event_prefix: str
    server_pid: int
    """0 when the server lives in another PID namespace."""
    cookie: int = 0
    """The server's own name for the connection."""


def connect(address: bytes | str, max_message_size: int, timeout: float | None) -> tuple[socket.socket, Accepted]:
    """Connect and shake hands; the socket comes back non-blocking.

    Raises the error that a C library would return: LibraryError without a daemon, TryAgain before its first synchronisation,
    AccessDenied, NotSupported, NoSpace, TooBig; TimedOut after ``timeout`` seconds (None: as C libraries, without limit).
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(timeout)
        connection.connect(address)
        # Before the request goes out, so that the kernel adds our credentials to it and the server's to the response.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        connection.sendall(REQUEST.pack(AUTHENTICATE, REQUEST.size, max(max_message_size, RESPONSE.size)))
        connection.setblocking(False)
        accepted = _receive_response(connection, deadline)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
    except TimeoutError as error:
        connection.close()
        raise TimedOut("connecting to the daemon") from error
    except (FileNotFoundError, ConnectionError) as error:
        connection.close()
        raise LibraryError(f"connecting to the daemon: {error.strerror}") from error
    except OSError as error:
        connection.close()
        raise error_for(status_from_errno(error.errno or 0), f"connecting to the daemon: {error.strerror}") from error
    except BaseException:
        connection.close()
        raise
    return connection, accepted


def _receive_response(connection: socket.socket, deadline: float | None) -> Accepted:
    """Read exactly the response: wake-up bytes may follow it at once."""
    received = bytearray()
    server_pid = 0
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    while len(received) < RESPONSE.size:
        remaining = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        if not poll.poll(None if remaining is None else remaining * 1000.0):
            raise TimeoutError
        try:
            data, ancillary, _, _ = connection.recvmsg(RESPONSE.size - len(received), CREDENTIALS_SPACE)
        except BlockingIOError:
            continue
        if not data:
            raise LibraryError("the daemon closed the connection without an answer")
        received += data
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(content) >= CREDENTIALS.size:
                server_pid = CREDENTIALS.unpack_from(content)[0]
    return parse_response(bytes(received), server_pid)


def parse_response(response: bytes, server_pid: int) -> Accepted:
    """Check a connection response and take it apart. Raises the error it carries, LibraryError when it is none."""
    identifier, size, error, transport, max_message_size, cookie, *prefixes = RESPONSE.unpack(response)
    if identifier != AUTHENTICATE or size != RESPONSE.size:
        raise LibraryError(f"the daemon's answer is not a connection response (id {identifier}, size {size})")
    if error:
        number = abs(error)
        raise error_for(status_from_errno(number), f"the daemon refused the connection ({errno.errorcode.get(number, number)})")
    if transport != SHARED_MEMORY_TRANSPORT:
        raise error_for(status_from_errno(errno.ENOTSUP), "the daemon offers no shared memory (system.qb_ipc_type)")
    request, response_prefix, event = (os.fsdecode(prefix.split(b"\0", 1)[0]) for prefix in prefixes)
    if not all(prefix.startswith("/") for prefix in (request, response_prefix, event)):
        raise LibraryError("the daemon's answer names no rings")
    return Accepted(max_message_size, request, response_prefix, event, server_pid, cookie)


def connection_response(
    error: int, max_message_size: int = 0, cookie: int = 0, prefixes: tuple[bytes, bytes, bytes] = (b"", b"", b"")
) -> bytes:
    """A server's answer: ``error`` 0 with the rings' prefixes, or a negative errno alone."""
    transport = SOCKET_TRANSPORT if error else SHARED_MEMORY_TRANSPORT
    return RESPONSE.pack(AUTHENTICATE, RESPONSE.size, error, transport, max_message_size, cookie, *prefixes)
