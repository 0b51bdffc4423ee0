"""Message bodies that name themselves, so that what arrives anywhere can be compared with what was sent.

Four bytes say who sent the message and the how manieth it is; whatever follows is a stretch of one long pattern that differs
from message to message.
"""

from __future__ import annotations

from random import Random
from struct import Struct
from typing import Final

from corosyncsim.history import Message, Process

SMALLEST: Final = 4
LARGEST: Final = 1_048_576 - 16
"""A message of 1 MiB with its group header (reference: stock gives up on more)."""

NODES_LIMIT: Final = 1 << 5
LIVES_LIMIT: Final = 1 << 7
MESSAGES_LIMIT: Final = 1 << 20
_IDENTITY = Struct("<I")
_PATTERN_STRIDE: Final = 7919
_PATTERN = Random(20_240_229).randbytes(LARGEST + 128 * 1024)


def body(message: Message, size: int) -> bytes:
    """The body of ``size`` bytes; raises ValueError where a number passes its limit."""
    (node_id, life), number = message.sender, message.number
    if not (0 < node_id < NODES_LIMIT and 0 < life < LIVES_LIMIT and 0 <= number < MESSAGES_LIMIT):
        raise ValueError(f"message {message} cannot be encoded")
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"a body of {size} bytes is outside {SMALLEST}..{LARGEST}")
    offset = (node_id * 31 + life * 17 + number) * _PATTERN_STRIDE % (128 * 1024)
    identity = _IDENTITY.pack(node_id << 27 | life << 20 | number)
    return identity + _PATTERN[offset : offset + size - SMALLEST]


def identity(prefix: bytes) -> Message | None:
    """Which message begins with these bytes; None when they are too few or name no process."""
    if len(prefix) < SMALLEST:
        return None
    (word,) = _IDENTITY.unpack_from(prefix)
    node_id, life, number = word >> 27, word >> 20 & 0x7F, word & 0xFFFFF
    if node_id == 0 or life == 0:
        return None
    return Message(Process(node_id, life), number)
