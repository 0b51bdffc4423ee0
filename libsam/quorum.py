"""The supervisor's view of quorum: a connection that is made again when the daemon comes back. No daemon is no quorum.

Source: sam_overview(3), reference client-api section 7.2.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

from coroipc.errors import CorosyncError
from libquorum import Quorum, QuorumNotification, QuorumNotificationV0, Track

RECONNECT_SECONDS: Final = 1.0
"""How long after a loss, or an attempt in vain, the daemon is asked again."""


class QuorumWatch:
    """Whether the partition is quorate, as far as this process can know."""

    def __init__(self, connect: Callable[[], Quorum]) -> None:
        """Connect. Raises LibraryError, TryAgain, AccessDenied."""
        self._connect = connect
        self._quorum: Quorum | None = None
        self.quorate = False
        self.deadline: float | None = None
        """When ``look`` has something to do even if nothing is readable."""
        self._open()

    @property
    def connection(self) -> Quorum | None:
        """The connection, if there is one now."""
        return self._quorum

    def look(self, now: float) -> list[bool]:
        """Take what waits, or try to connect when it is time to; how ``quorate`` changed, in order.

        Quorum that was lost and is back already is two changes: others may have acted in between.
        """
        changes: list[bool] = []
        before = self.quorate
        try:
            if self._quorum is not None:
                for event in self._quorum.events(0.0):
                    if isinstance(event, (QuorumNotification, QuorumNotificationV0)):
                        changes.append(event.quorate)
            elif self.deadline is None or now >= self.deadline:
                self._open()
                changes.append(self.quorate)
        except CorosyncError:
            self.close()
            self.deadline = now + RECONNECT_SECONDS
            changes.append(False)
        changes = [after for earlier, after in pairwise([before, *changes]) if after != earlier]
        self.quorate = changes[-1] if changes else before
        return changes

    def close(self) -> None:
        """End the connection."""
        self.quorate = False
        if self._quorum is not None:
            self._quorum.close()
            self._quorum = None

    def _open(self) -> None:
        self._quorum = quorum = self._connect()
        try:
            quorum.trackstart(Track.CHANGES)  # Before the question, so that no change falls between the two.
            self.quorate = quorum.getquorate()
        except BaseException:
            self.close()
            raise
        self.deadline = None
