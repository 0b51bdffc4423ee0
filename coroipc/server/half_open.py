"""Sockets that were accepted and have not yet sent their whole connection request.

Source: reference ipc sections 1.2, 1.3 and 1.5.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from coroipc.handshake import CREDENTIALS, CREDENTIALS_SPACE, REQUEST
from coroipc.messages import AUTHENTICATE

HALF_OPEN_LIMIT = 128
"""Half-open connections of a server; one more closes the oldest."""

HANDSHAKE_TIMEOUT = 5.0
"""Seconds that a client may take for its 24 bytes."""

Client = tuple[int, int, int]
Complete = Callable[[socket.socket, Client, int], None]


class HalfOpen:
    """The half-open connections of a server; each becomes complete or is closed."""

    __slots__ = ("_complete", "_limit", "_loop", "_sockets", "_timeout")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        complete: Complete,
        limit: int = HALF_OPEN_LIMIT,
        timeout: float = HANDSHAKE_TIMEOUT,
    ) -> None:
        """``complete`` gets the socket, (pid, uid, gid) and the wanted message size; the socket is its own from then on."""
        self._loop = loop
        self._complete = complete
        self._limit = limit
        self._timeout = timeout
        self._sockets: dict[socket.socket, _Request] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._sockets)

    def add(self, connection: socket.socket) -> None:
        """Take an accepted, non-blocking socket."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        if len(self._sockets) >= self._limit:
            self._discard(next(iter(self._sockets)))
        expiry = self._loop.call_later(self._timeout, self._discard, connection)
        self._sockets[connection] = _Request(expiry)
        self._loop.add_reader(connection.fileno(), self._readable, connection)
        # C clients have sent their request before we accept.
        self._readable(connection)

    def close(self) -> None:
        """Close them all."""
        for connection in list(self._sockets):
            self._discard(connection)

    def _readable(self, connection: socket.socket) -> None:
        request = self._sockets[connection]
        try:
            data, ancillary, _, _ = connection.recvmsg(REQUEST.size - len(request.received), CREDENTIALS_SPACE)
        except BlockingIOError:
            return
        except OSError:
            self._discard(connection)
            return
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(content) >= CREDENTIALS.size:
                client: Client = CREDENTIALS.unpack_from(content)
                if request.client not in (None, client):
                    self._discard(connection)
                    return
                request.client = client
        request.received += data
        if not data:
            self._discard(connection)
        elif len(request.received) == REQUEST.size:
            self._finish(connection, request)

    def _finish(self, connection: socket.socket, request: _Request) -> None:
        identifier, size, max_message_size = REQUEST.unpack(request.received)
        if identifier != AUTHENTICATE or size != REQUEST.size or request.client is None:
            self._discard(connection)
            return
        self._forget(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        self._complete(connection, request.client, max_message_size)

    def _forget(self, connection: socket.socket) -> None:
        self._sockets.pop(connection).expiry.cancel()
        self._loop.remove_reader(connection.fileno())

    def _discard(self, connection: socket.socket) -> None:
        self._forget(connection)
        connection.close()


class _Request:
    __slots__ = ("client", "expiry", "received")

    def __init__(self, expiry: asyncio.TimerHandle) -> None:
        self.expiry = expiry
        self.received = bytearray()
        self.client: Client | None = None
