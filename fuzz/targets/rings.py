"""A ring in shared memory whose other side writes what it likes, into the chunks as into the header.

Claims: only RingCorrupt escapes; what is taken out of a ring is no more than it holds, and than was asked for.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from typing import Any, Final

from coroipc.ringbuffer import HEADER_SIZE, REFERENCE_COUNT, SEMAPHORE_OFFSET, USER_WORD, RingBuffer, RingCorrupt
from coroipc.semaphores import ProcessSharedSemaphore
from fuzz.pieces import cut, joined
from fuzz.target import claim, without_numbers

DATA_BYTES: Final = 4096
WORDS: Final = DATA_BYTES // 4
STEPS_EACH: Final = 12
LIES: Final = (0, 7, WORDS, 0x7FFFFFFF, 0x80000000)
HEADER_WORDS: Final = (0, 1, 2, REFERENCE_COUNT, SEMAPHORE_OFFSET // 4, USER_WORD)
"""Those that mean something: pointers, word count, reference count, the semaphore's value, user word.

Not the semaphore's inner words, by which the C library ends the process: docs/architecture.md, "When something dies".
"""


class RingsTarget:
    """An input: steps, each behind its length: 0 write, 1 lie, 2 read many, 3 read one, 4 open; then its bytes."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        steps = [b"\0" + bytes(range(size)) for size in (1, 16, 100)]
        lies = [bytes((1, place)) + value.to_bytes(4, "little") for place in range(9) for value in LIES]
        self.seeds = [joined([*steps, lie, *then]) for lie in lies for then in ((b"\2\x40", b"\4"), (b"\3", steps[1], b"\2\4"))]

    def run(self, data: bytes) -> None:
        """One life of a ring: a writer, a reader, and a hand that changes words of the memory in between."""
        header, memory = ctypes.create_string_buffer(HEADER_SIZE), ctypes.create_string_buffer(DATA_BYTES)
        semaphore = ProcessSharedSemaphore(header, SEMAPHORE_OFFSET, initialise=True)
        writer = RingBuffer(header, memory, semaphore, initialise=True)
        reader = RingBuffer(header, memory, semaphore, initialise=False)
        for step in cut(data, STEPS_EACH):
            try:
                match step[:1], step[1:]:
                    case b"\1", rest:
                        lie(header, memory, rest)
                    case b"\2", rest:
                        most = rest[0] if rest else 1
                        chunks = reader.read_many(most, DATA_BYTES)
                        claim(len(chunks) <= most and sum(map(len, chunks)) <= DATA_BYTES, f"{len(chunks)} chunks")
                    case b"\3", _:
                        size = reader.next_size()
                        chunk = reader.read() or b""
                        claim(size in (0, len(chunk)) and len(chunk) <= DATA_BYTES, f"a chunk of {size}, then {len(chunk)} bytes")
                    case b"\4", _:
                        RingBuffer(header, memory, semaphore, initialise=False)
                    case _, rest if rest:
                        _write(writer, rest)
            except RingCorrupt as error:
                self.dropped[without_numbers(str(error))] += 1


def _write(writer: RingBuffer, chunk: bytes) -> None:
    if len(chunk) > writer.largest:
        return  # Our own mistake, which is a ValueError.
    if len(chunk) % 2:
        writer.write((chunk[:5], chunk[5:]))
    else:
        writer.write_many((chunk, chunk))


def lie(header: Any, memory: Any, step: bytes) -> None:
    """Change a word of a ring's memory: which, then its new value."""
    place, value = (step[0] if step else 0), step[1:5].ljust(4, b"\0")
    if place < len(HEADER_WORDS):
        ctypes.memmove(ctypes.addressof(header) + 4 * HEADER_WORDS[place], value, 4)
    else:
        ctypes.memmove(ctypes.addressof(memory) + 4 * ((place - len(HEADER_WORDS)) % WORDS), value, 4)
