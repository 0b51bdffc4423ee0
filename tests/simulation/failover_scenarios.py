"""Clusters with the default timeouts, for what is claimed of fast failover and of paused nodes."""

from __future__ import annotations

from corosyncd.totem.events import ConfigurationKind
from corosyncsim import faults
from corosyncsim.cluster import Cluster
from corosyncsim.faults import Fault, Load, Plan
from corosyncsim.history import Installed
from corosyncsim.network import Conditions

NODES = (1, 2, 3)
IDLE = Load(pause=1e6, burst=1, large=0.0, largest=1000, answers=0.0)
BUSY = Load(pause=0.1, burst=3, large=0.0, largest=1000, answers=0.0)
TOKEN = 3.65
"""Of three nodes, by default."""
SETTLED = 1.0
"""Seconds in which a ring that has formed comes to rest."""


def plan(
    *events: Fault,
    seed: int = 1,
    load: Load = IDLE,
    duration: float = 0.0,
    nodes: tuple[int, ...] = NODES,
    conditions: Conditions | None = None,
    **settings: int,
) -> Plan:
    """A plan on a LAN, with default timeouts but for ``settings`` of the totem section."""
    return Plan(
        seed, nodes, settings, conditions or Conditions(delay=0.0002), load, barrier=True, faults=events, duration=duration
    )


def accusing(seed: int) -> Plan:
    """What tempts a hasty rule: a firewall in one direction, a socket rebuilt, a pair kept apart twice within the truce,
    a node that stands still while it waits for others to agree, until long after it would have given them up, and a process
    that dies while the others gather since a host has gone down without a word."""
    events = (
        Fault(2.0, faults.REJECT, 0.6, (2, 1), faults.ONE_DIRECTION),
        Fault(3.0, faults.REBUILD, 0.15, (3,)),
        Fault(4.0, faults.REJECT, 0.5, (2, 3)),
        Fault(9.0, faults.REJECT, 0.5, (2, 3)),
        Fault(14.0, faults.ISOLATE, 10.5, (2,)),
        Fault(14.0 + TOKEN + 1.0, faults.PAUSE, 5.0, (2,)),
        Fault(36.0, faults.HOST_DOWN, 12.0, (1,)),
        Fault(36.5 + TOKEN, faults.CRASH, 5.0, (3,)),
    )
    return plan(*events, seed=seed, duration=48.0)


def formed(cluster_plan: Plan) -> Cluster:
    """A cluster that has come to rest as one ring, its programs at work."""
    cluster = Cluster(cluster_plan)
    cluster.start()
    cluster.programs.start()
    assert cluster.run_until(lambda: not cluster.still_apart(), 5 * TOKEN)
    cluster.run(SETTLED + cluster.kernel.random.random())
    return cluster


def configurations(cluster: Cluster, node_id: int) -> list[tuple[int, ...]]:
    """The members of every regular configuration that the node's present life installed."""
    events = cluster.recorder.history.events[cluster.nodes[node_id].process]
    return [tuple(sorted(e.members)) for e in events if isinstance(e, Installed) and e.kind is ConfigurationKind.REGULAR]
