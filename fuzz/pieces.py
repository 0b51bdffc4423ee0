"""Inputs that are several things in a row: each behind its length, so that damage to one leaves the others where they are."""

from __future__ import annotations

from collections.abc import Iterable


def joined(pieces: Iterable[bytes]) -> bytes:
    """Pieces of at most 65,535 bytes as one input."""
    return b"".join(len(piece).to_bytes(2, "little") + piece for piece in pieces)


def cut(data: bytes, most: int) -> list[bytes]:
    """The pieces of an input, at most so many; the last one may be shorter than its length says."""
    pieces: list[bytes] = []
    position = 0
    while position + 2 <= len(data) and len(pieces) < most:
        size = int.from_bytes(data[position : position + 2], "little")
        pieces.append(data[position + 2 : position + 2 + size])
        position += 2 + size
    return pieces
