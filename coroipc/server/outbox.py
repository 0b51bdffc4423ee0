"""Events on their way to one client: ring first, overflow queue behind it, one wake-up byte each.

Nothing tells a server that a client has freed ring space, so overflow is retried on a timer that all clients share.

Source: reference ipc sections 4.2 and 4.6.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from coroipc.ringbuffer import RingBuffer, RingCorrupt

OVERFLOW_LIMIT = 128 << 20
"""Bytes of events that wait for one client before it is disconnected."""

WARNING_STEPS = (1 << 20, 4 << 20, 16 << 20, 64 << 20)
"""Overflow at which a slow client is reported, once each until its queue is empty again."""

SHORTEST_RETRY = 0.0005
LONGEST_RETRY = 0.002


class Owner(Protocol):
    """The connection that an outbox belongs to."""

    def close(self, reason: str) -> None:
        """The client has lost its connection by its own doing."""

    def hang_up(self) -> None:
        """The client's socket is dead."""

    def touch(self) -> None:
        """The client's memory is about to be used."""

    def slow(self, queued_bytes: int) -> None:
        """The overflow has reached a warning step."""


class RetryTimer:
    """One timer for the outboxes of a server that have overflow."""

    __slots__ = ("_delay", "_handle", "_loop", "_outboxes")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Idle until an outbox is added."""
        self._loop = loop
        self._outboxes: dict[Outbox, None] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._delay = SHORTEST_RETRY

    def add(self, outbox: Outbox) -> None:
        """Retry until the outbox is empty or removed."""
        self._outboxes[outbox] = None
        if self._handle is None:
            self._delay = SHORTEST_RETRY
            self._handle = self._loop.call_later(self._delay, self._expired)

    def remove(self, outbox: Outbox) -> None:
        """Retry no more."""
        self._outboxes.pop(outbox, None)
        if not self._outboxes and self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _expired(self) -> None:
        self._handle = None
        progress = False
        for outbox in list(self._outboxes):
            progress = outbox.retry() or progress
        if self._outboxes and self._handle is None:
            self._delay = SHORTEST_RETRY if progress else min(self._delay * 2, LONGEST_RETRY)
            self._handle = self._loop.call_later(self._delay, self._expired)


class Outbox:
    """The event side of one connection.

    ``dispatched`` counts events in the ring; so does ``sent``, which as in stock begins anew where events begin or cease to wait.
    """

    __slots__ = (
        "_limit",
        "_loop",
        "_owner",
        "_queue",
        "_ring",
        "_socket",
        "_step",
        "_timer",
        "_unsent_wakeups",
        "dispatched",
        "queued_bytes",
        "send_retries",
        "sent",
    )

    def __init__(
        self,
        owner: Owner,
        ring: RingBuffer,
        connection: socket.socket,
        loop: asyncio.AbstractEventLoop,
        timer: RetryTimer,
        limit: int,
    ) -> None:
        """``limit`` is in bytes of overflow."""
        self._owner = owner
        self._ring = ring
        self._socket = connection
        self._loop = loop
        self._timer = timer
        self._limit = limit
        self._queue: deque[bytes] = deque()
        self._step = 0
        self._unsent_wakeups = 0
        self.queued_bytes = 0
        self.dispatched = 0
        self.sent = 0
        self.send_retries = 0

    @property
    def queued(self) -> int:
        """Events in the overflow queue."""
        return len(self._queue)

    def put(self, events: Sequence[bytes]) -> None:
        """Hand events to the client, in order, however full its ring is."""
        if self._queue:
            self._enqueue(events)
            return
        written = self._write(events)
        if 0 <= written < len(events):
            self.sent = 0
            self._enqueue(events[written:])
        else:
            self.sent += len(events)

    def retry(self) -> bool:
        """Move overflow into the ring; whether any went."""
        self.send_retries += 1
        self._owner.touch()
        queue = self._queue
        written = self._write(queue)
        if written <= 0:
            return False
        for _ in range(written):
            self.queued_bytes -= len(queue.popleft())
        self.sent += written
        if not queue:
            self.sent = 0
            self._step = 0
            self._timer.remove(self)
        return True

    def stop(self) -> None:
        """Drop everything: the client cannot be reached any more."""
        self._queue.clear()
        self.queued_bytes = 0
        self._timer.remove(self)
        if self._unsent_wakeups:
            self._unsent_wakeups = 0
            self._loop.remove_writer(self._socket.fileno())

    def _write(self, events: Sequence[bytes] | deque[bytes]) -> int:
        """Put what fits into the ring and wake the client; how many events, -1 if that ended the connection."""
        try:
            written = self._ring.write_many(events)
        except (RingCorrupt, ValueError) as error:
            self._owner.close(f"event ring: {error}")
            return -1
        if written:
            self.dispatched += written
            if not self._wake(written):
                return -1
        return written

    def _enqueue(self, events: Sequence[bytes]) -> None:
        largest = self._ring.largest
        for event in events:
            if not 0 < len(event) <= largest:
                self._owner.close(f"an event of {len(event)} bytes cannot be sent through a ring that takes 1 to {largest}")
                return
            self.queued_bytes += len(event)
        self._queue.extend(events)
        if self.queued_bytes > self._limit:
            self._owner.close(f"{self.queued_bytes} bytes of events wait for it; the limit is {self._limit}")
            return
        self._timer.add(self)
        if self._step < len(WARNING_STEPS) and self.queued_bytes >= WARNING_STEPS[self._step]:
            while self._step < len(WARNING_STEPS) and self.queued_bytes >= WARNING_STEPS[self._step]:
                self._step += 1
            self._owner.slow(self.queued_bytes)

    def _wake(self, count: int) -> bool:
        """Send ``count`` wake-up bytes, now or as soon as the socket takes them; False when the client has gone."""
        if self._unsent_wakeups:
            self._unsent_wakeups += count
            return True
        try:
            unsent = count - self._socket.send(bytes(count), socket.MSG_NOSIGNAL)
        except BlockingIOError:
            unsent = count
        except OSError:
            self._owner.hang_up()
            return False
        if unsent:
            self._unsent_wakeups = unsent
            self._loop.add_writer(self._socket.fileno(), self._writable)
        return True

    def _writable(self) -> None:
        try:
            self._unsent_wakeups -= self._socket.send(bytes(self._unsent_wakeups), socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError:
            self._owner.hang_up()
            return
        if not self._unsent_wakeups:
            self._loop.remove_writer(self._socket.fileno())
