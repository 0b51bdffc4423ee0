"""The quorum device: registration, polls, silence, and what it does to a round and to the count."""

from __future__ import annotations

from typing import Any

import pytest

from coroipc.errors import Status
from coroipc.layouts import response_status
from corosyncd.engines.votequorum import wire
from corosyncd.engines.votequorum.device import DEVICE_TIMER
from corosyncd.engines.votequorum.nodes import NodeFlag
from corosyncd.keyspace.values import text, uint8, uint32
from corosyncd.totem.events import RingId
from libvotequorum import messages
from libvotequorum.messages import QDEVICE_REGISTER_REQUEST, QDEVICE_UNREGISTER_REQUEST, InfoFlag, Track
from tests.unit.quorum_cluster import QuorumCluster, configuration

DEVICE: dict[str, Any] = {"device_model": "net"}


def cluster(count: int = 2, **options: Any) -> QuorumCluster:
    nodes = range(1, count + 1)
    return QuorumCluster(nodes, configuration(nodes, **options))


def ask(ring: QuorumCluster, body: bytes, node: int = 1) -> Status:
    """The status of one request, waiting for the ring where the answer does."""
    client = ring[node].connect()
    responses = ring[node].request(client, body)
    ring.run()
    (response,) = responses or ring[node].host.take_responses(client)
    return Status(response_status(response))


def register(ring: QuorumCluster, name: str = "qd", node: int = 1) -> Status:
    return ask(ring, messages.QdeviceNameRequest(name).encode(QDEVICE_REGISTER_REQUEST), node)


def unregister(ring: QuorumCluster, name: str = "qd", node: int = 1) -> Status:
    return ask(ring, messages.QdeviceNameRequest(name).encode(QDEVICE_UNREGISTER_REQUEST), node)


def poll(ring: QuorumCluster, vote: bool = True, name: str = "qd", node: int = 1, ring_id: RingId | None = None) -> Status:
    representative, sequence = ring_id or ring.ballot(node).votes.ring_id
    return ask(ring, messages.QdevicePollRequest(name, vote, representative, sequence).encode(), node)


def master_wins(ring: QuorumCluster, allow: bool, node: int = 1) -> Status:
    return ask(ring, messages.QdeviceMasterWinsRequest("qd", allow).encode(), node)


# Registration ---------------------------------------------------------------------------------------------------------------


def test_a_registration_is_answered_when_it_has_gone_round_the_ring() -> None:
    ring = cluster(2, **DEVICE)
    node = ring[1]
    client = node.connect()
    assert node.request(client, messages.QdeviceNameRequest("qd").encode(QDEVICE_REGISTER_REQUEST)) == []
    ring.run()
    (response,) = node.host.take_responses(client)
    assert response_status(response) == Status.OK
    assert ring.info(1).flags & InfoFlag.QDEVICE_REGISTERED
    assert ring.info(2, about=1).flags & InfoFlag.QDEVICE_REGISTERED
    assert [ring.info(number).qdevice_name for number in (1, 2)] == ["qd", "qd"]


def test_a_second_registration_meanwhile_has_to_try_again() -> None:
    ring = cluster(1)
    body = messages.QdeviceNameRequest("qd").encode(QDEVICE_REGISTER_REQUEST)
    assert ring[1].request(ring[1].connect(), body) == []
    (response,) = ring[1].request(ring[1].connect(), body)
    assert response_status(response) == Status.TRY_AGAIN


def test_the_same_name_again_is_ok_another_one_exists() -> None:
    ring = cluster(2)
    assert [register(ring), register(ring), register(ring, "other")] == [Status.OK, Status.OK, Status.EXIST]
    assert register(ring, "other", node=2) == Status.EXIST
    assert register(ring, node=2) == Status.OK


def test_a_registration_whose_program_has_gone_answers_nobody_and_does_not_count() -> None:
    ring = cluster(1)
    client = ring[1].connect()
    ring[1].request(client, messages.QdeviceNameRequest("qd").encode(QDEVICE_REGISTER_REQUEST))
    ring[1].disconnect(client)
    ring.run()
    assert not ring[1].host.responses
    assert not ring.info(1).flags & InfoFlag.QDEVICE_REGISTERED
    assert register(ring, "other") == Status.OK


def test_two_nodes_that_register_different_names_at_once_get_one_name() -> None:
    ring = cluster(2)
    clients = {1: ring[1].connect(), 2: ring[2].connect()}
    for node, client in clients.items():
        name = f"device of {node}"
        assert ring[node].request(client, messages.QdeviceNameRequest(name).encode(QDEVICE_REGISTER_REQUEST)) == []
    ring.run()
    statuses = [response_status(ring[node].host.take_responses(client)[0]) for node, client in clients.items()]
    assert statuses == [Status.OK, Status.EXIST]


def test_the_name_repeated_for_a_new_ring_does_not_answer_a_registration_under_another_one() -> None:
    ring = cluster(2)
    register(ring, "theirs", node=2)
    node = ring[1]
    client = node.connect()
    half = ring.install([1])
    assert node.engine.sync_step()
    node.request(client, messages.QdeviceNameRequest("ours").encode(QDEVICE_REGISTER_REQUEST))
    ring.run_round(half)
    (response,) = node.host.take_responses(client)
    assert response_status(response) == Status.EXIST
    assert not ring.info(1).flags & InfoFlag.QDEVICE_REGISTERED


@pytest.mark.parametrize("name", ["", "x" * 255])
def test_a_name_that_does_not_fit_is_refused(name: str) -> None:
    body = QDEVICE_REGISTER_REQUEST.pack(name.encode())
    assert ask(cluster(1), body) == Status.INVALID_PARAM


def test_the_name_is_told_to_nodes_that_join_later() -> None:
    ring = cluster(3)
    ring.form([1, 2])
    register(ring)
    ring.start(3)
    ring.form([3])
    ring.form([1, 2, 3])
    assert ring.info(3).qdevice_name == "qd"


def test_the_name_lives_until_the_last_device_has_unregistered() -> None:
    ring = cluster(2)
    register(ring)
    register(ring, node=2)
    assert unregister(ring) == Status.OK
    assert ring.info(1).qdevice_name == "qd"
    assert unregister(ring, node=2) == Status.OK
    assert [ring.info(node).qdevice_name for node in (1, 2)] == ["", ""]


def test_a_registration_outlives_its_program() -> None:
    ring = cluster(1)
    register(ring)
    for client in list(range(1, 4)):
        ring[1].engine.client_gone(ring[1].connect(client))
    assert ring.info(1).flags & InfoFlag.QDEVICE_REGISTERED


def test_a_rename_reaches_all_nodes() -> None:
    ring = cluster(2)
    register(ring)
    assert ask(ring, messages.QdeviceUpdateRequest("qd", "better").encode()) == Status.OK
    assert [ring.info(node).qdevice_name for node in (1, 2)] == ["better", "better"]
    assert ask(ring, messages.QdeviceUpdateRequest("qd", "worse").encode()) == Status.INVALID_PARAM


def test_calls_of_an_unregistered_device_do_not_exist_and_of_another_name_are_invalid() -> None:
    ring = cluster(1)
    calls = [
        lambda name: unregister(ring, name),
        lambda name: ask(ring, messages.QdeviceUpdateRequest(name, "new").encode()),
        lambda name: poll(ring, name=name),
        lambda name: ask(ring, messages.QdeviceMasterWinsRequest(name, True).encode()),
    ]
    assert [call("qd") for call in calls] == [Status.NOT_EXIST] * 4
    register(ring)
    assert [call("other") for call in calls] == [Status.INVALID_PARAM] * 4


def test_a_device_that_the_configuration_rules_out_is_denied_access() -> None:
    ring = cluster(3, allow_downscale=1)
    register(ring)
    ring.change(1, {"quorum.device.model": text("net")})
    assert ring.key("qdevice_can_operate") == 0
    assert [register(ring), poll(ring), master_wins(ring, True)] == [Status.ACCESS] * 3


# Votes ----------------------------------------------------------------------------------------------------------------------


def test_a_polling_device_s_vote_keeps_its_half_quorate() -> None:
    ring = cluster(2, **DEVICE)
    register(ring)
    assert poll(ring) == Status.OK
    info = ring.info(1)
    assert (info.expected_votes, info.total_votes, info.quorum, info.qdevice_votes) == (3, 3, 2, 1)
    half = ring.install([1])
    assert ring.steps(half) == [1]
    poll(ring)
    ring[1].host.said.remove("sync_step_done")
    ring.finish(half)
    ring.form([2])
    assert ring.quorate() == [True, False]


def test_the_total_counts_the_device_of_the_node_asked_for() -> None:
    ring = cluster(2, **DEVICE)
    register(ring)
    poll(ring)
    assert [ring.info(1, about=node).total_votes for node in (1, 2)] == [3, 2]
    wanted = InfoFlag.QDEVICE_REGISTERED | InfoFlag.QDEVICE_ALIVE | InfoFlag.QDEVICE_CAST_VOTE
    assert ring.info(2, about=1).flags & wanted == wanted


def test_a_registered_device_is_listed_behind_the_nodes() -> None:
    ring = cluster(2, **DEVICE)
    register(ring)
    client = ring[1].connect()
    ring[1].request(client, messages.TrackstartRequest(1, Track.CURRENT).encode())
    _, quorum = map(messages.decode_event, ring[1].host.take_events(client))
    assert isinstance(quorum, messages.QuorumNotification)
    assert quorum.nodes == ((2, 1), (1, 1), (0, 0))


def test_a_poll_for_another_ring_is_a_message_error() -> None:
    ring = cluster(1)
    register(ring)
    assert poll(ring, ring_id=RingId(1, 999)) == Status.MESSAGE_ERROR
    assert not ring.info(1).flags & InfoFlag.QDEVICE_ALIVE


def test_a_repeated_poll_sends_nothing_but_restarts_the_timeout() -> None:
    ring = cluster(1, **DEVICE, device_timeout=700)
    register(ring)
    poll(ring)
    ring.delivered.clear()
    ring[1].host.clock = 5.0
    poll(ring)
    assert ring.delivered == []
    assert ring[1].host.timers[DEVICE_TIMER] == pytest.approx(5.7)
    poll(ring, vote=False)
    assert [wire.decode(0, message) for _, message in ring.delivered] == [wire.NodeInfo(1, 1, 1, 0x39)]


def test_a_silent_device_loses_its_vote_but_stays_registered() -> None:
    ring = cluster(2, **DEVICE)
    register(ring)
    poll(ring)
    ring.expire(1, DEVICE_TIMER)
    flags = ring.info(1).flags
    assert flags & InfoFlag.QDEVICE_REGISTERED
    assert not flags & (InfoFlag.QDEVICE_ALIVE | InfoFlag.QDEVICE_CAST_VOTE)
    assert ("info", "Lost contact with quorum device qd") in ring[1].host.lines


def test_unregistering_ends_the_vote() -> None:
    ring = cluster(2, **DEVICE)
    register(ring)
    poll(ring)
    unregister(ring)
    assert ring.ballot(2).votes.nodes[1].flags == NodeFlag.QUORATE
    assert DEVICE_TIMER not in ring[1].host.timers


def test_an_inquorate_node_believes_a_quorate_one_about_the_device_s_votes_others_only_more() -> None:
    ring = cluster(3, **DEVICE, device_votes=1)
    assert ring.ballot(1).votes.device_votes == 1
    ring.form([1])
    engine = ring[1].engine
    engine.deliver(1, 0, bytes(16) + wire.NodeInfo(0, 0, 0, 0).body())
    assert ring.ballot(1).votes.device_votes == 1
    engine.deliver(2, 0, bytes(16) + wire.NodeInfo(2, 1, 3, NodeFlag.QUORATE).body())
    engine.deliver(2, 0, bytes(16) + wire.NodeInfo(0, 2, 0, 0).body())
    assert ring.ballot(1).votes.device_votes == 2


def test_master_wins_keeps_a_minority_with_the_device_quorate() -> None:
    ring = cluster(5, **DEVICE, device_votes=1)
    register(ring)
    poll(ring)
    assert master_wins(ring, True) == Status.OK
    assert ring.key("qdevice_master_wins") == 1
    half = ring.install([1, 2])
    ring.steps(half)
    poll(ring)
    ring[1].host.said.clear()
    ring.finish(half)
    assert ring.quorate(1) == [True]
    assert ring.quorate(2) == [False], "the other member did not consent"
    master_wins(ring, False)
    assert ring.quorate(1) == [False]


# Rounds ---------------------------------------------------------------------------------------------------------------------


def registered_and_alive(count: int = 3) -> QuorumCluster:
    ring = cluster(count, **DEVICE, device_votes=1, device_timeout=700, device_sync_timeout=2000)
    register(ring)
    poll(ring)
    return ring


def test_a_round_waits_for_the_poll_of_a_live_device() -> None:
    ring = registered_and_alive()
    half = ring.install([1, 2])
    node = ring[1]
    assert node.host.timers[DEVICE_TIMER] == pytest.approx(node.host.clock + 2.0)
    assert ring.steps(half) == [1]
    old = poll(ring, ring_id=RingId(1, 4))
    assert (old, node.host.said) == (Status.MESSAGE_ERROR, [])
    assert poll(ring) == Status.OK
    assert node.host.said == ["sync_step_done"]
    node.host.said.clear()
    ring.finish(half)


def test_the_vote_of_a_poll_during_the_round_leaves_before_the_barrier() -> None:
    ring = registered_and_alive()
    ring.install([1])
    node = ring[1]
    assert not node.engine.sync_step()
    node.host.take_multicasts()
    representative, sequence = ring.ballot(1).votes.ring_id
    node.request(node.connect(), messages.QdevicePollRequest("qd", False, representative, sequence).encode())
    ((kind, _),) = node.host.take_multicasts()
    assert kind.name == "CURRENT"
    assert node.host.said == ["sync_step_done"]


def test_a_round_goes_on_when_the_device_was_silent_for_the_sync_timeout() -> None:
    ring = registered_and_alive()
    half = ring.install([1, 2])
    assert ring.steps(half) == [1]
    ring.expire(1, DEVICE_TIMER)
    assert ring[1].host.said == ["sync_step_done"]
    ring[1].host.said.clear()
    ring.finish(half)
    assert not ring.info(1).flags & InfoFlag.QDEVICE_ALIVE
    ring.form([1])


def test_a_round_goes_on_when_the_device_unregisters() -> None:
    ring = registered_and_alive()
    half = ring.install([1, 2])
    assert ring.steps(half) == [1]
    unregister(ring)
    assert ring[1].host.said == ["sync_step_done"]


def test_a_poll_before_the_step_spares_the_wait() -> None:
    ring = registered_and_alive()
    ring.install([1, 2])
    poll(ring)
    assert ring[1].engine.sync_step()


def test_a_poll_between_a_new_ring_and_its_step_says_nothing_for_the_old_step() -> None:
    ring = registered_and_alive()
    ring.steps(ring.install([1, 2]))
    ring.install([1])
    poll(ring)
    assert ring[1].host.said == []


def test_a_poll_after_an_aborted_step_says_nothing_for_it() -> None:
    ring = registered_and_alive()
    half = ring.install([1, 2])
    ring.steps(half)
    ring.abort(half)
    poll(ring)
    assert ring[1].host.said == []


def test_a_device_configured_at_run_time_brings_its_votes() -> None:
    ring = cluster(2)
    for node in (1, 2):
        ring.change(node, {"quorum.device.model": text("net"), "quorum.device.timeout": uint32(900)})
    assert [ring.info(node).qdevice_votes for node in (1, 2)] == [1, 1]
    assert (ring.expected(), ring.quorum()) == (3, 2)
    assert ring.key("qdevice_can_operate") == 1


def test_two_node_configured_beside_a_registered_device_is_ignored() -> None:
    ring = cluster(2, **DEVICE)
    register(ring)
    ring.change(1, {"quorum.two_node": uint8(1)})
    assert ring.key("two_node") == 0
    assert register(ring) == Status.OK
