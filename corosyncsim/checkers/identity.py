"""Property 4, configuration identity: a ring id means one member list, and ring sequence numbers only grow.

Everywhere one ring id stands for the same members; the sequence numbers of the rings that a node installs grow strictly, also
across its restarts, as long as it keeps its stored sequence number. Source: Amir et al., ACM TOCS 13(4), 1995, section 5 (ring
identifiers are unique, which needs stable storage).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from corosyncd.totem.events import ConfigurationKind
from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import History, Installed, Process, Ring

PROPERTY = Property(4, "configuration identity")


def check(history: History) -> Iterator[Violation]:
    """Every second meaning of a ring id, and every sequence number that does not grow; n log n in processes."""
    meaning: dict[Ring, tuple[int, ...]] = {}
    for _, lives in groupby(
        sorted(history.events), key=lambda process: (process.node_id, history.storage_losses.get(process, 0))
    ):
        newest = -1
        for process in lives:
            for installed in _regular(history, process):
                ring, members = installed.ring, tuple(sorted(installed.members))
                known = meaning.setdefault(ring, members)
                if known != members:
                    expected = f"ring {ring} should mean {known} everywhere, not {members}"
                    yield PROPERTY.broken(process.node_id, installed.time, expected)
                if ring.sequence <= newest:
                    expected = f"ring {ring} should have a sequence number above {newest:x}, which the node had before"
                    yield PROPERTY.broken(process.node_id, installed.time, expected)
                newest = max(newest, ring.sequence)


def _regular(history: History, process: Process) -> Iterator[Installed]:
    for event in history.events[process]:
        if isinstance(event, Installed) and event.kind is ConfigurationKind.REGULAR:
            yield event
