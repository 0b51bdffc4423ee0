"""Property 19, local programs: every request is answered once and in order, and a program's end is seen once by its group.

Source: reference ipc section 4.6, client-api section 1.3; cpg_leave(3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Final

import libcmap.messages
import libquorum.messages
import libvotequorum.messages
from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import History
from corosyncsim.services.journal import Answered, Asked, Changed, ClientJournal
from libcpg.messages import Reason, Request, Response

PROPERTY = Property(19, "local programs")
RESPONSES: Final[dict[str, Mapping[int, int]]] = {
    "cmap": libcmap.messages.RESPONSE_IDS,
    "cpg": {each: Response[each.name] for each in Request if each.name in Response.__members__},
    "quorum": libquorum.messages.RESPONSE_IDS,
    "votequorum": libvotequorum.messages.RESPONSE_IDS,
}
PATIENCE: Final = 10.0
"""Seconds that an answer may take when nothing is wrong any more."""
GENERIC_ERROR: Final = 0
"""Response id of an error that may come instead of any response."""


def check(history: History) -> Iterator[Violation]:
    """Requests and answers of each connection, reasons of departures, and what engines still hold; linear in entries."""
    journal = history.services
    if journal is None:
        return
    quiet = history.quiet
    answered_by = 0.0 if quiet is None else quiet.drained_at or quiet.drained_by - PATIENCE
    for client in journal.clients:
        yield from _answers(client, answered_by)
    leavers = {(client.group, client.node_id, client.pid) for client in journal.clients if client.left_group}
    for client in journal.clients:
        for entry in client.entries:
            for node_id, pid, reason in entry.left if isinstance(entry, Changed) else ():
                if reason == Reason.LEAVE and (client.group, node_id, pid) not in leavers:
                    expected = f"{client} should not be told that {node_id}:{pid} has asked to leave"
                    yield PROPERTY.broken(client.node_id, entry.time, expected)
    for node_id, connection in journal.leftover:
        yield PROPERTY.broken(node_id, 0.0, f"the connection of {connection} should have been freed")


def _answers(client: ClientJournal, answered_by: float) -> Iterator[Violation]:
    asked = [entry for entry in client.entries if isinstance(entry, Asked) and entry.answered]
    answered = [entry for entry in client.entries if isinstance(entry, Answered)]
    responses = RESPONSES[client.service]
    for request, response in zip_longest(asked, answered):
        if request is None:
            yield PROPERTY.broken(client.node_id, response.time, f"{client} should get one response a request, not one more")
            return
        if response is None:
            if request.time < answered_by and client.ended_at is None and client.lost_at is None:
                yield PROPERTY.broken(client.node_id, request.time, f"request {request.request} of {client} should be answered")
            continue
        if response.response not in (responses[request.request], GENERIC_ERROR):
            expected = f"request {request.request} of {client} should be answered by its response, not by {response.response}"
            yield PROPERTY.broken(client.node_id, response.time, expected)
