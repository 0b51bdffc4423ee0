"""The readable story of a run: one line an event, its digest, and nothing at all when nobody reads it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from corosyncsim.kernel import Kernel


class Trace:
    """Writes ``time who what`` lines to ``sink``; ``wanted`` is False without one, so that callers need not format.

    Frames on the wire are most of a trace: they are part of its digest always and reach the sink only where ``frames`` asks.
    """

    __slots__ = ("_digest", "_frames", "_kernel", "_sink", "lines", "wanted")

    def __init__(self, kernel: Kernel, sink: Callable[[str], object] | None = None, *, frames: bool = True) -> None:
        self.wanted = sink is not None
        self.lines = 0
        self._sink = sink
        self._frames = frames
        self._kernel = kernel
        self._digest = sha256()

    def write(self, who: str, what: str) -> None:
        """One line; times in seconds to the microsecond."""
        line = self._add(who, what)
        if self._sink is not None:
            self._sink(line)

    def frame(self, who: str, what: str) -> None:
        """One line about a frame that leaves ``who``."""
        line = self._add(who, what)
        if self._frames and self._sink is not None:
            self._sink(line)

    def _add(self, who: str, what: str) -> str:
        if self._sink is None:
            return ""
        line = f"{self._kernel.now:12.6f} {who:<7} {what}"
        self.lines += 1
        self._digest.update(line.encode())
        self._digest.update(b"\n")
        return line

    def digest(self) -> str:
        """SHA-256 of all lines so far, in hexadecimal."""
        return self._digest.hexdigest()
