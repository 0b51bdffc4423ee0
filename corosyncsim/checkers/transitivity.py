"""Property 22: over links that are not transitive one ring stands.

Promised where the broken pairs are one, or share one node: those who reach each other keep one configuration, and try at most
once a back-off whether the pair is whole again. Judged while such a cut lasts and nothing else is wrong, once the nodes had time
to see it.
The rule that is judged: ``corosyncd.totem.broken_pairs``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from corosyncd.totem.broken_pairs import FIRST_BACKOFF
from corosyncd.totem.events import ConfigurationKind
from corosyncsim import faults
from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import History, Installed, Process, Strike

PROPERTY = Property(22, "one ring over links that are not transitive")
SETTLING: Final = 4.0
"""Of the bound in which a cluster without faults becomes one: two accusations in a row, and a ring after each."""
CONFIGURATIONS_A_TRIAL: Final = 2


def check(history: History) -> Iterator[Violation]:
    """Configurations without need, and nodes that are not where the others are; linear in events."""
    quiet, cuts = history.quiet, [strike for strike in history.strikes if strike.kind == faults.NOT_TRANSITIVE]
    if quiet is None or not cuts or not _share_a_node(cuts):
        return
    began = max(cut.time for cut in cuts)
    begin = max([began, *(strike.until for strike in history.strikes if strike.kind != faults.NOT_TRANSITIVE)])
    begin += SETTLING * (quiet.one_configuration_by - quiet.began)
    end = min([quiet.began, *(cut.until for cut in cuts)])
    if begin >= end:
        return
    stay = [process for process in history.lives() if process.node_id not in _victims(cuts)]
    nodes = {process.node_id for process in stay}
    allowed = CONFIGURATIONS_A_TRIAL * _trials(end - began)
    rings = {}
    for process in stay:
        installed = _installed(history, process, end)
        late = [event for event in installed if event.time > begin]
        if len(late) > allowed:
            expected = f"at most {allowed} configurations were due from {begin:.1f} s to {end:.1f} s; {len(late)} were installed"
            yield PROPERTY.broken(process.node_id, late[allowed].time, expected)
        rings[process] = installed[-1].ring if installed else None
        if not installed or not nodes <= set(installed[-1].members):
            members = list(installed[-1].members) if installed else []
            yield PROPERTY.broken(
                process.node_id, end, f"one configuration of {sorted(nodes)} was due; this node is with {members}"
            )
    if len(set(rings.values())) > 1:
        where = ", ".join(f"{process} in {ring}" for process, ring in rings.items())
        yield PROPERTY.broken(0, end, f"one configuration of {sorted(nodes)} was due: {where}")


def _share_a_node(cuts: list[Strike]) -> bool:
    return bool(set(cuts[0].nodes).intersection(*(cut.nodes for cut in cuts)))


def _victims(cuts: list[Strike]) -> set[int]:
    """Of each pair the end that has more of them, then the higher id."""
    count = Counter(node for pair in {frozenset(cut.nodes) for cut in cuts} for node in pair)
    return {max(cut.nodes, key=lambda node: (count[node], node)) for cut in cuts}


def _trials(seconds: float) -> int:
    """Back-offs that end within so many seconds: each is twice as long as the one before."""
    trials = 0
    while FIRST_BACKOFF * (2 ** (trials + 1) - 1) <= seconds:
        trials += 1
    return trials


def _installed(history: History, process: Process, end: float) -> list[Installed]:
    events = (event for event in history.events[process] if isinstance(event, Installed) and event.time <= end)
    return [event for event in events if event.kind is ConfigurationKind.REGULAR]
