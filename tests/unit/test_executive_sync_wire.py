"""The two messages of the synchronisation protocol, against bytes of a stock daemon (reference services section 10)."""

from __future__ import annotations

import pytest

from corosyncd.executive import sync_wire
from corosyncd.totem.events import RingId

BARRIER = bytes.fromhex("00000000000000002000000000000000010000000900000000000000") + bytes(4)
SERVICE_BUILD = (
    bytes.fromhex("01000000000000002802000000000000010000000900000000000000")
    + bytes(4)
    + bytes.fromhex("0400000000000000")
    + b"".join(service.to_bytes(4, "little") for service in (0, 2, 3, 5))
    + bytes(496)
)


def test_a_barrier_has_the_bytes_of_stock() -> None:
    assert sync_wire.encode_barrier(RingId(1, 9)) == BARRIER
    assert sync_wire.decode(BARRIER) == sync_wire.Barrier(RingId(1, 9))


def test_a_service_build_has_the_bytes_of_stock() -> None:
    assert sync_wire.encode_service_build(RingId(1, 9), [0, 2, 3, 5]) == SERVICE_BUILD
    assert sync_wire.decode(SERVICE_BUILD) == sync_wire.ServiceBuild(RingId(1, 9), (0, 2, 3, 5))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        BARRIER[:31],
        b"\x02" + BARRIER[1:],
        SERVICE_BUILD[:551],
        SERVICE_BUILD[:32] + (129).to_bytes(4, "little") + SERVICE_BUILD[36:],
        SERVICE_BUILD[:32] + (-1).to_bytes(4, "little", signed=True) + SERVICE_BUILD[36:],
        SERVICE_BUILD[:40] + (64).to_bytes(4, "little") + SERVICE_BUILD[44:],
    ],
)
def test_a_malformed_message_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"sync message|SERVICE_BUILD"):
        sync_wire.decode(message)
