"""One engine's process on virtual time: the real engine and its host, the link's two queues, and death at any step.

Frames are real: what either side says is packed, cut and parsed as on a daemon's link. When the process runs is up to chance: it
wakes some time after something has come, takes a few frames, and may be stalled or killed between any two words of a frame, or
between telling its programs and telling the executive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from corosyncd.engines.engine import Engine
from corosyncd.engines.host import EngineHost
from corosyncd.link.frames import Direction, Frame, decode
from corosyncd.link.outbox import Outbox
from corosyncd.link.vocabulary import ToEngine
from corosyncsim.kernel import Kernel
from corosyncsim.services.connections import Connections, Peer


class Executive(Protocol):
    """The other end of the link."""

    def hear(self, process: EngineProcess, chunk: bytes) -> None:
        """A frame was written."""

    def clock(self) -> float:
        """The time by this node's clock."""

    def clock_ahead(self) -> float:
        """How far that is ahead of the kernel's."""

    def note(self, who: str, what: str) -> None:
        """Something for the trace."""


class EngineProcess:
    """From its first word to its end; a successor is another one."""

    def __init__(
        self,
        kernel: Kernel,
        executive: Executive,
        engine: type[Engine],
        node_id: int,
        kept: bytes | None,
        serial: int,
        backlog: deque[Peer],
        delay: Callable[[], float],
        frames_at_once: int,
        on_death: Callable[[], None],
        *,
        serves_later: bool,
    ) -> None:
        """``serial`` is unique in the node; ``delay`` draws the time until the process runs."""
        self.name = engine.description.name
        self.alive = True
        self.ran_at = kernel.now
        """When it last had the processor."""
        self.stalled_until = 0.0
        self.dies_after: int | None = None
        """Words of the executive that it still works off before it dies."""
        self.dies_between = False
        """Whether it dies in its next turn, between telling its programs and telling the executive."""
        self.outbox = Outbox(Direction.TO_EXECUTIVE)
        self.connections = Connections(backlog, serial << 32, self.wake, serves_later=serves_later)
        self._kernel = kernel
        self._executive = executive
        self._delay = delay
        self._frames_at_once = frames_at_once
        self._on_death = on_death
        self._inbox: deque[bytes] = deque()
        self._turn_due = False
        self._armed: float | None = None
        self.host = EngineHost(engine, node_id, kept, self.outbox, self.connections, self._log)
        self.connections.host = self.host
        self.host.at(executive.clock())
        self.host.hello()
        self._finish()

    def hear(self, chunk: bytes) -> None:
        """The executive has written a frame."""
        self._inbox.append(chunk)
        self.wake()

    def wake(self) -> None:
        """Something waits; the process runs before long."""
        if self.alive and not self._turn_due:
            self._turn_due = True
            self._kernel.after(self._delay(), self._turn)

    def stall(self, until: float) -> None:
        """The process does not run before ``until`` (kernel time)."""
        self.stalled_until = max(self.stalled_until, until)

    def resume(self) -> None:
        """The process runs again."""
        self.stalled_until = self._kernel.now
        self._kernel.after(0.0, self._turn)

    def die(self, reason: str) -> None:
        """The process ends at once: what it had not written, and what it had not read, is gone."""
        if self.alive:
            self.alive = False
            self._inbox.clear()
            self._executive.note(self.name, f"dies: {reason}")
            self.connections.die(reason)
            self._on_death()

    def _log(self, level: str, text: str) -> None:
        self._executive.note(self.name, f"{level}: {text}")

    def _turn(self) -> None:
        if not self.alive or self._kernel.now < self.stalled_until:
            return  # ``resume`` follows the stall.
        self._turn_due = False
        self.ran_at = self._kernel.now
        self.host.at(self._executive.clock())
        for _ in range(min(self._frames_at_once, len(self._inbox))):
            if not self._take(decode(self._inbox.popleft(), Direction.TO_ENGINE)):
                return
        more = self.connections.serve()
        due = self.host.next_timer()
        if due is not None and due - self._executive.clock_ahead() <= self._kernel.now:
            self.host.at(max(due, self._executive.clock()))
            self.host.handle_timer()
        self._finish()
        if self._inbox or more:
            self.wake()

    def _take(self, frame: Frame) -> bool:
        """False where the process died over the frame."""
        if self.dies_after is None or self.dies_after >= len(frame.entries):
            if self.dies_after is not None:
                self.dies_after -= len(frame.entries)
            self.host.receive(frame)
            return True
        entries = frame.entries[: self.dies_after]
        bodies = sum(len(entry[1]) // 3 for entry in entries if entry[0] == ToEngine.DELIVER)
        self.host.receive(Frame(frame.ring_id, entries, frame.bodies[:bodies]))
        self.die("killed in the middle of a frame")
        return False

    def _finish(self) -> None:
        """Events, then the link: what the executive is told has happened, the programs can see."""
        self.connections.flush()
        if self.dies_between:
            self.die("killed before it could tell the executive")
            return
        self.outbox.seal()
        while (pieces := self.outbox.head()) is not None:
            self.outbox.pop()
            self._executive.hear(self, b"".join(pieces))
        due = self.host.next_timer()
        if due is not None:
            due -= self._executive.clock_ahead()
            if due != self._armed:
                self._armed = due
                self._kernel.at(due, self._timer, due)

    def _timer(self, armed: float) -> None:
        if armed == self._armed:
            self._armed = None
            if self.alive and not self._turn_due:
                self._turn_due = True
                self._turn()
