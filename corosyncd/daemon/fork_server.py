"""The process that forks engines: it has loaded every engine's modules, so that a fork is quick and shares their memory.

The executive forks it first, before it has a loop, sockets or real-time priority, and asks it for engines later over a seqpacket
socket; the descriptors of an engine travel with the request. When that socket closes, its engines are killed and it ends.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgpack import packb, unpackb

from corosyncd.daemon.engine_options import EngineOptions
from corosyncd.daemon.process import die_with_parent, ignore_stop_signals, set_realtime, set_title

EXIT_ENGINE_FAILED: Final = 70
"""Exit status of an engine's process that ended by an error of its own, after logging it (EX_SOFTWARE)."""
_REQUEST_LIMIT: Final = 4096
_REPORT_LIMIT: Final = 4096
_REPORTS_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True)
class Spawned:
    """An engine's process runs."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """No process could be made."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Exited:
    """An engine's process has ended: ``status`` is its exit status, or minus the number of the signal that killed it."""

    name: str
    pid: int
    status: int


@dataclass(frozen=True, slots=True)
class PriorityRefused:
    """Real-time priority is not permitted here: engines run at ordinary priority. Said once."""

    reason: str


Report = Spawned | SpawnFailed | Exited | PriorityRefused
_REPORTS: Final[dict[str, type[Any]]] = {kind.__name__: kind for kind in (Spawned, SpawnFailed, Exited, PriorityRefused)}


class ForkServer:
    """The executive's side. ``fileno`` becomes readable when there are reports; ``closed`` when the server has died."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        """Use ``start``."""
        self.pid = pid
        self.closed = False
        self._control = control
        self._status: int | None = None

    @classmethod
    def start(cls, modules: Sequence[str]) -> ForkServer:
        """Fork the server, which loads the named modules. The caller must still be single-threaded and have no event loop."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = EXIT_ENGINE_FAILED
            try:
                ours.close()
                _Server(theirs, parent).run(modules)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        theirs.close()
        ours.setblocking(False)
        return cls(pid, ours)

    def fileno(self) -> int:
        """The control socket, for the event loop."""
        return self._control.fileno()

    def spawn(
        self,
        name: str,
        options: EngineOptions,
        doorbell: socket.socket,
        log: socket.socket,
        listener: socket.socket | None = None,
        realtime_below_maximum: int | None = None,
    ) -> None:
        """Ask for an engine's process; Spawned and at its end Exited follow. The caller closes its copies of the sockets.

        ``realtime_below_maximum``: schedule it in real time so many steps below the highest priority. Raises OSError when the
        server has died or does not read.
        """
        descriptor = os.memfd_create("engine options", os.MFD_CLOEXEC)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(options.pack())
            descriptors = [descriptor, doorbell.fileno(), log.fileno()]
            if listener is not None:
                descriptors.append(listener.fileno())
            socket.send_fds(self._control, [packb([name, realtime_below_maximum])], descriptors)
        finally:
            os.close(descriptor)

    def read_reports(self) -> list[Report]:
        """The reports that have arrived; sets ``closed`` when the server has died."""
        reports: list[Report] = []
        while len(reports) < _REPORTS_AT_ONCE:
            try:
                datagram = self._control.recv(_REPORT_LIMIT)
            except BlockingIOError:
                break
            except OSError:
                datagram = b""
            if not datagram:
                self.closed = True
                break
            kind, *fields = unpackb(datagram)
            reports.append(_REPORTS[kind](*fields))
        return reports

    def close(self) -> int:
        """End the server and with it all its engines; waits for it. Its exit status, or minus the killing signal's number.

        A second call returns the same.
        """
        if self._status is None:
            self._control.close()
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status


class _Server:
    """The forked side: a request forks an engine, a dead engine is reaped and reported."""

    def __init__(self, control: socket.socket, parent: int) -> None:
        self._control = control
        self._parent = parent
        self._engines: dict[int, tuple[str, int]] = {}
        """Process descriptor to name and pid."""
        self._realtime = True
        self._poll = select.poll()

    def run(self, modules: Sequence[str]) -> None:
        """Serve until the executive closes the control socket."""
        ignore_stop_signals()
        die_with_parent(self._parent)
        set_title("fork server")
        # Not at the top: the executive imports this module, and engines' code has no place there.
        self._run_engine = importlib.import_module("corosyncd.daemon.engine_host").run_engine
        for module in modules:
            importlib.import_module(module)
        gc.collect()
        gc.freeze()
        self._poll.register(self._control, select.POLLIN)
        serving = True
        while serving:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._control.fileno():
                    serving = self._request()
                else:
                    self._reap(descriptor)
        self._end_engines()

    def _request(self) -> bool:
        """Read one request and fork for it; False when the executive has gone."""
        try:
            message, descriptors, _flags, _ = socket.recv_fds(self._control, _REQUEST_LIMIT, 4)
        except ConnectionResetError:
            return False  # It has closed without reading all reports.
        if not message:
            return False
        name, below_maximum = unpackb(message)
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._report(SpawnFailed(name, str(error)))
        else:
            if pid == 0:
                self._become_engine(name, server, descriptors)
            descriptor = os.pidfd_open(pid)
            self._engines[descriptor] = (name, pid)
            self._poll.register(descriptor, select.POLLIN)
            self._set_priority(pid, below_maximum)
            self._report(Spawned(name, pid))
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def _set_priority(self, pid: int, below_maximum: int | None) -> None:
        if below_maximum is None or not self._realtime:
            return
        try:
            set_realtime(pid, below_maximum)
        except ProcessLookupError:
            pass  # It has ended already, which is reported by itself.
        except OSError as error:
            self._realtime = False
            self._report(PriorityRefused(str(error)))

    def _become_engine(self, name: str, server: int, descriptors: list[int]) -> None:
        """In the child: never returns."""
        status = EXIT_ENGINE_FAILED
        try:
            die_with_parent(server)
            self._control.close()
            for descriptor in self._engines:
                os.close(descriptor)
            set_title(name)
            options, *sockets = descriptors
            with open(options, "rb") as file:
                file.seek(0)
                packed = file.read()
            status = self._run_engine(EngineOptions.unpack(packed), *[socket.socket(fileno=number) for number in sockets])
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _reap(self, descriptor: int) -> None:
        name, pid = self._engines.pop(descriptor)
        self._poll.unregister(descriptor)
        os.close(descriptor)
        self._report(Exited(name, pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))

    def _end_engines(self) -> None:
        for _name, pid in self._engines.values():
            os.kill(pid, signal.SIGKILL)
        for _name, pid in self._engines.values():
            os.waitpid(pid, 0)

    def _report(self, report: Report) -> None:
        fields = [getattr(report, field) for field in report.__slots__]
        try:
            self._control.send(packb([type(report).__name__, *fields]))
        except OSError:
            pass  # The executive has gone: the next poll says so.
