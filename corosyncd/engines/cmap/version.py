"""Which configuration version the cluster runs: a node with an older one stops when it first meets a newer.

Only the first synchronisation with a node's own past counts: later differences come from a reload that is still on its way.
A node without a version (0) never stops. Source: reference services section 6.2.
"""

from __future__ import annotations


class VersionCheck:
    """The versions seen in one round after the other."""

    def __init__(self, done: bool = False) -> None:
        """``done``: a predecessor has made the one check already."""
        self.done = done
        self._own = 0
        self._highest = 0
        self._came_along = False

    def begin(self, own: int, came_along: bool) -> None:
        """A round begins. ``came_along``: somebody (at least this node) has a common past: not so on a node's first ring."""
        self._own = self._highest = own
        self._came_along = came_along

    def seen(self, version: int) -> None:
        """Another node's version."""
        self._highest = max(self._highest, version)

    def conclude(self) -> str | None:
        """All versions were seen: why this node must stop, if it must."""
        if not self._came_along or self.done:
            return None
        self.done = True
        if self._own == 0 or self._highest == self._own:
            return None
        return f"Received config version ({self._highest}) is different than my config version ({self._own})! Exiting"
