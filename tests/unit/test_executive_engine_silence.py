"""The executive: which silence of an engine is its death, and which is not."""

from __future__ import annotations

from collections.abc import Callable

from corosyncd.executive.actions import KillEngine, Ready, SpawnEngine
from corosyncd.executive.supervision import CHECK_PERIOD
from corosyncd.executive.sync import Phase
from corosyncd.keyspace.values import uint32
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import Group
from tests.unit.executive_cluster import ScriptedCluster, ScriptedNode, at_the_end_of_a_round, idle_node, let_time_pass


def test_a_silent_engine_is_killed() -> None:
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    node.engines["cpg"].silent = {ToEngine.CONFIGURATION}
    cluster.configure()
    cluster.settle()
    let_time_pass(node, 0.5)
    cluster.settle()
    assert node.engines["cpg"].alive
    node.engines["cpg"].silent = set()
    let_time_pass(node, 1.1)
    cluster.settle()
    assert SpawnEngine("cpg", None) in node.actions[6:]


def killed(node: ScriptedNode) -> list[str]:
    node.settle()
    return [action.name for action in node.actions if isinstance(action, KillEngine)]


def test_no_engine_is_late_for_the_absence_of_its_executive() -> None:
    _, node, _ = at_the_end_of_a_round()
    let_time_pass(node, 0.5)
    node.now += 60.0
    node.executive.handle_timer(node.now)  # it was away: what votequorum may have said meanwhile has still to be read
    assert killed(node) == []
    let_time_pass(node, 0.3)
    assert killed(node) == []
    let_time_pass(node, 1.0)
    assert killed(node) == ["votequorum"]


def test_an_engine_that_starts_has_its_time_though_its_executive_is_away() -> None:
    cluster, node = idle_node()
    node.engines["cpg"].slow_start = True
    node.kill(node.engines["cpg"])
    cluster.settle()
    let_time_pass(node, 1.0)
    node.now += 60.0
    node.executive.handle_timer(node.now)
    let_time_pass(node, 3.0)
    assert killed(node) == []
    let_time_pass(node, 2.0)
    assert killed(node) == ["cpg"]


def test_an_executive_that_is_always_late_still_judges() -> None:
    _, node, _ = at_the_end_of_a_round()
    for _ in range(8):
        node.now += 2.5 * CHECK_PERIOD
        node.executive.handle_timer(node.now)
    assert killed(node) == ["votequorum"]


def test_an_engine_that_hangs_over_its_activation_is_killed() -> None:
    _, node, _ = at_the_end_of_a_round()
    let_time_pass(node, 1.6)
    assert killed(node) == ["votequorum"]


# What somebody waits for, however long it may rightly take


def hangs(cluster: ScriptedCluster, node: ScriptedNode, name: str, wait_begins: Callable[[], object]) -> None:
    """One engine stands still, then somebody begins to wait for it."""
    node.engines[name].hangs = True
    wait_begins()
    cluster.settle()


def live(cluster: ScriptedCluster, node: ScriptedNode, seconds: float) -> None:
    """Time passes, and engines answer meanwhile."""
    for _ in range(round(seconds / CHECK_PERIOD)):
        let_time_pass(node, CHECK_PERIOD)
        cluster.settle()


def begin_a_step(cluster: ScriptedCluster, node: ScriptedNode) -> None:
    """cpg has closed its gate, and is asked for its data."""
    cpg = node.engines["cpg"]
    cpg.silent = {ToEngine.SYNC_STEP}
    cluster.configure()
    cluster.settle()
    assert (node.executive.sync.phase, node.executive.sync.service) == (Phase.STEPPING, cpg.service_id)


def test_an_engine_that_hangs_in_its_step_is_killed_and_its_successor_forms_the_ring_anew() -> None:
    cluster, node = idle_node()
    begin_a_step(cluster, node)
    node.engines["cpg"].hangs = True
    live(cluster, node, 1.0)
    assert killed(node) == []
    live(cluster, node, 0.75)
    assert killed(node) == ["cpg"]
    assert node.ring.gathers == 1


def test_an_engine_whose_step_takes_long_lives_as_long_as_it_answers() -> None:
    cluster, node = idle_node()
    begin_a_step(cluster, node)
    live(cluster, node, 60.0)
    assert killed(node) == []
    node.engines["cpg"].hangs = True
    live(cluster, node, 2.0)
    assert killed(node) == ["cpg"]


def test_an_engine_that_hangs_over_the_confirmation_of_a_key_is_killed_and_who_asked_is_answered() -> None:
    cluster, node = idle_node()
    cmap, wish = node.engines["cmap"], ["set", "quorum.expected_votes", *uint32(3)[:2], 0, True]
    hangs(cluster, node, "votequorum", lambda: node.say(cmap, ToExecutive.KEYS_CHANGE, 7, [wish]))
    live(cluster, node, 2.0)
    assert killed(node) == ["votequorum"]
    assert (ToEngine.KEYS_RESULT, [7, [1]]) in cmap.heard


def test_an_engine_that_hangs_over_the_confirmation_of_quorum_is_killed() -> None:
    cluster, node = idle_node()
    hangs(cluster, node, "quorum", lambda: node.say(node.engines["votequorum"], ToExecutive.SET_QUORATE, True, [1]))
    live(cluster, node, 2.0)
    assert killed(node) == ["quorum"]


def test_an_engine_that_hangs_while_it_opens_its_gate_is_killed() -> None:
    cluster, node = idle_node()
    node.actions.clear()
    node.engines["cfg"].silent = {ToEngine.SYNC_COMPLETE}
    cluster.configure()
    cluster.settle()
    assert Ready() not in node.actions
    node.engines["cfg"].hangs = True
    live(cluster, node, 2.0)
    assert killed(node) == ["cfg"]
    assert Ready() in node.actions


def test_an_engine_that_hangs_over_its_counters_is_killed_and_who_asked_is_answered() -> None:
    cluster, node = idle_node()
    cmap = node.engines["cmap"]
    hangs(cluster, node, "cpg", lambda: node.say(cmap, ToExecutive.STATISTICS_REQUEST, 3))
    live(cluster, node, 2.0)
    assert killed(node) == ["cpg"]
    assert [arguments[0] for word, arguments in cmap.heard if word == ToEngine.STATISTICS] == [3]


def test_an_engine_that_hangs_between_its_deliveries_and_its_gate_is_killed() -> None:
    cluster, node = idle_node()
    cpg = node.engines["cpg"]
    message = cpg.message(1, b"delivered last")
    cpg.silent = {ToEngine.DELIVER, ToEngine.CONFIGURATION, ToEngine.ALIVE}
    cluster.order.append((1, Group.ENGINES, message))
    cluster.settle()
    cluster.configure()
    cluster.settle()
    node.say(cpg, ToExecutive.CONSUMED, len(message))
    live(cluster, node, 2.0)
    assert killed(node) == ["cpg"]


def test_an_engine_of_which_nothing_is_wanted_is_asked_nothing() -> None:
    cluster, node = idle_node()
    live(cluster, node, 60.0)
    assert not [word for engine in node.engines.values() for word, _ in engine.heard if word == ToEngine.ALIVE]


def test_a_question_is_no_longer_open_when_its_executive_was_away() -> None:
    cluster, node = idle_node()
    begin_a_step(cluster, node)
    live(cluster, node, 0.5)
    node.engines["cpg"].hangs = True
    live(cluster, node, 0.5)
    node.now += 60.0
    node.executive.handle_timer(node.now)  # it was away: what cpg may have said meanwhile has still to be read
    assert killed(node) == []
    live(cluster, node, 1.5)
    assert killed(node) == ["cpg"]


def test_time_in_which_others_had_the_processor_is_not_held_against_an_engine() -> None:
    cluster, node = idle_node()
    begin_a_step(cluster, node)
    node.engines["cpg"].hangs = True
    node.executive.supervision.ran = lambda engine: 0.1 * node.now if engine == "cpg" else None
    live(cluster, node, 7.0)
    assert killed(node) == []
    live(cluster, node, 4.0)
    assert killed(node) == ["cpg"]


def test_an_engine_without_a_processor_has_its_time_though_its_executive_is_a_little_late_at_every_look() -> None:
    cluster, node = idle_node()
    begin_a_step(cluster, node)
    node.engines["cpg"].hangs = True
    node.executive.supervision.ran = lambda _engine: 0.0
    for _ in range(40):
        node.now += 1.8 * CHECK_PERIOD
        node.executive.handle_timer(node.now)
    assert killed(node) == []


def test_an_engine_that_has_the_processor_and_does_not_answer_is_killed() -> None:
    cluster, node = idle_node()
    begin_a_step(cluster, node)
    node.engines["cpg"].hangs = True
    node.executive.supervision.ran = lambda _engine: node.now
    live(cluster, node, 2.0)
    assert killed(node) == ["cpg"]
