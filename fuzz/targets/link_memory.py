"""The memory of a link between executive and engine, whose other side writes what it likes.

Claims: only LinkBroken escapes, whereupon the driver ends the engine (or the engine itself); what is received is frames.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from contextlib import suppress
from typing import Any, Final

from coroipc.ringbuffer import RingCorrupt
from coroipc.semaphores import SEMAPHORE_SIZE, ProcessSharedSemaphore
from corosyncd.link.frames import Direction
from corosyncd.link.link import LinkBroken, LinkEnd
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from fuzz.pieces import cut, joined
from fuzz.target import claim, without_numbers

PAGE: Final = 4096
RING_BYTES: Final = 2 * PAGE
HEADER_BYTES: Final = 3 * PAGE
STEPS_EACH: Final = 12
FRAMES_AT_ONCE: Final = 4
FIELDS: Final = (
    *range(0, 16, 4),
    *(PAGE + ring + offset for ring in (0, HEADER_BYTES + RING_BYTES) for offset in (0, 4, 8, 8204, 8240, 12288, 12292, 12296)),
)
"""Words of the segment that mean something: notes; of each ring the pointers, the counts, the user word, the first chunk."""
LIES: Final = (0, 7, RING_BYTES // 4, 0x7FFFFFFF, 0x80000000)


class LinkMemoryTarget:
    """An input: our side, then steps, each behind its length: 0 the other side says something, 1 it lies, 2 it writes a chunk,
    3 we receive, 4 we speak, 5 we go to sleep; then its bytes."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        lies = [bytes((1, field)) + value.to_bytes(4, "little") for field in range(len(FIELDS) + 2) for value in LIES]
        self.seeds = [bytes((side,)) + joined((b"\0\5", lie, b"\3", b"\4\2", b"\5")) for side in range(2) for lie in lies] + [
            bytes((side,)) + joined((b"\2\3\0\0\0\x93\1\4\x90", b"\3", b"\0\1", b"\3")) for side in range(2)
        ]

    def run(self, data: bytes) -> None:
        """One life of a link."""
        memory = _Memory()
        executive = LinkEnd(memory, RING_BYTES, _Doorbell(), Direction.TO_EXECUTIVE, create=True)  # type: ignore[arg-type]
        engine = LinkEnd(memory, RING_BYTES, _Doorbell(), Direction.TO_ENGINE, create=False)  # type: ignore[arg-type]
        ours, other = (executive, engine) if data[:1] == b"\0" else (engine, executive)
        for step in cut(data[1:], STEPS_EACH):
            try:
                match step[:1], step[1:]:
                    case b"\1", rest:
                        memory.lie(rest)
                    case b"\2", rest if rest:
                        with suppress(RingCorrupt):  # Its own trouble.
                            other._outgoing.write((rest[: RING_BYTES // 2],))
                    case b"\3", _:
                        for frame in ours.receive(FRAMES_AT_ONCE):
                            claim(all(type(entry[0]) is int for entry in frame.entries), "every entry begins with a kind")
                    case b"\5", _:
                        ours.sleep_prepare()
                    case kind, rest:
                        _speak(ours if kind == b"\4" else other, rest)
            except LinkBroken as error:
                self.dropped[without_numbers(str(error))] += 1
                return


def _speak(end: LinkEnd, rest: bytes) -> None:
    word = ToEngine.CREDIT if end.direction is Direction.TO_EXECUTIVE else ToExecutive.CONSUMED
    for _ in range(1 + (rest[0] % 8 if rest else 0)):
        end.outbox.queue([int(word), 1])
        end.flush()


class _Memory:
    """A segment in this process."""

    def __init__(self) -> None:
        self.characters: Any = (ctypes.c_char * (PAGE + 2 * (HEADER_BYTES + RING_BYTES)))()
        self._words: Any = (ctypes.c_char * (2 * SEMAPHORE_SIZE))()
        self.semaphores = tuple(
            ProcessSharedSemaphore(self._words, place * SEMAPHORE_SIZE, initialise=True) for place in range(2)
        )
        self.description: list[Any] = []

    def lie(self, step: bytes) -> None:
        """Change one word: of the fields, or of a semaphore."""
        place, value = (step[0] if step else 0) % (len(FIELDS) + 2), step[1:5].ljust(4, b"\0")
        if place < len(FIELDS):
            ctypes.memmove(ctypes.addressof(self.characters) + FIELDS[place], value, 4)
        else:
            ctypes.memmove(ctypes.addressof(self._words) + SEMAPHORE_SIZE * (place - len(FIELDS)), value, 4)

    def unlink(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Doorbell:
    """Nobody listens."""

    def setblocking(self, flag: bool) -> None:
        pass

    def send(self, data: bytes) -> int:
        return len(data)
