"""Deaths found through closed ports, beside stock nodes too; a firewall that rejects; daemons that are not scheduled."""

from __future__ import annotations

import signal
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import pytest

from tests.lab import Lab, Node, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

ALL = (1, 2, 3)
EARLY = "says that the port of its ring is closed"
SHORT = {"token": 1000, "token_coefficient": 0}
PAUSE_SECONDS = 1.8
"""More than a fifth and less than the whole of the default token timeout of three nodes, 3.65 s."""
COUNTERS = ("operational_entered", "operational_token_lost", "consensus_timeouts")


def statistic(node: Node, key: str) -> int:
    return int(node.run("corosync-cmapctl", "-m", "stats", "-q", "-g", f"stats.{key}").stdout)


def ring_counters(node: Node) -> tuple[int, ...]:
    return tuple(statistic(node, f"srp.{name}") for name in COUNTERS)


@contextmanager
def ring(ours: Collection[int], totem: dict[str, object] | None = None) -> Iterator[Lab]:
    """Three nodes, some of them ours, the others stock; their hosts answer every datagram to a closed port."""
    with Lab(len(ALL)) as lab:
        for number in ALL:
            # A machine that is loaded may space the probes so that the kernel's six answers in a row prove nothing.
            lab.node(number).run("sh", "-c", "echo 0 >/proc/sys/net/ipv4/icmp_ratelimit")
            if number in ours:
                lab.our_node(number, totem=totem or {})
            else:
                lab.stock_node(number)
        lab.wait_ring(ALL)
        yield lab


def check_death(lab: Lab, victim: int, ours: Collection[int]) -> None:
    """Kill a node's daemon: the survivors have one more configuration, and no timer of theirs has expired for it."""
    survivors = [number for number in ALL if number != victim]
    before = {number: ring_counters(lab.node(number)) for number in survivors}
    lab.node(victim).kill()
    lab.wait_ring(survivors)
    accusers = [number for number in survivors if number in ours]
    assert sum(statistic(lab.node(number), "totem.early_accusations") for number in accusers) >= 1
    assert any(f"node {victim} {EARLY}" in lab.node(number).log(400) for number in accusers)
    for number in survivors:
        entered, lost, timeouts = before[number]
        assert ring_counters(lab.node(number)) == (entered + 1, lost, timeouts), lab.node(number).log()


@pytest.mark.parametrize(
    ("ours", "victims"),
    [
        pytest.param((1, 2, 3), (3, 1), id="ours"),
        pytest.param((1, 3), (2, 1), id="two-of-ours-and-one-stock"),
        pytest.param((2,), (3, 1), id="one-of-ours-and-two-stock"),
    ],
)
def test_killed_daemons_are_found_through_their_closed_ports(ours: tuple[int, ...], victims: tuple[int, int]) -> None:
    """First one in the middle or at the end, then the representative."""
    other, representative = victims
    with ring(ours) as lab:
        check_death(lab, other, ours)
        lab.node(other).start()
        lab.wait_ring(ALL)
        check_death(lab, representative, ours)


def pause(node: Node, seconds: float) -> None:
    """The daemon's main process is not scheduled for so long."""
    assert node.process is not None
    node.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        node.process.send_signal(signal.SIGCONT)


def check_told(node: Node, pauses: int = 1) -> None:
    """The node has noticed and said it, and took nothing of it out on its engines."""
    wait_until(lambda: "Process pause detected for " in node.log(400), f"node {node.number}: the warning", explain=node.log)
    assert statistic(node, "totem.pauses") >= pauses
    assert "made no progress" not in node.log(400)
    assert "has died" not in node.log(400)


def test_a_pause_shorter_than_the_token_timeout_is_told_and_changes_no_configuration() -> None:
    with ring(ALL) as lab:
        before = [ring_counters(lab.node(other)) for other in ALL]
        pause(lab.node(1), PAUSE_SECONDS)
        check_told(lab.node(1))
        assert [ring_counters(lab.node(other)) for other in ALL] == before
        assert lab.node(1).members() == set(ALL)


def test_who_was_away_for_longer_comes_back_and_accuses_nobody_and_a_firewall_is_answered_early_once() -> None:
    with ring(ALL, SHORT) as lab:
        sleeper = lab.node(2)
        _, lost, timeouts = ring_counters(sleeper)
        assert sleeper.process is not None
        sleeper.process.send_signal(signal.SIGSTOP)
        try:
            lab.wait_ring((1, 3))
        finally:
            sleeper.process.send_signal(signal.SIGCONT)
        lab.wait_ring(ALL)
        check_told(sleeper)
        assert statistic(sleeper, "totem.early_accusations") == 0
        assert statistic(sleeper, "srp.consensus_timeouts") == timeouts
        assert statistic(sleeper, "srp.operational_token_lost") == lost

        first, middle, last = (lab.node(number) for number in ALL)
        last.block(1, reject=True)
        first.block(3, reject=True)
        wait_until(lambda: any(EARLY in node.log(400) for node in (first, last)), "an early accusation", explain=middle.log)
        # By then timers have broken up the ring twice more.
        wait_until(lambda: "do not reach each other" in middle.log(400), "the broken pair's name", explain=middle.log)
        assert all(statistic(node, "totem.early_accusations") <= 1 for node in (first, last))
        assert statistic(middle, "totem.early_accusations") == 0
