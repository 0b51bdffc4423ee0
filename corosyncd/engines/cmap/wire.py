"""The one ring message of the cmap service: keys of the sender that its peers compare.

Layout: reference services section 6.2. The only key ever sent is the configuration version, but any item is read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum

from coroipc.map_values import FORMATS, ValueType
from corosyncd.engines import wire
from corosyncd.keyspace.values import Value

SERVICE_ID = 0
CONFIG_VERSION = "totem.config_version"
ITEMS_MAX = 32


class Function(IntEnum):
    """Ring message functions of the service."""

    MCAST = 0


class MulticastReason(IntEnum):
    """Why a node sends its keys."""

    SYNC = 0
    NEW_CONFIG_VERSION = 1


_HEAD = struct.Struct("<B7xB7x16x")
"""reason, item count, two reserved fields."""
_ITEM = struct.Struct("<H6x256sB7xQ")
"""name length, name, value type, value length; the value follows, rounded up to eight bytes."""


def encode(reason: int, items: Mapping[str, Value]) -> bytes:
    """What follows the header. ``NO_VALUE`` says that the sender lacks the key."""
    pieces = [_HEAD.pack(reason, len(items))]
    for name, value in items.items():
        pieces.append(_ITEM.pack(len(name), name.encode("ascii"), value.type, len(value.data)))
        pieces.append(value.data.ljust(_rounded(len(value.data)), b"\0"))
    return b"".join(pieces)


def decode(message: bytes) -> dict[str, Value]:
    """The items of a whole message. ValueError or struct.error where lengths, counts and types do not agree."""
    _, count = _HEAD.unpack_from(message, wire.HEADER_SIZE)
    if count > ITEMS_MAX:
        raise ValueError(f"cmap message of {count} items")
    items: dict[str, Value] = {}
    offset = wire.HEADER_SIZE + _HEAD.size
    for _ in range(count):
        name_length, name, kind, length = _ITEM.unpack_from(message, offset)
        offset += _ITEM.size
        if name_length > wire.NAME_MAX or length > len(message) - offset:
            raise ValueError(f"cmap item: name of {name_length} bytes, value of {length} at {offset} of {len(message)}")
        form = FORMATS.get(kind)
        if (form is not None and length != form.size) or (kind == ValueType.NONE and length):
            raise ValueError(f"cmap item of type {kind} with {length} bytes")
        items[name[:name_length].decode("ascii")] = Value(kind, message[offset : offset + length])
        offset += _rounded(length)
    return items


def _rounded(length: int) -> int:
    return (length + 7) & ~7
