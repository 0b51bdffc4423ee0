"""A run drawn as one self-contained HTML file: nodes as rows, configurations as blocks, faults, messages, violations.

Everything that the page shows is in the file as JSON; drawing, zooming and moving are its own script (``timeline.html``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import zip_longest
from typing import Any, Final

from corosyncd.totem.events import ConfigurationKind
from corosyncsim.checkers.violation import Violation
from corosyncsim.history import Delivered, Failed, History, Installed, Process, Strike
from corosyncsim.services.journal import Death, Decided, Heard, Journal

_PLACE: Final = "@DATA@"
_PLACES: Final = 6
"""Decimal places of a time: microseconds."""

Json = dict[str, Any]


def draw(title: str, facts: str, history: History, violations: Sequence[Violation], end: float) -> str:
    """The page of a run that ended after ``end`` simulated seconds; ``facts`` is a line about it under the title."""
    node_ids = sorted({process.node_id for process in history.events})
    data = {
        "title": title,
        "facts": facts,
        "end": round(end, _PLACES),
        "quiet": round(history.quiet.began, _PLACES) if history.quiet else None,
        "nodes": [_node(history, node_id, end) for node_id in node_ids],
        "faults": [_fault(strike, end) for strike in history.strikes],
        "messages": _messages(history),
        "violations": [
            {"time": round(min(v.time, end), _PLACES), "node": v.node_id, "number": v.number, "text": str(v)} for v in violations
        ],
    }
    # A "<" inside a script element could end it.
    packed = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return files("corosyncsim").joinpath("timeline.html").read_text("utf-8").replace(_PLACE, packed)


def _fault(strike: Strike, end: float) -> Json:
    label = f"{strike.kind} {' '.join(map(str, strike.nodes))}"
    until = min(max(strike.until, strike.time), end)
    return {"start": round(strike.time, _PLACES), "end": round(until, _PLACES), "label": label, "text": strike.text}


def _node(history: History, node_id: int, end: float) -> Json:
    lives = [process for process in history.events if process.node_id == node_id]
    above = [] if history.services is None else [event for process in lives for event in history.services.nodes.get(process, [])]
    return {
        "id": node_id,
        "quorate": list(_quorate(history, lives, end)),
        "deaths": [[round(e.time, _PLACES), f"{e.engine} dies", e.reason] for e in above if isinstance(e, Death)],
        "blocks": [block for process in lives for block in _blocks(history, process, end)],
        "downs": list(_downs(history, lives, end)),
        "pauses": [
            [round(began, _PLACES), round(ended, _PLACES)] for process, began, ended in history.pauses if process in lives
        ],
        "notes": [[round(note.time, _PLACES), note.text] for note in history.notes if note.who.partition(".")[0] == str(node_id)],
    }


def _blocks(history: History, process: Process, end: float) -> Iterator[Json]:
    """What the process was in, configuration by configuration; the first transitional one, of nobody, is left out."""
    events = [event for event in history.events[process] if isinstance(event, Installed | Failed)]
    for event, following in zip_longest(events, events[1:]):
        until = following.time if following else end
        if isinstance(event, Installed) and event.members:
            yield {
                "start": round(event.time, _PLACES),
                "end": round(until, _PLACES),
                "regular": event.kind is ConfigurationKind.REGULAR,
                "ring": str(event.ring),
                "members": event.members,
            }


def _downs(history: History, lives: Sequence[Process], end: float) -> Iterator[tuple[float, float, str]]:
    """When the node did not run: from, until, and how its life had ended."""
    since, how = 0.0, ""
    for process in lives:
        yield round(since, _PLACES), round(history.started[process], _PLACES), how
        events = history.events[process]
        last = events[-1] if events else None
        if not isinstance(last, Failed):
            return
        since, how = last.time, last.how
    yield round(since, _PLACES), round(end, _PLACES), how


def _quorate(history: History, lives: Sequence[Process], end: float) -> Iterator[tuple[float, float]]:
    """When the node had quorum, as its quorum engine was told; nothing on a bare ring."""
    if history.services is None:
        return
    for process in lives:
        events = history.events[process]
        over = events[-1].time if events and isinstance(events[-1], Failed) else end
        decided = [event for event in history.services.nodes.get(process, []) if isinstance(event, Decided)]
        for event, following in zip_longest(decided, decided[1:]):
            if event.quorate:
                yield round(event.time, _PLACES), round(following.time if following else over, _PLACES)


def _group_messages(journal: Journal) -> list[Json]:
    """What members of groups said, and who heard it when; bodies are told apart by their senders and checksums."""
    messages: dict[tuple[int, int, int], Json] = {}
    for client in journal.clients:
        for number, sent in enumerate(client.sent):
            messages[client.node_id, client.pid, sent.digest] = {
                "name": f"{client}#{number}",
                "node": client.node_id,
                "size": sent.size,
                "where": f"to group {(client.group or b'').decode(errors='replace')}",
                "time": round(sent.time, _PLACES),
                "delivered": [],
            }
    for client in journal.clients:
        for entry in client.entries:
            if isinstance(entry, Heard) and (message := messages.get((*entry.sender, entry.digest))):
                message["delivered"].append((client.node_id, round(entry.time, _PLACES)))
    return list(messages.values())


def _messages(history: History) -> list[Json]:
    """What was sent, and who delivered it when."""
    if history.services is not None:
        return _group_messages(history.services)
    delivered: dict[object, list[tuple[int, float]]] = {}
    for process, events in history.events.items():
        for event in events:
            if isinstance(event, Delivered):
                delivered.setdefault(event.message, []).append((process.node_id, round(event.time, _PLACES)))
    return [
        {
            "name": str(message),
            "node": message.sender.node_id,
            "size": history.submitted[message].size,
            "where": f"on {sent.ring}",
            "time": round(sent.time, _PLACES),
            "delivered": delivered.get(message, []),
        }
        for message, sent in history.sent.items()
    ]
