"""Inputs drawn from a seed: valid ones with damage, pieces of several, and plain noise."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from fuzz.target import LARGEST_INPUT

NOISE: Final = 0.05
"""Share of inputs that begin with no valid one."""
INTACT: Final = 0.02
"""Share of valid ones left as they are."""
CHANGES: Final = 4
"""Most changes of one input."""
WORDS: Final = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 63)
"""Where arithmetic and limits are crossed."""


class Mutator:
    """An endless source of inputs; equal seeds give equal inputs."""

    def __init__(self, seeds: Sequence[bytes], seed: int | str) -> None:
        self._seeds = list(seeds)
        self._random = Random(seed)

    def next(self) -> bytes:
        """The next input, at most LARGEST_INPUT bytes."""
        random = self._random
        if not self._seeds or random.random() < NOISE:
            return random.randbytes(random.choice((0, 1, 4, 13, 45, 53, 200, 1500)))
        data = bytearray(random.choice(self._seeds))
        if random.random() < INTACT:
            return bytes(data)
        for _ in range(random.randint(1, CHANGES)):
            self._change(data)
        return bytes(data[:LARGEST_INPUT])

    def _change(self, data: bytearray) -> None:
        random = self._random
        at = random.randrange(len(data) + 1)
        match random.randrange(8):
            case 0 if data:
                data[at % len(data)] ^= 1 << random.randrange(8)
            case 1 if data:
                data[at % len(data)] = random.choice((0, 1, 2, 0x7F, 0x80, 0xFF))
            case 2 | 3:
                size = random.choice((1, 2, 4, 8))
                word = random.choice(WORDS) if random.random() < 0.7 else random.getrandbits(8 * size)
                data[at : at + size] = (word & ((1 << 8 * size) - 1)).to_bytes(size, random.choice(("little", "big")))
            case 4:
                del data[at:]
            case 5:
                data[at:at] = random.randbytes(random.choice((1, 4, 16, 300)))
            case 6:
                other = random.choice(self._seeds)
                data[at:] = other[random.randrange(len(other) + 1) :]
            case _:
                del data[at : at + random.choice((1, 2, 4, 8, 16))]
