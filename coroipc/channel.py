"""The client's end of one connection, without waiting: three rings and the socket that carries wake-ups and death.

Source: reference ipc sections 3.6, 4.2 to 4.5 and 4.9.
"""

from __future__ import annotations

import os
import select
import socket
import time
from types import TracebackType

from coroipc import handshake
from coroipc.errors import LibraryError, TooBig, TryAgain, error_for, status_from_errno
from coroipc.liveness import is_dead
from coroipc.ringbuffer import RingBuffer, RingCorrupt
from coroipc.semaphores import ProcessSharedSemaphore

HARD_STOP = 1
"""Flow-control value that stops every request; SOFT_STOP stops CPG multicasts only."""
SOFT_STOP = 2

_BOTH_SIDES = 2
_HANG_UP = select.POLLHUP | select.POLLERR | select.POLLNVAL
_DEATH_PROBES = 4
_DEATH_PROBE_INTERVAL = 0.01
_DOORBELL = bytes(4096)


class _CorruptionIsLoss:
    """Around every use of a ring: a ring that makes no sense is a lost connection to a client."""

    __slots__ = ("_channel",)

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __enter__(self) -> None:
        if self._channel.lost:
            raise LibraryError(self._channel.service)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, RingCorrupt):
            self._channel.lost = True
            raise LibraryError(f"{self._channel.service}: the rings are corrupt ({error})") from error


class Channel:
    """A connection that was accepted. ``lost`` becomes True when the daemon has gone or made no sense."""

    __slots__ = (
        "_dead",
        "_events",
        "_guard",
        "_interrupted",
        "_prefixes",
        "_requests",
        "_responses",
        "_server_pid",
        "_socket",
        "_unsent_wakeups",
        "lost",
        "max_message_size",
        "service",
    )

    def __init__(self, service: str, connection: socket.socket, accepted: handshake.Accepted) -> None:
        """Open the rings of an accepted connection. Raises LibraryError, NoSpace, AccessDenied."""
        self.service = service
        self.lost = False
        self.max_message_size = accepted.max_message_size
        self._socket = connection
        self._server_pid = accepted.server_pid
        self._prefixes = (accepted.request_prefix, accepted.response_prefix, accepted.event_prefix)
        self._unsent_wakeups = 0
        self._interrupted = False
        self._dead: bool | None = None
        self._guard = _CorruptionIsLoss(self)
        rings: list[RingBuffer] = []
        try:
            for prefix in self._prefixes:
                rings.append(RingBuffer.open(prefix))
        except (OSError, RingCorrupt) as error:
            for ring in rings:
                ring.close()
            connection.close()
            if isinstance(error, RingCorrupt):
                raise LibraryError(f"{service}: {error}") from error
            raise error_for(status_from_errno(error.errno or 0), f"{service}: {error}") from error
        self._requests, self._responses, self._events = rings

    @classmethod
    def connect(
        cls,
        service: str,
        *,
        instance: str | None = None,
        socket_directory: str | None = None,
        max_message_size: int = handshake.DEFAULT_MAX_MESSAGE_SIZE,
        timeout: float | None = None,
    ) -> Channel:
        """Connect to a service of the daemon. Raises what ``handshake.connect`` and the constructor raise."""
        address = handshake.socket_address(
            service, handshake.instance_name(instance), handshake.socket_directory(socket_directory)
        )
        connection, accepted = handshake.connect(address, max_message_size, timeout)
        return cls(service, connection, accepted)

    def fileno(self) -> int:
        """The socket: readable exactly while events are pending, or when the daemon has gone."""
        return self._socket.fileno()

    def put(self, request: bytes, flow_limit: int) -> None:
        """Commit a request to the ring; ``wake`` must follow, always.

        Refused with TryAgain while the flow-control word lies in 1..``flow_limit`` or the ring is full. Raises TooBig,
        LibraryError.
        """
        if len(request) > self.max_message_size:
            raise TooBig(f"{self.service}: a request of {len(request)} bytes")
        with self._guard:
            if self._requests.reference_count != _BOTH_SIDES:
                raise LibraryError(f"{self.service}: the daemon has closed the connection")
            if 0 < self._requests.user_word <= flow_limit:
                raise TryAgain(self.service)
            # Promised before it is written: a daemon of C freezes when a byte is missing, and tolerates one too many.
            self._unsent_wakeups += 1
            if not self._requests.write((request,)):
                self._unsent_wakeups -= 1
                raise TryAgain(f"{self.service}: the request ring is full")

    def wake(self) -> bool:
        """Send the wake-up bytes that committed requests still need; False: the socket is full, call again when writable.

        Raises LibraryError when the daemon has gone.
        """
        while self._unsent_wakeups:
            try:
                self._unsent_wakeups -= self._socket.send(_DOORBELL[: self._unsent_wakeups], socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return False
            except OSError as error:
                raise self._loss() from error
        return True

    def take_response(self, timeout: float | None = 0.0) -> bytes | None:
        """The next response, sleeping up to ``timeout`` seconds for it; None when none came. Raises LibraryError."""
        with self._guard:
            try:
                return self._responses.read(timeout)
            except RingCorrupt:
                if self._interrupted:
                    return None
                raise

    def was_asleep(self) -> bool:
        """After an exception out of ``take_response``: whether it struck the sleep, and nothing was taken."""
        semaphore = self._responses.semaphore
        if not isinstance(semaphore, ProcessSharedSemaphore):
            return False
        asleep, semaphore.asleep = semaphore.asleep, False
        return asleep

    def take_events(self, maximum: int) -> list[bytes]:
        """Events that wait now, at most ``maximum``; exactly as many bytes are taken off the socket.

        The daemon commits an event before it sends the byte, so that each byte read has its event. Raises LibraryError when all
        events are taken and the daemon has gone.
        """
        with self._guard:
            try:
                count = len(self._socket.recv(maximum))
            except BlockingIOError:
                return []
            except OSError as error:
                raise self._loss() from error
            if count == 0:
                raise self._loss()
            events = self._events.read_many(count, 1 << 62)
            if len(events) != count:
                raise RingCorrupt(f"{count} wake-ups for {len(events)} events")
            return events

    def wait_for(self, events: int, timeout: float | None) -> bool:
        """Sleep until the socket is ready for ``events`` (select.POLLIN, POLLOUT) or hung up; False after ``timeout`` seconds."""
        return bool(self._polled(events, None if timeout is None else timeout * 1000.0))

    def check_alive(self) -> None:
        """Raise LibraryError if the daemon has hung up."""
        if self.lost or self._polled(0, 0) & _HANG_UP:
            raise self._loss()

    def interrupt(self) -> None:
        """Wake a thread of ours that sleeps in ``take_response``: this connection is about to close."""
        self._interrupted = True
        self._responses.semaphore.post()

    def hang_up(self) -> None:
        """Wake a thread of ours that sleeps in ``wait_for``; ``close`` must follow. Repeatable."""
        if self._dead is None:
            self._dead = self.lost or bool(self._polled(0, 0) & _HANG_UP)
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                self._dead = True

    def close(self) -> None:
        """End the connection. Repeatable. If the daemon has died, remove the files that it cannot remove any more."""
        if self._socket.fileno() < 0:
            return
        self.hang_up()
        self._socket.close()
        for ring in (self._requests, self._responses, self._events):
            ring.close()
        if self._dead and self._server_has_died():
            self._remove_files()

    def _polled(self, events: int, milliseconds: float | None) -> int:
        """The socket's state after at most that time, 0 for nothing; a socket that is closed has hung up."""
        # A poll object of its own: several threads may sleep.
        poll = select.poll()
        try:
            poll.register(self._socket, events)
        except ValueError:
            return select.POLLNVAL
        return next((state for _, state in poll.poll(milliseconds)), 0)

    def _loss(self) -> LibraryError:
        self.lost = True
        return LibraryError(f"{self.service}: the daemon has closed the connection")

    def _server_has_died(self) -> bool:
        """Whether the process that made the files is no more; a process of another PID namespace cannot be asked about."""
        if self._server_pid <= 0:
            return False
        for attempt in range(_DEATH_PROBES):
            if attempt:
                time.sleep(_DEATH_PROBE_INTERVAL)
            if is_dead(self._server_pid):
                return True
        return False

    def _remove_files(self) -> None:
        for prefix in self._prefixes:
            for suffix in ("-data", "-header"):
                try:
                    os.unlink(prefix + suffix)
                except OSError:
                    pass
        try:
            os.rmdir(os.path.dirname(self._prefixes[0]))
        except OSError:
            pass  # Not empty, not ours, or gone: the next start of the daemon sweeps it.
