"""A program on virtual time: the client library's own steps, run over a simulated connection to one service.

A *script* is a generator of the library's steps (``coroipc.library``), so the sessions of libcpg, libquorum and libcmap work here
unchanged; a response, or the error that a step meets, comes back to where it was yielded. Events go to a handler, as to a second
thread of the program.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple, Protocol

from coroipc.errors import CorosyncError, LibraryError, TryAgain
from coroipc.library import Ask, Pause, Send
from corosyncsim.history import Process
from corosyncsim.kernel import Kernel
from corosyncsim.services.connections import Connection, Peer
from corosyncsim.services.journal import ClientJournal

CONNECT_AGAIN: Final = 0.1
"""Seconds between two attempts to connect while the daemon serves nobody yet, or is not there."""


class Park(NamedTuple):
    """Come back when ``Program.prod`` is called. Raises LibraryError when the connection breaks meanwhile."""


Script = Generator[Ask | Send | Pause | Park, bytes, None]


class Session(Protocol):
    """A library's session: what an event message means."""

    def event(self, message: bytes) -> Any:
        """None for one that the program does not see."""


class Port(Protocol):
    """The machine that a program runs on."""

    def backlog(self, node_id: int, service: str) -> tuple[Process, deque[Peer], Callable[[], None]] | None:
        """The node's present life, the queue of a service's listening socket and how to wake its engine; None without one."""


class Program:
    """One program with one connection; it ends with its script, by ``die``, or with its machine."""

    def __init__(
        self,
        kernel: Kernel,
        port: Port,
        journal: ClientJournal,
        delay: Callable[[], float],
        node_id: int,
        session: Session,
        script: Script,
        on_event: Callable[[Any], None],
    ) -> None:
        """Nothing happens before ``start``. ``delay`` draws the time until the program runs."""
        self.pid = journal.pid
        self.node_id = node_id
        self.journal = journal
        self.over = False
        self.broken = False
        """The connection has ended at the other side."""
        self.stalled_until = 0.0
        self._kernel = kernel
        self._port = port
        self._delay = delay
        self._session = session
        self._script = script
        self._on_event = on_event
        self._connection: Connection | None = None
        self._inbox: deque[tuple[str, bytes, float]] = deque()
        self._turn_due = False
        self._asked = False
        self._parked = False

    def start(self) -> None:
        """Connect, then run the script."""
        self._connect()

    def prod(self) -> None:
        """End a ``Park``; nothing happens if the script is not parked."""
        if self._parked and not self.over:
            self._parked = False
            self._kernel.after(0.0, self._go, lambda: self._script.send(b""))

    def die(self) -> None:
        """End without a word, as by a signal."""
        if not self.over:
            self._end("dies")

    def stall(self, until: float) -> None:
        """Read nothing before ``until``."""
        self.stalled_until = max(self.stalled_until, until)

    def resume(self) -> None:
        """It runs again."""
        self.stalled_until = 0.0
        self._kernel.after(0.0, self._turn)

    @property
    def asking(self) -> bool:
        """Whether it waits for an answer."""
        return self._asked and not self.over

    # What the connection says (connections.Peer).

    def connected(self, connection: Connection) -> None:
        """The engine has accepted this program."""
        if self.over:
            connection.leave()
            return
        self._connection = connection
        self.journal.connected()
        self._kernel.after(self._delay(), self._go, lambda: next(self._script))

    def refused(self) -> None:
        """Nobody is served yet."""
        if not self.over:
            self._kernel.after(CONNECT_AGAIN, self._connect)

    def receive(self, kind: str, message: bytes) -> None:
        """A response or an event lies in shared memory."""
        self._inbox.append((kind, message, self._kernel.now))
        self._wake()

    def lost(self, reason: str) -> None:
        """What was written before is still read."""
        self._inbox.append(("lost", reason.encode(), self._kernel.now))
        self._wake()

    # The program's own life.

    def _connect(self) -> None:
        if self.over:
            return
        found = self._port.backlog(self.node_id, self.journal.service)
        if found is None:
            self._kernel.after(CONNECT_AGAIN, self._connect)
            return
        self.journal.process, queue, wake = found
        queue.append(self)
        wake()

    def _wake(self) -> None:
        if not self.over and not self._turn_due:
            self._turn_due = True
            self._kernel.after(self._delay(), self._turn)

    def _turn(self) -> None:
        if self.over or self._kernel.now < self.stalled_until:
            return  # ``resume`` follows the stall.
        self._turn_due = False
        while self._inbox and not self.over:
            kind, message, visible_at = self._inbox.popleft()
            if kind == "event":
                event = self._session.event(message)
                if event is not None:
                    self.journal.told(event, visible_at)
                    self._on_event(event)
            elif kind == "response":
                self.journal.answered(message)
                if self._asked:
                    self._asked = False
                    self._go(lambda message=message: self._script.send(message))  # type: ignore[misc]
            else:
                self._break(message.decode())

    def _break(self, reason: str) -> None:
        self.broken = True
        self.journal.lost(reason)
        if self._asked or self._parked:
            self._asked = self._parked = False
            self._go(lambda: self._script.throw(LibraryError(reason)))

    def _go(self, advance: Callable[[], Ask | Send | Pause | Park]) -> None:
        """Run the script until it has to wait."""
        if self.over:
            return
        try:
            step = advance()
            while True:
                if isinstance(step, Pause):
                    self._kernel.after(step.seconds, self._go, lambda: self._script.send(b""))
                    return
                try:
                    if self._perform(step):
                        return
                except CorosyncError as error:
                    step = self._script.throw(error)
                else:
                    step = self._script.send(b"")
        except (StopIteration, CorosyncError) as end:
            self._end("closes" if isinstance(end, StopIteration) else f"gives up: {type(end).__name__}")

    def _perform(self, step: Ask | Send | Park) -> bool:
        """Whether the script has to wait."""
        if self.broken or self._connection is None:
            raise LibraryError("the daemon has gone")
        if isinstance(step, Park):
            self._parked = True
            return True
        self._connection.put(step.request, step.flow_limit)
        asks = isinstance(step, Ask)
        self.journal.asked(step.request, answered=asks)
        self._asked = asks
        return asks

    def _end(self, how: str) -> None:
        self.over = True
        self.journal.ended(how)
        self._script.close()
        if self._connection is not None:
            self._connection.leave()


def patiently(steps: Callable[[], Generator[Any, bytes, None]], pause: float) -> Script:
    """Repeat steps as long as they end with TryAgain."""
    while True:
        try:
            yield from steps()
            return
        except TryAgain:
            yield Pause(pause)
