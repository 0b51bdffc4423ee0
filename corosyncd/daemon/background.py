"""Into the background, but not before the start has succeeded or failed: the caller gets the outcome as its own.

A service manager, or a script, would otherwise take a daemon for started that found another one running a moment later.
"""

from __future__ import annotations

import os
import sys

EXIT_SILENT = 1
"""The caller's status when the daemon ended without a word."""


class Outcome:
    """The end of a pipe at which the caller waits; ``tell`` is said once."""

    def __init__(self, writer: int) -> None:
        """Processes that are forked from here on let go of it, lest the caller wait for their end."""
        self._writer: int | None = writer
        os.register_at_fork(after_in_child=self._close)

    def tell(self, status: int, message: str = "") -> None:
        """Let the caller go, with an exit status and what it has to print."""
        if self._writer is not None:
            os.write(self._writer, bytes([status]) + message.encode())
            self._close()

    def _close(self) -> None:
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None


def become_daemon() -> Outcome:
    """Go on in a session of its own, without a terminal. The caller's process ends when the outcome is told."""
    reader, writer = os.pipe()
    first = os.fork()
    if first:
        os.close(writer)
        os.waitpid(first, 0)
        _end_as_told(reader)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.close(reader)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if null > 2:
        os.close(null)
    return Outcome(writer)


def _end_as_told(reader: int) -> None:
    told = b""
    while part := os.read(reader, 4096):
        told += part
    if not told:
        print("corosyncd: the daemon ended before it had started: see its log", file=sys.stderr)
    elif len(told) > 1:
        print(told[1:].decode(errors="replace"), file=sys.stderr)
    sys.stderr.flush()
    os._exit(told[0] if told else EXIT_SILENT)
