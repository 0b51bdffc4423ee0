"""The ring messages of closed process groups.

Layouts: reference services section 3.1. Encoders return what follows the 16-byte header; decoders take the whole message and
raise ValueError or struct.error for one that a node of this protocol cannot have sent.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from corosyncd.engines import wire

SERVICE_ID = 2


class Function(IntEnum):
    """Ring message functions of the service."""

    PROCESS_JOIN = 0
    PROCESS_LEAVE = 1
    JOIN_LIST = 2
    MCAST = 3
    DOWN_LIST_OLD = 4
    """Sent before Corosync 3.0; accepted and ignored."""
    DOWN_LIST = 5
    PARTIAL_MCAST = 6


_NAME = "I4x128s"

_PROCESS = struct.Struct("<" + _NAME + "I4xI4x")

_JOIN_LIST_HEADER = struct.Struct("<i4xi4xi4x")
_JOIN_LIST_ENTRY = struct.Struct("<I4x" + _NAME)

MCAST = struct.Struct("<" + _NAME + "I4xI4xI4xQ")
"""name length, name, message length, pid, source node, source connection; the data follows."""
MCAST_DATA = wire.HEADER_SIZE + MCAST.size
MCAST_VIEW = struct.Struct("<16xI132xI4xI")
"""What a receiver needs of a whole MCAST: name length, message length, pid; the name begins at ``NAME_VALUE``."""
NAME_VALUE = 24

PARTIAL_MCAST = struct.Struct("<" + _NAME + "I4xI4xI4xI4xI4xQ")
"""name length, name, whole length, fragment length, pid, type, source node, source connection; the fragment follows."""
PARTIAL_MCAST_DATA = wire.HEADER_SIZE + PARTIAL_MCAST.size

DOWN_LIST_SLOTS = 384
_DOWN_LIST = struct.Struct(f"<I4xI4x{DOWN_LIST_SLOTS}I")
_DOWN_LIST_OLD = struct.Struct(f"<I4x{DOWN_LIST_SLOTS}I")

MEMBERS_IN_JOIN_LIST = 7000
"""Processes of one node: their join list must fit a ring message of 1 MiB."""


class Process(NamedTuple):
    """PROCESS_JOIN and PROCESS_LEAVE: which process of the sender, and why."""

    name: bytes
    pid: int
    reason: int


class Partial(NamedTuple):
    """PARTIAL_MCAST: a fragment of a message of ``total`` bytes."""

    name: bytes
    total: int
    pid: int
    fragment: int
    data: bytes


def encode_process(name: bytes, pid: int, reason: int) -> bytes:
    """PROCESS_JOIN and PROCESS_LEAVE."""
    return _PROCESS.pack(len(name), name, pid, reason)


def decode_process(message: bytes) -> Process:
    """PROCESS_JOIN and PROCESS_LEAVE."""
    length, value, pid, reason = _PROCESS.unpack_from(message, wire.HEADER_SIZE)
    return Process(_name(length, value), pid, reason)


def encode_join_list(processes: Sequence[tuple[int, bytes]]) -> bytes:
    """The whole message: this one has the 24-byte header of a response. ``processes`` are (pid, name)."""
    size = _JOIN_LIST_HEADER.size + _JOIN_LIST_ENTRY.size * len(processes)
    head = _JOIN_LIST_HEADER.pack(SERVICE_ID << 16 | Function.JOIN_LIST, size, 0)
    return head + b"".join(_JOIN_LIST_ENTRY.pack(pid, len(name), name) for pid, name in processes)


def decode_join_list(message: bytes) -> list[tuple[int, bytes]]:
    """(pid, name) of every process; the header's size counts no further than the message does."""
    _, announced, _ = _JOIN_LIST_HEADER.unpack_from(message)
    entries = min(announced, len(message)) - _JOIN_LIST_HEADER.size
    if entries < 0 or entries % _JOIN_LIST_ENTRY.size:
        raise ValueError(f"join list of {announced} bytes in a message of {len(message)}")
    end = _JOIN_LIST_HEADER.size + entries
    found = _JOIN_LIST_ENTRY.iter_unpack(message[_JOIN_LIST_HEADER.size : end])
    return [(pid, _name(length, value)) for pid, length, value in found]


def encode_down_list(old_members: int, left: Sequence[int]) -> bytes:
    """DOWN_LIST: how many members there were, and those who left (as many as there are slots)."""
    shown = left[:DOWN_LIST_SLOTS]
    return _DOWN_LIST.pack(old_members, len(shown), *shown, *(0,) * (DOWN_LIST_SLOTS - len(shown)))


def decode_down_list(message: bytes) -> tuple[int, ...]:
    """The nodes that a DOWN_LIST says have left."""
    _, count, *slots = _DOWN_LIST.unpack_from(message, wire.HEADER_SIZE)
    return _left(count, slots)


def decode_down_list_old(message: bytes) -> tuple[int, ...]:
    """The nodes that a DOWN_LIST_OLD says have left."""
    count, *slots = _DOWN_LIST_OLD.unpack_from(message, wire.HEADER_SIZE)
    return _left(count, slots)


def decode_partial(message: bytes) -> Partial:
    """PARTIAL_MCAST."""
    length, value, total, size, pid, fragment, _, _ = PARTIAL_MCAST.unpack_from(message, wire.HEADER_SIZE)
    if size > len(message) - PARTIAL_MCAST_DATA or size > total:
        raise ValueError(f"fragment of {size} bytes of {total} in a message of {len(message)}")
    return Partial(_name(length, value), total, pid, fragment, message[PARTIAL_MCAST_DATA : PARTIAL_MCAST_DATA + size])


def _name(length: int, value: bytes) -> bytes:
    if length > wire.CPG_NAME_MAX:
        raise ValueError(f"group name length {length}")
    return value[:length]


def _left(count: int, slots: Sequence[int]) -> tuple[int, ...]:
    if count > DOWN_LIST_SLOTS:
        raise ValueError(f"down list of {count} nodes")
    return tuple(slots[:count])
