"""32-bit sequence numbers that wrap: Totem's comparison, and the numbers themselves.

Source: reference totem.md §3.2. Frames, tokens and arus are all compared this way, so that 0xffffffff means "just below 0".
"""

from __future__ import annotations

from typing import Final

MASK: Final = 0xFFFFFFFF
BEFORE_ZERO: Final = 0xFFFFFFFF
"""The aru of a ring's first token: nothing received yet, not even the frame before the first."""
_HALF: Final = 0x80000000
_SHIFT: Final = 0x10000


def precedes(first: int, second: int) -> bool:
    """Whether ``first`` comes before ``second``; both are shifted out of the wrap when either is in the upper half."""
    if first > _HALF or second > _HALF:
        return ((first - _SHIFT) & MASK) < ((second - _SHIFT) & MASK)
    return first < second


def lower(first: int, second: int) -> int:
    """The earlier of two sequence numbers."""
    return first if precedes(first, second) else second


def distance(start: int, end: int) -> int:
    """How many steps lead from ``start`` up to ``end``, modulo 2**32."""
    return (end - start) & MASK
