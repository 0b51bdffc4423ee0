"""How urgently the executive asks the kernel for the processor: always in real time, never, or when it was kept waiting.

Stock runs in real time always. A token visit costs a Python process more of the processor than it costs stock, and a busy ring
rotates without a pause: in real time it would take the programs' share on a small host (docs/decisions). So the default,
``auto``, is ordinary priority until the kernel keeps the executive waiting, and real time for a while after that.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from corosyncd.daemon import process

URGENT_SECONDS = 60.0
"""Real time lasts so long behind the last delay."""
LATE_FRACTION = 0.05
"""Of the token timeout: a timer that comes so late shows a host that does not schedule us."""

Logger = Callable[[str, str, str], None]


class Priority:
    """The executive's scheduling; ``mode`` is the configuration's ``system.sched_rr``: yes, no or auto."""

    __slots__ = ("_late", "_log", "_mode", "_until")

    def __init__(self, mode: str, nice: str | None, token_timeout: float, log: Logger) -> None:
        """``nice`` is ``system.priority``: a nice value, max or min, for what does not run in real time."""
        self._mode = mode
        self._late = token_timeout * LATE_FRACTION
        self._log = log
        self._until = 0.0
        if mode == "yes":
            self._raise("real-time priority")
        elif nice is not None:
            value = {"max": -20, "min": 19}.get(nice) if nice in ("max", "min") else int(nice)
            try:
                os.setpriority(os.PRIO_PROCESS, 0, -20 if value is None else value)
            except OSError as error:
                self._log("MAIN", "warning", f"Could not set nice value {value}: {error.strerror}")

    def timer_came(self, late: float, now: float) -> None:
        """A timer that should have fired ``late`` seconds ago."""
        if self._mode != "auto":
            return
        if late > self._late:
            if now >= self._until and self._raise("real-time priority while the host is overloaded"):
                text = f"This process was kept waiting for {late * 1000:.0f} ms: running in real time for {URGENT_SECONDS:.0f} s"
                self._log("MAIN", "warning", text)
            self._until = now + URGENT_SECONDS
        elif self._until and now >= self._until:
            self._until = 0.0
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))

    def _raise(self, what: str) -> bool:
        try:
            process.set_realtime(0, 0)
        except OSError as error:
            if self._mode == "auto":
                self._mode = "no"
            self._log("MAIN", "warning", f"This process may not have {what} ({error.strerror}): a busy host can delay the token")
            return False
        return True


def lock_memory(log: Logger) -> None:
    """Keep the executive out of swap; one warning where that is not permitted (containers, ordinary users)."""
    try:
        process.lock_memory()
    except OSError as error:
        log("MAIN", "warning", f"This process may not lock its memory ({error.strerror}): a swapping host can delay the token")
