"""How long two sides of a cluster both believed in their quorum: reported, not forbidden.

A node keeps what it was told until its next word, so a side that lost a node and that node itself may both hold a majority for a
while: as long as the one needs to notice. Fast failover can lengthen that where it accuses a node that lives, behind a firewall
that rejects; the report shows by how much.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, groupby
from operator import itemgetter

from corosyncd.totem.events import ConfigurationKind, RingId
from corosyncsim.checkers.quorum import Belief, beliefs_of
from corosyncsim.history import Failed, History, Installed


def longest_overlap(beliefs: Sequence[Belief]) -> float:
    """Seconds, at a stretch, for which some two nodes believed in quorum on rings of which one lacks the other."""
    quorate = [belief for belief in beliefs if belief.quorate]
    changes = [(time, belief) for belief in quorate for time in (belief.begins, belief.ends)]
    standing: list[Belief] = []
    longest, since = 0.0, None
    for time, at_once in groupby(sorted(changes, key=itemgetter(0)), key=itemgetter(0)):
        touched = [belief for _, belief in at_once]
        standing = [belief for belief in standing if belief.ends > time]
        standing += [belief for belief in touched if belief.begins == time < belief.ends]
        if not any(_apart(first, second) for first, second in combinations(standing, 2)):
            longest = max(longest, time - since) if since is not None else longest
            since = None
        elif since is None:
            since = time
    return longest


def _apart(first: Belief, second: Belief) -> bool:
    return first.node_id not in second.members or second.node_id not in first.members


def quorum_overlap(history: History, nodes: int, end: float) -> float:
    """The same of a run until ``end``, but for time in which a node was not scheduled: it could not act.

    On bare rings, where nobody decides, more than half of the ``nodes`` are a quorum.
    """
    beliefs = beliefs_of(history) if history.services else _majorities(history, nodes)
    return longest_overlap([part for belief in beliefs for part in _scheduled(belief, history, end)])


def _majorities(history: History, nodes: int) -> Iterator[Belief]:
    """Each process's configurations as the decisions that would follow from them."""
    for process, events in history.events.items():
        ends = next((event.time for event in events if isinstance(event, Failed)), float("inf"))
        for event in reversed(events):
            if isinstance(event, Installed) and event.kind is ConfigurationKind.REGULAR:
                ring_id = RingId(event.ring.representative, event.ring.sequence)
                members = frozenset(event.members)
                yield Belief(process.node_id, event.time, ends, 2 * len(members) > nodes, ring_id, members)
                ends = event.time


def _scheduled(belief: Belief, history: History, end: float) -> Iterator[Belief]:
    """What is left of a belief without the node's pauses and what comes after ``end``."""
    begins, ends = belief.begins, min(belief.ends, end)
    for who, at, until in history.pauses:
        if who.node_id == belief.node_id and begins < until and at < ends:
            if begins < at:
                yield belief._replace(begins=begins, ends=at)
            begins = until
    if begins < ends:
        yield belief._replace(begins=begins, ends=ends)
