"""Keeps a repeated warning from filling the log: some at once, then a few now and then, with the number left out."""

from __future__ import annotations

from collections import OrderedDict

MAXIMUM_SUBJECTS = 256
"""Different warnings remembered; the one longest unused is forgotten first."""


class RateLimit:
    """``burst`` lines of one subject within ``interval`` seconds, then none until the interval is over. Reads no clock."""

    __slots__ = ("_burst", "_interval", "_subjects")

    def __init__(self, burst: int = 5, interval: float = 10.0) -> None:
        """The interval of a subject begins with its first line."""
        self._burst = burst
        self._interval = interval
        # subject -> [start of the interval, lines in it, lines left out]
        self._subjects: OrderedDict[str, list[float]] = OrderedDict()

    def admit(self, subject: str, now: float) -> int | None:
        """Whether a line may be logged: None for no, else how many lines of this subject were left out before it."""
        state = self._subjects.get(subject)
        if state is None:
            if len(self._subjects) >= MAXIMUM_SUBJECTS:
                self._subjects.popitem(last=False)
            self._subjects[subject] = [now, 1, 0]
            return 0
        self._subjects.move_to_end(subject)
        start, lines, left_out = state
        if now - start >= self._interval:
            state[:] = [now, 1, 0]
            return int(left_out)
        if lines < self._burst:
            state[1] = lines + 1
            return 0
        state[2] = left_out + 1
        return None
