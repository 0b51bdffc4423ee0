"""An engine dies: its own programs get an error, everybody else sees one membership event, and a successor serves."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from coroipc.errors import LibraryError, TryAgain
from libcfg import Cfg
from libcpg import ConfigurationChange, Cpg, Deliver
from libquorum import NodeListNotification, QuorumNotification
from tests.cluster.harness import DEADLINE, Cluster, Node, eventually
from tests.engine_calls import LIBRARIES, RETURN_SECONDS, answered

ALL = {1, 2, 3}
LOAD = 15_000
"""Messages that each of two programs sends while an engine dies."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(3, totem={"token": 1000, "token_coefficient": 0}) as formed:
        yield formed


def served(node: Node, engine: str) -> float:
    """Wait until a new connection to the engine is answered; the seconds that it took."""
    library, call = LIBRARIES[engine]
    began = time.monotonic()

    def probe() -> bool:
        try:
            with library(instance=node.instance) as connection:
                call(connection)
        except (LibraryError, TryAgain):
            return False
        return True

    eventually(probe, f"{engine} to serve on node {node.number}", node.cluster.logs)
    return time.monotonic() - began


def call_through(node: Node, connection: object, call: Callable[[Any], object]) -> None:
    """An answer comes on a connection that must have lived on."""
    eventually(lambda: answered(connection, call), "an answer", node.cluster.logs)


def joined_cpg(stack: ExitStack, node: Node, group: bytes) -> Cpg:
    cpg = stack.enter_context(node.connect(Cpg))
    cpg.join(group)
    return cpg


def wait_group(cpg: Cpg, nodes: set[int]) -> list[Deliver]:
    """Until the group has one member on each of these nodes; the messages that came before."""
    before = []
    for event in cpg.events(DEADLINE):
        if isinstance(event, Deliver):
            before.append(event)
        elif isinstance(event, ConfigurationChange) and {address.nodeid for address in event.members} == nodes:
            return before
    raise AssertionError(f"the group never was on {nodes}")


def count_until_lost(cpg: Cpg) -> int:
    """Messages that still come before the connection is lost."""
    count = 0
    try:
        for event in cpg.events(DEADLINE):
            count += isinstance(event, Deliver)
    except LibraryError:
        return count
    raise AssertionError("the connection lives on")


def mcast(cpg: Cpg, content: bytes) -> None:
    """Send, however often the daemon wants a pause."""

    def probe() -> bool:
        try:
            cpg.mcast(content)
        except TryAgain:
            return False
        return True

    eventually(probe, "room for a message")


@pytest.mark.parametrize("engine", ["cmap", "cpg", "votequorum", "quorum"])
def test_the_death_of_a_synchronised_engine_costs_its_own_programs_and_shows_as_one_membership_event(
    cluster: Cluster, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    struck = cluster[2]
    with ExitStack() as stack:
        trackers = {node: stack.enter_context(node.quorum()) for node in cluster if not (engine == "quorum" and node is struck)}
        before = {node: node.next_membership(tracker, ALL).ring_sequence for node, tracker in trackers.items()}
        connections = {name: stack.enter_context(struck.connect(library)) for name, (library, _) in LIBRARIES.items()}
        for node in cluster:
            node.forget_readiness()
        os.kill(struck.engine(engine), signal.SIGKILL)
        seconds = served(struck, engine)
        for node in cluster:
            node.wait_ready()
        for name, (_, call) in LIBRARIES.items():
            if name == engine:
                with pytest.raises(LibraryError):
                    call(connections[name])
            else:
                call_through(struck, connections[name], call)
        for node, tracker in trackers.items():
            lists = [event for event in tracker.events(0.0) if isinstance(event, NodeListNotification)]
            assert [(set(event.members), event.joined, event.left) for event in lists] == [(ALL, (), ())]
            assert lists[0].ring_sequence > before[node]
            call_through(node, tracker, LIBRARIES["quorum"][1])
    assert seconds < RETURN_SECONDS
    with capsys.disabled():
        print(f"\n{engine} serves again {seconds:.3f} s after its death")
    for node in cluster:
        node.wait_members(ALL, quorate=True)


def test_an_engine_that_takes_no_part_in_synchronisation_comes_back_without_a_membership_event(cluster: Cluster) -> None:
    struck = cluster[2]
    with ExitStack() as stack:
        trackers = {node: stack.enter_context(node.quorum()) for node in cluster}
        for node, tracker in trackers.items():
            node.next_membership(tracker, ALL)
        cfg = stack.enter_context(struck.connect(Cfg))
        first = struck.engine("cfg")
        os.kill(first, signal.SIGKILL)
        assert served(struck, "cfg") < RETURN_SECONDS
        with pytest.raises(LibraryError):
            cfg.local_nodeid()
        assert struck.engine("cfg") != first
        for tracker in trackers.values():
            assert tracker.getquorate()
            assert list(tracker.events(0.0)) == []


def test_programs_on_other_nodes_lose_nothing_when_an_engine_dies_under_load(cluster: Cluster) -> None:
    struck = cluster[3]
    with ExitStack() as stack:
        victim = joined_cpg(stack, struck, b"load")
        wait_group(victim, {3})
        senders = [cluster.program("-m", "tests.cluster.cpg_load", cluster[n].instance, "3", "2", str(LOAD)) for n in (1, 2)]
        seen = 0
        for event in victim.events(DEADLINE):
            seen += isinstance(event, Deliver)
            if seen == LOAD // 2:
                break
        os.kill(struck.engine("cpg"), signal.SIGKILL)
        seen += count_until_lost(victim)
        results = []
        for sender in senders:
            output, _ = sender.communicate(timeout=DEADLINE)
            assert sender.returncode == 0
            results.append(json.loads(output))
        assert [result["delivered"] for result in results] == [{"1": LOAD, "2": LOAD}] * 2
        assert results[0]["order"] == results[1]["order"]
        assert seen < 2 * LOAD, "the engine died after the load"
    served(struck, "cpg")


def test_an_engine_that_stands_still_is_killed_by_the_progress_rule_and_replaced(cluster: Cluster) -> None:
    struck = cluster[1]
    with ExitStack() as stack:
        sender = joined_cpg(stack, cluster[2], b"still")
        victim = joined_cpg(stack, struck, b"still")
        wait_group(sender, {1, 2})
        first = struck.engine("cpg")
        os.kill(first, signal.SIGSTOP)
        mcast(sender, b"work for everybody")
        with pytest.raises(LibraryError):
            list(victim.events(DEADLINE))
        struck.wait_logged("Engine cpg is ended: made no progress")
        served(struck, "cpg")
        assert struck.engine("cpg") != first
        assert [event.data for event in wait_group(sender, {2})] == [b"work for everybody"]
        joined_cpg(stack, struck, b"still")
        wait_group(sender, {1, 2})


def test_a_ring_is_formed_although_an_engine_dies_in_the_middle_of_its_synchronisation(cluster: Cluster) -> None:
    struck, lost, bystander = cluster[2], cluster[3], cluster[1]
    with ExitStack() as stack:
        tracker = stack.enter_context(bystander.quorum())
        members = {number: joined_cpg(stack, cluster[number], b"sync") for number in (1, 2, 3)}
        for cpg in members.values():
            wait_group(cpg, ALL)
        engine = struck.engine("cpg")
        rings = struck.logged("A new membership")
        deaths = struck.logged("Engine cpg has died")
        # Stopped before the ring without the lost node is formed, it keeps that ring's synchronisation open until it is dead.
        os.kill(engine, signal.SIGSTOP)
        lost.kill()
        struck.wait_logged("A new membership", rings + 1)
        lost.start()
        with suppress(ProcessLookupError):  # On a slow machine the progress rule was quicker.
            os.kill(engine, signal.SIGKILL)
        struck.wait_logged("Engine cpg has died", deaths + 1)
        before = struck.written().rpartition("Engine cpg has died")[0]
        assert before.rfind("A new membership") > before.rfind("Completed service synchronization")
        with pytest.raises(LibraryError):
            list(members[2].events(DEADLINE))
        bystander.next_membership(tracker, ALL, quorate=True)
        wait_group(members[1], {1})
        lost.wait_ready()
        served(struck, "cpg")
        members[2] = joined_cpg(stack, struck, b"sync")
        members[3] = joined_cpg(stack, lost, b"sync")
        for cpg in members.values():
            wait_group(cpg, ALL)
        for number, cpg in members.items():
            mcast(cpg, b"from %d" % number)
        orders = [[next(cpg.events(DEADLINE)) for _ in members] for cpg in members.values()]
        assert orders[0] == orders[1] == orders[2]
    rings_seen = {node.wait_members(ALL, quorate=True) for node in cluster}
    assert len(rings_seen) == 1
    assert isinstance(rings_seen.pop(), QuorumNotification)


def test_the_third_death_of_an_engine_within_a_minute_ends_the_node() -> None:
    with Cluster(1) as cluster:
        node = cluster[1]
        for _ in range(2):
            os.kill(node.engine("cpg"), signal.SIGKILL)
            served(node, "cpg")
        os.kill(node.engine("cpg"), signal.SIGKILL)
        assert node.wait_end() == 15
        assert node.logged("engine cpg died 3 times within 60 s")
        assert not (node.folder / "corosync.pid").exists()
