"""The two messages of the synchronisation protocol (totem group ``sync``).

Source: reference services section 2.1. Both carry the ring id of the round that they belong to.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from corosyncd.totem.events import RingId

BARRIER_ID = 0
SERVICE_BUILD_ID = 1
SERVICE_SLOTS = 128
SERVICE_LIMIT = 64

_HEADER = struct.Struct("=i4xi4xIQ4x")
"""id, size, ring id (representative, sequence)."""
_BUILD = struct.Struct(f"=i4xi4xIQ4xi4x{SERVICE_SLOTS}i")
BARRIER_SIZE = _HEADER.size
SERVICE_BUILD_SIZE = _BUILD.size


class Barrier(NamedTuple):
    """Its sender has sent all its data of the present step."""

    ring_id: RingId


class ServiceBuild(NamedTuple):
    """The services that its sender will synchronise: the union over all members makes the steps."""

    ring_id: RingId
    services: tuple[int, ...]


def encode_barrier(ring_id: RingId) -> bytes:
    """A BARRIER of that round."""
    return _HEADER.pack(BARRIER_ID, BARRIER_SIZE, *ring_id)


def encode_service_build(ring_id: RingId, services: Sequence[int]) -> bytes:
    """A SERVICE_BUILD; stock always sends all 128 slots."""
    slots = list(services) + [0] * (SERVICE_SLOTS - len(services))
    return _BUILD.pack(SERVICE_BUILD_ID, SERVICE_BUILD_SIZE, *ring_id, len(services), *slots)


def decode(message: bytes) -> Barrier | ServiceBuild:
    """Read a message of group ``sync``; raises ValueError for anything malformed."""
    if len(message) < BARRIER_SIZE:
        raise ValueError(f"sync message of {len(message)} bytes, at least {BARRIER_SIZE} are needed")
    kind, _size, representative, sequence = _HEADER.unpack_from(message)
    ring_id = RingId(representative, sequence)
    if kind == BARRIER_ID:
        return Barrier(ring_id)
    if kind != SERVICE_BUILD_ID:
        raise ValueError(f"unknown sync message {kind}")
    if len(message) < SERVICE_BUILD_SIZE:
        raise ValueError(f"SERVICE_BUILD of {len(message)} bytes, {SERVICE_BUILD_SIZE} are needed")
    fields = _BUILD.unpack_from(message)
    count = fields[4]
    if not 0 <= count <= SERVICE_SLOTS:
        raise ValueError(f"SERVICE_BUILD with {count} entries, 0 to {SERVICE_SLOTS} are allowed")
    services = fields[5 : 5 + count]
    if any(not 0 <= service < SERVICE_LIMIT for service in services):
        raise ValueError(f"SERVICE_BUILD names a service outside 0 to {SERVICE_LIMIT - 1}: {services}")
    return ServiceBuild(ring_id, tuple(services))
