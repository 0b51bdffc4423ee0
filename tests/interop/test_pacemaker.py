"""Pacemaker, the distribution's and unmodified, runs a resource on rings of ours and on a ring with a stock node among ours.

It is the program that uses most of what the daemon offers: cmap for the node list, cpg for all that its daemons say to one
another, quorum for membership, cfg to hear of a shutdown. Every test leaves three nodes online and the resource started.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from coroipc.errors import Status
from tests.daemon_processes import engine
from tests.interop.clients import NODES
from tests.interop.pacemaker import Pacemaker, missing_packages
from tests.lab import Lab, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

TOKEN_MS = 1000
RINGS: dict[str, tuple[int, ...]] = {"ours": (), "node 3 is stock": (3,)}
"""The numbers of the stock nodes in each ring."""
RESOURCE = "dummy"
PRIMITIVE = f"""
<primitive id="{RESOURCE}" class="ocf" provider="pacemaker" type="Dummy">
  <meta_attributes id="{RESOURCE}-meta">
    <nvpair id="{RESOURCE}-stickiness" name="resource-stickiness" value="100"/>
  </meta_attributes>
  <operations>
    <op id="{RESOURCE}-monitor" name="monitor" interval="2s"/>
  </operations>
</primitive>
"""
SETTLE = "--timeout=60s"
MONITOR = "crm_mon -1"
LOCATE = f"crm_resource --resource {RESOURCE} --locate"


def online(output: str) -> set[str]:
    """The nodes that ``crm_mon -1`` lists as online, in a partition with quorum; empty without one."""
    listed = re.search(r"\* Online: \[ (.*) \]", output)
    return set(listed[1].split()) if listed and "partition with quorum" in output else set()


def controller(output: str) -> str:
    """The designated controller's name in the output of ``crm_mon -1``; empty while there is none."""
    named = re.search(r"\* Current DC: (node\d+)", output)
    return named[1] if named else ""


def located(output: str) -> str:
    """Where ``crm_resource --locate`` says that the resource runs; empty unless on exactly one node."""
    names = re.findall(r"is running on: (\S+)", output)
    return names[0] if len(names) == 1 else ""


@dataclass(frozen=True)
class Cluster:
    """The nodes of a ring with Pacemaker on each."""

    nodes: dict[str, Pacemaker]
    victims: tuple[str, ...]
    """One node of each kind of daemon."""

    def others(self, name: str) -> list[Pacemaker]:
        """All nodes but one."""
        return [node for node in self.nodes.values() if node.name != name]

    def wait_online(self) -> None:
        """Until every node counts every node as online."""
        for node in self.nodes.values():
            node.wait(MONITOR, lambda output: online(output) == set(self.nodes), "every node online")

    def wait_settled(self) -> str:
        """Until Pacemaker has nothing left to do, and return where the resource runs."""
        node = next(iter(self.nodes.values()))
        node.run("crm_resource", "--wait", SETTLE)
        return node.wait(LOCATE, located, "the resource on one node")

    def send(self, name: str) -> None:
        """Move the resource to a node, where it may stay."""
        if self.wait_settled() != name:
            node = self.nodes[name]
            node.run("crm_resource", "--resource", RESOURCE, "--move", "--node", name)
            node.wait(LOCATE, lambda output: located(output) == name, "the resource moved here")
            node.run("crm_resource", "--resource", RESOURCE, "--clear")
            node.run("crm_resource", "--wait", SETTLE)

    def wait_lost(self, lost: Pacemaker) -> None:
        """Until that node alone is no member of the others' ring."""
        names = {node.name for node in self.others(lost.name)}
        for node in self.others(lost.name):
            node.wait("crm_node -p", lambda output: set(output.split()) == names, f"members without {lost.name}")
            assert f"{lost.node.number} {lost.name} lost" in node.run("crm_node", "-l").splitlines()

    def wait_recovered(self, lost: Pacemaker) -> None:
        """Until each of the other nodes counts that one alone as offline, and has the resource on one of them."""
        names = {node.name for node in self.others(lost.name)}

        def without(output: str) -> bool:
            return online(output) == names and f"* OFFLINE: [ {lost.name} ]" in output

        for node in self.others(lost.name):
            node.wait(MONITOR, without, f"{lost.name} offline, the others online")
            node.wait(LOCATE, lambda output: located(output) in names, "the resource on one of the others")


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    """A test that cannot run is a failure: a skip would look like success."""
    missing = missing_packages()
    if missing:
        pytest.fail(f"these tests need {'; '.join(missing)}", pytrace=False)


@pytest.fixture(scope="module", params=list(RINGS.values()), ids=list(RINGS))
def cluster(request: pytest.FixtureRequest, packages: None) -> Iterator[Cluster]:
    """Three nodes online, without fencing devices, and a resource that is started on one of them."""
    with Lab(len(NODES)) as lab, contextlib.ExitStack() as stack:
        for number in NODES:
            if number in request.param:
                lab.stock_node(number, f"totem {{\n  token: {TOKEN_MS}\n}}\n")
            else:
                lab.our_node(number, totem={"token": TOKEN_MS})
        lab.wait_ring(NODES)
        members = [Pacemaker(lab.node(number)) for number in NODES]
        cluster = Cluster({node.name: node for node in members}, tuple(f"node{number}" for number in (2, *request.param)))
        for node in cluster.nodes.values():
            stack.callback(node.close)
            node.start()
        cluster.wait_online()
        first, *_ = cluster.nodes.values()
        first.run("cibadmin", "--create", "--scope", "resources", "--xml-text", PRIMITIVE)
        first.wait(LOCATE, located, "the resource started")
        yield cluster


def test_every_node_names_the_same_controller_in_a_partition_with_quorum(cluster: Cluster) -> None:
    cluster.wait_online()
    answers = [node.run(*MONITOR.split()) for node in cluster.nodes.values()]
    assert [online(answer) for answer in answers] == [set(cluster.nodes)] * len(answers)
    assert {controller(answer) for answer in answers} <= set(cluster.nodes)
    assert len({controller(answer) for answer in answers}) == 1


def test_every_node_knows_the_members_and_itself(cluster: Cluster) -> None:
    for number, node in zip(NODES, cluster.nodes.values(), strict=True):
        assert sorted(node.run("crm_node", "-l").splitlines()) == [f"{each} node{each} member" for each in NODES]
        assert set(node.run("crm_node", "-p").split()) == set(cluster.nodes)
        assert node.run("crm_node", "-i").strip() == str(number)
        assert node.run("crm_node", "-n").strip() == node.name
        assert node.run("crm_node", "-q").strip() == "1"


def test_every_node_finds_the_resource_on_the_same_node(cluster: Cluster) -> None:
    place = cluster.wait_settled()
    assert {located(node.run(*LOCATE.split())) for node in cluster.nodes.values()} == {place}


def test_the_daemon_does_not_stop_while_pacemaker_forbids_it(cluster: Cluster) -> None:
    for node in cluster.nodes.values():
        refusal = node.node.run("corosync-cfgtool", "-H", check=False).stderr
        assert refusal == f"Could not shutdown (error = {Status.BUSY.value})\n"
    cluster.wait_online()


def test_a_resource_leaves_a_node_whose_pacemaker_stops(cluster: Cluster) -> None:
    leaver = cluster.nodes[cluster.wait_settled()]
    leaver.stop()
    cluster.wait_recovered(leaver)
    for node in cluster.others(leaver.name):
        assert set(node.run("crm_node", "-p").split()) == set(cluster.nodes)  # Its daemon is a member as before.
    leaver.start()
    cluster.wait_online()


def test_a_resource_survives_its_node(cluster: Cluster) -> None:
    for name in cluster.victims:
        victim = cluster.nodes[name]
        cluster.send(name)
        victim.crash()
        cluster.wait_recovered(victim)
        cluster.wait_lost(victim)
        victim.node.start()
        victim.node.wait_members(NODES)
        victim.start()
        cluster.wait_online()


def test_every_node_stays_or_comes_back_online_when_an_engine_of_ours_is_killed(cluster: Cluster) -> None:
    """Pacemaker's daemons end when they lose cpg, and their master starts them again; votequorum they do not use themselves."""
    struck = cluster.nodes["node2"]
    first, *_ = cluster.nodes.values()
    cluster.send(struck.name)
    controllers = controllers_of(struck)
    os.kill(engine(struck.node, "cpg"), signal.SIGKILL)
    wait_until(lambda: not controllers & controllers_of(struck), "the end of the controller", explain=struck.node.log)
    joined = ("S_NOT_DC", "S_IDLE")
    struck.wait(f"crmadmin --status {struck.name}", lambda output: any(state in output for state in joined), "its return")
    check_everything_runs(cluster)
    ring = ring_id(first)
    os.kill(engine(struck.node, "votequorum"), signal.SIGKILL)
    for node in cluster.nodes.values():
        wait_until(lambda node=node: ring_id(node) not in ("", ring), "another ring", explain=node.node.log)  # type: ignore[misc]
    check_everything_runs(cluster)


def controllers_of(node: Pacemaker) -> set[int]:
    """The process ids of a node's controller: one, or none while it is started again."""
    return {pid for pid, name in node.processes().items() if name == "pacemaker-contr"}


def ring_id(node: Pacemaker) -> str:
    """The ring that a node's programs know; empty while the daemon does not tell."""
    found = re.search(r"Ring ID: +(\S+)", node.node.run("corosync-quorumtool", "-s", check=False).stdout)
    return found[1] if found else ""


def check_everything_runs(cluster: Cluster) -> None:
    """Every node is online and a member in every node's eyes, with quorum, and all find the resource on the same one."""
    cluster.wait_online()
    place = cluster.wait_settled()
    members = [f"{number} node{number} member" for number in NODES]
    for node in cluster.nodes.values():
        node.wait("crm_node -l", lambda output: sorted(output.splitlines()) == members, "every node a member")
        node.wait("crm_node -q", lambda output: output.strip() == "1", "quorum")
        node.wait(LOCATE, lambda output: located(output) == place, f"the resource on {place}")


def test_a_node_that_is_cut_off_gives_its_resource_up_and_comes_back(cluster: Cluster) -> None:
    loner = cluster.nodes[cluster.wait_settled()]
    loner.node.link(up=False)
    loner.wait(MONITOR, lambda output: "partition WITHOUT quorum" in output, "the loss of quorum")
    loner.wait(MONITOR, lambda output: "* No active resources" in output, "the resource stopped without quorum")
    cluster.wait_recovered(loner)
    loner.node.link(up=True)
    cluster.wait_online()
    cluster.wait_settled()
