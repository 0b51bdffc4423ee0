"""A daemon that is a script, in the place of the callers of the client libraries: no sockets, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest

import coroipc.library
from coroipc.errors import LibraryError
from coroipc.layouts import status_response

OK = status_response(0)


class Daemon:
    """Answers requests by a script, notes them, and hands out events; what both callers would talk to."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.limits: list[int] = []
        self.events: deque[bytes] = deque()
        self.pauses: list[float] = []
        self.answer: Callable[[bytes], bytes] = lambda request: OK
        self.closed = 0

    def ids(self) -> list[int]:
        return [int.from_bytes(request[:4], "little") for request in self.requests]

    def take(self, request: bytes, limit: int) -> bytes:
        self.requests.append(request)
        self.limits.append(limit)
        return self.answer(request)


class ScriptedCaller:
    """Stands in for BlockingCaller."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def fileno(self) -> int:
        return 42

    def call_raw(self, request: bytes, timeout: float | None = None, *, flow_limit: int = 1) -> bytes:
        return self.daemon.take(request, flow_limit)

    def send(self, request: bytes, flow_limit: int = 2) -> None:
        self.daemon.take(request, flow_limit)

    def next_event(self, timeout: float | None = None) -> bytes | None:
        if self.daemon.events:
            return self.daemon.events.popleft()
        if timeout is None:
            raise LibraryError("the script has no more events")
        return None

    def close(self) -> None:
        self.daemon.closed += 1


class AsyncScriptedCaller(ScriptedCaller):
    """Stands in for AsyncCaller."""

    async def connect(self) -> None:
        pass

    async def call_raw(self, request: bytes, timeout: float | None = None, *, flow_limit: int = 1) -> bytes:  # type: ignore[override]
        return self.daemon.take(request, flow_limit)

    async def next_event(self, timeout: float | None = None) -> bytes | None:  # type: ignore[override]
        return super().next_event(timeout)

    async def aclose(self) -> None:
        self.close()


def install(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """Every connection that a library makes from now on goes to this daemon; pauses are noted, not made."""
    script = Daemon()

    async def pause(seconds: float) -> None:
        script.pauses.append(seconds)

    monkeypatch.setattr(coroipc.library, "BlockingCaller", lambda *args, **kwargs: ScriptedCaller(script))
    monkeypatch.setattr(coroipc.library, "AsyncCaller", lambda *args, **kwargs: AsyncScriptedCaller(script))
    monkeypatch.setattr("time.sleep", script.pauses.append)
    monkeypatch.setattr("asyncio.sleep", pause)
    return script
