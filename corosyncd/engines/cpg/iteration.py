"""Iterations over groups and their processes: a snapshot in the stock daemon's order.

Groups come last found first, where finding walks the process list by node id and pid; within a group the first process leads and
the others follow in descending order. After the end an iteration starts over. Source: reference client-api section 3.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from libcpg.messages import Iteration, IterationNextResponse

ITERATIONS_OF_ONE_CLIENT = 64
"""Open at the same time; each is a copy of the process list."""


class Listing:
    """One open iteration."""

    __slots__ = ("_entries", "_position")

    def __init__(self, entries: Sequence[IterationNextResponse]) -> None:
        """Before the first entry."""
        self._entries = entries
        self._position = 0

    def next(self) -> IterationNextResponse | None:
        """The next entry; None at the end, after which the iteration starts over."""
        if self._position == len(self._entries):
            self._position = 0
            return None
        entry = self._entries[self._position]
        self._position += 1
        return entry


def listing(processes: Iterable[tuple[int, int, bytes]], kind: int, name: bytes) -> Listing:
    """A snapshot of ``processes`` (node, pid, group; in list order) as ``kind`` (an Iteration) asks for it.

    ``name`` counts for one group only. Raises ValueError for an unknown kind.
    """
    wanted = Iteration(kind)
    found: dict[bytes, list[tuple[int, int]]] = {}
    for node_id, pid, group in processes:
        if wanted is not Iteration.ONE_GROUP or group == name:
            found.setdefault(group, []).append((node_id, pid))
    entries: list[IterationNextResponse] = []
    for group in reversed(found):
        first, *others = found[group]
        if wanted is Iteration.NAME_ONLY:
            entries.append(IterationNextResponse(group))
        else:
            entries.extend(IterationNextResponse(group, *place) for place in [first, *reversed(others)])
    return Listing(entries)
