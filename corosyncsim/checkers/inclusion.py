"""Property 5, self-inclusion: a process lives in the configurations that it installs, and nowhere else.

A process is a member of every configuration that it installs; what it sends and delivers belongs to the configuration that it
installed last; nothing happens after its failure. The first transition of a life comes from no configuration, so it has no
members at all (see ``transition``). Source: Moser et al., ICDCS 1994, specifications 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterator

from corosyncd.totem.events import ConfigurationKind
from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import NO_RING, Delivered, Failed, History, Installed, Sent

PROPERTY = Property(5, "self-inclusion")


def check(history: History) -> Iterator[Violation]:
    """Every event outside the configuration installed last; linear in events."""
    for process, events in history.events.items():
        node_id = process.node_id
        ring = NO_RING
        failed = False
        for event in events:
            if failed:
                yield PROPERTY.broken(node_id, event.time, f"{process} has failed and should do nothing before it recovers")
            match event:
                case Installed():
                    if node_id not in event.members and (ring != NO_RING or event.kind is ConfigurationKind.REGULAR):
                        expected = (
                            f"the {event.kind.value} configuration {event.ring} should have {node_id} among {event.members}"
                        )
                        yield PROPERTY.broken(node_id, event.time, expected)
                    if event.kind is ConfigurationKind.REGULAR:
                        ring = event.ring
                case Sent() if event.ring != ring:
                    expected = f"message {event.message} should be sent on ring {ring}, installed last, not on {event.ring}"
                    yield PROPERTY.broken(node_id, event.time, expected)
                case Delivered() if ring == NO_RING:
                    yield PROPERTY.broken(node_id, event.time, f"message {event.message} should wait for the first configuration")
                case Failed():
                    failed = True
