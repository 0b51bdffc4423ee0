"""A firewall between two of three nodes: with our node between them one ring stands, and ours name the two where they see it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import Lab, Node, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

TOTEM = {"token": 1000, "token_coefficient": 0}
STATISTICS = ("corosync-cmapctl", "-m", "stats", "-q")
PAIR = "stats.totem.broken_pair.1-3"
NAMED = "Nodes 1 and 3 do not reach each other"
UNDISTURBED = 8
"""Seconds of the first back-off in which nothing happens: without the rule a ring of these timeouts breaks up every 1.2 s."""


def statistic(node: Node, key: str) -> int | None:
    """A number of the statistics map; None where there is no such key."""
    output = node.run(*STATISTICS, "-g", key, check=False).stdout
    return int(output) if output.strip().isdecimal() else None


def cut(lab: Lab) -> None:
    """Nodes 1 and 3 do not reach each other any more."""
    lab.node(1).block(3)
    lab.node(3).block(1)


def heal(lab: Lab) -> None:
    lab.node(1).clear_rules()
    lab.node(3).clear_rules()


def wait_named(node: Node) -> None:
    """Until the node has the pair in its statistics and in its log."""
    wait_until(lambda: statistic(node, f"{PAIR}.backoff"), f"node {node.number}: the broken pair", explain=node.log)
    assert NAMED in node.log(400)


def ring_id(node: Node) -> str:
    """The configuration that the node's quorum service knows."""
    return next(line for line in node.run("corosync-quorumtool", "-s", check=False).stdout.splitlines() if "Ring ID" in line)


@pytest.fixture(params=["ours", "stock"])
def bridge(request: pytest.FixtureRequest) -> Iterator[tuple[Lab, str]]:
    """A ring of nodes 1 and 3, which are ours, and 2, which reaches both."""
    with Lab(3) as lab:
        for number in (1, 2, 3):
            if number == 2 and request.param == "stock":
                lab.stock_node(2, "totem {\n" + "".join(f"  {key}: {value}\n" for key, value in TOTEM.items()) + "}\n")
            else:
                lab.our_node(number, totem=TOTEM)
        lab.wait_ring((1, 2, 3))
        yield lab, request.param


def test_two_nodes_that_do_not_reach_each_other_are_named_and_one_of_them_left_out(bridge: tuple[Lab, str]) -> None:
    lab, kind = bridge
    cut(lab)
    if kind == "stock":
        for number in (1, 3):
            wait_named(lab.node(number))
        return
    middle = lab.node(2)
    wait_named(middle)
    assert statistic(middle, f"{PAIR}.victim") == 3
    wait_until(lambda: "A new membership" in middle.log(400).rpartition(NAMED)[2], "the ring without node 3", explain=middle.log)
    wait_until(lambda: ring_id(lab.node(1)) == ring_id(middle), "one ring of nodes 1 and 2", explain=middle.log)
    assert middle.members() == {1, 2}
    formed = [statistic(lab.node(number), "stats.srp.operational_entered") for number in (1, 2)]
    whole = statistic(middle, f"{PAIR}.backoff")
    assert whole is not None

    def waited() -> bool:
        left = statistic(middle, f"{PAIR}.left")
        return left is not None and left <= whole - UNDISTURBED

    wait_until(waited, "a part of the back-off to pass", explain=middle.log)
    assert [statistic(lab.node(number), "stats.srp.operational_entered") for number in (1, 2)] == formed
    heal(lab)
    lab.wait_ring((1, 2, 3))
    assert statistic(middle, "stats.totem.broken_pairs") == 0
