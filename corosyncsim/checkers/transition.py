"""Property 6, transitional shape: the transitional configuration has those who make the same step together.

Between two regular configurations c1 and c2 a process installs one transitional configuration, named after c2. Its members are
exactly the processes that come directly from c1 and go together into c2; each of them that reaches c2 delivered the same
transitional configuration before it. The first transition of a life comes from no configuration, so nobody is in it. Source:
Moser et al., ICDCS 1994, section 2 and specification 2.
"""

from __future__ import annotations

from collections.abc import Iterator

from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import NO_RING, Epoch, History, Process, Ring

PROPERTY = Property(6, "transitional shape")


def check(history: History) -> Iterator[Violation]:
    """Every step between configurations that its companions do not confirm; linear in steps times members."""
    came: dict[Ring, dict[int, tuple[Process, Epoch]]] = {}
    for process, epochs in history.epochs.items():
        for epoch in epochs:
            if epoch.next_ring is not None:
                came.setdefault(epoch.next_ring, {})[process.node_id] = (process, epoch)
    for ring, arrivals in came.items():
        for process, epoch in arrivals.values():
            for time, expected in _faults(epoch, ring, arrivals):
                yield PROPERTY.broken(process.node_id, time, expected)


def _faults(epoch: Epoch, ring: Ring, arrivals: dict[int, tuple[Process, Epoch]]) -> Iterator[tuple[float, str]]:
    transitional = epoch.transitional
    if transitional is None:
        time = max((delivery.time for delivery in epoch.delivered()), default=0.0)
        yield time, f"a transitional configuration should stand between rings {epoch.ring} and {ring}"
        return
    if transitional.ring != ring:
        yield (
            transitional.time,
            f"the transitional configuration {transitional.ring} should be named after {ring}, which followed it",
        )
    if epoch.ring == NO_RING:
        if transitional.members:
            yield transitional.time, f"nobody should come along to {ring} from before the first configuration"
        return
    own = epoch.process.node_id
    for member in transitional.members:
        if member not in epoch.members:
            yield transitional.time, f"node {member} should not be in the transition to {ring}: it was not in {epoch.ring}"
        if member != own and member in arrivals and arrivals[member][1].ring != epoch.ring:
            yield transitional.time, f"node {member} came to {ring} from {arrivals[member][1].ring}, not from {epoch.ring}"
    for node_id, (companion, other) in arrivals.items():
        if other.ring != epoch.ring or node_id == own or other.transitional is None:
            continue
        if node_id not in transitional.members:
            yield (
                transitional.time,
                f"{companion} came along from {epoch.ring} to {ring} and should be among {transitional.members}",
            )
        elif own < node_id and sorted(other.transitional.members) != sorted(transitional.members):
            expected = (
                f"{companion} should see the transition to {ring} with {transitional.members}, not {other.transitional.members}"
            )
            yield other.transitional.time, expected
