"""Ring messages that an engine cannot decode: counted by reason, and the log has the first of each.

Reasons are as many as an engine has functions: nothing that stands in a message makes one more.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from typing import Final

_DETAIL_LENGTH: Final = 120
"""Characters of what the log says about a message."""


class Undecodable:
    """``counts`` is by reason: ``unknown_function``, ``short_N`` and ``malformed_N`` for function N."""

    __slots__ = ("_log", "_prefix", "counts")

    def __init__(self, engine: str, log: Callable[[str, str], None]) -> None:
        """``log`` takes a stock priority word and one line."""
        self.counts: Counter[str] = Counter()
        self._prefix = f"stats.services.{engine}.undecodable"
        self._log = log

    def unknown_function(self, source: int, function: int) -> None:
        """The engine has no such function."""
        self._count("unknown_function", source, f"function {function}")

    def refused(self, source: int, function: int, error: Exception) -> None:
        """The engine's decoder has raised."""
        kind = "short" if isinstance(error, struct.error) else "malformed"
        self._count(f"{kind}_{function}", source, f"function {function}: {error}")

    def keys(self) -> dict[str, int]:
        """The counts as keys of the stats map, their sum first."""
        return {self._prefix: self.counts.total()} | {f"{self._prefix}.{reason}": count for reason, count in self.counts.items()}

    def clear(self) -> None:
        """Begin at zero."""
        self.counts.clear()

    def _count(self, reason: str, source: int, detail: str) -> None:
        self.counts[reason] += 1
        if self.counts[reason] == 1:
            what = f"A message of node {source} makes no sense and was dropped ({detail[:_DETAIL_LENGTH]})"
            self._log("warning", f"{what}; {self._prefix}.{reason} counts all")
