"""Virtual time: one heap of due actions and one seeded source of chance.

Whatever happens in a simulated cluster happens because an action came due here, and every choice is drawn from
``Kernel.random``; so one seed means one history, on every machine and under every hash seed. Actions due at the same instant
run in the order in which they were scheduled.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any

ACTIONS_PER_INSTANT_LIMIT = 200_000
"""More actions than this without time moving on are an endless loop in what is simulated."""


class Stuck(RuntimeError):
    """The simulated world keeps acting but its time stands still."""


class Kernel:
    """The clock and the agenda of one simulated world; times are seconds since its beginning."""

    __slots__ = ("_agenda", "_scheduled", "actions", "now", "random")

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.actions = 0
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._scheduled = 0

    def at(self, time: float, action: Callable[..., None], *arguments: Any) -> None:
        """Run ``action(*arguments)`` at ``time``, or now if that has passed.

        There is no cancelling: an action looks whether it still applies.
        """
        self._scheduled += 1
        heapq.heappush(self._agenda, (max(time, self.now), self._scheduled, action, arguments))

    def after(self, delay: float, action: Callable[..., None], *arguments: Any) -> None:
        """Run ``action(*arguments)`` ``delay`` seconds from now."""
        self.at(self.now + delay, action, *arguments)

    def run_until(self, end: float) -> None:
        """Run everything that is due up to and including ``end``, and leave the clock there; raises Stuck."""
        agenda = self._agenda
        pop = heapq.heappop
        at_this_instant = 0
        while agenda and agenda[0][0] <= end:
            time, _, action, arguments = pop(agenda)
            if time > self.now:
                self.now = time
                at_this_instant = 0
            at_this_instant += 1
            if at_this_instant > ACTIONS_PER_INSTANT_LIMIT:
                raise Stuck(f"more than {ACTIONS_PER_INSTANT_LIMIT} actions at {time:.6f} s, the last one {action!r}")
            self.actions += 1
            action(*arguments)
        self.now = max(self.now, end)
