"""What the configuration map shows of a supervised program: four keys below ``resources.process.<pid>.``

A map that goes away while the program runs is no reason to end it: all keys are written anew when the map is back.

Source: sam_overview(3), reference client-api section 7.3.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Final

from coroipc.errors import CorosyncError
from libcmap import Cmap, Plain, ValueType
from libsam.policy import Policy, Settings
from libsam.supervision import Phase

STATES: Final[dict[Phase, str]] = {
    Phase.STOPPED: "stopped",
    Phase.WAITING: "waiting for quorum",
    Phase.RUNNING: "running",
}
"""The key ``state``; the other phases leave it as it is."""
FAILED: Final = "failed"

_TYPES: Final[dict[str, ValueType]] = {
    "recovery": ValueType.STRING,
    "poll_period": ValueType.UINT64,
    "last_updated": ValueType.UINT64,
    "state": ValueType.STRING,
}


class Record:
    """The keys of one program, written by its supervisor."""

    def __init__(self, connect: Callable[[], Cmap], pid: int) -> None:
        """Connect; ``pid`` is the supervisor's. Raises LibraryError, TryAgain, AccessDenied."""
        self._connect = connect
        self._prefix = f"resources.process.{pid}."
        self._values: dict[str, Plain] = {}
        self._map: Cmap | None = connect()

    @property
    def connection(self) -> Cmap | None:
        """The connection, if there is one now."""
        return self._map

    def register(self, settings: Settings) -> None:
        """The first instance is about to be forked. Raises what cmap_set raises."""
        self._values = {
            "recovery": "restart" if settings.policy & Policy.RESTART else "quit",
            "poll_period": settings.interval_ms,
            "last_updated": time.monotonic_ns(),
            "state": STATES[Phase.STOPPED],
        }
        self._map = self._map or self._connect()
        self._write(self._map, self._values)

    def touch(self) -> None:
        """The program has said something."""
        self._update("last_updated", time.monotonic_ns())

    def show(self, state: str) -> None:
        """The program has another state."""
        if self._values.get("state") != state:
            self._update("state", state)

    def remove(self) -> None:
        """The program has ended as it should."""
        with contextlib.suppress(CorosyncError):
            cmap = self._map or self._connect()
            self._map = cmap
            for name in _TYPES:
                cmap.delete(self._prefix + name)

    def close(self) -> None:
        """End the connection; the keys stay."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def _update(self, name: str, value: Plain) -> None:
        self._values[name] = value
        if self._map is not None:
            try:
                self._write(self._map, {name: value})
                return
            except CorosyncError:
                self.close()  # The daemon has gone, and may be back already.
        try:
            self._map = self._connect()
            self._write(self._map, self._values)
        except CorosyncError:
            self.close()  # The next update tries again, with all keys.

    def _write(self, cmap: Cmap, values: dict[str, Plain]) -> None:
        for name, value in values.items():
            cmap.set(self._prefix + name, value, _TYPES[name])
