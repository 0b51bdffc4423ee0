"""The executive's end of every engine: its process (through the fork server), its link, its log lines, its listening socket.

A death is reported once, when the link has been read dry and the process was reaped, so that a successor never meets its
predecessor.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coroipc.liveness import is_dead
from coroipc.server import files
from corosyncd.daemon import process
from corosyncd.daemon.engine_options import EngineOptions
from corosyncd.daemon.fork_server import Exited, ForkServer, PriorityRefused, Spawned, SpawnFailed
from corosyncd.daemon.log_relay import log_channel, read_lines
from corosyncd.link.frames import Frame
from corosyncd.link.link import LinkEnd
from corosyncd.link.loop import LinkLoop
from corosyncd.link.outbox import BacklogFull
from corosyncd.totem.events import RingId

_BY_FOREIGN_MEMORY = frozenset({signal.SIGBUS, signal.SIGABRT})
"""What the memory of a program can end an engine by: a file that was cut, or a semaphore that the C library gives up at."""

Frames = Callable[[str, list[Frame]], None]
Death = Callable[[str, str], None]
Logger = Callable[[str, str, str], None]


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """How to start one engine."""

    name: str
    path: str
    """``module:Class``."""
    subsystem: str
    """What its log lines are filed under."""
    listener: socket.socket | None
    below_maximum: int | None
    """Real-time priority: so many steps below the highest; None: ordinary."""


class _Child:
    """One process and its link."""

    __slots__ = ("end", "exit_reason", "link_gone", "log", "loop", "pid")

    def __init__(self, end: LinkEnd, log: socket.socket) -> None:
        self.end = end
        self.log = log
        self.loop: LinkLoop | None = None
        self.pid = 0
        self.link_gone = False
        self.exit_reason = ""


class EngineLinks:
    """All engines of a node."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fork_server: ForkServer,
        specs: Mapping[str, EngineSpec],
        node_id: int,
        settings: Mapping[str, Any],
        log: Logger,
    ) -> None:
        """``settings`` are the daemon's; they say what links are made of and what programs may take."""
        self._loop = loop
        self._fork_server = fork_server
        self._specs = specs
        self._node_id = node_id
        self._settings = settings
        self._log = log
        self._children: dict[str, _Child] = {}
        self._touched: set[_Child] = set()
        self._refused_users: set[int] = set()
        """Each has killed an engine: it does not get at that engine's successor, nor at any other one's."""
        self._frames: Frames | None = None
        self._death: Death | None = None

    def start(self, frames: Frames, death: Death) -> None:
        """From now on frames and deaths are reported."""
        self._frames = frames
        self._death = death
        self._loop.add_reader(self._fork_server.fileno(), self._on_reports)

    def spawn(self, name: str, kept: bytes | None, serves_later: bool) -> None:
        """Start an engine's process; see SpawnEngine."""
        spec = self._specs[name]
        try:
            end, description, doorbell = LinkEnd.create(name, self._settings["link_semaphores"])
        except OSError as error:
            self._loop.call_soon(self._report, name, f"no link could be made: {error}")
            return
        reader, writer = log_channel()
        child = _Child(end, reader)
        self._children[name] = child
        options = EngineOptions(
            engine=spec.path,
            node_id=self._node_id,
            link=description,
            kept=kept,
            serves_later=serves_later,
            daemon_uid=os.getuid(),
            refused_users=tuple(self._refused_users),
            client_queue_limit=self._settings["client_queue_limit"],
            user_connection_limit=self._settings["user_connection_limit"],
        )
        try:
            self._fork_server.spawn(name, options, doorbell, writer, spec.listener, spec.below_maximum)
        except OSError as error:
            child.link_gone = True
            child.exit_reason = f"the fork server cannot be reached: {error.strerror}"
            self._loop.call_soon(self._settle, name, child)
        finally:
            doorbell.close()
            writer.close()
        self._loop.add_reader(reader.fileno(), self._on_log, name, child)
        child.loop = LinkLoop(
            self._loop,
            end,
            lambda frames: self._on_frames(name, frames),
            lambda: None,
            lambda reason: self._on_link_broken(name, child, reason),
        )

    def kill(self, name: str) -> None:
        """End an engine's process at once; its death is reported as usual."""
        child = self._children.get(name)
        if child is not None and child.pid:
            try:
                os.kill(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it is being reaped

    def ran(self, name: str) -> float | None:
        """See ``process.ran``."""
        child = self._children.get(name)
        return process.ran(child.pid) if child is not None and child.pid else None

    def send(self, name: str, entries: Sequence[tuple[RingId, list[Any], list[bytes]]]) -> None:
        """Queue entries for an engine; ``flush`` writes them. Entries for a dead one are dropped: it has no reader."""
        child = self._children.get(name)
        if child is None or child.link_gone:
            return
        outbox = child.end.outbox
        try:
            for ring_id, entry, bodies in entries:
                outbox.ring_id = ring_id
                outbox.queue(entry, bodies)
        except (BacklogFull, ValueError) as error:
            self._log("SERV", "error", f"Engine {name} cannot be told what it must know: {error}")
            self.kill(name)
        self._touched.add(child)

    def flush(self) -> None:
        """Write what was queued since the last flush."""
        if self._touched:
            for child in self._touched:
                if child.loop is not None:
                    child.loop.flush()
            self._touched.clear()

    def close(self) -> None:
        """Let go of every link; the processes end when their doorbells close."""
        self._loop.remove_reader(self._fork_server.fileno())
        for name in list(self._children):
            self._drop(name)

    def _on_frames(self, name: str, frames: list[Frame]) -> None:
        if self._frames is not None:
            self._frames(name, frames)

    def _on_log(self, name: str, child: _Child) -> None:
        lines = read_lines(child.log)
        if lines is None:
            self._loop.remove_reader(child.log.fileno())
            child.log.close()
            return
        for level, text in lines:
            self._log(self._specs[name].subsystem, level, text)

    def _on_reports(self) -> None:
        for report in self._fork_server.read_reports():
            if isinstance(report, PriorityRefused):
                self._log("MAIN", "warning", f"Engines run at ordinary priority: {report.reason}")
                continue
            child = self._children.get(report.name)
            if child is None:
                continue
            if isinstance(report, Spawned):
                child.pid = report.pid
            elif isinstance(report, SpawnFailed):
                child.link_gone = True
                child.exit_reason = report.reason
                self._settle(report.name, child)
            elif isinstance(report, Exited) and report.pid == child.pid:
                child.exit_reason = self._describe(child, report)
                self._settle(report.name, child)
        if self._fork_server.closed:
            self._loop.remove_reader(self._fork_server.fileno())
            self._log("MAIN", "error", "The fork server has died")
            for name, child in list(self._children.items()):
                child.link_gone = True
                child.exit_reason = child.exit_reason or "the fork server has died"
                self._settle(name, child)

    def _describe(self, child: _Child, report: Exited) -> str:
        if report.status >= 0:
            return f"exit status {report.status}"
        reason = f"killed by {signal.Signals(-report.status).name}"
        pid, uid = child.end.noted
        if -report.status in _BY_FOREIGN_MEMORY and pid:
            reason += f" while it used the memory of process {pid} of user {uid}"
            if uid not in (0, os.getuid()):
                self._refused_users.add(uid)
                reason += ", who may not connect to its successors until this node is started again"
        return reason

    def _on_link_broken(self, name: str, child: _Child, reason: str) -> None:
        child.link_gone = True
        if child.pid:
            try:
                os.kill(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # its end has caused this
        self._settle(name, child)

    def _settle(self, name: str, child: _Child) -> None:
        if child.link_gone and child.exit_reason and self._children.get(name) is child:
            self._drop(name)
            # A killed engine leaves its clients' rings behind.
            files.sweep(is_dead)
            self._report(name, child.exit_reason)

    def _drop(self, name: str) -> None:
        child = self._children.pop(name)
        self._touched.discard(child)
        if child.loop is not None:
            child.loop.close()
        child.end.close()
        if child.log.fileno() >= 0:
            self._on_log(name, child)
            if child.log.fileno() >= 0:
                self._loop.remove_reader(child.log.fileno())
                child.log.close()

    def _report(self, name: str, reason: str) -> None:
        if self._death is not None:
            self._death(name, reason)
