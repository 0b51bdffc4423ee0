"""Claims on fast failover: who is probed, which refusals prove a death, and what an accusation costs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from corosyncd.totem.events import ConfigurationKind
from corosyncd.totem.failover import ALL_PROBE_ALL, PROBE_INTERVAL
from corosyncd.totem.port_watch import SPACING, WINDOW, PortWatch
from corosyncd.totem.ring import State
from corosyncd.totem.timeouts import derive
from corosyncd.totem.wire import MembJoin, MergeDetect, OrfToken, decode, encode_memb_join, encode_merge_detect
from tests.unit.totem_cluster import Cluster, Node, formed

TOKEN = derive({}, 3).token


def dead(cluster: Cluster) -> Callable[[int, int], int | None]:
    """The hosts of nodes that are not alive are up, and say that nobody listens."""
    return lambda sender, receiver: None if cluster[receiver].alive else receiver


def killed(cluster: Cluster, *victims: int) -> None:
    cluster.refuses = dead(cluster)
    for victim in victims:
        cluster.kill(victim)


def probes(node: Node, since: float) -> list[tuple[float, int | None]]:
    """Merge-detects to one node; those to all are the representative's."""
    return [(when, to) for when, to, frame in node.sent if when >= since and to and isinstance(decode(frame), MergeDetect)]


def regular(node: Node) -> list[tuple[int, ...]]:
    return [item.members for item in node.configurations if item.kind is ConfigurationKind.REGULAR]


# Probes


def test_on_an_idle_ring_no_member_is_left_without_a_sign_of_life_for_longer_than_the_interval() -> None:
    cluster = formed(3)
    cluster.run(1)
    since = cluster.now
    cluster.run(5)
    for node in cluster.nodes.values():
        for other in cluster.nodes.keys() - {node.node_id}:
            times = [when for when, to, _ in node.sent if when >= since and to in (None, other)]
            assert max(b - a for a, b in pairwise(times)) <= PROBE_INTERVAL + 0.001
        assert len(probes(node, since)) <= 2 * 5 / PROBE_INTERVAL * 1.2


def test_a_node_that_multicasts_sends_no_probe() -> None:
    cluster = formed(3)
    cluster.run(1)
    since = cluster.now
    for _ in range(40):
        cluster[2].send(b"work")
        cluster.run(0.05)
    assert probes(cluster[2], since + 0.2) == []
    assert probes(cluster[1], since + 0.2), "who only passes the token on probes the node behind its successor"
    assert {to for _, to in probes(cluster[1], since + 0.2)} == {3}


def test_a_large_ring_probes_ring_successors_only() -> None:
    cluster = formed(ALL_PROBE_ALL + 1)
    cluster.run(1)
    since = cluster.now
    cluster.run(1)
    for node in cluster.nodes.values():
        assert {to for _, to in probes(node, since)} == {node.node_id % (ALL_PROBE_ALL + 1) + 1}


def test_without_the_feature_nobody_is_probed_and_refusals_prove_nothing() -> None:
    cluster = formed(3, {"fast_failover": 0})
    since = cluster.now
    killed(cluster, 3)
    cluster.run(TOKEN * 0.9)
    assert all(not probes(node, since) for node in cluster.nodes.values())
    assert cluster[1].ring.members == (1, 2, 3)


def test_the_feature_can_be_switched_while_the_ring_stands() -> None:
    cluster = formed(3, {"fast_failover": 0})
    since = cluster.now
    for node in cluster.nodes.values():
        node.ring.set_parameters(derive({"fast_failover": 1}, 3))
    cluster.run(1)
    assert probes(cluster[2], since)
    for node in cluster.nodes.values():
        node.ring.set_parameters(derive({"fast_failover": 0}, 3))
    since = cluster.now
    cluster.run(1)
    assert not probes(cluster[2], since)


# The death of a member


@pytest.mark.parametrize("victim", [1, 2, 3])
@pytest.mark.parametrize("busy", [False, True])
def test_the_survivors_form_their_ring_without_any_timeout(victim: int, busy: bool) -> None:
    cluster = formed(3)
    cluster.run(1)
    if busy:
        for node in cluster.nodes.values():
            node.send(*[bytes(1390)] * 100)
        cluster.run(0.0012)
    killed(cluster, victim)
    since = cluster.now
    survivors = [node for node in cluster.nodes.values() if node.alive]
    cluster.run_until(lambda: cluster.formed([node.node_id for node in survivors]), 0.5)
    assert cluster.now - since < 3.5 * PROBE_INTERVAL
    assert all(regular(node)[-2:] == [(1, 2, 3), tuple(n.node_id for n in survivors)] for node in survivors)
    assert all(node.ring.statistics.operational_token_lost == 0 for node in survivors)
    assert all(node.ring.statistics.consensus_timeouts == 0 for node in survivors)
    assert sum(node.ring.statistics.early_accusations for node in survivors) >= 1
    (line,) = {n.text for node in survivors for n in node.notices if "port of its ring" in n.text}
    assert f"node {victim} " in line


def test_two_deaths_at_once_leave_one_alone_at_once() -> None:
    cluster = formed(3)
    cluster.run(1)
    killed(cluster, 1, 2)
    cluster.run_until(lambda: cluster.formed([3]), 1.0)
    assert cluster[3].ring.statistics.consensus_timeouts == 0


# What proves nothing


def test_a_host_that_answers_nothing_is_left_to_the_token_timer() -> None:
    cluster = formed(3)
    cluster.run(1)
    cluster.kill(3)
    cluster.run(TOKEN * 0.8)
    assert cluster[1].ring.members == (1, 2, 3)


def test_refusals_in_the_name_of_another_host_are_counted_and_prove_nothing() -> None:
    cluster = formed(3)
    cluster.run(1)
    cluster.kill(3)
    cluster.refuses = lambda sender, receiver: 0 if receiver == 3 else None
    cluster.run(TOKEN * 0.8)
    assert cluster[1].ring.members == (1, 2, 3)
    assert cluster[1].ring.statistics.port_refused > 10


def test_a_member_that_is_heard_between_refusals_is_not_accused() -> None:
    """A firewall in one direction: what 1 sends to 3 is refused, what 3 sends arrives."""
    cluster = formed(3)
    cluster.run(1)
    cluster.refuses = lambda sender, receiver: 3 if (sender, receiver) == (1, 3) else None
    cluster.run(5)
    assert cluster[1].ring.statistics.port_refused > 10
    assert all(node.ring.statistics.early_accusations == 0 for node in cluster.nodes.values())
    assert cluster.formed((1, 2, 3))


def test_refusals_of_a_node_that_is_no_member_and_outside_operational_accuse_nobody() -> None:
    cluster = formed(2)
    ring = cluster[1].ring
    for step in range(10):
        cluster.now += 0.05
        ring.peer_port_refused(9, 9, cluster.now)
        ring.peer_port_refused(1, 1, cluster.now + step)
    assert (ring.state, ring.statistics.early_accusations) == (State.OPERATIONAL, 0)
    ring.receive(encode_memb_join(MembJoin(0, 7, 0, 7, 99, (7,), ())), 0, cluster.now)
    assert ring.state is State.GATHER
    for _ in range(10):
        cluster.now += 0.05
        ring.peer_port_refused(2, 2, cluster.now)
    cluster[1].act()
    joins = [join for *_, frame in cluster[1].sent if isinstance(join := decode(frame), MembJoin)]
    assert joins[-1].failed == ()


@pytest.mark.parametrize(
    ("sends", "gone"),
    [
        ([0.0, SPACING, 2 * SPACING], True),
        ([0.0, WINDOW / 2, WINDOW], True),
        ([0.0, 0.01, 0.02, 0.03], False),
        ([0.0, 0.1, 0.1, 0.1], False),
        ([0.0, 0.1, WINDOW + 0.01], False),
        ([0.0, 0.1, WINDOW + 0.01, WINDOW + 0.1], True),
        ([0.0, 0.35, 0.7, 1.05, 1.4], False),
    ],
)
def test_three_sends_a_while_apart_and_in_a_short_time_are_what_it_takes(sends: list[float], gone: bool) -> None:
    watch = PortWatch()
    verdicts = []
    for at in sends:
        watch.refused(2, 1000 + at)
        verdicts.append(watch.gone(1000 + at, TOKEN) == [2])
    assert verdicts[-1] is gone
    assert not any(verdicts[:2])


def test_what_was_refused_in_a_truce_proves_nothing_when_it_is_over() -> None:
    watch = PortWatch()
    watch.declare([2], 1000.0)
    for at in (0.1, 0.2, 0.3):
        watch.refused(2, 1000 + at)
    assert watch.gone(1000 + 2 * TOKEN, TOKEN) == []
    for at in (0.1, 0.2, 0.3):
        watch.refused(2, 1000 + 2 * TOKEN + at)
    assert watch.gone(1000 + 2 * TOKEN + 0.3, TOKEN) == [2]


@pytest.mark.parametrize("swapped", [False, True])
def test_any_frame_of_a_train_clears_its_sender_whatever_its_byte_order(swapped: bool) -> None:
    frame = encode_merge_detect(MergeDetect(0, 2, 0, 2, 1, 5))
    if swapped:
        frame = frame[1::-1] + frame[2:5] + frame[8:4:-1] + frame[9:]
    watch = PortWatch()
    watch.refused(2, 1.0)
    watch.refused(3, 1.0)
    watch.heard(b"\x70\xc0\x03" + frame, 0)
    watch.heard(frame[:8], 0)
    watch.heard(b"", 0)
    assert set(watch.suspects) == {2, 3}
    watch.heard(bytes(len(frame)) + frame, len(frame))
    assert set(watch.suspects) == {3}


# A firewall between two nodes that live


def test_a_member_that_was_declared_gone_and_is_back_is_left_alone_for_twice_the_token_timeout() -> None:
    cluster = formed(3)
    cluster.run(1)
    blocked = True
    cluster.refuses = lambda sender, receiver: receiver if blocked and {sender, receiver} == {1, 3} else None
    first = cluster.now
    cluster.run_until(lambda: len(regular(cluster[2])[-1]) == 2, 1.0)
    blocked = False
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))
    accused = [node.ring.statistics.early_accusations for node in cluster.nodes.values()]
    # Both ends see refusals and nothing of each other; but only one re-formation comes of it.
    assert sum(accused) in (1, 2)
    blocked = True
    cluster.run(first + 2 * TOKEN - cluster.now - 0.5)
    assert [node.ring.statistics.early_accusations for node in cluster.nodes.values()] == accused


def test_who_accuses_me_is_at_truce_with_me_too() -> None:
    """1 accuses 3 early; 3 hears of it from 2 and has no early word against 1 or 2 for the time of the truce."""
    cluster = formed(3)
    ring = cluster[3].ring
    ring.receive(encode_memb_join(MembJoin(0, 2, 0, 2, ring.ring_id.sequence, (1, 2, 3), (3,))), 0, cluster.now)
    assert ring.state is State.OPERATIONAL
    for _ in range(20):
        cluster.now += 0.05
        ring.handle_timer(cluster.now)
        ring.peer_port_refused(1, 1, cluster.now)
    assert (ring.state, ring.statistics.early_accusations) == (State.OPERATIONAL, 0)


def test_a_node_that_left_in_order_and_dies_soon_after_its_return_is_found_early() -> None:
    cluster = formed(3)
    cluster.run(1)
    cluster[3].ring.leave(cluster.now)
    cluster[3].act()
    cluster.kill(3)
    cluster.run_until(lambda: cluster.formed((1, 2)))
    cluster.restart(3)
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))
    killed(cluster, 3)
    cluster.run_until(lambda: cluster.formed((1, 2)), 0.5)


def test_a_token_is_a_sign_of_life_for_its_receiver() -> None:
    cluster = formed(2)
    cluster.run(1)
    since = cluster.now
    for _ in range(40):
        cluster[2].send(b"work")
        cluster.run(0.05)
    assert [to for when, to, frame in cluster[1].sent if when >= since and isinstance(decode(frame), OrfToken)]
    assert probes(cluster[1], since + 0.2) == []
