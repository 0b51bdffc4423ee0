"""Timers by token, without a clock: the time comes in, the next deadline goes out."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final

_DEAD_ENTRIES: Final = 64
"""Replaced or cancelled entries (beyond as many as are armed) that the heap keeps until it is cleaned."""


class Timers:
    """At most one timer a token; the earliest deadline first, equal ones in the order of arming."""

    __slots__ = ("_armed", "_heap", "_serial")

    def __init__(self) -> None:
        """Nothing is armed."""
        self._heap: list[tuple[float, int, Hashable]] = []
        self._armed: dict[Hashable, int] = {}
        self._serial = 0

    def arm(self, deadline: float, token: Hashable) -> None:
        """Arm a token's timer; it replaces the one before."""
        self._serial += 1
        self._armed[token] = self._serial
        heappush(self._heap, (deadline, self._serial, token))
        if len(self._heap) > _DEAD_ENTRIES + 2 * len(self._armed):
            self._heap = [entry for entry in self._heap if self._armed.get(entry[2]) == entry[1]]
            heapify(self._heap)

    def cancel(self, token: Hashable) -> None:
        """Disarm a token's timer, if there is one."""
        self._armed.pop(token, None)

    def next(self) -> float | None:
        """The earliest deadline, or None."""
        heap = self._heap
        while heap and self._armed.get(heap[0][2]) != heap[0][1]:
            heappop(heap)
        return heap[0][0] if heap else None

    def expired(self, now: float) -> Iterator[Hashable]:
        """Take the tokens whose deadlines have come; one armed or cancelled meanwhile is not among them."""
        due = []
        while (deadline := self.next()) is not None and deadline <= now:
            due.append(heappop(self._heap))
        for _deadline, serial, token in due:
            if self._armed.get(token) == serial:
                del self._armed[token]
                yield token
