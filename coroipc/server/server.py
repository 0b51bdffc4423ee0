"""A service's server in an asyncio process: it accepts, authorises and keeps the connections.

Source: reference ipc sections 1.2 to 1.6 and checklist 6.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket

from coroipc.handshake import connection_response
from coroipc.server.connection import Connection, Handler
from coroipc.server.files import DEFAULT_DIRECTORY, ConnectionFiles, is_spare
from coroipc.server.half_open import HALF_OPEN_LIMIT, HANDSHAKE_TIMEOUT, Client, HalfOpen
from coroipc.server.listener import close_listener
from coroipc.server.outbox import OVERFLOW_LIMIT, RetryTimer

MAX_MESSAGE_SIZE_LIMIT = 16 << 20
"""Largest max_msg_size that is granted: it decides how much of /dev/shm a client takes."""

USER_CONNECTION_LIMIT = 512
"""Connections of one user that is not root."""

_ACCEPTS_AT_ONCE = 16
_ACCEPT_PAUSE = 0.1


class Server:
    """All clients of one service. ``connections`` is by identifier; ``closed_count`` counts those that have ended."""

    def __init__(
        self,
        service: str,
        listening_socket: socket.socket,
        loop: asyncio.AbstractEventLoop,
        handler: Handler,
        *,
        directory: str = DEFAULT_DIRECTORY,
        overflow_limit: int = OVERFLOW_LIMIT,
        user_connection_limit: int = USER_CONNECTION_LIMIT,
        half_open_limit: int = HALF_OPEN_LIMIT,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
    ) -> None:
        """``directory`` is where the rings are made. Nothing is accepted before ``start``."""
        self.service = service
        self.handler = handler
        self.loop = loop
        self.overflow_limit = overflow_limit
        self.retry_timer = RetryTimer(loop)
        self.connections: dict[int, Connection] = {}
        self.closed_count = 0
        self._listening = listening_socket
        self._directory = directory
        self._user_connection_limit = user_connection_limit
        self._identifiers = itertools.count(1)
        self._departed: list[tuple[Connection, str]] = []
        self._half_open = HalfOpen(loop, self._complete, half_open_limit, handshake_timeout)
        self._accept_pause: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Accept clients from now on."""
        self._accept_pause = None
        self.loop.add_reader(self._listening.fileno(), self._accept)

    def resume(self) -> None:
        """Budgets have grown: connections that wait for theirs go on."""
        for connection in list(self.connections.values()):
            connection.resume()

    def set_flow_control(self, value: int) -> None:
        """Store the flow-control word of every connection."""
        for connection in self.connections.values():
            connection.set_flow_control(value)

    def close(self, reason: str = "the service ends") -> None:
        """Close every connection, telling the handler, then the listening socket. Repeatable."""
        if self._closed:
            return
        self._closed = True
        if self._accept_pause is not None:
            self._accept_pause.cancel()
        self.loop.remove_reader(self._listening.fileno())
        self._half_open.close()
        for connection in list(self.connections.values()):
            connection.close(reason)
        self._report_departed()
        close_listener(self._listening)

    def departed(self, connection: Connection, reason: str) -> None:
        """A connection is closed; the handler learns it in a turn of its own, never from inside its own call."""
        if not self._departed:
            self.loop.call_soon(self._report_departed)
        self._departed.append((connection, reason))

    def _report_departed(self) -> None:
        departed, self._departed = self._departed, []
        for connection, reason in departed:
            if self.connections.pop(connection.identifier, None) is not None:
                self.closed_count += 1
                self.handler.gone(connection, reason)

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:
                # Out of descriptors or memory: the socket stays readable, and looking again at once would spin.
                self.loop.remove_reader(self._listening.fileno())
                self._accept_pause = self.loop.call_later(_ACCEPT_PAUSE, self.start)
                return
            connection.setblocking(False)
            self._half_open.add(connection)

    def _complete(self, connection: socket.socket, client: Client, max_message_size: int) -> None:
        """A connection request is whole: accept it or say why not."""
        refusal = self.handler.authorize(*client) or self._refusal(connection, client, max_message_size)
        if refusal:
            _answer(connection, connection_response(refusal))
            connection.close()
            return
        try:
            files = ConnectionFiles(self.service, client, connection.fileno(), max_message_size, self._directory)
        except OSError as error:
            _answer(connection, connection_response(-(error.errno or errno.EIO)))
            connection.close()
            return
        identifier = next(self._identifiers)
        accepted = Connection(self, connection, files, identifier, client, max_message_size)
        if not _answer(connection, connection_response(0, max_message_size, identifier, files.prefixes)):
            files.remove()
            connection.close()
            return
        self.connections[identifier] = accepted
        accepted.start()
        self.handler.connected(accepted)

    def _refusal(self, connection: socket.socket, client: Client, max_message_size: int) -> int:
        """The limits of this server: 0, or a negative errno."""
        if max_message_size > MAX_MESSAGE_SIZE_LIMIT:
            return -errno.EMSGSIZE
        if is_spare(connection.fileno()):
            return -errno.EMFILE
        uid = client[1]
        open_ones = (other for other in self.connections.values() if not other.closed)
        if uid and sum(other.uid == uid for other in open_ones) >= self._user_connection_limit:
            return -errno.EMFILE
        return 0


def _answer(connection: socket.socket, response: bytes) -> bool:
    """Send a connection response whole: C clients do not read it in pieces, and an empty socket takes it at once."""
    try:
        return connection.send(response, socket.MSG_NOSIGNAL) == len(response)
    except OSError:
        return False
