"""Frames of a link: a msgpack head that says what happens, and the raw bodies of ring messages behind it.

    u32 length of the head | msgpack [representative, sequence, [entry, ...]] | body | body | ...

The first two numbers are the ring id that the sender saw last. An entry is a list: a kind of ``vocabulary``, then its arguments.
Only DELIVER (to an engine) and MULTICAST (to the executive) own bodies; their lengths stand in the entry.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from msgpack import Packer, packb, unpackb

from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import RingId

Buffer = bytes | bytearray | memoryview

FRAME_BYTES: Final = 256 * 1024
"""A frame of several entries is closed before it grows past this: two frames never fill a ring."""
FRAME_MESSAGES: Final = 1024
"""Most ring messages in one frame, so that one frame is a bounded piece of work for its receiver."""
LARGEST_FRAME: Final = 1024 * 1024 + 64 * 1024
"""A single entry may be this large, its body included: the largest ring message (1 MiB) and what describes it."""

_DELIVER: Final = int(ToEngine.DELIVER)
_MULTICAST: Final = int(ToExecutive.MULTICAST)
_HEAD_LENGTH = struct.Struct("=I")
_MAXIMUM_NODE_ID: Final = 0xFFFFFFFF
_MAXIMUM_SEQUENCE: Final = 0xFFFFFFFFFFFFFFFF


class Direction(Enum):
    """Which vocabulary a frame speaks: kinds are numbered separately for the two directions."""

    TO_ENGINE = "to engine"
    TO_EXECUTIVE = "to executive"


class Frame(NamedTuple):
    """One frame: the sender's ring id, its entries, and the bodies of all entries in order."""

    ring_id: RingId
    entries: list[list[Any]]
    bodies: list[bytes]


def pack_entry(entry: Sequence[Any]) -> bytes:
    """One entry as msgpack; text that is not UTF-8 (surrogate escapes) travels as the bytes it came from."""
    packed: bytes = packb(entry, unicode_errors="surrogateescape")
    return packed


def pack_head(ring_id: RingId, entries: Sequence[bytes]) -> bytes:
    """The length word and the head of a frame, from entries that ``pack_entry`` has packed."""
    packer = Packer(autoreset=False)
    packer.pack_array_header(3)
    packer.pack(ring_id[0])
    packer.pack(ring_id[1])
    packer.pack_array_header(len(entries))
    head: bytes = packer.bytes() + b"".join(entries)
    return _HEAD_LENGTH.pack(len(head)) + head


def encode(ring_id: RingId, entries: Sequence[Sequence[Any]], bodies: Sequence[Buffer]) -> list[Buffer]:
    """The pieces of one frame, to be written one behind the other as one chunk; bodies are not copied."""
    return [pack_head(ring_id, [pack_entry(entry) for entry in entries]), *bodies]


def decode(chunk: bytes, direction: Direction) -> Frame:
    """Take a frame apart. Entries are lists that begin with a kind number; whether the rest fits the kind, their reader checks.

    Raises ValueError where the head is malformed, or where the lengths do not add up to exactly the bytes behind it.
    """
    if len(chunk) < _HEAD_LENGTH.size:
        raise ValueError("a frame ends inside its length word")
    offset = _HEAD_LENGTH.size + _HEAD_LENGTH.unpack_from(chunk)[0]
    if offset > len(chunk):
        raise ValueError("a frame ends inside its head")
    head = unpackb(memoryview(chunk)[_HEAD_LENGTH.size : offset], unicode_errors="surrogateescape")
    if type(head) is not list or len(head) != 3:
        raise ValueError("a frame's head is not [representative, sequence, entries]")
    representative, sequence, entries = head
    if not (_is_number(representative, _MAXIMUM_NODE_ID) and _is_number(sequence, _MAXIMUM_SEQUENCE) and type(entries) is list):
        raise ValueError("a frame's head does not hold a ring id and entries")
    bodies: list[bytes] = []
    end = len(chunk)
    for entry in entries:
        for length in _body_lengths(entry, direction):
            if type(length) is not int or not 0 <= length <= end - offset:
                raise ValueError("a body's length reaches beyond its frame")
            bodies.append(chunk[offset : offset + length])
            offset += length
    if offset != end:
        raise ValueError(f"a frame has {end - offset} bytes that no entry owns")
    return Frame(RingId(representative, sequence), entries, bodies)


def _body_lengths(entry: Any, direction: Direction) -> Sequence[Any]:
    """The lengths of the bodies that an entry owns, unchecked."""
    if type(entry) is not list or not entry or type(entry[0]) is not int:
        raise ValueError("an entry of a frame does not begin with a kind")
    if direction is Direction.TO_ENGINE:
        if entry[0] != _DELIVER:
            return ()
        if len(entry) != 2 or type(entry[1]) is not list or len(entry[1]) % 3:
            raise ValueError("a DELIVER entry does not hold a list of triples")
        return entry[1][2::3]
    if entry[0] != _MULTICAST:
        return ()
    if len(entry) != 3 or type(entry[2]) is not list:
        raise ValueError("a MULTICAST entry does not hold a list of lengths")
    return entry[2]


def _is_number(value: Any, maximum: int) -> bool:
    return type(value) is int and 0 <= value <= maximum
