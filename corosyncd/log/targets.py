"""Where lines end: stderr, log files, syslog. Writing may block here and nowhere else.

A target that cannot take a line counts it and says so at its next success; it never raises for a full disk or a dead syslog.
"""

from __future__ import annotations

import os
import socket
from typing import Final

from corosyncd.log.layout import syslog_timestamp
from corosyncd.log.levels import syslog_level

SYSLOG_SOCKET: Final = "/dev/log"
SYSLOG_TIMEOUT: Final = 1.0
"""Seconds that a stalled syslog may hold up the other targets for one line."""


class Descriptor:
    """Lines on an open descriptor (stderr)."""

    def __init__(self, descriptor: int) -> None:
        """The descriptor stays the caller's."""
        self._descriptor = descriptor
        self.lost = 0

    def write(self, lines: list[str]) -> None:
        """Write lines; what the descriptor refuses is lost."""
        if not _write_all(self._descriptor, _encoded(lines)):
            self.lost += len(lines)


class LogFile:
    """A file that is appended to, made with the process's umask, and can be opened anew after a rotation."""

    def __init__(self, path: str) -> None:
        """Opened at the first line, or by ``reopen``."""
        self.path = path
        self.lost = 0
        self._descriptor = -1

    def reopen(self) -> str:
        """Close and open; "" or why the file cannot be opened, in stock's words."""
        self.close()
        try:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o666)
        except OSError as error:
            return f"Can't open logfile '{self.path}' for reason: {error.strerror} ({error.errno})"
        return ""

    def write(self, lines: list[str]) -> None:
        """Append lines; after losses the first line that fits again is preceded by their number."""
        if self._descriptor < 0 and self.reopen():
            self.lost += len(lines)
            return
        head = [f"{self.lost} lines were lost here: the file could not be written"] if self.lost else []
        if _write_all(self._descriptor, _encoded(head + lines)):
            self.lost = 0
        else:
            self.lost += len(lines)

    def close(self) -> None:
        """Close the file if it is open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Syslog:
    """The local syslog socket; connects when there is something to say, again after the syslog was restarted."""

    def __init__(self, path: str = SYSLOG_SOCKET) -> None:
        """``path`` of the socket."""
        self._path = path
        self._socket: socket.socket | None = None
        self.lost = 0

    def write(self, lines: list[str], facility: int, priority: int, seconds: float) -> None:
        """One datagram a line; ``facility`` and ``priority`` as numbers."""
        head = f"<{facility << 3 | syslog_level(priority)}>{syslog_timestamp(seconds)} "
        for line in lines:
            datagram = (head + line).encode("utf-8", "surrogateescape")
            if not (self._send(datagram) or self._send(datagram)):
                self.lost += 1

    def _send(self, datagram: bytes) -> bool:
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.settimeout(SYSLOG_TIMEOUT)
                self._socket.connect(self._path)
            self._socket.send(datagram)
        except TimeoutError:
            # It is there and stalls: trying the same line again would stall twice as long.
            self.lost += 1
            return True
        except OSError:
            self.close()
            return False
        return True

    def close(self) -> None:
        """Close the socket if it is open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _encoded(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _write_all(descriptor: int, data: bytes) -> bool:
    """Write everything, whole lines in one call where the system allows; False where it refuses."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        return False
    return True
