"""What stock daemons sent: the datagrams of tests/data/captures, and the messages in them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from corosyncd.totem.assembly import Assembly
from corosyncd.totem.events import Group
from corosyncd.totem.outbox import Outbox
from corosyncd.totem.statistics import Statistics
from corosyncd.totem.wire import ORDINARY, MalformedFrame, Mcast, decode
from tests.unit.pcap import udp_payloads

CAPTURES = Path(__file__).resolve().parent.parent / "tests" / "data" / "captures"
EACH = 400
"""Datagrams taken from a capture, evenly spread."""


@cache
def datagrams() -> tuple[bytes, ...]:
    """Different datagrams, in the order in which they were captured."""
    found: dict[bytes, None] = {}
    for path in sorted(CAPTURES.glob("*.pcap")):
        payloads = [payload for _, _, payload in udp_payloads(path)]
        found.update(dict.fromkeys(payloads[:: max(1, len(payloads) // EACH)]))
    return tuple(found)


@cache
def messages() -> tuple[tuple[int, Group, bytes], ...]:
    """(originator, group, message) of all whole messages in them; equal ones once."""
    found: dict[tuple[int, Group, bytes], None] = {}
    for path in sorted(CAPTURES.glob("*.pcap")):
        outbox = Outbox(1)
        assembly = Assembly(outbox, Statistics())
        for _, _, payload in udp_payloads(path):
            try:
                frame = decode(payload)
            except MalformedFrame:
                continue
            if isinstance(frame, Mcast) and frame.encapsulated == ORDINARY:
                assembly.accept(payload)
        found.update(dict.fromkeys((originator, group, bytes(body)) for originator, group, body in outbox.messages))
    return tuple(found)
