"""Which client requests an engine takes now: synchronisation and the room left for ring messages decide.

Source: reference services section 1.3, ipc section 4.6; design "Limits". Stock drops a multicast that it cannot take; here it
waits in its client's ring.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from corosyncd.engines.engine import Description

MESSAGE_OVERHEAD: Final = 1024
"""Bytes by which a ring message may be longer than the request that it comes from."""
LARGEST_REQUEST: Final = 1024 * 1024
"""A request that goes to the ring may be this long: more never fits one ring message."""


class Verdict(Enum):
    """What becomes of a request."""

    SERVE = auto()
    WAIT = auto()
    """It stays where it is, and so does all that its client sent behind it."""
    TRY_AGAIN = auto()
    INVALID = auto()
    DROP = auto()
    """It has no answer and can never be sent."""


class Gate:
    """Credit, and the place in the synchronisation round.

    ``flow`` is the word for the connections: 2 (no multicasts, nothing is read) while synchronising or short of room, else 0.
    Short means less than a quarter of the most there ever was, until half of it is back (stock: a queue 75 % full).
    """

    __slots__ = ("_description", "_high", "_in_sync", "_room", "_short", "flow")

    def __init__(self, description: Description) -> None:
        """Closed, and without room, until the executive says otherwise."""
        self._description = description
        self._in_sync = True
        self._room = 0
        self._high = 0
        self._short = True
        self.flow = 0
        self._decide()

    @property
    def in_sync(self) -> bool:
        """Whether a synchronisation runs, or none has been completed yet."""
        return self._in_sync

    @property
    def room(self) -> int:
        """Bytes of NORMAL messages that the executive still takes."""
        return max(0, self._room)

    def close(self) -> None:
        """A synchronisation begins."""
        self._in_sync = True
        self._decide()

    def open(self) -> None:
        """The synchronisation is complete."""
        self._in_sync = False
        self._decide()

    def grant(self, size: int) -> None:
        """The executive has room for so many more bytes."""
        self._room += size
        self._high = max(self._high, self._room)
        if self._room * 2 >= self._high:
            self._short = False
        self._decide()

    def spend(self, size: int) -> None:
        """A NORMAL message was handed over."""
        self._room -= size
        if not self._short and self._room * 4 < self._high:
            self._short = True
            self._decide()

    def _decide(self) -> None:
        closed = self._in_sync and not self._description.open_during_sync
        needs_room = bool(self._description.flow_controlled or self._description.unanswered)
        self.flow = 2 if closed or (self._short and needs_room) else 0

    def judge(self, request: int, size: int) -> Verdict:
        """What becomes of a request of ``size`` bytes."""
        description = self._description
        if not 0 <= request < description.requests:
            return Verdict.INVALID
        if request in description.unanswered:
            if size > LARGEST_REQUEST:
                return Verdict.DROP
            refusal = Verdict.WAIT
        elif request in description.flow_controlled:
            if size > LARGEST_REQUEST:
                return Verdict.INVALID
            refusal = Verdict.TRY_AGAIN
        else:
            return Verdict.SERVE
        return refusal if self._in_sync or size + MESSAGE_OVERHEAD > self._room else Verdict.SERVE
