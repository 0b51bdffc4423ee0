"""A votequorum engine that dies is followed by one that knows what it knew; a node that restarts is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from corosyncd.engines.votequorum import kept, wire
from corosyncd.engines.votequorum.ballot import WINDOW_TIMER
from corosyncd.engines.votequorum.device import DEVICE_TIMER
from corosyncd.keyspace.values import Value, text, uint32
from libvotequorum import messages
from libvotequorum.messages import QDEVICE_REGISTER_REQUEST, InfoFlag
from tests.unit.quorum_cluster import QuorumCluster, configuration


def cluster(count: int = 3, votes: Mapping[int, int] | None = None, **options: Any) -> QuorumCluster:
    nodes = range(1, count + 1)
    return QuorumCluster(nodes, configuration(nodes, votes, **options))


def replaced(ring: QuorumCluster, node: int = 1, form: bool = True) -> QuorumCluster:
    """The engine of a node dies, and the executive forms the same ring anew for its successor."""
    members = next(each.members for each in ring.rings if node in each.members)
    ring.replace_engine(node)
    if form:
        ring.form(members)
    return ring


def test_a_successor_says_nothing_before_the_round() -> None:
    ring = replaced(cluster(), form=False)
    assert not ring[1].host.multicasts
    assert ring.quorate(1) == [True]


def test_votes_and_expected_votes_set_at_run_time_survive() -> None:
    ring = cluster()
    for body in (messages.SetexpectedRequest(5).encode(), messages.SetvotesRequest(2, 1).encode()):
        ring[1].request(ring[1].connect(), body)
        ring.run()
    before = ring.info(1)
    assert replaced(ring).info(1) == before
    assert ring.ballot(1).votes.expected_barrier == 5


def test_a_satisfied_wait_for_all_stays_satisfied_with_a_node_missing() -> None:
    ring = cluster(wait_for_all=1)
    ring.form([1, 2])
    replaced(ring, 1)
    replaced(ring, 2)
    assert ring.quorate(1, 2) == [True, True]


def test_an_unsatisfied_wait_for_all_goes_on() -> None:
    nodes = [1, 2, 3]
    ring = QuorumCluster(nodes, configuration(nodes, wait_for_all=1), form=False)
    ring.form([1, 2])
    assert replaced(ring).quorate(1, 2) == [False, False]
    ring.form(nodes)
    assert ring.quorate() == [True, True, True]


def test_a_restarted_node_waits_for_all_again() -> None:
    ring = cluster(wait_for_all=1)
    for node in (1, 2):
        ring.start(node)
    ring.form([1, 2])
    assert ring.quorate(1, 2) == [False, False]


def test_the_tie_breaker_still_knows_the_lowest_node_and_the_last_members() -> None:
    ring = cluster(4, auto_tie_breaker=1)
    replaced(ring, 1)
    ring.form([1, 2])
    ring.form([3, 4])
    assert ring.quorate() == [True, True, False, False]


def test_an_open_last_man_standing_window_is_opened_again() -> None:
    ring = cluster(4, last_man_standing=1, last_man_standing_window=500)
    ring.form([1, 2, 3])
    replaced(ring, 1, form=False)
    assert ring[1].host.timers[WINDOW_TIMER] == pytest.approx(0.5)
    ring.expire(1, WINDOW_TIMER)
    assert ring.expected(1) == 3


def test_last_man_standing_that_was_disabled_for_good_stays_so() -> None:
    ring = cluster(3, {3: 2}, last_man_standing=1)
    assert not replaced(ring).info(1).flags & InfoFlag.LAST_MAN_STANDING


def test_the_tracking_barrier_survives() -> None:
    ring = cluster(expected_votes_tracking=1)
    ring[1].request(ring[1].connect(), messages.SetexpectedRequest(5).encode())
    ring.run()
    assert replaced(ring).ballot(1).votes.tracking_barrier == 5


def test_the_device_stays_registered_and_has_its_timeout_to_come_back() -> None:
    ring = cluster(2, device_model="net", device_timeout=700)
    node = ring[1]
    node.request(node.connect(), messages.QdeviceNameRequest("qd").encode(QDEVICE_REGISTER_REQUEST))
    ring.run()
    poll = messages.QdevicePollRequest("qd", True, *ring.ballot(1).votes.ring_id).encode()
    node.request(node.connect(), poll)
    ring.run()
    before = ring.info(1)
    assert before.flags & InfoFlag.QDEVICE_CAST_VOTE
    replaced(ring, form=False)
    assert ring.info(1) == before
    assert ring[1].host.timers[DEVICE_TIMER] == pytest.approx(0.7)


def test_a_configuration_changed_meanwhile_is_announced() -> None:
    ring = cluster()
    ring.keys[1] = {**ring.keys[1], "nodelist.node.0.quorum_votes": uint32(2)}
    replaced(ring, form=False)
    sent = [wire.decode(int.from_bytes(message[:2], "little"), message) for _, message in ring[1].host.multicasts]
    assert wire.Reconfigure(1, 2, wire.Parameter.NODE_VOTES) in sent


def test_a_conflict_that_a_reload_lived_with_does_not_refuse_the_successor() -> None:
    ring = cluster(3, last_man_standing=1)
    conflict: dict[str, Value] = {"quorum.device.model": text("net")}
    ring.change(1, conflict)
    ring.keys[1] = {**ring.keys[1], **conflict}
    assert replaced(ring).quorate() == [True, True, True]
    ring.keys[1] = {**ring.keys[1], "quorum.expected_votes": uint32(9999)}
    assert replaced(ring).quorate() == [True, True, True]
    assert ring[1].host.lines[0][0] == "crit"


def test_what_is_kept_is_what_is_read() -> None:
    ring = cluster(4, auto_tie_breaker=1, auto_tie_breaker_node="3 1")
    ring.form([1, 2, 3])
    blob = ring[1].host.kept
    assert blob is not None
    state = kept.decode(blob)
    assert (state.votes, state.settings) == (ring.ballot(1).votes, ring.ballot(1).settings)
    assert state.encode() == blob


def test_nothing_is_handed_over_twice() -> None:
    ring = cluster()
    ring[1].host.kept = None
    ring.info(1)
    assert ring[1].host.kept is None
