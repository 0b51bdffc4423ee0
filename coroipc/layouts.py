"""How a library message is declared: one precompiled struct, its id, and the C size of the structure.

The client packages state their messages with these, and the engines read and write the same declarations.

Source: reference client-api section 1.1 (headers, alignment, the trailing padding of messages that end in a list).
"""

from __future__ import annotations

import struct
from typing import Any

from coroipc.errors import MessageError, Status
from coroipc.messages import response, status_of

Buffer = bytes | bytearray | memoryview

REQUEST = "=i4xi4x"
"""Request header: id, size (16 bytes)."""
RESPONSE = "=i4xi4xi4x"
"""Response and event header: id, size, error (24 bytes)."""


class Layout:
    """One message: ``identifier``, the struct ``head`` in front of its variable part, and ``size``, the C structure's.

    Where a list starts before the structure's end (``head.size < size``), the message ends with as many unused bytes:
    its total is ``size`` plus the list, as the C side computes it.
    """

    __slots__ = ("head", "identifier", "name", "size")

    def __init__(self, name: str, identifier: int, header: str, body: str = "", size: int = 0) -> None:
        """``size`` is only given where it differs from the head's."""
        self.name = name
        self.identifier = int(identifier)
        self.head = struct.Struct(header + body)
        self.size = size or self.head.size

    def pack(self, *fields: Any, tail: Buffer = b"") -> bytes:
        """The message: header, ``fields`` (for responses and events the status comes first), ``tail``, padding.

        Raises struct.error where a field does not fit: the caller's own values, never a peer's.
        """
        total = self.size + len(tail)
        head = self.head.pack(self.identifier, total, *fields)
        if self.size == self.head.size:
            return head + tail if tail else head
        return b"".join((head, tail, bytes(self.size - self.head.size)))

    def unpack(self, message: Buffer) -> tuple[Any, ...]:
        """The fields behind id and size (for responses and events the status comes first).

        Raises MessageError where the message is shorter than the layout.
        """
        if len(message) < self.head.size:
            raise MessageError(f"{self.name}: {len(message)} bytes where the layout has {self.head.size}")
        return self.head.unpack_from(message)[2:]

    def variable(self, message: Buffer, length: int) -> bytes:
        """``length`` bytes behind the head; MessageError where the message does not hold as many."""
        start = self.head.size
        if length > len(message) - start:
            raise MessageError(f"{self.name}: announces {length} bytes, holds {len(message) - start}")
        return bytes(message[start : start + length])


response_status = status_of
"""The status in a response or event header; LibraryError where there is no whole header."""


def status_response(identifier: int, status: int = Status.OK) -> bytes:
    """A response that is only a header; with id 0, the generic error that may come instead of any response."""
    return response(identifier, status)


def unpack_words(data: bytes) -> tuple[int, ...]:
    """A list of uint32; the length is a multiple of four."""
    return struct.unpack(f"={len(data) // 4}I", data)


def pack_words(words: tuple[int, ...] | list[int]) -> bytes:
    """The bytes of a list of uint32."""
    return struct.pack(f"={len(words)}I", *words)


def text_until_nul(field: bytes) -> bytes:
    """What a C reader sees in a fixed character array."""
    return field.split(b"\0", 1)[0]
