"""The executive: the sync round, routing, the map's changes, the engines' lives."""

from __future__ import annotations

from typing import Any

import pytest

from corosyncd.executive.actions import Exit, Ready, SpawnEngine, StartRing, StoreExpectedVotes
from corosyncd.executive.sync import Phase
from corosyncd.keyspace.rules import EXPECTED_VOTES_BARRIER as BARRIER
from corosyncd.keyspace.rules import writable_by_clients
from corosyncd.keyspace.values import text, uint32
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import Group, RingId
from tests.unit.executive_cluster import ScriptedCluster, ScriptedEngine, ScriptedNode, at_the_end_of_a_round, idle_node, words


def test_the_ring_starts_only_when_every_engine_is_ready() -> None:
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    assert [action for action in node.actions if isinstance(action, StartRing)] == [StartRing()]
    spawned = [action.name for action in node.actions if isinstance(action, SpawnEngine)]
    assert spawned == ["cmap", "cfg", "cpg", "quorum", "votequorum"]


@pytest.mark.parametrize("nodes", [1, 2, 5])
def test_a_round_takes_every_engine_through_step_and_activation_on_every_node(nodes: int) -> None:
    cluster = ScriptedCluster(nodes)
    cluster.configure()
    cluster.settle()
    for node in cluster.nodes:
        assert node.executive.sync.phase is Phase.COMPLETE
        assert not node.ring.in_sync
        assert Ready() in node.actions
        for name in ("cmap", "cpg", "quorum", "votequorum"):
            assert words(node.engines[name]) == [
                ToEngine.CONFIGURATION,
                ToEngine.SYNC_STEP,
                ToEngine.SYNC_ACTIVATE,
                ToEngine.SYNC_COMPLETE,
            ]
        assert words(node.engines["cfg"]) == [ToEngine.CONFIGURATION, ToEngine.SYNC_COMPLETE]


def test_the_init_system_hears_of_readiness_only_behind_the_last_open_gate() -> None:
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    node.engines["cfg"].silent = {ToEngine.SYNC_COMPLETE}
    ring_id = cluster.configure()
    cluster.settle()
    assert node.executive.sync.phase is Phase.COMPLETE
    assert Ready() not in node.actions
    node.say(node.engines["cfg"], ToExecutive.GATE_OPENED, ring_id=ring_id)
    cluster.settle()
    assert Ready() in node.actions


def test_sync_data_of_all_nodes_is_delivered_before_activation() -> None:
    cluster = ScriptedCluster(3)
    for node in cluster.nodes:
        cpg = node.engines["cpg"]
        cpg.sync_data = [cpg.message(2, b"from %d" % node.executive.node_id)]
    cluster.configure()
    cluster.settle()
    for node in cluster.nodes:
        heard = [word for word, _ in node.engines["cpg"].heard]
        assert sorted(source for source, _f, _b in node.engines["cpg"].delivered) == [1, 2, 3]
        assert max(i for i, word in enumerate(heard) if word == ToEngine.DELIVER) < heard.index(ToEngine.SYNC_ACTIVATE)


def test_an_engine_is_asked_for_its_data_before_it_hears_a_faster_nodes_although_another_engine_is_slow() -> None:
    cluster = ScriptedCluster(2)
    slow, fast = cluster.nodes
    quorum, votes = slow.engines["quorum"], slow.engines["votequorum"]
    quorum.silent = {ToEngine.SYNC_ACTIVATE}
    theirs = fast.engines["votequorum"]
    theirs.sync_data = [theirs.message(0, b"votes")]
    ring_id = cluster.configure()
    cluster.settle()
    heard = [word for word, _ in votes.heard if word in (ToEngine.SYNC_STEP, ToEngine.DELIVER, ToEngine.SYNC_ACTIVATE)]
    assert heard == [ToEngine.SYNC_STEP, ToEngine.DELIVER, ToEngine.SYNC_ACTIVATE]
    assert slow.executive.sync.in_process, "programs wait until every engine has applied its step"
    slow.say(quorum, ToExecutive.SYNC_ACTIVATED, ring_id=ring_id)
    cluster.settle()
    assert slow.executive.sync.phase is Phase.COMPLETE


def test_no_service_list_leaves_before_every_gate_is_closed() -> None:
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    node.engines["cpg"].silent = {ToEngine.CONFIGURATION}
    ring_id = cluster.configure()
    cluster.settle()
    assert node.executive.sync.phase is Phase.CLOSING_GATES
    assert not cluster.order
    node.say(node.engines["cpg"], ToExecutive.GATE_CLOSED, ring_id=RingId(9, 9))
    assert node.executive.sync.phase is Phase.CLOSING_GATES
    node.say(node.engines["cpg"], ToExecutive.GATE_CLOSED, ring_id=ring_id)
    cluster.settle()
    assert node.executive.sync.phase is Phase.COMPLETE


def test_a_new_configuration_aborts_the_open_round_and_starts_another() -> None:
    cluster = ScriptedCluster(2)
    node = cluster.nodes[0]
    node.engines["cpg"].silent = {ToEngine.SYNC_STEP}
    cluster.configure()
    cluster.settle()
    assert node.executive.sync.service == 2
    node.engines["cpg"].silent = set()
    cluster.order.clear()
    cluster.configure([1, 2])
    cluster.settle()
    assert words(node.engines["cpg"])[:3] == [ToEngine.CONFIGURATION, ToEngine.SYNC_STEP, ToEngine.SYNC_ABORT]
    assert node.executive.sync.phase is Phase.COMPLETE


def test_a_node_without_a_service_still_sends_its_barrier() -> None:
    cluster = ScriptedCluster(2)
    poor = cluster.nodes[1]
    for record in list(poor.executive.engines.values()):
        if record.name == "votequorum":
            del poor.executive.engines["votequorum"]
            del poor.executive.router.services[5]
    cluster.configure()
    cluster.settle()
    assert all(node.executive.sync.phase is Phase.COMPLETE for node in cluster.nodes)


def test_sync_messages_outside_their_step_are_dropped() -> None:
    cluster = ScriptedCluster()
    cluster.configure()
    cluster.settle()
    node = cluster.nodes[0]
    cpg = node.engines["cpg"]
    late = cpg.message(2, b"late")
    node.say(cpg, ToExecutive.MULTICAST, 1, [len(late)], bodies=[late])
    assert not cluster.order
    node.say(cpg, ToExecutive.MULTICAST, 0, [len(late)], bodies=[late])
    assert len(cluster.order) == 1


def test_a_normal_message_waits_for_the_end_of_the_round() -> None:
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    cpg = node.engines["cpg"]
    node.engines["votequorum"].silent = {ToEngine.SYNC_STEP}
    ring_id = cluster.configure()
    cluster.settle()
    leave = cpg.message(1, b"leave")
    node.say(cpg, ToExecutive.MULTICAST, 0, [len(leave)], bodies=[leave])
    cluster.settle()
    assert cpg.delivered == []
    node.say(node.engines["votequorum"], ToExecutive.SYNC_STEP_DONE, ring_id=ring_id)
    cluster.settle()
    assert cpg.delivered == [(1, 1, leave)]


def test_what_is_ordered_behind_the_last_barrier_waits_until_every_engine_here_has_activated() -> None:
    cluster, node, ring_id = at_the_end_of_a_round()
    cpg = node.engines["cpg"]
    message = cpg.message(3, b"early bird")
    cluster.order.append((2, Group.ENGINES, message))
    cluster.settle()
    assert cpg.delivered == []
    node.say(node.engines["votequorum"], ToExecutive.SYNC_ACTIVATED, ring_id=ring_id)
    cluster.settle()
    assert cpg.delivered == [(2, 3, message)]
    assert words(cpg)[-1] == ToEngine.SYNC_COMPLETE


def test_what_waits_behind_the_last_barrier_is_delivered_before_the_next_configuration() -> None:
    cluster, node, _ = at_the_end_of_a_round()
    cpg = node.engines["cpg"]
    cluster.order.append((1, Group.ENGINES, cpg.message(3, b"of the old ring")))
    cluster.settle()
    cpg.heard.clear()
    cluster.configure([1])
    cluster.settle()
    assert [word for word, _ in cpg.heard[:2]] == [ToEngine.DELIVER, ToEngine.SYNC_ABORT]


def test_behind_the_last_barrier_the_queue_in_use_is_the_ordinary_one() -> None:
    cluster, node, _ = at_the_end_of_a_round()
    votequorum = node.engines["votequorum"]
    poll = votequorum.message(0, b"device vote")
    node.ring.hold_sync = True
    node.say(votequorum, ToExecutive.MULTICAST, 2, [len(poll)], bodies=[poll])
    assert list(cluster.order) == [(1, Group.ENGINES, poll)]


def test_an_engine_may_not_speak_for_another() -> None:
    cluster = ScriptedCluster()
    cluster.configure()
    cluster.settle()
    node = cluster.nodes[0]
    forged = node.engines["cpg"].message(3, b"forged")
    honest = node.engines["cfg"].message(3, b"honest")
    node.say(node.engines["cfg"], ToExecutive.MULTICAST, 0, [len(forged), len(honest)], bodies=[forged, honest])
    cluster.settle()
    assert node.engines["cpg"].delivered == []
    assert node.engines["cfg"].delivered == [(1, 3, honest)]
    assert node.executive.router.dropped["foreign_service"] == 1


def test_messages_that_no_engine_takes_are_counted_by_reason() -> None:
    cluster = ScriptedCluster()
    cluster.configure()
    cluster.settle()
    executive = cluster.nodes[0].executive
    for body in (b"short", (60 << 16).to_bytes(16, "little"), ((2 << 16) | 9).to_bytes(16, "little")):
        executive.router.add(1, body)
    executive.deliver([(1, Group.SYNC, b"neither barrier nor service list")], 1.0)
    counted = {"short": 1, "unknown_service": 1, "unknown_function": 1, "foreign_service": 0, "malformed_sync": 1}
    assert executive.router.dropped == counted


def test_a_quorum_decision_is_confirmed_only_after_the_quorum_engine_has_told_its_clients() -> None:
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    node.engines["quorum"].silent = {ToEngine.QUORUM}
    cluster.configure()
    cluster.settle()
    votequorum = node.engines["votequorum"]
    node.say(votequorum, ToExecutive.SET_QUORATE, True, [1])
    cluster.settle()
    assert ToEngine.QUORATE_CONFIRMED not in words(votequorum)
    assert (ToEngine.QUORUM, [True, [1], 1]) in node.engines["quorum"].heard
    node.say(node.engines["quorum"], ToExecutive.QUORUM_CONFIRM, 1)
    cluster.settle()
    assert words(votequorum)[-1] == ToEngine.QUORATE_CONFIRMED


def test_a_client_change_is_answered_after_every_tracking_engine_has_confirmed() -> None:
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    cmap, votequorum = node.engines["cmap"], node.engines["votequorum"]
    votequorum.silent = {ToEngine.KEYS}
    node.say(cmap, ToExecutive.KEYS_CHANGE, 7, [["set", "quorum.expected_votes", 6, uint32(3).data, 0, True]])
    cluster.settle()
    assert not [word for word, _ in cmap.heard if word == ToEngine.KEYS_RESULT]
    confirm = next(arguments[0] for word, arguments in votequorum.heard if word == ToEngine.KEYS and arguments[0])
    node.say(votequorum, ToExecutive.KEYS_CONFIRM, confirm)
    cluster.settle()
    assert (ToEngine.KEYS_RESULT, [7, [1]]) in cmap.heard


def test_a_read_only_key_is_refused_to_clients_and_not_to_the_daemon() -> None:
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    cmap = node.engines["cmap"]
    name = "runtime.config.totem.token"
    node.say(cmap, ToExecutive.KEYS_CHANGE, 1, [["set", name, 6, uint32(1).data, 0, True]])
    node.say(cmap, ToExecutive.KEYS_CHANGE, 2, [["set", name, 6, uint32(2).data, 0, False]])
    cluster.settle()
    results = [arguments for word, arguments in cmap.heard if word == ToEngine.KEYS_RESULT]
    assert results == [[1, [11]], [2, [1]]]
    assert node.space.get(name) == uint32(2)


def test_the_highest_expected_votes_are_stored_when_their_engine_sets_them_and_no_client_may() -> None:
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    node.say(node.engines["votequorum"], ToExecutive.KEYS_CHANGE, None, [["set", BARRIER, *uint32(5)[:2], 0, 0]])
    node.settle()
    assert [action for action in node.actions if isinstance(action, StoreExpectedVotes)] == [StoreExpectedVotes(5)]
    assert not writable_by_clients(BARRIER)


def test_a_dead_engine_is_not_waited_for_by_a_key_change() -> None:
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    cmap, votequorum = node.engines["cmap"], node.engines["votequorum"]
    votequorum.silent = {ToEngine.KEYS}
    node.say(cmap, ToExecutive.KEYS_CHANGE, 7, [["set", "quorum.expected_votes", 6, uint32(3).data, 0, True]])
    cluster.settle()
    node.kill(votequorum)
    cluster.settle()
    assert (ToEngine.KEYS_RESULT, [7, [1]]) in cmap.heard


def test_members_are_published_with_address_count_and_status() -> None:
    cluster = ScriptedCluster(2)
    cluster.configure()
    cluster.settle()
    space = cluster.nodes[0].space
    assert space.get("runtime.members.2.ip") == text("r(0) ip(10.0.0.2) ")
    assert space.get("runtime.members.2.join_count") == uint32(1)
    assert space.get("runtime.members.2.status") == text("joined")


def test_an_orderly_stop_goes_by_priority_and_waits_for_last_words() -> None:
    cluster, node = idle_node()
    node.ring.hold_normal = True
    cpg = node.engines["cpg"]
    word = cpg.message(1, b"goodbye")
    node.say(cpg, ToExecutive.MULTICAST, 0, [len(word)], bodies=[word])
    stopped: list[str] = []
    original = node.hear

    def hear(engine: ScriptedEngine, ring_id: RingId, entry: list[object], bodies: list[bytes]) -> None:
        if entry[0] == ToEngine.STOP:
            stopped.append(engine.name)
        original(engine, ring_id, entry, bodies)

    node.hear = hear  # type: ignore[method-assign]
    node.executive.shutdown("a signal", node.now)
    cluster.settle()
    assert stopped == ["votequorum", "cmap", "cfg", "cpg", "quorum"]
    node.executive.handle_timer(node.now)
    assert not node.ring.left
    node.ring.synchronization_complete(0.0)
    node.executive.ring_advanced(node.now)
    node.executive.handle_timer(node.now)
    cluster.settle()
    assert node.ring.left
    assert node.exits() == [Exit(0, "a signal")]


def test_an_engine_that_refuses_the_configuration_stops_the_start_with_status_20() -> None:
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    node.say(node.engines["votequorum"], ToExecutive.REFUSED, "two_node and a device")
    cluster.settle()
    assert [exit_.status for exit_ in node.exits()] == [20]


def test_credit_is_bounded_and_comes_back_when_the_ring_has_sent() -> None:
    cluster, node = idle_node()
    node.ring.hold_normal = True
    cpg = node.engines["cpg"]

    def credit() -> int:
        return sum(arguments[0] for word, arguments in cpg.heard if word == ToEngine.CREDIT)

    first = credit()
    body = cpg.message(3, bytes(600_000))
    node.say(cpg, ToExecutive.MULTICAST, 0, [len(body)], bodies=[body])
    node.executive.ring_advanced(node.now)
    cluster.settle()
    assert credit() == first
    node.ring.synchronization_complete(0.0)
    node.executive.ring_advanced(node.now)
    cluster.settle()
    assert credit() == first + len(body)


NESTED: list[Any] = []
for _ in range(1000):
    NESTED = [NESTED]
SET = ["set", "resources.process.9.state", 11, b"running\0", 0, False]


@pytest.mark.parametrize(
    "entry",
    [
        [99],
        [ToExecutive.CONSUMED],
        [ToExecutive.CONSUMED, -1],
        [ToExecutive.CONSUMED, 0.5],
        [ToExecutive.KEYS_CHANGE, 1, [["set"]]],
        *([ToExecutive.KEYS_CHANGE, 1, [SET, [*SET[:place], None, *SET[place + 1 :]]]] for place in range(1, 5)),
        [ToExecutive.HELLO, {"service_id": float("inf"), "functions": 1}],
        [ToExecutive.HELLO, 7],
        [ToExecutive.KEEP, 1 << 40],
        [ToExecutive.KEEP, [1, 2]],
        [ToExecutive.SET_QUORATE, True, ["one"]],
        [ToExecutive.STATISTICS, 1, {"stats.x": 1}],
        [ToExecutive.STATISTICS, 1, {1: [6, b"\1\0\0\0"]}],
        [ToExecutive.STATISTICS, 1, {"stats.x": [6, "text"]}],
        [ToExecutive.CONNECTION, True, {b"stats.x": [6, b"\1\0\0\0"]}],
        [ToExecutive.FATAL, float("inf"), "reason"],
        [ToExecutive.FATAL, 15, NESTED],
    ],
)
def test_an_entry_that_cannot_be_read_is_the_engines_fault(entry: list[Any]) -> None:
    cluster, node = idle_node()
    with pytest.raises(ValueError, match="cpg"):
        node.executive.receive("cpg", RingId(1, 5), [entry], [], 0.0)
    assert not cluster.order
    assert SET[1] not in node.space


def test_closed_connections_without_number_do_not_stop_the_statistics() -> None:
    cluster, node = idle_node()
    node.say(node.engines["cmap"], ToExecutive.STATISTICS_REQUEST, 7)
    for name in ("cmap", "cfg", "cpg", "quorum", "votequorum"):
        node.say(node.engines[name], ToExecutive.STATISTICS, 1, {f"stats.ipcs.{name}\0closed": [8, b"\xff" * 9]})
    cluster.settle()
    assert [arguments[0] for word, arguments in node.engines["cmap"].heard if word == ToEngine.STATISTICS] == [7]


def test_writing_force_gather_forms_the_ring_anew_and_resets_the_key() -> None:
    cluster, node = idle_node()
    node.say(node.engines["cmap"], ToExecutive.KEYS_CHANGE, 1, [["set", "runtime.force_gather", 11, b"yes", 0, True]])
    cluster.settle()
    assert node.ring.gathers == 1
    assert node.space.get("runtime.force_gather") == text("no")


CONNECTION = {"stats.ipcs.service2.9.0x1.sent": [6, b"\1\0\0\0"], "stats.ipcs.service2.9.0x1.procname": [11, b"short\0"]}


def told_of_connections(node: ScriptedNode) -> list[list[Any]]:
    return [arguments for kind, arguments in node.engines["cmap"].heard if kind == ToEngine.CONNECTION]


def test_cmap_hears_at_once_of_programs_that_come_and_go() -> None:
    cluster, node = idle_node()
    gone = {name: [kind, data] for name, (kind, data) in CONNECTION.items()}
    node.say(node.engines["cpg"], ToExecutive.CONNECTION, True, CONNECTION)
    node.say(node.engines["cpg"], ToExecutive.CONNECTION, False, gone)
    cluster.settle()
    assert told_of_connections(node) == [[True, CONNECTION], [False, gone]]


def test_an_engine_that_dies_takes_its_connections_with_it() -> None:
    cluster, node = idle_node()
    node.say(node.engines["cpg"], ToExecutive.CONNECTION, True, CONNECTION)
    node.kill(node.engines["cpg"])
    cluster.settle()
    assert told_of_connections(node) == [[True, CONNECTION], [False, CONNECTION]]


def test_a_connection_without_keys_is_the_engines_fault() -> None:
    _cluster, node = idle_node()
    with pytest.raises(ValueError, match="cpg"):
        node.executive.receive("cpg", RingId(1, 5), [[ToExecutive.CONNECTION, True, {}]], [], 0.0)
