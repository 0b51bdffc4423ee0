"""Two callers of a service: a blocking one and one for asyncio, over the same channel.

A *call* is a request and its one response, matched by order; *send* is a request that has none; events come by themselves.

Source: reference ipc sections 4.3 to 4.5 and 4.10, client-api section 1.3.
"""

from __future__ import annotations

import asyncio
import select
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from coroipc.channel import HARD_STOP, SOFT_STOP, Channel
from coroipc.errors import BadHandle, CorosyncError, LibraryError, Status, TimedOut, error_for
from coroipc.handshake import DEFAULT_MAX_MESSAGE_SIZE
from coroipc.messages import status_of

LIVENESS_INTERVAL = 0.5
"""Seconds between two looks whether the daemon lives, while a response is waited for (C libraries: 2)."""

EVENT_BATCH = 64

_SPINS = 3
"""Turns of the loop that an asyncio call looks for its response before a thread waits for it."""


def _remaining(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


class BlockingCaller:
    """One connection to a service, for programs that wait.

    Several threads may call: a lock makes one request and its response whole. Events are for one thread. An exception that a
    signal's handler raises in the middle of an exchange with the daemon, and not in a sleep, ends the connection: nobody could
    say what was taken and what was not.
    """

    def __init__(
        self,
        service: str,
        *,
        instance: str | None = None,
        socket_directory: str | None = None,
        max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE,
        timeout: float | None = None,
    ) -> None:
        """Connect, waiting up to ``timeout`` seconds (None: as C libraries, without limit).

        Raises LibraryError without a daemon, TryAgain before its first synchronisation, AccessDenied, NotSupported, NoSpace,
        TooBig, TimedOut.
        """
        self.service = service
        self._lock = threading.Lock()
        # Reentrant: the handler of a signal may close in the middle of ``next_events``.
        self._event_lock = threading.RLock()
        self._taking = False
        self._owed_responses = 0
        self._channel: Channel | None = Channel.connect(
            service,
            instance=instance,
            socket_directory=socket_directory,
            max_message_size=max_message_size,
            timeout=timeout,
        )

    def fileno(self) -> int:
        """The descriptor that is readable while events wait. Raises BadHandle."""
        return self._open_channel().fileno()

    def call(self, request: bytes, timeout: float | None = None) -> bytes:
        """Send a request and return its response, header included.

        Raises the error that the response's status stands for, TryAgain (flow control, full ring), TimedOut, LibraryError,
        TooBig, BadHandle. After TimedOut the connection goes on: the late response is discarded.
        """
        response = self.call_raw(request, timeout)
        status = status_of(response)
        if status != Status.OK:
            raise error_for(status, self.service)
        return response

    def call_raw(self, request: bytes, timeout: float | None = None, *, flow_limit: int = HARD_STOP) -> bytes:
        """As ``call``, whatever the response's status."""
        deadline = _deadline(timeout)
        with self._lock:
            channel = self._open_channel()
            while self._owed_responses:
                self._next_response(channel, deadline)
            self._put(channel, request, flow_limit, 1)
            self._wake(channel)
            return self._next_response(channel, deadline)

    def send(self, request: bytes, flow_limit: int = SOFT_STOP) -> None:
        """Send a request that has no response. Raises TryAgain, LibraryError, TooBig, BadHandle."""
        with self._lock:
            channel = self._open_channel()
            self._put(channel, request, flow_limit, 0)
            self._wake(channel)

    def next_event(self, timeout: float | None = None) -> bytes | None:
        """The next event, header included; None where none came within ``timeout`` seconds (None: wait for ever).

        Raises LibraryError when the daemon has gone and its last event is taken, BadHandle (also: closed meanwhile).
        """
        events = self.next_events(timeout, 1)
        return events[0] if events else None

    def next_events(self, timeout: float | None = None, maximum: int = EVENT_BATCH) -> list[bytes]:
        """The events that wait, at most ``maximum``, and at least one unless none came within ``timeout`` seconds."""
        deadline = _deadline(timeout)
        with self._event_lock:
            while True:
                channel = self._open_channel()
                events = self._take_events(channel, maximum)
                if events or not channel.wait_for(select.POLLIN, _remaining(deadline)):
                    return events

    def close(self) -> None:
        """End the connection, and another thread's wait for events; waits for another thread's call to end. Repeatable."""
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is None:
            return
        channel.hang_up()
        with self._event_lock:
            if not self._taking:  # Else we are a signal's handler in the middle of ``_take_events``, which closes it.
                channel.close()

    def __enter__(self) -> Self:
        """The caller itself; ``close`` follows at the end of the block."""
        return self

    def __exit__(self, *unused: object) -> None:
        """Close."""
        self.close()

    def _open_channel(self) -> Channel:
        if self._channel is None:
            raise BadHandle(self.service)
        return self._channel

    def _put(self, channel: Channel, request: bytes, flow_limit: int, responses: int) -> None:
        try:
            channel.put(request, flow_limit)
            self._owed_responses += responses
        except CorosyncError:
            raise
        except BaseException:
            channel.lost = True
            raise

    def _take_events(self, channel: Channel, maximum: int) -> list[bytes]:
        self._taking = True
        try:
            return channel.take_events(maximum)
        except LibraryError:
            self._open_channel()  # Who closes it hangs up first: that is no loss.
            raise
        except BaseException:
            channel.lost = True
            raise
        finally:
            self._taking = False
            if self._channel is None:
                channel.close()

    def _wake(self, channel: Channel) -> None:
        """Send the wake-up byte whatever it takes: a C daemon that misses one stands still."""
        while not channel.wake():
            channel.wait_for(select.POLLOUT, None)

    def _next_response(self, channel: Channel, deadline: float | None) -> bytes:
        while True:
            remaining = _remaining(deadline)
            try:
                response = channel.take_response(LIVENESS_INTERVAL if remaining is None else min(remaining, LIVENESS_INTERVAL))
                if response is not None:
                    self._owed_responses -= 1
                    return response
            except CorosyncError:
                raise
            except BaseException:
                channel.lost = channel.lost or not channel.was_asleep()
                raise
            channel.check_alive()
            if remaining == 0.0:
                raise TimedOut(self.service)


class AsyncCaller:
    """One connection to a service, for asyncio: ``connect`` first, ``aclose`` last, or ``async with``.

    Calls of several tasks take turns. A cancelled call leaves its response behind, which the next call discards. All methods
    belong to the loop in which ``connect`` ran.
    """

    def __init__(
        self,
        service: str,
        *,
        instance: str | None = None,
        socket_directory: str | None = None,
        max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE,
    ) -> None:
        """Nothing happens before ``connect``."""
        self.service = service
        self._instance = instance
        self._socket_directory = socket_directory
        self._max_message_size = max_message_size
        self._channel: Channel | None = None
        self._call_lock = asyncio.Lock()
        self._event_lock = asyncio.Lock()
        self._owed_responses = 0
        self._waiting: asyncio.Future[bytes] | None = None
        self._event_waiter: asyncio.Future[None] | None = None
        self._closing = False
        # A thread of its own: in the loop's shared pool a few slow calls would hold up everybody.
        self._thread = ThreadPoolExecutor(1, f"coroipc-{service}")

    async def connect(self, timeout: float | None = None) -> None:
        """Connect, waiting up to ``timeout`` seconds. Raises as the constructor of BlockingCaller does; BadHandle when closed."""
        if self._closing or self._channel is not None:
            raise BadHandle(f"{self.service}: connected or closed already")
        loop = asyncio.get_running_loop()
        connecting = loop.run_in_executor(self._thread, self._connect, timeout)
        try:
            self._channel = await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(_close_late_channel)
            raise

    def fileno(self) -> int:
        """The connection's descriptor. Raises BadHandle."""
        return self._open_channel().fileno()

    async def call(self, request: bytes, timeout: float | None = None) -> bytes:
        """Send a request and return its response, header included. Raises as BlockingCaller.call does."""
        response = await self.call_raw(request, timeout)
        status = status_of(response)
        if status != Status.OK:
            raise error_for(status, self.service)
        return response

    async def call_raw(self, request: bytes, timeout: float | None = None, *, flow_limit: int = HARD_STOP) -> bytes:
        """As ``call``, whatever the response's status."""
        try:
            async with asyncio.timeout(timeout), self._call_lock:
                while self._owed_responses:
                    await self._next_response()
                self._open_channel().put(request, flow_limit)
                self._owed_responses += 1
                self._wake()
                return await self._next_response()
        except TimeoutError as error:
            raise TimedOut(self.service) from error

    def send(self, request: bytes, flow_limit: int = SOFT_STOP) -> None:
        """Send a request that has no response. Raises TryAgain, LibraryError, TooBig, BadHandle."""
        self._open_channel().put(request, flow_limit)
        self._wake()

    async def next_event(self, timeout: float | None = None) -> bytes | None:
        """The next event, header included; None where none came within ``timeout`` seconds (None: wait for ever).

        Raises LibraryError when the daemon has gone and its last event is taken, BadHandle.
        """
        events = await self.next_events(timeout, 1)
        return events[0] if events else None

    async def next_events(self, timeout: float | None = None, maximum: int = EVENT_BATCH) -> list[bytes]:
        """The events that wait, at most ``maximum``, and at least one unless none came within ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout), self._event_lock:
                while True:
                    events = self._open_channel().take_events(maximum)
                    if events:
                        return events
                    await self._readable()
        except TimeoutError:
            return []

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Events as they come, without end."""
        while True:
            for event in await self.next_events(None, 1):
                yield event

    async def aclose(self) -> None:
        """End the connection; calls under way end with LibraryError or BadHandle. Repeatable."""
        if self._closing:
            return
        self._closing = True
        channel, self._channel = self._channel, None
        if channel is None:
            self._thread.shutdown(wait=False)
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(channel.fileno())
        loop.remove_writer(channel.fileno())
        if self._event_waiter is not None:
            _resolve(self._event_waiter)
        if self._waiting is not None:
            self._waiting.add_done_callback(_read_result)
            channel.interrupt()
        # One thread: it closes the channel when it has come out of its wait.
        closed = loop.run_in_executor(self._thread, channel.close)
        self._thread.shutdown(wait=False)
        await asyncio.shield(closed)

    async def __aenter__(self) -> Self:
        """Connect; ``aclose`` follows at the end of the block."""
        await self.connect()
        return self

    async def __aexit__(self, *unused: object) -> None:
        """Close."""
        await self.aclose()

    def _connect(self, timeout: float | None) -> Channel:
        return Channel.connect(
            self.service,
            instance=self._instance,
            socket_directory=self._socket_directory,
            max_message_size=self._max_message_size,
            timeout=timeout,
        )

    def _open_channel(self) -> Channel:
        if self._channel is None:
            raise BadHandle(self.service)
        return self._channel

    def _wake(self) -> None:
        channel = self._open_channel()
        if not channel.wake():
            asyncio.get_running_loop().add_writer(channel.fileno(), self._wake_again, channel)

    def _wake_again(self, channel: Channel) -> None:
        try:
            if not channel.wake():
                return
        except LibraryError:
            pass  # The calls that wait find the connection lost.
        asyncio.get_running_loop().remove_writer(channel.fileno())

    async def _next_response(self) -> bytes:
        if self._waiting is None:
            for _ in range(_SPINS):
                channel = self._open_channel()
                response = channel.take_response()
                if response is not None:
                    self._owed_responses -= 1
                    return response
                await asyncio.sleep(0)
            loop = asyncio.get_running_loop()
            self._waiting = loop.run_in_executor(self._thread, self._wait_for_response, self._open_channel())
        waiting = self._waiting
        try:
            return await asyncio.shield(waiting)
        finally:
            # A cancelled call leaves the thread waiting, and the next call takes over from here.
            if waiting.done():
                self._waiting = None
                self._owed_responses -= 1

    def _wait_for_response(self, channel: Channel) -> bytes:
        """In the thread: the next response. Raises LibraryError when the daemon has gone or the connection closes."""
        while not self._closing:
            response = channel.take_response(LIVENESS_INTERVAL)
            if response is not None:
                return response
            channel.check_alive()
        raise LibraryError(f"{self.service}: the connection was closed")

    async def _readable(self) -> None:
        """Wait until the socket is readable or ``aclose`` is called."""
        loop = asyncio.get_running_loop()
        channel = self._open_channel()
        ready: asyncio.Future[None] = loop.create_future()
        self._event_waiter = ready
        loop.add_reader(channel.fileno(), _resolve, ready)
        try:
            await ready
        finally:
            if self._channel is channel:
                loop.remove_reader(channel.fileno())


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _read_result(future: asyncio.Future[bytes]) -> None:
    """Nobody may be left to take it, which is no cause for asyncio's complaint."""
    if not future.cancelled():
        future.exception()


def _close_late_channel(connecting: asyncio.Future[Channel]) -> None:
    """A cancelled ``connect`` went through after all."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()
