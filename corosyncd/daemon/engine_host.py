"""The process around one engine: its event loop, its link to the executive, its programs' connections, its timer.

In one turn of the loop everything that has arrived is worked off; then the events for programs are written, and only then the
link: what the executive is told has happened, the programs can see.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
import time
import traceback
from typing import Any, Final

from corosyncd.daemon.engine_options import EngineOptions
from corosyncd.daemon.host_clients import IpcPrograms, NoPrograms
from corosyncd.daemon.log_relay import LogWriter
from corosyncd.daemon.machine import LocalMachine
from corosyncd.daemon.process import ignore_stop_signals
from corosyncd.engines.engine import Engine
from corosyncd.engines.host import EngineHost
from corosyncd.link.frames import Frame
from corosyncd.link.link import LinkEnd
from corosyncd.link.loop import LinkLoop

EXIT_ENGINE_FAILED: Final = 70
"""Exit status after an error of the engine's own, which was logged (EX_SOFTWARE)."""


def load_engine(path: str) -> type[Engine]:
    """The class that ``module:Class`` names. Raises ImportError, AttributeError, TypeError when it is no engine."""
    module, _, name = path.partition(":")
    engine = getattr(importlib.import_module(module), name)
    if not (isinstance(engine, type) and issubclass(engine, Engine)):
        raise TypeError(f"{path} is not a service engine")
    return engine


class EngineProcess:
    """Drives an ``EngineHost``: the only place where an engine meets the clock and descriptors."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: EngineOptions,
        doorbell: socket.socket,
        log: socket.socket,
        listener: socket.socket | None,
    ) -> None:
        """Attach to the link and create the engine. Raises OSError, and what the engine's constructor raises."""
        self.status = 0
        self._loop = loop
        self._log = LogWriter(log)
        self._turn_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        engine = load_engine(options.engine)
        end = LinkEnd.attach(options.link, doorbell)
        self._programs: IpcPrograms | NoPrograms
        if listener is None or not engine.description.requests:
            self._programs = NoPrograms()
        else:
            self._programs = IpcPrograms(loop, listener, engine.description, options, end.note, self)
        outbox, write = end.outbox, self._log.write
        self.host = EngineHost(engine, options.node_id, options.kept, outbox, self._programs, write, LocalMachine())
        self._end = end
        self._link = LinkLoop(loop, end, self._frames, self.finish_turn, self._link_ended)
        loop.set_exception_handler(self._loop_failed)
        self.host.at(time.monotonic())
        self.host.hello()
        self.finish_turn()

    def begin_turn(self) -> EngineHost:
        """The host, with the present time: before anything is told to the engine. The turn's end is seen to."""
        self.host.at(time.monotonic())
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self.finish_turn)
        return self.host

    def finish_turn(self) -> None:
        """Write events, then the link, and set the timer."""
        self._turn_due = False
        self._programs.flush()
        self._link.flush()
        deadline = self.host.next_timer()
        if deadline != self._timer_at:
            self._timer_at = deadline
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None
            if deadline is not None:
                delay = max(0.0, deadline - time.monotonic())
                self._timer = self._loop.call_later(delay, self._timer_expired)

    def close(self) -> None:
        """Let go of everything: names of sockets and shared memory that are ours go too."""
        if self.status:
            self._programs.abandon()
        else:
            self._programs.close_all()
        self._link.close()
        self._end.close()

    def _frames(self, frames: list[Frame]) -> None:
        host = self.host
        host.at(time.monotonic())
        for frame in frames:
            host.receive(frame)

    def _timer_expired(self) -> None:
        self._timer = self._timer_at = None
        self.host.at(time.monotonic())
        self.host.handle_timer()
        self.finish_turn()

    def _link_ended(self, _reason: str) -> None:
        """The executive has gone, or wants us to: there is nothing left to do here."""
        self._loop.stop()

    def _loop_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error outside a program's request: the engine's state can no longer be trusted."""
        error = context.get("exception")
        text = "".join(traceback.format_exception(error)) if error is not None else context.get("message", "")
        self._log.write("crit", f"the engine has failed and ends:\n{text}")
        self.status = EXIT_ENGINE_FAILED
        loop.stop()


def run_engine(options: EngineOptions, doorbell: socket.socket, log: socket.socket, listener: socket.socket | None = None) -> int:
    """Run one engine until the executive closes the link; returns the exit status of the process."""
    ignore_stop_signals()
    loop = _new_loop()
    try:
        try:
            process = EngineProcess(loop, options, doorbell, log, listener)
        except Exception:
            if _has_ended(doorbell):
                return 0  # The executive has given up the start, and taken the link's names away.
            LogWriter(log).write("crit", f"the engine {options.engine} cannot start:\n{traceback.format_exc()}")
            return EXIT_ENGINE_FAILED
        loop.run_forever()
        process.close()
        return process.status
    finally:
        loop.close()


def _has_ended(doorbell: socket.socket) -> bool:
    """Whether the other end of a doorbell is closed and nothing is left to read."""
    try:
        return not doorbell.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed: as fast, but it takes less of the processor per wake-up."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
