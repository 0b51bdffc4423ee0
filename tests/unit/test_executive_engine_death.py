"""The executive: what it does when an engine's process dies, and with what its successor starts."""

from __future__ import annotations

from corosyncd.executive.actions import SpawnEngine
from corosyncd.executive.record import BARRIER_TAG
from corosyncd.executive.sync import Phase
from corosyncd.keyspace.values import uint32
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from tests.unit.executive_cluster import ScriptedCluster, idle_node, words


def test_an_idle_engine_that_dies_comes_back_with_what_it_kept_and_the_ring_is_formed_anew() -> None:
    cluster, node = idle_node()
    votequorum = node.engines["votequorum"]
    node.say(votequorum, ToExecutive.KEEP, b"state")
    node.kill(votequorum)
    cluster.settle()
    assert SpawnEngine("votequorum", b"state", True) in node.actions
    assert node.ring.gathers == 1
    assert node.space.get("runtime.engines.votequorum.deaths") == uint32(1)


def test_an_engine_without_sync_state_comes_back_without_a_new_ring() -> None:
    cluster, node = idle_node()
    node.kill(node.engines["cfg"])
    cluster.settle()
    assert node.ring.gathers == 0
    assert words(node.engines["cfg"])[-2:] == [ToEngine.CONFIGURATION, ToEngine.SYNC_COMPLETE]


def test_an_engine_without_sync_state_that_dies_over_its_gate_does_not_hold_the_round_for_ever() -> None:
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    cfg = node.engines["cfg"]
    cfg.silent = {ToEngine.CONFIGURATION}
    cluster.configure()
    cluster.settle()
    assert node.executive.sync.phase is Phase.CLOSING_GATES
    cfg.silent = set()
    node.kill(cfg)
    cluster.settle()
    assert node.executive.sync.phase is Phase.COMPLETE
    assert node.ring.gathers == 0
    assert words(cfg)[-2:] == [ToEngine.CONFIGURATION, ToEngine.SYNC_COMPLETE]


def test_while_a_synchronised_engine_is_missing_no_barrier_is_sent() -> None:
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    cpg = node.engines["cpg"]
    cpg.silent = {ToEngine.SYNC_STEP}
    cpg.slow_start = True
    cluster.configure()
    cluster.settle()
    node.kill(cpg)
    cluster.settle()
    assert node.executive.sync.phase is Phase.STEPPING
    assert not cluster.order
    cpg.silent = set()
    node.say(cpg, ToExecutive.READY)
    assert node.ring.gathers == 1
    cluster.configure([1])
    cluster.settle()
    assert node.executive.sync.phase is Phase.COMPLETE


def test_after_sync_data_of_a_dead_engine_the_ring_is_formed_once_more() -> None:
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    cpg = node.engines["cpg"]
    cpg.sync_data = [cpg.message(2, b"joinlist")]
    cpg.silent = {ToEngine.SYNC_ACTIVATE}
    cluster.configure()
    cluster.settle()
    node.kill(cpg)
    cpg.silent = set()
    cluster.settle()
    assert node.ring.gathers == 1
    cluster.configure([1])
    cluster.settle()
    assert node.ring.gathers == 2


def test_sync_data_that_an_aborted_round_has_not_sent_is_withdrawn_and_ordinary_messages_stay() -> None:
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    node.ring.hold_sync = True
    cpg = node.engines["cpg"]
    cluster.configure()
    cluster.settle()
    leave = cpg.message(1, b"leave")
    node.say(cpg, ToExecutive.MULTICAST, 0, [len(leave)], bodies=[leave])
    assert [tag for tag, _group, _message in node.ring.waiting] == [BARRIER_TAG, 2]
    node.ring.hold_sync = False
    cluster.configure([1])
    cluster.settle()
    assert node.executive.sync.phase is Phase.COMPLETE
    assert cpg.delivered == [(1, 1, leave)]


def test_deliveries_behind_the_unconfirmed_batch_are_handed_on_to_the_successor() -> None:
    cluster, node = idle_node()
    cfg = node.engines["cfg"]
    cfg.silent = {ToEngine.DELIVER}
    for word in (b"killer", b"second", b"third"):
        body = cfg.message(1, word)
        node.say(cfg, ToExecutive.MULTICAST, 0, [len(body)], bodies=[body])
        cluster.settle()
    cfg.delivered.clear()
    node.kill(cfg)
    cfg.silent = set()
    cluster.settle()
    assert [body[16:22] for _s, _f, body in cfg.delivered] == [b"second", b"third."]


def test_the_third_death_within_a_minute_ends_the_node() -> None:
    cluster, node = idle_node()
    for _ in range(3):
        node.now += 1.0
        node.kill(node.engines["cpg"])
        cluster.settle()
    assert node.executive.supervision._stopping is not None
    node.now += 10.0
    node.executive.handle_timer(node.now)
    cluster.settle()
    assert [exit_.status for exit_ in node.exits()] == [15]
    assert node.ring.left
