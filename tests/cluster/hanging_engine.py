"""A loadable engine that stands still for ever when a key tells it to: over the change itself, or in its next step."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import ClassVar

from corosyncd.engines.engine import Description, Engine, Host, KeyChange

NAME = "hanging"
NOW, IN_ITS_STEP = "hanging.now", "hanging.in_its_step"
"""Keys: whoever sets one makes the engine hang. A successor finds them set and goes on."""
LOADED = {"name": NAME, "import": f"{__name__}:Hanging", "id": 40}
"""What the configuration says of it."""


class Hanging(Engine):
    """Has a part in the synchronisation, and nothing to say in it."""

    description: ClassVar[Description] = Description(
        name=NAME,
        service_id=40,
        load_name=NAME,
        title="an engine that hangs",
        functions=1,
        requests=0,
        synchronised=True,
        tracked=("hanging.",),
    )

    def __init__(self, host: Host, kept: bytes | None = None) -> None:
        super().__init__(host, kept)
        self._in_its_step = False

    def keys_changed(self, changes: Sequence[KeyChange]) -> None:
        for change in changes:
            if change.name == NOW:
                _hang()
            self._in_its_step |= change.name == IN_ITS_STEP

    def sync_step(self) -> bool:
        if self._in_its_step:
            _hang()
        return True


def _hang() -> None:
    while True:
        signal.pause()
