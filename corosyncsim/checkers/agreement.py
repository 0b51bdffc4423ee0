"""Property 3, configuration agreement: who stays in a configuration has all of its members with him.

If a process installs a configuration and neither fails nor leaves it, then every member of that configuration installs it.
Judged once the network is quiet, when nobody leaves any more. Source: Moser et al., ICDCS 1994, specification 2 (delivery of
configuration changes).
"""

from __future__ import annotations

from collections.abc import Iterator

from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import History, Ring

PROPERTY = Property(3, "configuration agreement")


def check(history: History) -> Iterator[Violation]:
    """Every member that misses the last configuration of a process that stayed in it; linear in epochs."""
    if history.quiet is None:
        return
    installed: dict[Ring, set[int]] = {}
    for process, epochs in history.epochs.items():
        for epoch in epochs:
            installed.setdefault(epoch.ring, set()).add(process.node_id)
    end = max((events[-1].time for events in history.events.values() if events), default=0.0)
    for process in history.lives():
        if process in history.quiet.leaving:
            continue
        last = history.epochs[process][-1]
        if last.transitional is not None:
            yield PROPERTY.broken(
                process.node_id, end, f"the transitional configuration after ring {last.ring} should be followed"
            )
        for member in last.members:
            if member not in installed[last.ring]:
                expected = f"node {member} should have installed ring {last.ring}, in which {process} stayed"
                yield PROPERTY.broken(member, end, expected)
