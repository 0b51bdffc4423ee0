"""Frames of the link between executive and engine: a frame or ValueError, and a frame that was read is written the same again."""

from __future__ import annotations

from collections import Counter

from corosyncd.link.frames import Direction, decode, encode
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import RingId
from fuzz.target import claim
from fuzz.targets.words import SAID


class LinkTarget:
    """An input: the direction, then the chunk."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self.seeds = [bytes((direction,)) + chunk for direction, chunks in enumerate(_chunks()) for chunk in chunks]

    def run(self, data: bytes) -> None:
        """One chunk."""
        if not data:
            return
        direction = (Direction.TO_ENGINE, Direction.TO_EXECUTIVE)[data[0] % 2]
        try:
            frame = decode(data[1:], direction)
        except ValueError as error:
            self.dropped[type(error).__name__] += 1
            return
        again = decode(b"".join(encode(*frame)), direction)
        claim(_same(again, frame), "a frame is read as it was written")


def _same(first: object, second: object) -> bool:
    return repr(first) == repr(second)  # Not a number is itself here.


def _chunks() -> tuple[list[bytes], list[bytes]]:
    ring_id = RingId(1, 4)
    to_engine: list[tuple[list[object], list[bytes]]] = [
        ([ToEngine.DELIVER, [1, 3, 5, 2, 0, 3]], [b"12345", b"678"]),
        ([ToEngine.CONFIGURATION, [1], [1, 2]], []),
        ([ToEngine.KEYS, 0, [["add", "a.b", 6, b"\1\0\0\0", 0, b""]]], []),
        ([ToEngine.CREDIT, 1 << 20], []),
        ([ToEngine.KEYS_RESULT, 1, [1, 12]], []),
        ([ToEngine.QUORUM, True, [1, 2], 1], []),
        ([ToEngine.STATISTICS, 1, {"stats.srp.x": [8, bytes(8)]}], []),
    ]
    to_executive = [(word, [bytes(16)] if word[0] == ToExecutive.MULTICAST else []) for word in SAID]
    return tuple(  # type: ignore[return-value]
        [b"".join(encode(ring_id, [entry], bodies)) for entry, bodies in entries]
        + [b"".join(encode(ring_id, [entry for entry, _ in entries], [body for _, bodies in entries for body in bodies]))]
        for entries in (to_engine, to_executive)
    )
