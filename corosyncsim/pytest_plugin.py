"""For users: pytest's fixture ``simulated_cluster``, whole clusters on virtual time to test a replicated application in.

An application's replica runs unchanged on every node: it joins its closed process group, gets libcpg's own events, and answers
with messages. The test cuts links, kills nodes and lets time pass; a second of the cluster costs milliseconds, and a seed means
one history. ``docs/testing_replicas.md`` walks through an example.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from corosyncsim.cluster import Cluster


class MakeCluster(Protocol):
    """What the fixture gives."""

    def __call__(
        self,
        nodes: int | Sequence[int] = 3,
        *,
        seed: int = 1,
        token: float = 1.0,
        wait_for_all: bool = False,
        **conditions: Any,
    ) -> Cluster:
        """A cluster whose nodes are up and have found each other.

        ``nodes`` is how many, or their ids below 32; ``token`` the token timeout in seconds; ``conditions`` are the fields of
        ``corosyncsim.network.Conditions``: ``delay=0.02``, ``loss=0.05`` … Raises TypeError for another name, RuntimeError where
        the nodes do not find each other within a minute.
        """
        ...


@pytest.fixture
def simulated_cluster() -> Iterator[MakeCluster]:
    """Makes clusters; when the test has passed, the ring's and the groups' own properties are judged in each of them.

    A violation there is a fault of ours and not the application's: it fails the test with the property's name.
    """
    # Imported here, so that pytest starts as quickly in projects that have the plugin and do not use it.
    from corosyncsim.cluster import Cluster
    from corosyncsim.faults import Plan
    from corosyncsim.network import Conditions
    from corosyncsim.run import violations_of
    from corosyncsim.scenario import CONSENSUS_FACTOR, IDLE
    from corosyncsim.services.options import Options

    made: list[Cluster] = []

    def make(
        nodes: int | Sequence[int] = 3, *, seed: int = 1, token: float = 1.0, wait_for_all: bool = False, **conditions: Any
    ) -> Cluster:
        node_ids = tuple(range(1, nodes + 1)) if isinstance(nodes, int) else tuple(sorted(nodes))
        milliseconds = round(token * 1000)
        timeouts = {"token": milliseconds, "token_coefficient": 1, "join": 50, "merge": 200}
        timeouts["consensus"] = round(CONSENSUS_FACTOR * milliseconds)
        options = Options(wait_for_all=wait_for_all)
        cluster = Cluster(Plan(seed, node_ids, timeouts, Conditions(**conditions), IDLE, False, (), 0.0, options))
        made.append(cluster)
        cluster.start()
        if not cluster.run_until(lambda: not cluster.still_apart(), 60.0):
            raise RuntimeError(f"the nodes did not find each other: {'; '.join(cluster.still_apart())}")
        return cluster

    yield make
    for cluster in made:
        violations = violations_of(cluster)
        assert not violations, "\n".join(map(str, violations))
