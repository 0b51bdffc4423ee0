"""The two kinds of iteration: over the living map, and over one snapshot of the statistics.

Source: cmap_iter_init(3), reference client-api section 2.3.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence

from corosyncd.keyspace.values import Value


class KeyIteration:
    """Sees keys that are added ahead of it, and survives the deletion of the key that it stands on."""

    __slots__ = ("_get", "_last", "_names", "_prefix")

    def __init__(self, names: Sequence[str], get: Callable[[str], Value | None], prefix: str) -> None:
        """``names`` are the map's, in byte order; they change below the iteration."""
        self._names = names
        self._get = get
        self._prefix = prefix
        self._last: str | None = None

    def next(self) -> tuple[str, Value] | None:
        """The next key and its value; None at the end, again and again."""
        names = self._names
        position = bisect_left(names, self._prefix) if self._last is None else bisect_right(names, self._last)
        while position < len(names) and names[position].startswith(self._prefix):
            name = names[position]
            value = self._get(name)
            if value is not None:
                self._last = name
                return name, value
            position += 1
        return None


class Snapshot:
    """The statistics as they were when the iteration began: their values are computed, and asking again at each step would
    cost a round trip through the executive for each key."""

    __slots__ = ("_items", "_position")

    def __init__(self, values: Mapping[str, Value], prefix: str) -> None:
        """Before the first key."""
        self._items = sorted((name, value) for name, value in values.items() if name.startswith(prefix))
        self._position = 0

    def next(self) -> tuple[str, Value] | None:
        """The next key and its value; None at the end, again and again."""
        if self._position == len(self._items):
            return None
        self._position += 1
        return self._items[self._position - 1]
