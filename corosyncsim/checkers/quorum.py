"""Property 18, quorum: no two parts of the cluster may act at the same time.

By majority rule a part that is told that it has quorum holds more than half of the votes, so two such parts share a node. Whoever
was told of quorum believes in it until the next word: while one part has not yet noticed that another took over, both act; that
time is no breach, it is reported (``corosyncsim.overlap``). Source: votequorum(5); reference services.md §4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from corosyncd.totem.events import RingId
from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import Failed, History, Process, Ring
from corosyncsim.services.journal import Decided, Journal, QuorumTold

PROPERTY = Property(18, "quorum")


class Belief(NamedTuple):
    """What a node's programs were told, and until when it was the last word."""

    node_id: int
    begins: float
    ends: float
    quorate: bool
    ring_id: RingId
    members: frozenset[int]


def check(beliefs: Sequence[Belief], votes: int) -> Iterator[Violation]:
    """Every part that has quorum without a majority, and every two at one time without a common node; a node has one vote."""
    quorate = [belief for belief in beliefs if belief.quorate]
    for belief in quorate:
        if 2 * len(belief.members) <= votes:
            expected = f"{sorted(belief.members)} on ring {belief.ring_id} should not have quorum with {votes} votes"
            yield PROPERTY.broken(belief.node_id, belief.begins, expected)
        if belief.node_id not in belief.members:
            yield PROPERTY.broken(belief.node_id, belief.begins, f"it should be among the members {sorted(belief.members)}")
    for first, second in combinations(quorate, 2):
        if not first.members & second.members and _overlap(first, second) > 0:
            expected = f"{sorted(first.members)} and {sorted(second.members)} should not both have quorum"
            yield PROPERTY.broken(second.node_id, max(first.begins, second.begins), expected)


def check_decisions(history: History) -> Iterator[Violation]:
    """The same for the decisions of a run's nodes; and all nodes of a ring decide alike, and their programs are told.

    ``check`` compares every two decisions; the rest is linear in them.
    """
    journal = history.services
    if journal is None:
        return
    votes = len(journal.electorate)
    yield from check(beliefs_of(history), votes)
    members: dict[Ring, frozenset[int]] = {}
    for process, decided in _decisions(journal):
        if 2 * len(decided.members) > votes and not decided.quorate and not journal.wait_for_all:
            expected = f"{list(decided.members)} on ring {decided.ring_id} should have quorum with {votes} votes"
            yield PROPERTY.broken(process.node_id, decided.time, expected)
        known = members.setdefault(history.ring_named(process, decided.ring_id, decided.time), frozenset(decided.members))
        if known != frozenset(decided.members):
            expected = f"ring {decided.ring_id} should have the members {sorted(known)}, not {list(decided.members)}"
            yield PROPERTY.broken(process.node_id, decided.time, expected)
    if history.quiet is not None and history.quiet.drained_at is not None:
        yield from _told_last(journal)


def beliefs_of(history: History) -> list[Belief]:
    """What each node's quorum engine was told, until its next word or the node's end."""
    beliefs = []
    for process, events in history.services.nodes.items() if history.services else ():
        ends = next((event.time for event in history.events[process] if isinstance(event, Failed)), float("inf"))
        for decided in reversed([event for event in events if isinstance(event, Decided)]):
            members = frozenset(decided.members)
            beliefs.append(Belief(process.node_id, decided.time, ends, decided.quorate, decided.ring_id, members))
            ends = decided.time
    return beliefs


def _decisions(journal: Journal) -> Iterator[tuple[Process, Decided]]:
    for process, events in journal.nodes.items():
        for event in events:
            if isinstance(event, Decided):
                yield process, event


def _told_last(journal: Journal) -> Iterator[Violation]:
    """A program that follows quorum and still does was told the last decision of its node."""
    last = dict(_decisions(journal))
    for client in journal.clients:
        told = [entry for entry in client.entries if isinstance(entry, QuorumTold)]
        decided = last.get(client.process)
        if decided is None or not told or client.ended_at is not None or client.lost_at is not None:
            continue
        if told[-1][1:] != decided[1:]:
            expected = f"{client} should know that ring {decided.ring_id} is {'' if decided.quorate else 'not '}quorate"
            yield PROPERTY.broken(client.node_id, decided.time, expected)


def _overlap(first: Belief, second: Belief) -> float:
    return max(0.0, min(first.ends, second.ends) - max(first.begins, second.begins))
