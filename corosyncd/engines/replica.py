"""An engine's own copy of the keys that it tracks, readable in byte order without asking the executive."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from corosyncd.engines.engine import KeyChange
from corosyncd.keyspace.changes import Track
from corosyncd.keyspace.values import Value


class Replica:
    """Keys and values as of the last changes applied."""

    __slots__ = ("_names", "_sorted", "_values")

    def __init__(self) -> None:
        """Empty: the executive sends a snapshot first."""
        self._values: dict[str, Value] = {}
        self._names: list[str] = []
        self._sorted = True

    def apply(self, changes: Iterable[KeyChange]) -> None:
        """Bring the copy up to date. A deleted key is removed, whether it was here or not.

        What a change is, its event says: a client may give a key the type of no value (0), and the key is there all the same.
        """
        for change in changes:
            if change.event == Track.DELETE:
                if self._values.pop(change.name, None) is not None:
                    self._sorted = False
            else:
                if change.name not in self._values:
                    self._sorted = False
                self._values[change.name] = change.new

    def get(self, name: str) -> Value | None:
        """The value of a key, or None."""
        return self._values.get(name)

    def items(self, prefix: str = "") -> Iterator[tuple[str, Value]]:
        """Keys that begin with ``prefix``, in byte order, as they are at this moment."""
        if not self._sorted:
            # Key names are ASCII, so the order of text is the order of bytes.
            self._names = sorted(self._values)
            self._sorted = True
        names = self._names
        values = self._values
        for position in range(bisect_left(names, prefix), len(names)):
            name = names[position]
            if not name.startswith(prefix):
                return
            value = values.get(name)
            if value is not None:
                yield name, value
