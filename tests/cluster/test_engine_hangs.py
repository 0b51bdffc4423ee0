"""An engine stands still while somebody waits for its word: it is ended soon, its successor serves, and nobody waits for ever."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from libcfg import Cfg
from libcmap import Cmap, Map
from libquorum import Quorum, QuorumNotification
from libvotequorum import QuorumNotification as VoteNotification
from libvotequorum import Votequorum
from tests.cluster.harness import DEADLINE, Cluster, Node
from tests.cluster.stopping_engine import AT_ACTIVATION, IN_STEP

ALL = {1, 2, 3}
BUSY = 10
"""Programs that leave an engine beside them on one processor waiting for seconds until it runs at all."""
STOPPING = {"name": "stopping", "import": "tests.cluster.stopping_engine:Stopping", "id": 8, "crash_policy": "restart"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(3, totem={"token": 1000, "token_coefficient": 0}, engines=[STOPPING]) as formed:
        yield formed


def wait_replaced(node: Node, engine: str, deaths: int = 1) -> None:
    """Until the engine was ended for its silence, and a successor is there."""
    node.wait_logged(f"Engine {engine} is ended: made no progress", deaths)
    node.wait_logged(f"Engine {engine} is back", deaths)


def assert_always_quorate(node: Node, tracker: Quorum) -> None:
    """As long as this program has listened; it hears everything up to the present round."""
    node.next_membership(tracker, ALL, quorate=True)
    assert all(event.quorate for event in tracker.events(0.0) if isinstance(event, QuorumNotification))


@pytest.mark.parametrize(("engine", "moment"), [("stopping", IN_STEP), ("cfg", AT_ACTIVATION)])
def test_a_round_goes_on_though_an_engine_hangs_in_its_step_or_over_its_gate(cluster: Cluster, engine: str, moment: str) -> None:
    struck, bystander = cluster[2], cluster[1]
    with bystander.quorum() as tracker, struck.connect(Cmap) as cmap:
        bystander.next_membership(tracker, ALL, quorate=True)
        cmap.set(moment, struck.engine(engine))
        cmap.set("runtime.force_gather", "yes")
        wait_replaced(struck, engine)
        assert_always_quorate(bystander, tracker)
    for node in cluster:
        node.wait_members(ALL, quorate=True)
    with struck.connect(Cfg) as cfg, struck.connect(Cmap) as cmap:
        assert cfg.local_nodeid() == 2
        cmap.delete(moment)


@pytest.mark.parametrize("engine", ["cpg", "votequorum"])
def test_a_change_of_a_key_is_answered_though_an_engine_that_tracks_it_hangs(cluster: Cluster, engine: str) -> None:
    struck = cluster[3]
    with cluster[1].quorum() as tracker, struck.connect(Cmap) as cmap:
        os.kill(struck.engine(engine), signal.SIGSTOP)
        cmap.set("uidgid.uid.4000000000", 1)
        wait_replaced(struck, engine)
        cmap.delete("uidgid.uid.4000000000")
        assert_always_quorate(cluster[1], tracker)


def test_counters_are_read_though_an_engine_hangs_over_its_own(cluster: Cluster) -> None:
    struck = cluster[1]
    with struck.connect(lambda **where: Cmap(Map.STATS, **where)) as statistics:
        os.kill(struck.engine("cpg"), signal.SIGSTOP)
        assert dict(statistics.items("stats.srp."))
        wait_replaced(struck, "cpg")


def test_a_loss_of_quorum_is_told_though_the_quorum_engine_hangs_over_the_decision(cluster: Cluster) -> None:
    struck = cluster[1]
    with struck.connect(Votequorum) as votequorum, struck.connect(Cmap) as cmap:
        votequorum.trackstart()
        os.kill(struck.engine("quorum"), signal.SIGSTOP)
        cmap.set("quorum.expected_votes", 7)
        assert any(not event.quorate for event in votequorum.events(DEADLINE) if isinstance(event, VoteNotification))
        wait_replaced(struck, "quorum")
        for node in cluster:
            node.wait_members(ALL, quorate=False)
        cmap.delete("quorum.expected_votes")
        for node in cluster:
            node.wait_members(ALL, quorate=True)


def test_an_engine_that_gets_no_processor_is_waited_for() -> None:
    with Cluster(1) as cluster:
        node = cluster[1]
        engine = node.engine("votequorum")
        processor = {min(os.sched_getaffinity(0))}
        with node.connect(Cmap) as cmap:
            for _ in range(BUSY):
                os.sched_setaffinity(cluster.program("-c", "while True: pass").pid, processor)
            os.sched_setaffinity(engine, processor)
            os.sched_setscheduler(engine, os.SCHED_IDLE, os.sched_param(0))
            cmap.set("uidgid.uid.4000000000", 1)
            assert node.engine("votequorum") == engine
        assert not node.logged("made no progress")
