"""What service messages on the ring have in common: the 16-byte header, names, and the message source.

Layouts: reference services section 1.1. Integers are little endian, as every stock daemon on x86-64 writes them; every field
sits on a slot of eight bytes. Padding is written as zeros and never read: stock daemons leave garbage there.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

HEADER = struct.Struct("<i4xi4x")
"""id (service << 16 | function), size of the whole message."""
HEADER_SIZE = HEADER.size

CPG_NAME = struct.Struct("<I4x128s")
"""length, value: the name of a closed process group (136 bytes)."""
CPG_NAME_MAX = 128

NAME = struct.Struct("<H6x256s")
"""length, value: any other name (264 bytes)."""
NAME_MAX = 256

SOURCE = struct.Struct("<I4xQ")
"""node id, connection token (opaque to all but its own node)."""


class Source(NamedTuple):
    """Who asked for a ring message: the node, and the client's identifier on that node."""

    node_id: int
    connection: int


def header(service: int, function: int, size: int) -> bytes:
    """The header of a ring message whose whole length, header included, is ``size``."""
    return HEADER.pack(service << 16 | function, size)


def pack_cpg_name(name: bytes) -> bytes:
    """136 bytes for a group name of 0 to 128 bytes; raises ValueError for a longer one."""
    if len(name) > CPG_NAME_MAX:
        raise ValueError(f"group name of {len(name)} bytes")
    return CPG_NAME.pack(len(name), name)


def unpack_cpg_name(message: bytes, offset: int) -> bytes:
    """The group name at ``offset``, exactly its length; raises ValueError for a length above 128, struct.error when cut off."""
    length, value = CPG_NAME.unpack_from(message, offset)
    if length > CPG_NAME_MAX:
        raise ValueError(f"group name length {length}")
    name: bytes = value[:length]
    return name


def pack_name(name: bytes) -> bytes:
    """264 bytes for a name of 0 to 256 bytes; raises ValueError for a longer one."""
    if len(name) > NAME_MAX:
        raise ValueError(f"name of {len(name)} bytes")
    return NAME.pack(len(name), name)


def unpack_name(message: bytes, offset: int) -> bytes:
    """The name at ``offset``, exactly its length; raises ValueError for a length above 256, struct.error when cut off."""
    length, value = NAME.unpack_from(message, offset)
    if length > NAME_MAX:
        raise ValueError(f"name length {length}")
    name: bytes = value[:length]
    return name


def unpack_source(message: bytes, offset: int) -> Source:
    """The message source at ``offset``; raises struct.error when cut off."""
    return Source(*SOURCE.unpack_from(message, offset))
