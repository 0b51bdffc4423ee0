"""The model behind docs/scale.md: real cores with priced packets form, order, fail over, and do it alike every time."""

from __future__ import annotations

import pytest

from corosyncd.totem.timeouts import derive
from corosyncsim.scale import Costs, World

COSTS = Costs(1.0, 0.05, 0.7, 0.01, 20.0, 4.0, 6.5, 4.3, 2.8, 1.6, 0.3)
NODES = 8


def formed(costs: Costs = COSTS) -> World:
    world = World(NODES, derive({}, NODES), costs)
    world.power_on(0.1)
    assert world.run_until_whole(limit=30, step=0.01)
    return world


def test_a_ring_is_whole_only_after_its_last_node_has_started() -> None:
    world = World(NODES, derive({}, NODES), COSTS)
    for host in list(world.hosts.values())[:-1]:
        host.start()
    world.kernel.run_until(1.0)
    assert not world.whole()
    world.hosts[NODES].start()
    assert world.run_until_whole(limit=30, step=0.01)
    assert world.served_since() > 1.0


@pytest.mark.parametrize("seed", range(1, 5))
def test_many_nodes_that_start_at_once_need_no_token_timeout(seed: int) -> None:
    # Some hear the last node's join before the commit token reaches them, and then do not take the token.
    world = World(16, derive({}, 16), COSTS, seed)
    world.power_on(0.1)
    assert world.run_until_whole(limit=30, step=0.01)
    assert world.served_since() < derive({}, 16).token


def test_what_one_node_sends_every_node_delivers_and_its_sender_knows_how_long_it_took() -> None:
    world = formed()
    world.hosts[3].submit(64, count=100)
    world.kernel.run_until(world.kernel.now + 1)
    assert {host.delivered for host in world.hosts.values()} == {100}
    assert len(world.hosts[3].samples) == 100
    assert all(sample.delivered_at > sample.sent_at for sample in world.hosts[3].samples)
    assert not world.hosts[1].samples


def test_a_lost_host_costs_a_token_timeout_and_the_consensus_and_leaves_the_others_whole() -> None:
    world = formed()
    parameters = derive({}, NODES)
    lost_at = world.kernel.now
    before = {node_id: host.configurations for node_id, host in world.hosts.items()}
    world.hosts[5].fail(host_too=True)
    assert not world.whole()
    assert world.run_until_whole(limit=60, step=0.01)
    taken = world.served_since() - lost_at
    assert parameters.consensus < taken < parameters.token + parameters.consensus + 2 * parameters.join
    assert all(host.configurations == before[host.node_id] + 1 for host in world.living())


def test_a_killed_daemon_whose_host_refuses_is_replaced_before_its_token_timeout() -> None:
    world = formed()
    world.kernel.run_until(world.kernel.now + 1)
    killed_at = world.kernel.now
    world.hosts[5].fail(host_too=False)
    assert world.run_until_whole(limit=60, step=0.01)
    assert world.served_since() - killed_at < derive({}, NODES).token


def test_dearer_packets_make_the_same_ring_slower() -> None:
    def rotations(costs: Costs) -> int:
        world = formed(costs)
        for _ in range(50):
            world.hosts[1].submit(64)
            world.kernel.run_until(world.kernel.now + 0.01)
        return world.hosts[1].ring.statistics.orf_token_rx

    assert rotations(COSTS) > rotations(COSTS._replace(send_call=20.0, visit=80.0))


def test_equal_seeds_make_equal_histories() -> None:
    first, second = formed(), formed()
    assert first.served_since() == second.served_since()
    assert first.kernel.actions == second.kernel.actions
