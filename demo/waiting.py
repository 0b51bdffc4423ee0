"""Waiting for what others observe: no polling, no fixed sleeps, always a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

STEP_LIMIT = 20.0
"""Seconds that any single step may take, also on a busy machine."""


class Changes:
    """Those who observe call ``notify``; those who wait look again at every change."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Something was observed."""
        self._changed.set()

    async def until(self, holds: Callable[[], bool], limit: float = STEP_LIMIT) -> bool:
        """Wait until ``holds`` is true; False where it is not within ``limit`` seconds. For one task at a time."""
        try:
            async with asyncio.timeout(limit):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return holds()
        return True
