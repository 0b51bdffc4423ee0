"""The last quorum decision and the membership that sync rounds have settled: the quorum service's whole state.

Source: reference services section 5.1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from corosyncd.totem.events import NO_RING, RingId


@dataclass(frozen=True, slots=True)
class Decision:
    """What the provider decided for a ring. Until it has: not quorate, no members."""

    quorate: bool = False
    members: tuple[int, ...] = ()
    ring_id: RingId = NO_RING


class Change(NamedTuple):
    """A new ring's members, and how they differ from those of the last ring whose round came to its activation."""

    members: tuple[int, ...]
    joined: tuple[int, ...]
    left: tuple[int, ...]


def compare(settled: tuple[int, ...], companions: frozenset[int], members: tuple[int, ...]) -> Change:
    """Who joined and who left; ``companions`` came along all the way from the settled ring.

    A node that went and came back within one change counts as both: its programs began anew.
    """
    left = tuple(node for node in settled if node not in companions or node not in members)
    joined = tuple(node for node in members if node not in settled or node in left)
    return Change(members, joined, left)


def encode(decision: Decision, settled: tuple[int, ...]) -> bytes:
    """The blob for a successor."""
    return json.dumps([decision.quorate, decision.members, decision.ring_id, settled]).encode()


def decode(blob: bytes) -> tuple[Decision, tuple[int, ...]]:
    """The predecessor's decision and settled members. Raises ValueError or TypeError for a blob of something else."""
    quorate, members, ring_id, settled = json.loads(blob)
    return Decision(quorate, tuple(members), RingId(*ring_id)), tuple(settled)
