"""A service engine that stops a process at a set moment of a round: for the tests of engines that hang there."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import ClassVar

from corosyncd.engines.engine import Description, Engine

IN_STEP = "stopping.in_step"
AT_ACTIVATION = "stopping.at_activation"
"""Keys: the process to stop when this engine's step comes, and when it is to apply it. All gates are closed at both times."""


class Stopping(Engine):
    """Service 8: the last of a round. May name its own process."""

    description: ClassVar[Description] = Description(
        name="stopping",
        service_id=8,
        load_name="stopping",
        title="stops what a key names",
        synchronised=True,
        tracked=("stopping.",),
    )

    def sync_step(self) -> bool:
        """Done, unless it names itself."""
        self._stop(IN_STEP)
        return True

    def sync_activate(self) -> bool:
        """Done."""
        self._stop(AT_ACTIVATION)
        return True

    def _stop(self, key: str) -> None:
        value = self.host.key(key)
        if value is not None:
            with suppress(ProcessLookupError):  # A round or two later what was stopped is dead.
                os.kill(int.from_bytes(value.data, "little"), signal.SIGSTOP)
