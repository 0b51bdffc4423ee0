"""What an engine may ask of the machine that it runs on: readings, the watchdog, and to be restarted or powered off.

Engines have no I/O: their host gives them one of these as ``host.machine`` (the daemon's is ``corosyncd.daemon.machine``).
"""

from __future__ import annotations

from typing import Protocol


class Watchdog(Protocol):
    """A watchdog timer that runs: unless it is told to go on in time, it resets the machine."""

    def keep_alive(self) -> None:
        """Begin the timeout anew. Raises OSError."""

    def set_timeout(self, seconds: int) -> int | None:
        """Wish for another timeout; the one in force, None where the device does not say."""

    def disarm(self) -> None:
        """Stop the timer and close the device ("magic close"). Raises OSError."""


class Machine(Protocol):
    """The host's operating system, as far as engines need it. Every call may raise OSError."""

    def memory_used(self) -> int:
        """Percent of RAM and swap together that programs could not have (caches they could), 0 to 100."""

    def load_15min(self) -> float:
        """The load average over fifteen minutes."""

    def open_watchdog(self, path: str) -> Watchdog:
        """Open a watchdog device, which starts its timer."""

    def restart(self) -> None:
        """Reset the machine at once, without an orderly shutdown."""

    def power_off(self) -> None:
        """Switch the machine off at once, without an orderly shutdown."""


class NoMachine:
    """Nothing can be read and nothing be done: what engines get where no operating system stands behind them."""

    def memory_used(self) -> int:
        """See Machine."""
        raise OSError("no machine")

    def load_15min(self) -> float:
        """See Machine."""
        raise OSError("no machine")

    def open_watchdog(self, path: str) -> Watchdog:
        """See Machine."""
        raise OSError("no machine")

    def restart(self) -> None:
        """See Machine."""
        raise OSError("no machine")

    def power_off(self) -> None:
        """See Machine."""
        raise OSError("no machine")
