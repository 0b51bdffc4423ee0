"""The ring messages of the cfg service.

Layouts: reference services section 6.4. Encoders return what follows the 16-byte header; decoders take the whole message and
raise ValueError or struct.error for one that is too short or names impossible lengths.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from corosyncd.engines import wire
from corosyncd.engines.wire import Source

SERVICE_ID = 1


class Function(IntEnum):
    """Ring message functions of the service."""

    RING_REENABLE = 0
    """Never sent since one ring is all there is; ignored."""
    KILL_NODE = 1
    SHUTDOWN = 2
    RELOAD_CONFIG = 3
    CRYPTO_RECONFIG = 4


_NODE = struct.Struct("<I4x")
_PHASE = struct.Struct("<I4x")
_KILL_REASON = wire.HEADER_SIZE + _NODE.size


class KillNode(NamedTuple):
    """KILL_NODE: which node, and what its log will say."""

    node_id: int
    reason: str


def encode_kill_node(node_id: int, reason: str) -> bytes:
    """KILL_NODE; the reason is cut at 255 bytes, and its length counts the NUL behind it."""
    text = reason.encode("utf-8", "surrogateescape")[: wire.NAME_MAX - 1]
    return _NODE.pack(node_id) + wire.pack_name(text + b"\0")


def decode_kill_node(message: bytes) -> KillNode:
    """KILL_NODE; the reason ends at its first NUL, or at its length."""
    (node_id,) = _NODE.unpack_from(message, wire.HEADER_SIZE)
    reason = wire.unpack_name(message, _KILL_REASON).split(b"\0", 1)[0]
    return KillNode(node_id, reason.decode("utf-8", "surrogateescape"))


def encode_reload(source: Source) -> bytes:
    """RELOAD_CONFIG: who is to be answered."""
    return wire.SOURCE.pack(*source)


def decode_reload(message: bytes) -> Source:
    """RELOAD_CONFIG."""
    return wire.unpack_source(message, wire.HEADER_SIZE)


def encode_crypto_phase(phase: int) -> bytes:
    """CRYPTO_RECONFIG: 1 send with the new key, 2 forget the old one."""
    return _PHASE.pack(phase)


def decode_crypto_phase(message: bytes) -> int:
    """CRYPTO_RECONFIG."""
    (phase,) = _PHASE.unpack_from(message, wire.HEADER_SIZE)
    return int(phase)
