"""pload's messages on the ring (reference services section 6.6)."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from corosyncd.engines.wire import HEADER_SIZE, header

SERVICE_ID: Final = 4
SIZE_MAXIMUM: Final = 1024 * 1024
"""Bytes of one message."""

_START = struct.Struct("<II")


class Function(IntEnum):
    """Ring message functions."""

    START = 0
    MCAST = 1


class Start(NamedTuple):
    """Every node is to send so many ``messages`` of ``size`` bytes."""

    messages: int
    size: int


def encode_start(start: Start) -> bytes:
    """What follows the header."""
    return _START.pack(*start)


def decode_start(message: bytes) -> Start:
    """Raises struct.error when cut off. Stock leaves the header's size to chance: it is not looked at."""
    return Start(*_START.unpack_from(message, HEADER_SIZE))


def load_message(size: int) -> bytes:
    """A message of ``size`` bytes (at least a header), whose header claims one header more, as stock's does."""
    return header(SERVICE_ID, Function.MCAST, HEADER_SIZE + size) + bytes(max(0, size - HEADER_SIZE))
