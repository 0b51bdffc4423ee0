"""What makes a client class out of a table of calls: a blocking one and an asyncio one from the same declarations.

A *call* is one request and its response. A *session* is a connection's state without I/O: it turns event messages into
events, and its *steps* (generators that yield ``Ask``, ``Send`` and ``Pause``) are the operations of more than one request.

Source: reference client-api sections 1.3 and 1.4; the dispatch flags of corotypes.h.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import reprlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, Protocol, Self, TypeVar

from coroipc.caller import AsyncCaller, BlockingCaller
from coroipc.errors import BadHandle, CorosyncError, InvalidParameter, Status, TryAgain, check
from coroipc.layouts import response_status

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)
S = TypeVar("S")


class Dispatch(IntEnum):
    """How long ``dispatch`` goes on (cs_dispatch_flags_t)."""

    ONE = 1
    ALL = 2
    BLOCKING = 3
    ONE_NONBLOCKING = 4


class Ask(NamedTuple):
    """Send the request and come back with its whole response, whatever its status."""

    request: bytes
    flow_limit: int = 1


class Send(NamedTuple):
    """Send a request that has no response."""

    request: bytes
    flow_limit: int = 1


class Pause(NamedTuple):
    """Come back after this many seconds."""

    seconds: float


Step = Ask | Send | Pause
Steps = Generator[Step, bytes, R]


def ask(request: bytes, what: str, flow_limit: int = 1) -> Steps[bytes]:
    """One step: the response of a request; raises the error that its status stands for, ``what`` in its text."""
    response = yield Ask(request, flow_limit)
    check(response_status(response), what)
    return response


class Session(Protocol[E_co]):
    """The state of one connection."""

    def event(self, message: bytes) -> E_co | None:
        """What an event message means to the program; None for one that it does not see."""


@dataclass(frozen=True, slots=True)
class Call(Generic[P, R]):
    """One row of a library's table."""

    name: str
    request_id: int
    function: str
    """The C function."""
    encode: Callable[P, bytes]
    """From the arguments to the request."""
    decode: Callable[[bytes], R]
    """From a successful response to the result."""

    def result(self, response: bytes, arguments: tuple[object, ...]) -> R:
        """Raises what the response's status stands for, and MessageError where the response is short."""
        status = response_status(response)
        if status != Status.OK:
            check(status, f"{self.function}({', '.join(map(reprlib.repr, arguments))})")
        return self.decode(response)


def call(request_id: int, function: str, decode: Callable[[bytes], R]) -> Callable[[Callable[P, bytes]], Call[P, R]]:
    """Decorator of an encoder: its name, arguments and docstring become those of the client classes' methods."""

    def declare(encode: Callable[P, bytes]) -> Call[P, R]:
        return Call(encode.__name__, int(request_id), function, encode, decode)

    return declare


def nothing(response: bytes) -> None:
    """Decoder of responses that are only a status."""


class BlockingLibrary(Generic[E]):
    """One connection to a service of the daemon, blocking. Several threads may call, and close; events are for one thread."""

    def __init__(
        self,
        service: str,
        session: Session[E],
        opening: Callable[[], Steps[object]] | None = None,
        closing: Callable[[], Steps[object]] | None = None,
        *,
        instance: str | None = None,
        socket_directory: str | None = None,
    ) -> None:
        """Connect; ``opening`` and ``closing`` are the first and last steps. Raises LibraryError, TryAgain, AccessDenied."""
        self._session = session
        self._closing = closing
        self._closed = False
        self._caller = BlockingCaller(service, instance=instance, socket_directory=socket_directory)
        if opening is not None:
            try:
                self._run(opening())
            except BaseException:
                self.close()
                raise

    def fileno(self) -> int:
        """A descriptor that is readable while events wait (C: <service>_fd_get). Raises BadHandle."""
        return self._open_caller().fileno()

    def next_event(self, timeout: float | None = None) -> E | None:
        """The next event; None where none came within ``timeout`` seconds (None: wait for ever).

        Raises LibraryError when the daemon has gone, MessageError for an event that is none, BadHandle after ``close``.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            message = self._open_caller().next_event(timeout)
            if message is None:
                return None
            event = self._session.event(message)
            if event is not None:
                return event
            if deadline is not None:
                timeout = max(0.0, deadline - time.monotonic())

    def events(self, timeout: float | None = None) -> Iterator[E]:
        """Events as they come, until none came for ``timeout`` seconds (0: those that wait now) or ``close``.

        Raises LibraryError, MessageError.
        """
        while not self._closed:
            try:
                event = self.next_event(timeout)
            except BadHandle:
                return  # Another thread closed the connection while this one waited.
            if event is None:
                return
            yield event

    def dispatch(self, handler: Callable[[E], object], mode: int = Dispatch.ALL) -> int:
        """Hand events to ``handler`` and return how many (C: <service>_dispatch).

        ``mode`` is a Dispatch: wait for one, take all that wait now, go on until ``close``, or take one if there is one.
        Raises TryAgain (ONE_NONBLOCKING without an event), InvalidParameter (mode), LibraryError, BadHandle.
        """
        if mode not in (Dispatch.ONE, Dispatch.ALL, Dispatch.BLOCKING, Dispatch.ONE_NONBLOCKING):
            raise InvalidParameter(f"dispatch mode {mode}")
        self._open_caller()
        waits = mode in (Dispatch.ONE, Dispatch.BLOCKING)
        count = 0
        for event in self.events(None if waits else 0.0):
            handler(event)
            count += 1
            if mode in (Dispatch.ONE, Dispatch.ONE_NONBLOCKING):
                return count
        if mode == Dispatch.ONE_NONBLOCKING:
            raise TryAgain("no event waits")
        return count

    def close(self) -> None:
        """End the connection (C: <service>_finalize). A second call does nothing."""
        if self._closed:
            return
        try:
            if self._closing is not None:
                self._run(self._closing())
        except CorosyncError:
            pass  # The daemon has gone or is under pressure; the connection ends all the same.
        finally:
            self._closed = True
            self._caller.close()

    def __enter__(self) -> Self:
        """The connection itself; ``close`` follows at the end of the block."""
        return self

    def __exit__(self, *unused: object) -> None:
        """Close."""
        self.close()

    def _open_caller(self) -> BlockingCaller:
        if self._closed:
            raise BadHandle()
        return self._caller

    def _take(self, step: Step) -> bytes:
        if isinstance(step, Ask):
            return self._open_caller().call_raw(step.request, flow_limit=step.flow_limit)
        if isinstance(step, Send):
            self._open_caller().send(step.request, flow_limit=step.flow_limit)
        else:
            time.sleep(step.seconds)
        return b""

    def _run(self, steps: Steps[R]) -> R:
        try:
            step = next(steps)
            while True:
                try:
                    answer = self._take(step)
                except CorosyncError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            result: R = end.value
            return result
        finally:
            steps.close()  # What it holds must not wait until an exception is forgotten that has passed by it.


class AsyncLibrary(Generic[E]):
    """One connection to a service of the daemon, for asyncio. ``async with``, or ``connect`` and ``aclose``."""

    def __init__(
        self,
        service: str,
        session: Session[E],
        opening: Callable[[], Steps[object]] | None = None,
        closing: Callable[[], Steps[object]] | None = None,
        *,
        instance: str | None = None,
        socket_directory: str | None = None,
    ) -> None:
        """Nothing happens before ``connect``; ``opening`` and ``closing`` are the first and last steps."""
        self._session = session
        self._closing = closing
        self._opening = opening
        self._usable = False
        self._caller = AsyncCaller(service, instance=instance, socket_directory=socket_directory)

    async def connect(self) -> None:
        """Connect, once. Raises LibraryError, TryAgain, AccessDenied."""
        await self._caller.connect()
        self._usable = True
        if self._opening is not None:
            try:
                await self._run(self._opening())
            except BaseException:
                await self.aclose()
                raise

    def fileno(self) -> int:
        """The descriptor of the connection (C: <service>_fd_get). Raises BadHandle."""
        return self._open_caller().fileno()

    async def next_event(self, timeout: float | None = None) -> E | None:
        """The next event; None where none came within ``timeout`` seconds (None: wait for ever).

        Raises LibraryError when the daemon has gone, MessageError for an event that is none, BadHandle after ``aclose``.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            message = await self._open_caller().next_event(timeout)
            if message is None:
                return None
            event = self._session.event(message)
            if event is not None:
                return event
            if deadline is not None:
                timeout = max(0.0, deadline - time.monotonic())

    async def events(self, timeout: float | None = None) -> AsyncIterator[E]:
        """Events as they come, until none came for ``timeout`` seconds (0: those that wait now) or ``aclose``.

        Raises LibraryError, MessageError.
        """
        while self._usable:
            try:
                event = await self.next_event(timeout)
            except BadHandle:
                return  # Another task closed the connection while this one waited.
            if event is None:
                return
            yield event

    def __aiter__(self) -> AsyncIterator[E]:
        """Events, without end."""
        return self.events()

    async def aclose(self) -> None:
        """End the connection (C: <service>_finalize). A second call does nothing."""
        if not self._usable:
            return
        try:
            if self._closing is not None:
                await self._run(self._closing())
        except CorosyncError:
            pass  # The daemon has gone or is under pressure; the connection ends all the same.
        finally:
            self._usable = False
            await self._caller.aclose()

    async def __aenter__(self) -> Self:
        """Connect; ``aclose`` follows at the end of the block."""
        await self.connect()
        return self

    async def __aexit__(self, *unused: object) -> None:
        """Close."""
        await self.aclose()

    def _open_caller(self) -> AsyncCaller:
        if not self._usable:
            raise BadHandle()
        return self._caller

    async def _take(self, step: Step) -> bytes:
        if isinstance(step, Ask):
            return await self._open_caller().call_raw(step.request, flow_limit=step.flow_limit)
        if isinstance(step, Send):
            self._open_caller().send(step.request, flow_limit=step.flow_limit)
            # Nothing here waits, and a loop of sends must not starve the task that reads the events.
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(step.seconds)
        return b""

    async def _run(self, steps: Steps[R]) -> R:
        try:
            step = next(steps)
            while True:
                try:
                    answer = await self._take(step)
                except CorosyncError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            result: R = end.value
            return result
        finally:
            steps.close()  # What it holds must not wait until an exception is forgotten that has passed by it.


def _dress(method: Callable[..., object], model: Callable[..., object], *, result: Any, takes_self: bool) -> None:
    """Give a method the name, docstring and parameters of the function that declares it."""
    functools.update_wrapper(method, model, assigned=("__module__", "__name__", "__qualname__", "__doc__"), updated=())
    del method.__wrapped__  # type: ignore[attr-defined]
    signature = inspect.signature(model).replace(return_annotation=result)
    if not takes_self:
        itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        signature = signature.replace(parameters=[itself, *signature.parameters.values()])
    method.__signature__ = signature  # type: ignore[attr-defined]


def blocking(row: Call[P, R]) -> Callable[Concatenate[Any, P], R]:
    """The method of a blocking class for one call."""

    def method(self: BlockingLibrary[Any], /, *args: P.args, **kwargs: P.kwargs) -> R:
        response = self._open_caller().call_raw(row.encode(*args, **kwargs))
        return row.result(response, (*args, *kwargs.values()))

    _dress(method, row.encode, result=inspect.signature(row.decode).return_annotation, takes_self=False)
    return method


def asynchronous(row: Call[P, R]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """The method of an asyncio class for one call."""

    async def method(self: AsyncLibrary[Any], /, *args: P.args, **kwargs: P.kwargs) -> R:
        response = await self._open_caller().call_raw(row.encode(*args, **kwargs))
        return row.result(response, (*args, *kwargs.values()))

    _dress(method, row.encode, result=inspect.signature(row.decode).return_annotation, takes_self=False)
    return method


def blocking_steps(steps: Callable[Concatenate[S, P], Steps[R]]) -> Callable[Concatenate[Any, P], R]:
    """The method of a blocking class for a session's steps."""

    def method(self: BlockingLibrary[Any], /, *args: P.args, **kwargs: P.kwargs) -> R:
        session: Any = self._session
        return self._run(steps(session, *args, **kwargs))

    _dress(method, steps, result=inspect.Signature.empty, takes_self=True)
    return method


def asynchronous_steps(steps: Callable[Concatenate[S, P], Steps[R]]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """The method of an asyncio class for a session's steps."""

    async def method(self: AsyncLibrary[Any], /, *args: P.args, **kwargs: P.kwargs) -> R:
        session: Any = self._session
        return await self._run(steps(session, *args, **kwargs))

    _dress(method, steps, result=inspect.Signature.empty, takes_self=True)
    return method
