"""What the executive does with delivered messages: it routes each to an engine, takes it for its round, or counts it."""

from __future__ import annotations

from collections import Counter
from typing import Final

from corosyncd.executive import sync_wire
from corosyncd.totem.events import Configuration, ConfigurationKind, Group, RingId
from fuzz import corpus
from fuzz.target import claim
from tests.unit.executive_cluster import ScriptedCluster, ScriptedNode

MEMBERS: Final = (1, 2)
RING: Final = RingId(1, 8)
WORDS_LIMIT: Final = 10_000
IN_A_ROUND: Final = 1
"""Flag in an input's first byte: a round of synchronisation is open."""


class ExecutiveTarget:
    """An input: flags, group, source, then the message."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        own = [sync_wire.encode_barrier(RING), sync_wire.encode_service_build(RING, [0, 2, 3, 5])]
        self.seeds = [bytes((flags, 1, 2)) + message for flags in (0, IN_A_ROUND) for message in own]
        self.seeds += [bytes((0, group is Group.SYNC, source & 0xFF)) + body for source, group, body in corpus.messages()[::4]]

    def run(self, data: bytes) -> None:
        """One message, twice."""
        if len(data) < 3:
            return
        node = configured_node(in_a_round=bool(data[0] & IN_A_ROUND))
        executive = node.executive
        message = (data[2], Group.SYNC if data[1] & 1 else Group.ENGINES, data[3:])
        known, before = _accepts(message[1], message[2], node), sum(executive.router.dropped.values())
        executive.deliver([message, message], 1.0)
        after = sum(executive.router.dropped.values())
        claim(after == before + (0 if known else 2), f"a message that nobody takes is counted: {executive.router.dropped}")
        words = sum(len(record.outbox) for record in executive.engines.values()) + len(node.ring.order) + len(executive.actions())
        claim(words <= WORDS_LIMIT, "what a message brings about is bounded")
        self.dropped.update(executive.router.dropped)


def configured_node(*, in_a_round: bool) -> ScriptedNode:
    """A node whose engines are scripts, on a ring of two; its round is open, or has not got further than the first question."""
    node = ScriptedCluster().nodes[0]
    for kind in (ConfigurationKind.TRANSITIONAL, ConfigurationKind.REGULAR):
        members = MEMBERS if kind is ConfigurationKind.REGULAR else MEMBERS[:1]
        node.executive.configuration(Configuration(kind, RING, members, members, ()), 1.0)
    while in_a_round and node.settle():
        pass
    return node


def _accepts(group: Group, message: bytes, node: ScriptedNode) -> bool:
    """Whether a message is well-formed and for somebody."""
    if group is Group.SYNC:
        try:
            sync_wire.decode(message)
        except ValueError:
            return False
        return True
    identifier = int.from_bytes(message[:4], "little", signed=True)
    services = node.executive.router.services
    return len(message) >= 16 and identifier >> 16 in services and identifier & 0xFFFF < services[identifier >> 16].functions
