"""How a decision about quorum becomes known: first to every engine, and to the one that took it last of all.

votequorum says ``SET_QUORATE``; all engines are told; the quorum engine confirms; only then may votequorum tell its programs, so
that no program sees new members beside the old quorum. Design: "The boundary between executive and engine", step 5.
"""

from __future__ import annotations

from collections.abc import Iterable

from corosyncd.executive.record import EngineRecord
from corosyncd.link.vocabulary import ToEngine
from corosyncd.totem.events import RingId

QUORUM_ENGINE = "quorum"


class QuorumStep:
    """At most one decision on its way."""

    __slots__ = ("_decision",)

    def __init__(self) -> None:
        self._decision: tuple[EngineRecord, RingId] | None = None
        """Who decided, and on which ring."""

    def decided(
        self, engine: EngineRecord, ring_id: RingId, quorate: bool, members: list[int], running: Iterable[EngineRecord]
    ) -> None:
        """Tell every running engine; without a quorum engine nobody else has to confirm."""
        self._decision = (engine, ring_id)
        confirms = False
        for other in running:
            asked = other.name == QUORUM_ENGINE
            confirms |= asked
            other.put(ToEngine.QUORUM, quorate, members, 1 if asked else 0)
        if not confirms:
            self._tell(engine)

    def confirmed(self, ring_id: RingId) -> None:
        """The quorum engine has told its programs; a word about an older ring means nothing."""
        if self._decision is not None and self._decision[1] == ring_id:
            self._tell(self._decision[0])

    def waits_for(self, engine: EngineRecord) -> bool:
        """Whether a decision cannot be told to programs before this engine has confirmed it."""
        return self._decision is not None and engine.name == QUORUM_ENGINE

    def _tell(self, engine: EngineRecord) -> None:
        self._decision = None
        if engine.running:
            engine.put(ToEngine.QUORATE_CONFIRMED)
