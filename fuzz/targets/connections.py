"""A server's end of one connection: rings that its client shares and a socket that the client writes, in any order of turns.

Claims: nothing escapes into the event loop; the connection ends once, and with a reason; what waits for a client, and the turns
that the loop takes for it, are bounded.
"""

from __future__ import annotations

import ctypes
import socket
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from coroipc.messages import DISCONNECT, request, response
from coroipc.ringbuffer import HEADER_SIZE, SEMAPHORE_OFFSET, RingBuffer, RingCorrupt
from coroipc.semaphores import ProcessSharedSemaphore
from coroipc.server.connection import Connection
from coroipc.server.outbox import RetryTimer
from fuzz.pieces import cut, joined
from fuzz.target import claim, without_numbers
from fuzz.targets.rings import LIES, lie

DATA_BYTES: Final = 4096
STEPS_EACH: Final = 16
TURNS_LIMIT: Final = 2000
OVERFLOW_LIMIT: Final = 32 << 10
COMMIT, LIE, WAKE, NOTIFY, LOOK, GATE, LEAVE = range(7)
"""What a step does: the client's request, lie and wake-ups; the engine's events; statistics; the budget; the client's end."""


class ConnectionsTarget:
    """An input: steps, each behind its length: what, then its bytes. After each the loop works until nothing is to be done."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        wake, look, leave = bytes((WAKE, 2)), bytes((LOOK,)), bytes((LEAVE,))
        commits = [
            bytes((COMMIT,)) + message for message in (request(1), request(2, b"body" * 30), request(DISCONNECT), b"short")
        ]
        lies = [
            bytes((LIE, ring, word)) + value.to_bytes(4, "little") for ring in range(3) for word in range(8) for value in LIES
        ]
        notify = bytes((NOTIFY, 9, 200))
        self.seeds = [
            joined((commits[number % 4], some, wake, notify, look, commits[0], wake)) for number, some in enumerate(lies)
        ]
        self.seeds += [
            joined((*commits[:2], wake, notify, notify, bytes((GATE, 0)), *commits[:2], wake, bytes((GATE, 9)), leave))
        ]

    def run(self, data: bytes) -> None:
        """One life of a connection."""
        server = _Server()
        rings = [_Ring() for _ in range(3)]
        theirs, ours = socket.socketpair()
        try:
            ours.setblocking(False)
            theirs.setblocking(False)
            connection = Connection(server, ours, _Files(rings), 1, (0, 0, 0), DATA_BYTES // 2)  # type: ignore[arg-type]
            connection.start()
            for step in cut(data, STEPS_EACH):
                if step:
                    _act(connection, server, rings, theirs, step)
                    server.work()
            theirs.close()
            server.work()
            # What it had committed before is handed over, under the budget.
            server.credit = DATA_BYTES
            connection.resume()
            server.work()
        finally:
            theirs.close()
            ours.close()
        claim(len(server.reasons) == 1 and connection.closed, f"a connection ends once: {server.reasons}")
        claim(connection._outbox.queued_bytes <= OVERFLOW_LIMIT + DATA_BYTES, "what waits for a client is bounded")
        self.dropped[without_numbers(server.reasons[0])] += 1


def _act(connection: Connection, server: _Server, rings: list[_Ring], theirs: socket.socket, step: bytes) -> None:
    rest = step[1:].ljust(2, b"\0")
    match step[0]:
        case 0:
            with suppress(RingCorrupt):
                rings[0].peer.write((step[1 : DATA_BYTES // 2] or b"\0",))
        case 1:
            ring = rings[rest[0] % 3]
            lie(ring.header, ring.data, rest[1:])
        case 2:
            with suppress(OSError):
                theirs.send(bytes(rest[0]))
        case 3:
            connection.notify_many([response(9, body=bytes(8 * rest[1]))] * (rest[0] % 32))
        case 4:
            connection.statistics()
            connection.set_flow_control(rest[0] % 3)
        case 5:
            server.credit = 256 * rest[0]
            connection.resume()
        case _:
            theirs.close()


class _Ring:
    """One ring, the server's side and the client's; 0: requests."""

    def __init__(self) -> None:
        self.header, self.data = ctypes.create_string_buffer(HEADER_SIZE), ctypes.create_string_buffer(DATA_BYTES)
        semaphore = ProcessSharedSemaphore(self.header, SEMAPHORE_OFFSET, initialise=True)
        self.server = RingBuffer(self.header, self.data, semaphore, initialise=True)
        self.peer = RingBuffer(self.header, self.data, semaphore, initialise=False)


class _Files:
    """See coroipc.server.files."""

    def __init__(self, rings: list[_Ring]) -> None:
        self.requests, self.responses, self.events = (ring.server for ring in rings)

    def remove(self) -> None:
        for ring in (self.requests, self.responses, self.events):
            ring.close()


class _Server:
    """Registry and handler of a connection, and the loop that it runs in."""

    def __init__(self) -> None:
        self.handler = self
        self.loop = self
        self.retry_timer = RetryTimer(self)  # type: ignore[arg-type]
        self.overflow_limit = OVERFLOW_LIMIT
        self.credit = DATA_BYTES
        self.reasons: list[str] = []
        self._soon: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._readers: dict[int, Callable[[], None]] = {}
        self._writers: dict[int, Callable[[], None]] = {}

    def departed(self, connection: Connection, reason: str) -> None:
        self.reasons.append(reason)

    # The handler.

    def budget(self, connection: Connection) -> int:
        return self.credit

    def requests(self, connection: Connection, requests: list[bytes]) -> None:
        for message in requests:
            connection.respond(response(1, body=message[:64]))

    def touches(self, connection: Connection) -> None:
        pass

    def slow(self, connection: Connection, queued_bytes: int) -> None:
        pass

    # The loop.

    def add_reader(self, descriptor: int, callback: Callable[[], None]) -> None:
        self._readers[descriptor] = callback

    def remove_reader(self, descriptor: int) -> None:
        self._readers.pop(descriptor, None)

    def add_writer(self, descriptor: int, callback: Callable[[], None]) -> None:
        self._writers[descriptor] = callback

    def remove_writer(self, descriptor: int) -> None:
        self._writers.pop(descriptor, None)

    def call_soon(self, callback: Callable[..., None], *arguments: Any) -> None:
        self._soon.append((callback, arguments))

    def call_later(self, delay: float, callback: Callable[[], None]) -> _Timer:
        self.timer = _Timer(callback)
        return self.timer

    timer: _Timer | None = None

    def work(self) -> None:
        """Sockets, what is to be done soon, and one expiry of the timer."""
        for callback in [*self._readers.values(), *self._writers.values()]:
            callback()
        timer, self.timer = self.timer, None
        if timer is not None and timer.callback is not None:
            timer.callback()
        for _ in range(TURNS_LIMIT):
            if not self._soon:
                return
            callback, arguments = self._soon.popleft()
            callback(*arguments)
        claim(False, f"the loop has nothing to do after {TURNS_LIMIT} turns")


class _Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None
