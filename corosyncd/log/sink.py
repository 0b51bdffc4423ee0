"""The log process: reads records from the daemon and writes them to stderr, files and syslog until the daemon is gone.

It is a process of its own so that a slow disk or syslog never holds up the ring.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from corosyncd.log.layout import Target, renderer
from corosyncd.log.levels import Priority
from corosyncd.log.records import MAXIMUM_DATAGRAM, Record, Reopen, parse
from corosyncd.log.settings import Settings
from corosyncd.log.targets import Descriptor, LogFile, Syslog

STDERR = 2
OWN_SUBSYSTEM = "MAIN"


class Sink:
    """Applies settings, filters, and hands lines to the targets. Reads no socket itself."""

    def __init__(self, settings: Settings, stderr: Descriptor, syslog: Syslog, clock: Callable[[], float] = time.time) -> None:
        """Files are opened as the settings name them."""
        self._stderr = stderr
        self._syslog = syslog
        self._clock = clock
        self._files: dict[str, LogFile] = {}
        self.refused = 0
        """Datagrams that were no records."""
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Write by these settings from now on; files that no setting names any more are closed."""
        self._settings = settings
        self._render = renderer(settings)
        wanted = {own.logfile for own in (settings.base, *settings.subsystems.values()) if own.logfile and own.to_logfile}
        for path in self._files.keys() - wanted:
            self._files.pop(path).close()
        for path in sorted(wanted - self._files.keys()):
            self._files[path] = LogFile(path)
            self._open(self._files[path])

    def reopen(self) -> None:
        """Open every file anew."""
        for file in self._files.values():
            self._open(file)

    def take(self, datagram: bytes) -> None:
        """Work off one datagram."""
        try:
            message = parse(datagram)
        except ValueError:
            self.refused += 1
            return
        if isinstance(message, Record):
            self.write(message)
        elif isinstance(message, Reopen):
            self.reopen()
        else:
            self.apply(message)

    def write(self, record: Record) -> None:
        """One record to every target that takes it."""
        settings = self._settings
        own = settings.of(record.subsystem)
        if record.priority <= own.file_threshold():
            if settings.to_stderr:
                self._stderr.write(self._render(record, Target.STDERR))
            file = self._files.get(own.logfile) if own.to_logfile else None
            if file is not None:
                file.write(self._render(record, Target.FILE))
        if settings.to_syslog and record.priority <= own.syslog_threshold():
            lines = self._render(record, Target.SYSLOG)
            self._syslog.write(lines, own.syslog_facility, record.priority, record.seconds)

    def close(self) -> None:
        """Close what is open."""
        for file in self._files.values():
            file.close()
        self._syslog.close()

    def _open(self, file: LogFile) -> None:
        fault = file.reopen()
        if fault:
            self.write(Record(os.getpid(), self._clock(), OWN_SUBSYSTEM, Priority.ERROR, fault, {}))


def main(descriptor: int, settings: Mapping[str, Any] | None = None) -> None:
    """Serve the socket until its other end is closed and everything is written.

    ``settings`` is ``Settings.document()``; without it the defaults hold until the daemon's first message brings them. Signals
    that stop the daemon are ignored: its last lines are still to come.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    first = Settings() if settings is None else Settings.from_document(settings)
    sink = Sink(first, Descriptor(STDERR), Syslog())
    with socket.socket(fileno=descriptor) as sock:
        sock.setblocking(True)
        while True:
            try:
                datagram = sock.recv(MAXIMUM_DATAGRAM)
            except ConnectionError:
                break
            if not datagram:
                break
            sink.take(datagram)
    sink.close()
