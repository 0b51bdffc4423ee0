"""Property 21, engine death: it costs the engine's own programs their connections, and nobody else anything.

An executive gives an engine up for a silence through which it was itself awake. What a successor knows is what the cluster agrees
on: at the end every node answers the same questions alike. Source: design "What happens when something dies".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import Failed, History
from corosyncsim.services.journal import Death, GivenUp, Journal, Lost, Synchronised

PROPERTY = Property(21, "engine death")
WITHOUT_SYNC_STATE: Final = frozenset(("cfg",))
PATIENCE: Final = 0.25
"""Seconds awake that an executive waits at least: a second, but for pauses too short to be noticed."""
SUCCESSION: Final = 15.0
"""Seconds in which a successor must be there, and the ring formed anew for it, once nothing else is wrong."""


def check(history: History) -> Iterator[Violation]:
    """Connections that broke without a cause, and answers that differ; linear in entries."""
    journal = history.services
    if journal is None:
        return
    for client in journal.clients:
        for entry in client.entries:
            if not isinstance(entry, Lost) or (client.ended_at is not None and client.ended_at <= entry.time):
                continue
            causes = [
                event.time
                for event in journal.nodes.get(client.process, ())
                if isinstance(event, Death) and event.engine == client.service
            ]
            causes += [event.time for event in history.events[client.process] if isinstance(event, Failed)]
            causes += [time for time, node_id in journal.stops if node_id == client.node_id]
            if not any(cause <= entry.time for cause in causes):
                expected = f"{client} should keep its connection while its engine and its node live; it ended: {entry.reason}"
                yield PROPERTY.broken(client.node_id, entry.time, expected)
    yield from _given_up(history, journal)
    yield from _successions(history, journal)
    at = history.quiet.drained_at if history.quiet and history.quiet.drained_at is not None else 0.0
    for question, answers in journal.examined.items():
        if len(set(map(str, answers.values()))) > 1:
            told = "; ".join(f"node {node_id}: {answer}" for node_id, answer in sorted(answers.items()))
            yield PROPERTY.broken(0, at, f"all nodes should answer {question} alike: {told}")


def _given_up(history: History, journal: Journal) -> Iterator[Violation]:
    """While its executive was not scheduled, an engine could not answer it, or was not heard."""
    for process, events in journal.nodes.items():
        away = [(at, until) for who, at, until in history.pauses if who == process]
        for event in events:
            if isinstance(event, GivenUp):
                silence = event.time - event.silent_since
                waited = silence - sum(max(0.0, min(until, event.time) - max(at, event.silent_since)) for at, until in away)
                if waited < PATIENCE:
                    expected = f"engine {event.engine} should be waited for; its executive was away for most of {silence:.3f} s"
                    yield PROPERTY.broken(process.node_id, event.time, expected)


def _successions(history: History, journal: Journal) -> Iterator[Violation]:
    """Behind the death of an engine with sync state its living node comes to another ring."""
    quiet = history.quiet
    if quiet is None or quiet.one_configuration_at is None:
        return
    end = quiet.drained_at or quiet.drained_by
    for process in history.lives():
        events = journal.nodes.get(process, [])
        synchronised = max((event.time for event in events if isinstance(event, Synchronised)), default=0.0)
        for event in events:
            late = synchronised < event.time < end - SUCCESSION
            if late and isinstance(event, Death) and event.engine not in WITHOUT_SYNC_STATE:
                expected = f"a new ring should have taken in the successor of {event.engine}"
                yield PROPERTY.broken(process.node_id, event.time, expected)
