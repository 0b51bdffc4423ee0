"""The ring's timers: deadlines on the caller's clock, nothing that runs by itself.

Source: reference totem.md §3.3.
"""

from __future__ import annotations

from math import inf
from typing import Final

STOPPED: Final = inf


class Timers:
    """When each timer expires; ``STOPPED`` when it does not run."""

    __slots__ = (
        "consensus",
        "forward",
        "heartbeat",
        "hold",
        "join",
        "merge",
        "probe",
        "retransmit",
        "send_join",
        "token",
        "warning",
    )

    def __init__(self) -> None:
        self.stop_all()

    def stop_all(self) -> None:
        """Stop every timer."""
        self.token = STOPPED
        """The token is lost."""
        self.warning = STOPPED
        """The token is late enough for a line in the log."""
        self.retransmit = STOPPED
        """The stored token is sent again."""
        self.heartbeat = STOPPED
        """The token is lost, sooner than ``token`` tells."""
        self.hold = STOPPED
        """The representative lets the held token go."""
        self.forward = STOPPED
        """The executive's throttle lets the token go."""
        self.merge = STOPPED
        """The representative looks for other rings."""
        self.probe = STOPPED
        """A member that got nothing for a while gets a sign of life."""
        self.join = STOPPED
        """My join is repeated."""
        self.send_join = STOPPED
        """A delayed join leaves."""
        self.consensus = STOPPED
        """Whoever has not agreed has failed."""

    def stop_ring(self) -> None:
        """Stop what only a rotating token needs."""
        self.token = self.warning = self.retransmit = self.heartbeat = STOPPED
        self.hold = self.forward = self.merge = self.probe = STOPPED

    def stop_gather(self) -> None:
        """Stop what only a round of joins needs."""
        self.join = self.send_join = self.consensus = STOPPED

    def nearest(self) -> float:
        """The next deadline."""
        return min(
            self.token,
            self.warning,
            self.retransmit,
            self.heartbeat,
            self.hold,
            self.forward,
            self.merge,
            self.probe,
            self.join,
            self.send_join,
            self.consensus,
        )
