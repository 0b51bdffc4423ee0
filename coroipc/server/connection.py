"""One client of a server: its requests in batches, its responses and events, and its end.

Source: reference ipc sections 4.6 to 4.9 and checklist 6.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Protocol

from coroipc.messages import DISCONNECT, REQUEST_HEADER
from coroipc.ringbuffer import RingCorrupt
from coroipc.server.files import ConnectionFiles
from coroipc.server.outbox import Outbox, RetryTimer

BATCH = 64
"""Requests taken at most before other connections have their turn."""

SURPLUS_WAKEUPS = 4096
"""Wake-up bytes without a request that a client may send before it is taken for hostile. C clients send none."""

_READ_SIZE = 65536
_unpack_header = REQUEST_HEADER.unpack_from


class Handler(Protocol):
    """What a server tells the engine's host. Nothing here may block."""

    def authorize(self, pid: int, uid: int, gid: int) -> int:
        """May this process connect? 0, or a negative errno (-EAGAIN: not yet, -EACCES: no). The ids are the real ones."""

    def connected(self, connection: Connection) -> None:
        """A client is there; it may be written to."""

    def budget(self, connection: Connection) -> int:
        """Bytes of requests that may be taken from this client now; 0 or less: none until ``resume``.

        It must be able to reach the client's max_message_size, or a larger request waits for ever.
        """

    def requests(self, connection: Connection, requests: list[bytes]) -> None:
        """Requests in order, whole, at least 16 bytes each; id, size and content are the client's words."""

    def touches(self, connection: Connection) -> None:
        """This client's memory is about to be used: if it has cut its files the process ends by SIGBUS, and this was why.

        By SIGABRT, if it has given a semaphore waiters and a kind that do not exist: the C library ends who posts to such a one.
        """

    def slow(self, connection: Connection, queued_bytes: int) -> None:
        """The client does not read its events: so many bytes wait (told at steps)."""

    def gone(self, connection: Connection, reason: str) -> None:
        """The client's connection has ended, and all that it had sent before has been handed over. Comes last, once."""


class Registry(Protocol):
    """The server, as its connections see it."""

    handler: Handler
    loop: asyncio.AbstractEventLoop
    retry_timer: RetryTimer
    overflow_limit: int

    def departed(self, connection: Connection, reason: str) -> None:
        """The connection is closed; tell the handler in a turn of its own."""


class Connection:
    """One client. The counters are those of the stats map (``stats.ipcs.service…``)."""

    __slots__ = (
        "_drain",
        "_files",
        "_gated",
        "_leaving",
        "_outbox",
        "_scheduled",
        "_server",
        "_socket",
        "_wakeups",
        "closed",
        "flow_control_count",
        "gid",
        "identifier",
        "invalid_request",
        "max_message_size",
        "overload",
        "pid",
        "procname",
        "recv_retries",
        "requests",
        "responses",
        "state",
        "uid",
    )

    def __init__(
        self,
        server: Registry,
        connection: socket.socket,
        files: ConnectionFiles,
        identifier: int,
        client: tuple[int, int, int],
        max_message_size: int,
    ) -> None:
        """``client`` is pid, uid, gid; the handshake is over when ``start`` is called."""
        self.identifier = identifier
        self.pid, self.uid, self.gid = client
        self.procname = _process_name(self.pid)
        self.max_message_size = max_message_size
        self.closed = False
        self.state: object = None
        """The handler's own."""
        self.requests = 0
        self.responses = 0
        self.recv_retries = 0
        self.flow_control_count = 0
        self.invalid_request = 0
        """Counted by the handler, as is ``overload``."""
        self.overload = 0
        self._server = server
        self._socket = connection
        self._files = files
        self._outbox = Outbox(self, files.events, connection, server.loop, server.retry_timer, server.overflow_limit)
        self._wakeups = 0
        self._gated = False
        self._scheduled = False
        self._leaving = False
        self._drain = 0

    def start(self) -> None:
        """Begin to read."""
        self._server.loop.add_reader(self._socket.fileno(), self._readable)

    def respond(self, response: bytes) -> None:
        """Answer the oldest unanswered request. A client that has gone is ignored."""
        if self.closed or self._leaving:
            return
        self.touch()
        try:
            written = self._files.responses.write((response,))
        except (RingCorrupt, ValueError) as error:
            self.close(f"response ring: {error}")
            return
        if not written:
            self.close("it does not take its responses")
            return
        self.responses += 1

    def notify(self, event: bytes) -> None:
        """Hand one event to the client. A client that has gone is ignored; one past its overflow limit is disconnected."""
        if not (self.closed or self._leaving):
            self.touch()
            self._outbox.put((event,))

    def notify_many(self, events: Sequence[bytes]) -> None:
        """Hand events to the client, in order and with one wake-up for all: much cheaper than one by one."""
        if events and not (self.closed or self._leaving):
            self.touch()
            self._outbox.put(events)

    def set_flow_control(self, value: int) -> None:
        """Store the word that clients look at before each request: 0 go, 1 stop, 2 stop multicasts."""
        if self.closed:
            return
        self.touch()
        ring = self._files.requests
        if value and ring.user_word != value:
            self.flow_control_count += 1
        ring.user_word = value

    def resume(self) -> None:
        """The budget has grown: go on reading."""
        if self._gated:
            self._gated = False
            self._schedule()

    def close(self, reason: str) -> None:
        """End the connection now; ``gone`` follows in a turn of its own. Repeatable."""
        if self.closed:
            return
        self.closed = True
        self._outbox.stop()
        if not self._leaving:
            self._server.loop.remove_reader(self._socket.fileno())
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()
        self.touch()
        self._files.remove()
        self._server.departed(self, reason)

    def hang_up(self) -> None:
        """The client has gone: hand over what it had committed, under the budget, and close."""
        if self.closed or self._leaving:
            return
        self._leaving = True
        self._server.loop.remove_reader(self._socket.fileno())
        self._outbox.stop()
        self.touch()
        # A child of the dead client may still hold the memory, and the semaphore may lie: the drain ends here.
        ring = self._files.requests
        self._drain = min(ring.semaphore.value(), ring.largest // 12)
        if not self._gated:
            self._schedule()

    def touch(self) -> None:
        """To be called before anything in the rings is read or written; by the outbox too, when its turn has come by itself."""
        self._server.handler.touches(self)

    def slow(self, queued_bytes: int) -> None:
        """Called by the outbox."""
        self._server.handler.slow(self, queued_bytes)

    def statistics(self) -> dict[str, int | str]:
        """The counters under their names in the stats map, in the order in which stock tells of them."""
        outbox = self._outbox
        self.touch()
        return {
            "queueing": int(outbox.queued > 0),
            "queued": outbox.queued,
            "invalid_request": self.invalid_request,
            "overload": self.overload,
            "sent": outbox.sent,
            "procname": self.procname,
            "requests": self.requests,
            "responses": self.responses,
            "dispatched": outbox.dispatched,
            "send_retries": outbox.send_retries,
            "recv_retries": self.recv_retries,
            "flow_control": 0 if self.closed else self._files.requests.user_word,
            "flow_control_count": self.flow_control_count,
        }

    def clear_statistics(self) -> None:
        """Set the counters back (``stats.clear.ipc``)."""
        self._wakeups -= self.requests
        self.requests = self.responses = self.recv_retries = self.flow_control_count = 0
        self.invalid_request = self.overload = 0
        self._outbox.sent = self._outbox.dispatched = self._outbox.send_retries = 0

    def _readable(self) -> None:
        # Bytes first, then chunks: a client commits a chunk before it sends its byte, so that no chunk is left behind.
        try:
            count = len(self._socket.recv(_READ_SIZE))
        except BlockingIOError:
            self.recv_retries += 1
            return
        except OSError:
            count = 0
        if count == 0:
            self.hang_up()
            return
        self._wakeups += count
        if self._wakeups - self.requests > SURPLUS_WAKEUPS:
            self.touch()
            pending = self._files.requests.semaphore.value()
            if self._wakeups - self.requests - pending > SURPLUS_WAKEUPS:
                self.close("it sends wake-ups without requests")
                return
        # A client that ended without reading its events leaves an error behind its last bytes. uvloop reports that once only.
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.hang_up()
        elif not (self._scheduled or self._gated):
            self._serve()

    def _schedule(self) -> None:
        if not (self._scheduled or self.closed):
            self._scheduled = True
            self._server.loop.call_soon(self._scheduled_turn)

    def _scheduled_turn(self) -> None:
        self._scheduled = False
        if not self.closed:
            self._serve()

    def _serve(self) -> None:
        """Take one batch of requests and hand it over; take another turn if more are there."""
        handler = self._server.handler
        budget = handler.budget(self)
        if budget <= 0:
            self._gated = True
            return
        self.touch()
        ring = self._files.requests
        try:
            requests = ring.read_many(min(BATCH, self._drain) if self._leaving else BATCH, budget)
            pending = 0 if requests else ring.next_size()
        except RingCorrupt as error:
            self.close(f"request ring: {error}")
            return
        if not requests:
            self._rest(pending, budget)
            return
        self.requests += len(requests)
        self._drain -= len(requests)
        ending = self._check(requests)
        try:
            if requests:
                handler.requests(self, requests)
        except BaseException:
            self.close("its request could not be handled")
            raise
        if ending:
            self.close(ending)
        if not self.closed:
            # Other clients' memory may have been used meanwhile: their events are written in between.
            self.touch()
            if self._leaving or ring.semaphore.value() > 0:
                self._schedule()

    def _rest(self, pending: int, budget: int) -> None:
        """Nothing was taken; ``pending`` is the size of the next request, 0 for none."""
        if self._leaving and (pending == 0 or self._drain <= 0):
            self.close("the client has gone")
        elif pending > self.max_message_size:
            # No budget ever reaches it: it would hold up its client, and the drain of a client that has gone, for ever.
            self.close(f"a request of {pending} bytes")
        elif pending > budget:
            self._gated = True
        elif pending:
            # It came between the look at the semaphore and this one.
            self._schedule()

    def _check(self, requests: list[bytes]) -> str:
        """Cut the batch at the first request that ends the connection; the reason, empty for none."""
        limit = self.max_message_size
        for index, request in enumerate(requests):
            if len(request) < REQUEST_HEADER.size:
                del requests[index:]
                return f"a request of {len(request)} bytes"
            identifier, size = _unpack_header(request)
            if 0 < size <= limit and identifier != DISCONNECT:
                continue
            del requests[index:]
            return "it has disconnected" if identifier == DISCONNECT else f"a request that claims {size} bytes"
        return ""


def _process_name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""
