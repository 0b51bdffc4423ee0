"""Property 16, sync barrier: on a new ring nobody is told a message before every service is synchronised there.

The data of a round is delivered on that round's ring or not at all: an aborted synchronisation leaves no residue. Source: design
"A round of sync"; reference services section 2.2.
"""

from __future__ import annotations

from collections.abc import Iterator

from corosyncd.totem.events import RingId
from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import History
from corosyncsim.services.journal import Departed, Early, Heard, Journal, Synchronised

PROPERTY = Property(16, "sync barrier")


def check(history: History) -> Iterator[Violation]:
    """What was told too early, and what came too late; linear in entries and in what rings delivered while rounds were open."""
    journal = history.services
    if journal is None:
        return
    yield from _residue(journal)
    released = _releases(journal)
    waiting: dict[tuple[int, tuple[int, int], int, int], list[Early]] = {}
    for early in journal.early:
        waiting.setdefault((early.node_id, early.sender, early.size, early.digest), []).append(early)
    for client in journal.clients:
        for entry in client.entries:
            if not isinstance(entry, Heard):
                continue
            for early in waiting.get((client.node_id, entry.sender, entry.size, entry.digest), ()):
                # Of two lives of a node only the one that the program talks to counts: earlier ones were over by then.
                due = released.get((early.node_id, early.ring_id))
                if early.time <= entry.time and (due is None or entry.time < due):
                    expected = f"{client} should hear {entry.digest:08x} only after ring {early.ring_id} is synchronised"
                    yield PROPERTY.broken(client.node_id, entry.time, f"{expected}, at {due} s" if due is not None else expected)


def _residue(journal: Journal) -> Iterator[Violation]:
    for stale in journal.stale:
        rounds = ", ".join(map(str, stale.rounds))
        expected = f"sync data of node {stale.source}, made for ring {rounds}, should not be delivered on {stale.ring_id}"
        yield PROPERTY.broken(stale.node_id, stale.time, expected)


def _releases(journal: Journal) -> dict[tuple[int, RingId], float]:
    """When each node was synchronised on each ring, or left it: from then on its messages may be told."""
    released: dict[tuple[int, RingId], float] = {}
    for process, events in journal.nodes.items():
        for event in events:
            if isinstance(event, Synchronised | Departed):
                released.setdefault((process.node_id, event.ring_id), event.time)
    return released
