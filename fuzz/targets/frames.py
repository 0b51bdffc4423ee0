"""The decoder of the ring's frames: it raises MalformedFrame with a reason, or what it read encodes to the same bytes again."""

from __future__ import annotations

from collections import Counter

from corosyncd.totem import wire
from fuzz import corpus
from fuzz.target import claim


class FramesTarget:
    """``wire.decode`` of one datagram, and ``wire.decode_packed`` of what it carries."""

    def __init__(self) -> None:
        self.seeds = list(corpus.datagrams())
        self.dropped: Counter[str] = Counter()

    def run(self, data: bytes) -> None:
        """One datagram."""
        try:
            frame = wire.decode(data)
        except wire.MalformedFrame as fault:
            self.dropped[fault.reason] += 1
            return
        swapped = data[0] != wire.MAGIC & 0xFF
        again = wire.encode(frame, swapped)
        claim(data.startswith(again), f"{type(frame).__name__} encodes to other bytes than it was decoded from")
        if isinstance(frame, wire.Mcast):
            try:
                packed = wire.decode_packed(frame.payload, swapped)
            except wire.MalformedFrame as fault:
                self.dropped[fault.reason] += 1
                return
            claim(wire.encode_packed(packed, swapped) == frame.payload, "packed messages encode to other bytes")
