"""What votequorum answers to programs, and in which order events reach them."""

from __future__ import annotations

from typing import Any

import pytest

from coroipc.errors import Status
from coroipc.layouts import response_status, status_response
from corosyncd.engines.engine import Client
from corosyncd.engines.votequorum.decision import LARGEST_VOTE_SUM
from corosyncd.engines.votequorum.engine import VoteQuorumEngine
from corosyncd.keyspace.values import uint32
from libvotequorum import messages
from libvotequorum.messages import InfoFlag, NodeState, Request, Track, decode_event
from tests.unit.quorum_cluster import QuorumCluster, configuration

OK = status_response(0)


def cluster(count: int = 3, **options: Any) -> QuorumCluster:
    nodes = range(1, count + 1)
    return QuorumCluster(nodes, configuration(nodes, **options))


def ask(ring: QuorumCluster, body: bytes, node: int = 1) -> Status:
    """The status that one request gets at once; the ring then runs."""
    (response,) = ring[node].request(ring[node].connect(), body)
    ring.run()
    return Status(response_status(response))


def track(ring: QuorumCluster, flags: int = Track.CHANGES_ONLY, context: int = 77, node: int = 1) -> Client:
    """A tracking client that was told all it had coming."""
    client = ring[node].connect()
    assert ring[node].request(client, messages.TrackstartRequest(context, flags).encode()) == [OK]
    return client


def events(ring: QuorumCluster, client: Client, node: int = 1) -> list[messages.Event]:
    return [decode_event(event) for event in ring[node].host.take_events(client)]


# getinfo --------------------------------------------------------------------------------------------------------------------


def test_getinfo_tells_of_any_node() -> None:
    ring = QuorumCluster([1, 2, 3], configuration([1, 2, 3], {2: 2}))
    info = ring.info(1, about=2)
    assert (info.nodeid, info.state, info.votes, info.expected_votes) == (2, NodeState.MEMBER, 2, 4)
    assert (info.highest_expected, info.total_votes, info.quorum, info.flags) == (4, 4, 3, InfoFlag.QUORATE)
    assert ring.info(1) == ring.info(1, about=1)


def test_getinfo_of_a_node_that_is_gone_says_dead() -> None:
    ring = cluster()
    ring.form([1, 2])
    assert ring.info(1, about=3).state == NodeState.DEAD
    assert ring.info(1).total_votes == 2


def test_getinfo_of_an_unknown_node_is_all_zeros_behind_the_status() -> None:
    ring = cluster()
    (response,) = ring[1].request(ring[1].connect(), messages.GetinfoRequest(9).encode())
    assert len(response) == 320
    assert response_status(response) == Status.NOT_EXIST
    assert response[24:] == bytes(296)


def test_getinfo_shows_the_local_options() -> None:
    ring = cluster(4, wait_for_all=1, last_man_standing=1, auto_tie_breaker=1)
    assert ring.info().flags == (
        InfoFlag.QUORATE | InfoFlag.WAIT_FOR_ALL | InfoFlag.LAST_MAN_STANDING | InfoFlag.AUTO_TIE_BREAKER
    )
    assert cluster(2, allow_downscale=1).info().flags & InfoFlag.ALLOW_DOWNSCALE


# setexpected, setvotes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "status"), [(2, 7), (3, 1), (4, 1), (5, 1), (6, 7), (LARGEST_VOTE_SUM + 1, 7)])
def test_expected_votes_may_not_fall_below_what_is_there_nor_cost_the_quorum(value: int, status: int) -> None:
    ring = cluster(3)
    before = ring.expected()
    assert ask(ring, messages.SetexpectedRequest(value).encode()) == status
    assert [ring.expected(node) for node in (1, 2, 3)] == [value if status == 1 else before] * 3


def test_an_inquorate_part_may_be_told_to_expect_any_number_it_can_hold() -> None:
    ring = cluster(5)
    ring.form([1, 2])
    assert ask(ring, messages.SetexpectedRequest(9).encode()) == Status.OK
    assert ask(ring, messages.SetexpectedRequest(2).encode()) == Status.OK
    assert ring.quorate(1, 2) == [True, True]


def test_whoever_gets_the_answer_sees_the_new_numbers_before_the_ring_has_brought_them() -> None:
    ring = cluster(3)
    node = ring[1]
    client = node.connect()
    assert node.request(client, messages.SetexpectedRequest(5).encode()) == [OK]
    assert ring.info(1).expected_votes == 5
    assert node.request(client, messages.SetvotesRequest(2, 3).encode()) == [OK]
    assert ring.info(1, about=3).votes == 2


def test_votes_of_any_node_are_set_everywhere() -> None:
    ring = cluster(3)
    assert ask(ring, messages.SetvotesRequest(3, 2).encode()) == Status.OK
    assert [ring.info(node, about=2).votes for node in (1, 2, 3)] == [3, 3, 3]
    assert (ring.expected(), ring.quorum()) == (5, 3)
    assert ask(ring, messages.SetvotesRequest(2, 0).encode()) == Status.OK
    assert ring.info(2, about=1).votes == 2


def test_votes_of_an_unknown_node_cannot_be_set() -> None:
    assert ask(cluster(), messages.SetvotesRequest(1, 9).encode()) == Status.NAME_NOT_FOUND


@pytest.mark.parametrize("votes", [LARGEST_VOTE_SUM - 1, 0xFFFFFFFF])
def test_votes_whose_quorum_stock_could_not_hold_are_refused(votes: int) -> None:
    ring = cluster(3)
    assert ask(ring, messages.SetvotesRequest(votes, 2).encode()) == Status.INVALID_PARAM
    assert ring.info(1, about=2).votes == 1
    assert ring[1].host.lines[-1][0] == "error"


def test_votes_that_would_cost_the_quorum_are_refused() -> None:
    ring = cluster(3)
    ring.form([1, 2])
    assert ask(ring, messages.SetvotesRequest(0, 2).encode()) == Status.INVALID_PARAM
    assert ring.info(1, about=2).votes == 1


# Tracking -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "burst", "registers"),
    [(0, False, False), (1, True, False), (2, True, True), (3, True, True), (4, False, True), (5, True, True)],
)
def test_trackstart_tells_the_present_state_and_registers_as_asked(flags: int, burst: bool, registers: bool) -> None:
    ring = cluster(2)
    client = track(ring, flags)
    kinds = [type(event) for event in events(ring, client)]
    assert kinds == ([messages.NodeListNotification, messages.QuorumNotification] if burst else [])
    stopped = ring[1].request(client, status_response(Request.TRACKSTOP))
    assert response_status(stopped[0]) == (Status.OK if registers else Status.NOT_EXIST)


def test_a_second_trackstart_gets_the_burst_and_exist_and_keeps_the_first_context() -> None:
    ring = cluster(2)
    client = track(ring, Track.CHANGES, context=5)
    events(ring, client)
    for flags, burst in ((Track.CHANGES, 2), (Track.CURRENT, 2), (Track.CHANGES_ONLY, 0), (0, 0)):
        (response,) = ring[1].request(client, messages.TrackstartRequest(6, flags).encode())
        assert response_status(response) == Status.EXIST
        assert len(events(ring, client)) == burst
    ring.form([1])
    assert {event.context for event in events(ring, client)} == {5}


def test_events_of_a_round_come_in_order_member_list_then_expected_votes_then_quorum() -> None:
    nodes = [1, 2, 3]
    ring = QuorumCluster(nodes, configuration(nodes, expected_votes=2), form=False)
    ring.form([1, 2])
    client = track(ring, context=0xDEADBEEF01)
    joined = ring.form([1, 2, 3])
    representative, sequence = joined.ring_id
    assert events(ring, client) == [
        messages.NodeListNotification(0xDEADBEEF01, representative, sequence, (1, 2, 3)),
        messages.ExpectedVotesNotification(0xDEADBEEF01, 3),
        messages.QuorumNotification(0xDEADBEEF01, True, ((2, 1), (3, 1), (1, 1))),  # type: ignore[arg-type]
    ]


def test_quorum_events_list_dead_nodes_too_and_the_local_node_last() -> None:
    ring = cluster(3)
    client = track(ring, node=2)
    ring.form([2])
    _, quorum = events(ring, client, node=2)
    assert isinstance(quorum, messages.QuorumNotification)
    assert (quorum.quorate, quorum.nodes) == (False, ((1, 2), (3, 2), (2, 1)))


def test_clients_are_told_only_after_the_decision_is_confirmed() -> None:
    ring = cluster(3)
    client = track(ring)
    half = ring.install([1, 2])
    ring.steps(half)
    node = ring[1]
    assert node.engine.sync_activate() is False
    assert [type(event) for event in events(ring, client)] == [messages.NodeListNotification]
    assert node.host.said == []
    node.engine.quorate_confirmed()
    assert [type(event) for event in events(ring, client)] == [messages.QuorumNotification]
    assert node.host.said == ["sync_activated"]


def test_a_surplus_confirmation_means_nothing() -> None:
    ring = cluster(1)
    client = track(ring)
    ring[1].engine.quorate_confirmed()
    assert events(ring, client) == []
    assert ring[1].host.said == []


def test_decisions_go_out_one_at_a_time_and_none_is_lost() -> None:
    ring = cluster(4)
    ring.form([1, 2])
    client = track(ring)
    node = ring[1]
    for value in (2, 4):
        order = bytes(16) + bytes.fromhex(f"01000000 0{value}000000 01000000 00000000")
        node.engine.deliver(1, 1, order)
    assert [decision[0] for decision in node.host.quorate] == [True]
    ring.run()
    told = [event.quorate for event in events(ring, client) if isinstance(event, messages.QuorumNotification)]
    assert told == [True, False]


def test_a_new_ring_overtakes_a_decision_that_was_never_confirmed() -> None:
    ring = cluster(4)
    ring.form([1, 2])
    node = ring[1]
    node.engine.deliver(1, 1, bytes(16) + bytes.fromhex("01000000 02000000 01000000 00000000"))
    node.host.quorate.clear()
    ring.form([1, 2, 3])
    assert ring.quorate(1) == [True]
    assert len(node.host.said) == 0


def test_a_client_that_is_gone_is_told_nothing() -> None:
    ring = cluster(2)
    client = track(ring)
    ring[1].disconnect(client)
    ring.form([1])
    assert events(ring, client) == []


def test_changed_expected_votes_are_an_event_on_every_node() -> None:
    ring = cluster(3)
    clients = {node: track(ring, node=node) for node in (1, 2, 3)}
    assert ask(ring, messages.SetexpectedRequest(4).encode(), node=2) == Status.OK
    for node, client in clients.items():
        assert events(ring, client, node) == [messages.ExpectedVotesNotification(77, 4)]


# Bad requests ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_id", [number for number in Request if number != Request.TRACKSTOP])
def test_a_request_shorter_than_its_layout_is_an_invalid_parameter(request_id: int) -> None:
    assert ask(cluster(1), status_response(request_id)[:16]) == Status.INVALID_PARAM


def test_the_engine_describes_itself_as_stock_does() -> None:
    description = VoteQuorumEngine.description
    assert (description.service_id, description.functions, description.requests, description.priority) == (5, 4, 10, 2)
    assert description.open_during_sync
    assert not description.flow_controlled


def test_library_requests_work_during_a_round() -> None:
    ring = cluster(3)
    ring.install([1, 2])
    assert ring.info(1).votes == 1


def test_expected_votes_beyond_a_peer_s_word_are_answered_not_crashed_on() -> None:
    ring = cluster(2)
    ring[1].engine.deliver(2, 0, bytes(16) + bytes.fromhex("02000000 ffffffff ffffffff 01000000"))
    ring[1].engine.deliver(2, 0, bytes(16) + bytes.fromhex("00000000 ffffffff 00000000 00000000"))
    info = ring.info(1)
    assert (info.total_votes, info.qdevice_votes) == (0xFFFFFFFF, 0xFFFFFFFF)
    ring.change(1, {"quorum.expected_votes": uint32(2)})
