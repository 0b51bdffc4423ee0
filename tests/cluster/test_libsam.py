"""Supervised programs and our daemon: hung programs start again, and those that lose quorum end until quorum is back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from libcmap import Cmap
from libsam import Policy
from tests.cluster.harness import Cluster
from tests.cluster.supervised import (
    INTERVAL_MS,
    QUORUM_RESTART,
    Supervised,
    check_that_a_hung_program_is_restarted,
    check_that_a_program_marked_failed_stays_in_the_map,
)

TOKEN = {"token": 1000, "token_coefficient": 0}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(2, totem=TOKEN) as formed:
        yield formed


@pytest.fixture
def cmap(cluster: Cluster) -> Iterator[Cmap]:
    with cluster[1].connect(Cmap) as library:
        yield library


def supervised(cluster: Cluster, policy: Policy = QUORUM_RESTART, interval_ms: int = INTERVAL_MS) -> Supervised:
    arguments = (str(interval_ms), str(int(policy)), cluster[1].instance)
    return Supervised(cluster.program("-m", "tests.cluster.supervised_program", *arguments))


def test_a_hung_program_is_warned_killed_and_restarted(cluster: Cluster, cmap: Cmap) -> None:
    check_that_a_hung_program_is_restarted(supervised(cluster), cmap)


def test_a_program_marked_failed_is_not_restarted(cluster: Cluster, cmap: Cmap) -> None:
    check_that_a_program_marked_failed_stays_in_the_map(supervised(cluster), cmap)


def test_a_program_that_loses_quorum_is_killed_and_its_successor_waits_for_quorum(cluster: Cluster, cmap: Cmap) -> None:
    program = supervised(cluster)
    program.expect("started")
    cluster[2].kill()
    # Its heartbeats go on after the warning, and do not save it.
    program.expect("warned", f"instance 2 {program.supervisor} nothing")
    tracker = cmap.track(f"resources.process.{program.supervisor}.state")
    if program.state(cmap) != "waiting for quorum":
        event = cmap.next_event(30.0)
        assert event is not None
        assert event.new is not None
        assert event.new.value == "waiting for quorum"
    cmap.untrack(tracker)
    cluster[2].start()
    program.expect("started")
    assert program.state(cmap) == "running"
    program.tell("stop")
    program.expect("stopped")
    program.tell("exit 0")
    assert program.end() == 0
    assert program.keys(cmap) == {}
    cluster[2].wait_ready()


def test_a_start_answers_once_with_both_integrations(cluster: Cluster, cmap: Cmap) -> None:
    """With a surplus answer, a later call would return before the supervisor has done anything."""
    program = supervised(cluster)
    program.expect("started")
    for _ in range(3):
        program.tell("stop")
        program.expect("stopped")
        assert program.state(cmap) == "stopped"
        program.tell("start")
        program.expect("started")
        assert program.state(cmap) == "running"
    program.tell("stop")
    program.expect("stopped")
    program.tell("exit 0")
    assert program.end() == 0


def test_a_program_outlives_its_daemon_only_without_the_policy_quorum(cluster: Cluster) -> None:
    # Nobody hangs here: a heartbeat that comes late on a busy machine must not look so.
    with_quorum = supervised(cluster, interval_ms=5 * INTERVAL_MS)
    without = supervised(cluster, Policy.RESTART | Policy.CMAP, interval_ms=30 * INTERVAL_MS)
    with_quorum.expect("started")
    without.expect("started")
    cluster[1].kill()
    with_quorum.expect("warned", f"instance 2 {with_quorum.supervisor} nothing")
    cluster[1].start()
    with_quorum.expect("started")
    cluster[1].wait_ready()
    with cluster[1].connect(Cmap) as cmap:
        for program in (with_quorum, without):
            program.tell("stop")
            program.expect("stopped")
            assert program.state(cmap) == "stopped"
            assert len(program.keys(cmap)) == 4
            program.tell("exit 0")
            assert program.end() == 0
            assert program.keys(cmap) == {}
