"""Notes what the ring delivers to a node while it synchronises, for property 16.

A second reading of cpg's ring messages, apart from the engine's: a header of 16 bytes (service << 16 | function), group name,
length, pid. Source: reference services section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final
from zlib import crc32

from corosyncd.totem.events import Group, Queue, RingId
from corosyncsim.services.journal import Early, Journal, Place, Stale

CPG: Final = 2
MCAST: Final = CPG << 16 | 3
SYNC_DATA: Final = frozenset((CPG << 16 | 2, CPG << 16 | 5))
"""Join lists and down lists."""
_IDENTIFIER = Struct("<i")
_MCAST = Struct("<16xI132xI4xI")
_MCAST_DATA: Final = 184


class RoundWatch:
    """For one run; ``sent`` and ``delivered`` are called by every node's stack."""

    def __init__(self, journal: Journal) -> None:
        """What it finds goes to the journal."""
        self._journal = journal
        self._rounds: dict[tuple[int, bytes], set[RingId]] = {}
        """(node, sync data) to the rings in whose rounds it was handed to the ring."""

    def sent(self, node_id: int, ring_id: RingId, queue: Queue, messages: Sequence[bytes]) -> None:
        """An executive has handed messages to its ring."""
        if queue is Queue.SYNC:
            for message in messages:
                if _kind(message) in SYNC_DATA:
                    self._rounds.setdefault((node_id, bytes(message)), set()).add(ring_id)

    def departed(self, node_id: int, unfinished: Sequence[bytes]) -> None:
        """A node leaves a ring with these messages partly sent. Who comes to the next one has missed their beginning; and sync
        data that has begun to leave cannot be withdrawn: what the next round says comes behind it and replaces it."""
        for message in unfinished:
            kind = _kind(message)
            if kind == MCAST:
                _, length, pid = _MCAST.unpack_from(message)
                self._journal.cut.add(((node_id, pid), length, crc32(message[_MCAST_DATA : _MCAST_DATA + length])))
            elif kind in SYNC_DATA:
                self._rounds.pop((node_id, bytes(message)), None)

    def delivered(
        self, time: float, node_id: int, ring_id: RingId, messages: Sequence[tuple[int, Group, bytes]], *, in_process: bool
    ) -> None:
        """The ring has delivered messages to a node on ``ring_id``; ``in_process``: its round is not complete."""
        for source, group, body in messages:
            if group is not Group.ENGINES:
                continue
            kind = _kind(body)
            if kind == MCAST and in_process:
                _, length, pid = _MCAST.unpack_from(body)
                place: Place = (source, pid)
                digest = crc32(body[_MCAST_DATA : _MCAST_DATA + length])
                self._journal.early.append(Early(time, node_id, ring_id, place, length, digest))
            elif kind in SYNC_DATA:
                rounds = self._rounds.get((source, bytes(body)))
                if rounds is not None and ring_id not in rounds:
                    self._journal.stale.append(Stale(time, node_id, ring_id, source, tuple(sorted(rounds))))


def _kind(message: bytes) -> int:
    return int(_IDENTIFIER.unpack_from(message)[0]) if len(message) >= _IDENTIFIER.size else -1
