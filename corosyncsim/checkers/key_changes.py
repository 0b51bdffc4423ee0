"""Property 20, the map: whoever tracks keys sees each of their changes once and in order; a reload is applied whole.

Source: cmap_track_add(3), reference client-api section 2.3, config section 15.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from corosyncd.keyspace.values import Value
from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import History, Process
from corosyncsim.services.journal import Keyed, KeyTold, NodeEvent, Reloaded

PROPERTY = Property(20, "the map")


def check(history: History) -> Iterator[Violation]:
    """Each tracker against the changes of its node's map, each reload against itself; linear in changes for each tracker."""
    journal = history.services
    if journal is None:
        return
    changes = {process: [event for event in events if isinstance(event, Keyed)] for process, events in journal.nodes.items()}
    for process, events in journal.nodes.items():
        yield from _reloads(process, events)
    for client in journal.clients:
        told = [entry for entry in client.entries if isinstance(entry, KeyTold)]
        if not told:
            continue
        seen = [(entry.key, entry.new, entry.old) for entry in told]
        since = changes.get(client.process, [])
        real = [(change.key, _plain(change.new), _plain(change.old)) for change in since]
        end = _place(real, seen)
        if end is None:
            expected = f"{client} should be told {len(seen)} changes of the map as they were made, each once"
            yield PROPERTY.broken(client.node_id, told[0].time, expected)
        elif history.quiet and history.quiet.drained_at and client.lost_at is None and client.ended_at is None:
            for change in since[end:]:
                yield PROPERTY.broken(client.node_id, change.time, f"{client} should be told of a change of {change.key}")


def _place(real: Sequence[tuple[str, object, object]], seen: Sequence[tuple[str, object, object]]) -> int | None:
    """Where in the real changes the seen ones end, which are a stretch of them; None where they are not."""
    for start in range(len(real) - len(seen), -1, -1):
        if real[start] == seen[0] and real[start : start + len(seen)] == seen:
            return start + len(seen)
    return None


def _plain(value: tuple[int, bytes] | None) -> object:
    return None if value is None else Value(*value).python()


def _reloads(process: Process, events: Sequence[NodeEvent]) -> Iterator[Violation]:
    """All keys of the file come from one reading of it."""
    for event in events:
        if isinstance(event, Reloaded):
            readings = sorted({str(value) for _, value in event.keys})
            if len(readings) > 1:
                expected = f"keys of a reload should come from one reading, not from {readings}: {event.keys}"
                yield PROPERTY.broken(process.node_id, event.time, expected)
