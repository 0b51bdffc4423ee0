"""The ledger of docs/testing_replicas.md, tested as its author would: with the fixture ``simulated_cluster``."""

from __future__ import annotations

from random import Random

import pytest

from corosyncsim.cluster import Cluster
from corosyncsim.pytest_plugin import MakeCluster
from docs.example_replica import Ledger

NODES = (1, 2, 3)


def replica(cluster: Cluster, node_id: int) -> Ledger:
    ledger = Ledger(replicas=len(cluster.nodes))
    ledger.start(cluster.program(node_id, ledger.told))
    return ledger


def replicas(cluster: Cluster) -> list[Ledger]:
    ledgers = [replica(cluster, node_id) for node_id in cluster.nodes]
    ledgers[0].add("first", 1)
    assert cluster.run_until(lambda: all(ledger.entries for ledger in ledgers), 10.0)
    return ledgers


def test_replicas_have_the_same_entries_in_the_same_order(simulated_cluster: MakeCluster) -> None:
    cluster = simulated_cluster(3, loss=0.02)
    ledgers = replicas(cluster)
    for number in range(30):
        ledgers[number % 3].add(f"entry {number}", number)
    assert cluster.run_until(lambda: sum(len(ledger.acknowledged) for ledger in ledgers) == 31, 10.0)
    assert ledgers[0].entries == ledgers[1].entries == ledgers[2].entries
    assert len(ledgers[0].entries) == 31


def test_own_delivery_is_no_proof_that_anybody_else_has_the_entry(simulated_cluster: MakeCluster) -> None:
    """The trap: node 3 still hears the token and nobody hears node 3. It delivers its own message, in the full view, alone."""
    cluster = simulated_cluster(3)
    first, second, third = replicas(cluster)
    for other in (1, 2):
        cluster.network.cut(3, other)
    third.add("lost", 100)
    cluster.run(0.5)
    assert third.delivered_here == ["lost"]
    assert "lost" in dict(third.entries)
    assert third.acknowledged == []
    cluster.run(5.0)
    assert second.active
    assert not third.active
    first.add("kept", 1)
    assert cluster.run_until(lambda: "kept" in first.acknowledged, 5.0)
    assert "lost" not in dict(first.entries)


def test_a_minority_acknowledges_nothing_and_catches_up(simulated_cluster: MakeCluster) -> None:
    cluster = simulated_cluster(3)
    first, second, third = replicas(cluster)
    cluster.partition({1, 2}, {3})
    cluster.run(4.0)
    third.add("of the minority", 5)
    first.add("of the majority", 7)
    cluster.run(2.0)
    assert (third.acknowledged, first.acknowledged) == ([], ["first", "of the majority"])
    cluster.heal()
    assert cluster.run_until(lambda: third.acknowledged == ["of the minority"], 10.0)
    assert first.entries == second.entries == third.entries == [("first", 1), ("of the majority", 7), ("of the minority", 5)]


@pytest.mark.parametrize("seed", range(1, 6))
def test_no_acknowledged_entry_is_ever_lost(seed: int, simulated_cluster: MakeCluster) -> None:
    cluster = simulated_cluster(5, seed=seed, token=0.3, delay=0.002, loss=0.01)
    random = Random(seed)
    ledgers = replicas(cluster)
    for number in range(8):
        side = random.sample(sorted(cluster.nodes), random.randint(1, 4))
        random.choice((cluster.heal, lambda side=side: cluster.partition(side)))()
        for ledger in ledgers:
            ledger.add(f"{number} of {ledgers.index(ledger)}", number)
        cluster.run(random.uniform(0.0, 1.5))
    cluster.heal()
    assert cluster.run_until(lambda: sum(len(ledger.acknowledged) for ledger in ledgers) == 41, 30.0)
    assert all(ledger.entries == ledgers[0].entries for ledger in ledgers)
    assert len(dict(ledgers[0].entries)) == len(ledgers[0].entries) == 41


def test_a_seed_means_one_history(simulated_cluster: MakeCluster) -> None:
    def history() -> list[list[tuple[str, int]]]:
        cluster = simulated_cluster(3, seed=5, loss=0.05)
        ledgers = replicas(cluster)
        for ledger in ledgers:
            ledger.add(f"entry of {ledgers.index(ledger)}", 1)
        cluster.run(5.0)
        return [ledger.entries for ledger in ledgers]

    assert history() == history()


def test_a_wrong_condition_is_refused(simulated_cluster: MakeCluster) -> None:
    with pytest.raises(TypeError, match="speed"):
        simulated_cluster(3, speed=1)
