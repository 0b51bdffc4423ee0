"""Log lines on their way from an engine's process to the executive, which alone writes logs: one datagram a line."""

from __future__ import annotations

import socket
from typing import Final

from msgpack import packb, unpackb

LINE_LIMIT: Final = 16 * 1024
"""Characters of one line, a traceback included; longer ones are cut."""
LINES_AT_ONCE: Final = 64
"""Lines read in one go, so that a chattering engine does not hold up the loop."""
_DATAGRAM: Final = 4 * LINE_LIMIT + 64
_LEVELS: Final = frozenset(("emerg", "alert", "crit", "error", "warning", "notice", "info", "debug", "trace"))


def log_channel() -> tuple[socket.socket, socket.socket]:
    """The executive's end and the engine's end of a new relay."""
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader.setblocking(False)
    writer.setblocking(False)
    return reader, writer


class LogWriter:
    """The engine's end. A line that the executive has no room for is lost, and the next one says how many were."""

    __slots__ = ("_lost", "_socket")

    def __init__(self, sock: socket.socket) -> None:
        """Takes the socket over."""
        self._socket = sock
        self._lost = 0

    def write(self, level: str, text: str) -> None:
        """Send one line; ``level`` is a stock priority word."""
        if self._lost:
            text = f"{text} ({self._lost} lines before this one were lost)"
        datagram = packb([level, text[:LINE_LIMIT]], unicode_errors="surrogateescape")
        try:
            self._socket.send(datagram)
            self._lost = 0
        except OSError:
            self._lost += 1


def read_lines(sock: socket.socket) -> list[tuple[str, str]] | None:
    """What has arrived at the executive's end: (level, text) each; None when the engine's end is closed and nothing is left.

    Datagrams of another form become one line that says so.
    """
    lines: list[tuple[str, str]] = []
    while len(lines) < LINES_AT_ONCE:
        try:
            datagram = sock.recv(_DATAGRAM)
        except BlockingIOError:
            break
        except OSError:
            return lines or None
        if not datagram:
            return lines or None
        lines.append(parse_line(datagram))
    return lines


def parse_line(datagram: bytes) -> tuple[str, str]:
    """Level and text of a datagram; one that holds no line becomes a warning that says so."""
    try:
        level, text = unpackb(datagram, unicode_errors="surrogateescape")
    except (ValueError, TypeError):
        return "warning", f"an engine sent {len(datagram)} bytes that are no log line"
    if type(level) is not str or level not in _LEVELS or type(text) is not str:
        return "warning", f"an engine sent {len(datagram)} bytes that are no log line"
    return level, text
