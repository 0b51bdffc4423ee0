"""How long two sides of a cluster both counted themselves quorate: reported, not forbidden.

A node keeps its configuration until it installs the next one, so the side that lost a node and that node itself may both hold a
majority for a while: as long as the one needs to notice. Fast failover can lengthen that where it accuses a node that lives,
behind a firewall that rejects; the report shows by how much. Votes are one a node; time in which a process was not scheduled is
left out.
"""

from __future__ import annotations

from operator import itemgetter

from corosyncd.totem.events import ConfigurationKind
from corosyncsim.history import Failed, History, Installed, Process, Ring

_Change = tuple[float, int, Process, Ring | None]


def majority_overlap(history: History, nodes: int, end: float) -> float:
    """The longest time, in seconds, for which two processes stood in different configurations of more than half the nodes."""
    changes = sorted(_changes(history, nodes), key=itemgetter(0, 1))
    standing: dict[Process, Ring] = {}
    longest, since = 0.0, None
    for time, _, process, ring in [*changes, (end, 0, Process(0, 0), None)]:
        if since is not None:
            longest = max(longest, time - since)
        if ring is None:
            standing.pop(process, None)
        else:
            standing[process] = ring
        apart = len(set(standing.values())) > 1
        since = (time if since is None else since) if apart else None
    return longest


def _changes(history: History, nodes: int) -> list[_Change]:
    """When each process takes a stand in a quorate configuration, and when it gives it up: (time, order, process, ring)."""
    changes: list[_Change] = []
    for process, events in history.events.items():
        away = [(at, until) for who, at, until in history.pauses if who == process]
        marks: list[tuple[float, int, Ring | None]] = []
        for event in events:
            if isinstance(event, Failed):
                marks.append((event.time, event.order, None))
            elif isinstance(event, Installed) and event.kind is ConfigurationKind.REGULAR:
                marks.append((event.time, event.order, event.ring if 2 * len(event.members) > nodes else None))
        for at, until in away:
            _, order, stand = max((mark for mark in marks if mark[0] <= at), key=itemgetter(0, 1), default=(0.0, 0, None))
            marks += [(at, order, None), (until, order, stand)]
        changes += [(time, order, process, stand) for time, order, stand in marks]
    return changes
