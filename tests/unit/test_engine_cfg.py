"""The cfg engine: links and nodes, kills, the shutdown vote, reload."""

from __future__ import annotations

import struct

import pytest

from coroipc.errors import Status
from coroipc.layouts import response_status
from corosyncd.engines import wire as ring
from corosyncd.engines.cfg import CfgEngine, wire
from corosyncd.engines.cfg.engine import REQUESTS_OPEN
from corosyncd.engines.cfg.wire import Function
from corosyncd.engines.engine import Client, KeyChange
from corosyncd.engines.wire import Source
from corosyncd.keyspace.values import Value, text, uint8, uint32
from libcfg.messages import (
    LOCAL_GET_REQUEST,
    RELOAD_CONFIG_REQUEST,
    REOPEN_LOG_FILES_REQUEST,
    RING_REENABLE_REQUEST,
    RING_STATUS_GET_REQUEST,
    TRACKSTOP_REQUEST,
    GetNodeAddrsRequest,
    GetNodeAddrsResponse,
    Interface,
    KillNodeRequest,
    LinkStatus,
    LocalGetResponse,
    NodeStatus,
    NodeStatusRequest,
    ReplytoShutdownRequest,
    RingStatusResponse,
    ShutdownFlag,
    ShutdownRequested,
    TrackstartRequest,
    TryShutdownRequest,
    decode_event,
)
from tests.unit import ring_vectors as captured
from tests.unit.fake_host import Cluster, Node


def keys(own: int = 1, transport: str = "udpu") -> dict[str, Value]:
    """The map of one node of three; node 3 has left, node 4 is configured by name and was never there."""
    found = {
        "totem.transport": text(transport),
        "nodelist.local_node_pos": uint32(own - 1),
        "nodelist.node.3.nodeid": uint32(4),
        "nodelist.node.3.ring0_addr": text("node-four"),
    }
    for node_id in (1, 2, 3):
        found[f"nodelist.node.{node_id - 1}.nodeid"] = uint32(node_id)
        found[f"nodelist.node.{node_id - 1}.ring0_addr"] = text(f"10.84.0.{node_id}")
        found[f"runtime.members.{node_id}.ip"] = text(f"r(0) ip(10.84.0.{node_id}) ")
        found[f"runtime.members.{node_id}.status"] = text("left" if node_id == 3 else "joined")
    return found


class Program:
    """A client of one node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.client: Client = node.connect()

    def answers(self, body: bytes) -> list[bytes]:
        return self.node.request(self.client, body)

    def ask(self, body: bytes) -> bytes:
        (answer,) = self.answers(body)
        return answer

    def status(self, body: bytes) -> int:
        return response_status(self.ask(body))

    def late(self) -> list[int]:
        """Statuses that came after their request."""
        return [response_status(answer) for answer in self.node.host.take_responses(self.client)]

    def track(self) -> Program:
        assert self.status(TrackstartRequest().encode()) == Status.OK
        return self

    def events(self) -> list[ShutdownRequested]:
        return [decode_event(event) for event in self.node.host.take_events(self.client)]

    def reply(self, agree: bool) -> int:
        return self.status(ReplytoShutdownRequest(agree).encode())


@pytest.fixture
def node() -> Node:
    return Node(CfgEngine, 1, keys())


@pytest.fixture
def program(node: Node) -> Program:
    return Program(node)


# Ring messages.


def message(function: int, body: bytes) -> bytes:
    return ring.header(wire.SERVICE_ID, function, 16 + len(body)) + body


def test_messages_are_encoded_as_stock_nodes_do() -> None:
    assert message(Function.KILL_NODE, wire.encode_kill_node(3, "Killed by corosync-cfgtool")) == captured.CFG_KILL_NODE
    assert message(Function.SHUTDOWN, b"") == captured.CFG_SHUTDOWN
    assert message(Function.RELOAD_CONFIG, wire.encode_reload(Source(1, 0x5621C161BA20))) == captured.CFG_RELOAD
    assert message(Function.CRYPTO_RECONFIG, wire.encode_crypto_phase(1)) == captured.CFG_CRYPTO_PHASE_1


def test_messages_of_stock_nodes_are_understood() -> None:
    assert wire.decode_kill_node(captured.CFG_KILL_NODE.data) == (3, "Killed by corosync-cfgtool")
    assert wire.decode_reload(captured.CFG_RELOAD.data) == Source(1, 0x5621C161BA20)
    assert wire.decode_crypto_phase(captured.CFG_CRYPTO_PHASE_1.data) == 1


def test_a_reason_without_nul_ends_at_its_length() -> None:
    raw = message(Function.KILL_NODE, struct.pack("<I4x", 1) + ring.pack_name(b"x" * 256))
    assert wire.decode_kill_node(raw).reason == "x" * 256


def test_a_reason_is_cut_to_what_stock_nodes_can_read() -> None:
    assert wire.decode_kill_node(message(Function.KILL_NODE, wire.encode_kill_node(1, "é" * 200))).reason.startswith("é" * 127)


@pytest.mark.parametrize(("function", "size"), [(1, 288), (3, 32), (4, 24)])
def test_a_ring_message_shorter_than_its_layout_is_refused(node: Node, function: int, size: int) -> None:
    for length in (16, size - 1):
        with pytest.raises((ValueError, struct.error)):
            node.engine.deliver(2, function, bytes(length))


def test_an_impossible_reason_length_is_refused(node: Node) -> None:
    data = bytearray(captured.CFG_KILL_NODE.data)
    data[24:26] = struct.pack("<H", 257)
    with pytest.raises(ValueError):
        node.engine.deliver(2, Function.KILL_NODE, bytes(data))


def test_ring_reenable_and_crypto_phases_of_others_do_nothing(node: Node) -> None:
    node.engine.deliver(2, Function.RING_REENABLE, bytes(32))
    node.engine.deliver(2, Function.CRYPTO_RECONFIG, captured.CFG_CRYPTO_PHASE_1.data)
    assert (node.host.multicasts, node.host.lines) == ([], [])


# Links and nodes.


def test_ring_status_names_the_own_link(program: Program) -> None:
    answer = program.ask(RING_STATUS_GET_REQUEST.pack())
    assert len(answer) == 10272
    assert RingStatusResponse.decode(answer).interfaces == (Interface("0 10.84.0.1", "OK"),)
    assert answer[32:43] == b"0 10.84.0.1"
    assert answer[2080:2083] == b"OK\0"


@pytest.mark.parametrize(
    ("node_id", "connected"),
    [(1, True), (2, True), (3, False)],
)
def test_node_status_on_udpu_has_one_link_with_the_peers_address(program: Program, node_id: int, connected: bool) -> None:
    answer = program.ask(NodeStatusRequest(node_id).encode())
    assert len(answer) == 4200
    status = NodeStatus.decode(answer)
    assert (status.nodeid, status.reachable, status.remote, status.external, status.onwire_version) == (
        node_id,
        connected,
        0,
        0,
        0,
    )
    assert status.links[0] == LinkStatus(True, connected, False, 1410, f"10.84.0.{node_id}", "")
    assert status.links[1:] == (LinkStatus(),) * 7


def test_the_mtu_follows_netmtu(node: Node, program: Program) -> None:
    node.host.map.set("totem.netmtu", uint32(9000), client=False)
    assert NodeStatus.decode(program.ask(NodeStatusRequest(2).encode())).links[0].mtu == 8910


@pytest.mark.parametrize(
    ("node_id", "version", "status"),
    [(9, 1, Status.FAILED_OPERATION), (2, 2, Status.NOT_SUPPORTED), (9, 0, Status.NOT_SUPPORTED)],
)
def test_an_unknown_node_or_version_has_a_short_answer(program: Program, node_id: int, version: int, status: Status) -> None:
    answer = program.ask(NodeStatusRequest(node_id, version).encode())
    assert (len(answer), response_status(answer)) == (32, status)


def test_links_of_knet_have_their_own_states() -> None:
    knet = keys(transport="knet")
    for node_id in (1, 2, 3):
        knet[f"nodelist.node.{node_id - 1}.ring1_addr"] = text(f"10.84.1.{node_id}")
    program = Program(Node(CfgEngine, 1, knet))
    host, engine = program.node.host, program.node.engine
    statistics = {
        f"stats.knet.node{node_id}.link{link}.{name}": value
        for node_id in (2, 3)
        for link in (0, 1)
        for name, value in (("enabled", uint8(1)), ("connected", uint8(link == 0)), ("mtu", uint32(1397)))
    }
    assert program.answers(NodeStatusRequest(2).encode()) == []
    engine.statistics(host.statistics_requests.pop(), statistics)
    (answer,) = host.take_responses(program.client)
    assert NodeStatus.decode(answer).links[:3] == (
        LinkStatus(True, True, False, 1397, "10.84.0.1", "10.84.0.2"),
        LinkStatus(True, False, False, 1397, "10.84.1.1", "10.84.1.2"),
        LinkStatus(),
    )
    assert program.answers(RING_STATUS_GET_REQUEST.pack()) == []
    engine.statistics(host.statistics_requests.pop(), statistics)
    (answer,) = host.take_responses(program.client)
    assert RingStatusResponse.decode(answer).interfaces == (Interface("0 10.84.0.1", "n330"), Interface("1 10.84.1.1", "n110"))


def test_node_addresses_have_the_stock_layout(program: Program) -> None:
    answer = program.ask(GetNodeAddrsRequest(2).encode())
    assert answer == struct.pack("<i4xi4xi4xII", 11, 48, 1, 2, 1) + bytes([10, 84, 0, 2]) + bytes(12)


@pytest.mark.parametrize(("node_id", "address"), [(0, "10.84.0.1"), (1, "10.84.0.1"), (3, "10.84.0.3")])
def test_addresses_are_known_for_this_node_and_for_nodes_that_left(program: Program, node_id: int, address: str) -> None:
    assert GetNodeAddrsResponse.decode(program.ask(GetNodeAddrsRequest(node_id).encode())).addresses == (address,)


@pytest.mark.parametrize("node_id", [9, 4])
def test_a_node_without_a_known_address_does_not_exist(program: Program, node_id: int) -> None:
    answer = program.ask(GetNodeAddrsRequest(node_id).encode())
    assert (len(answer), response_status(answer)) == (32, Status.NOT_EXIST)


def test_a_node_that_was_never_there_has_its_address_from_the_node_list(node: Node, program: Program) -> None:
    node.host.map.set("nodelist.node.3.ring0_addr", text("fd00::4"), client=False)
    assert GetNodeAddrsResponse.decode(program.ask(GetNodeAddrsRequest(4).encode())).addresses == ("fd00::4",)


def test_the_local_node_is_told(program: Program) -> None:
    assert LocalGetResponse.decode(program.ask(LOCAL_GET_REQUEST.pack())).nodeid == 1


def test_reenabling_a_ring_is_not_supported(program: Program) -> None:
    assert program.status(RING_REENABLE_REQUEST.pack()) == Status.NOT_SUPPORTED


def test_logs_are_reopened_here(node: Node, program: Program) -> None:
    assert program.status(REOPEN_LOG_FILES_REQUEST.pack()) == Status.OK
    assert (node.host.said, node.host.multicasts) == (["reopen_logs"], [])


@pytest.mark.parametrize("request_id", [2, 3, 4, 5, 9])
def test_a_request_shorter_than_its_layout_gets_the_generic_error(program: Program, request_id: int) -> None:
    answer = program.ask(struct.pack("<i4xi4x", request_id, 16))
    assert (answer[:4], len(answer), response_status(answer)) == (bytes(4), 24, Status.INVALID_PARAM)


def test_response_ids_are_those_of_the_interface(program: Program) -> None:
    bodies = [
        (RING_STATUS_GET_REQUEST.pack(), 0),
        (RING_REENABLE_REQUEST.pack(), 1),
        (TrackstartRequest().encode(), 2),
        (TRACKSTOP_REQUEST.pack(), 3),
        (KillNodeRequest(9, "").encode(), 8),
        (TryShutdownRequest(2).encode(), 9),
        (GetNodeAddrsRequest(1).encode(), 11),
        (LOCAL_GET_REQUEST.pack(), 12),
        (ReplytoShutdownRequest(True).encode(), 13),
        (REOPEN_LOG_FILES_REQUEST.pack(), 15),
        (NodeStatusRequest(1).encode(), 16),
    ]
    assert [program.ask(body)[0] for body, _ in bodies] == [number for _, number in bodies]


def test_flow_controlled_requests_are_those_of_the_interface() -> None:
    assert CfgEngine.description.flow_controlled == {0, 1, 2, 3, 4, 7, 10, 11}


# Several nodes.


@pytest.fixture
def three() -> Cluster:
    """Three nodes on one ring; each map says that node 3 has left, which only requests look at."""
    return Cluster(CfgEngine, [1, 2, 3], {node_id: keys(node_id) for node_id in (1, 2, 3)})


def test_the_killed_node_ends_at_once_with_the_stock_words_and_the_others_ignore_it(three: Cluster) -> None:
    assert Program(three[1]).status(KillNodeRequest(2, "Killed by corosync-cfgtool").encode()) == Status.OK
    three.run()
    assert three[2].host.fatals == [(255, "Killed by node 1 : Killed by corosync-cfgtool")]
    assert three[1].host.fatals == three[3].host.fatals == []


@pytest.mark.parametrize("node_id", [3, 9, 0])
def test_a_node_that_is_not_joined_cannot_be_killed(three: Cluster, node_id: int) -> None:
    assert Program(three[1]).status(KillNodeRequest(node_id, "why").encode()) == Status.NOT_EXIST
    assert three[1].host.multicasts == []


def test_every_node_reloads_and_the_originator_answers_with_its_own_result(three: Cluster) -> None:
    program, other = Program(three[1]), Program(three[2])
    assert program.client.identifier == other.client.identifier
    assert program.answers(RELOAD_CONFIG_REQUEST.pack()) == []
    three.run()
    for node_id in (3, 2, 1):
        assert program.late() == []
        host, engine = three[node_id].host, three[node_id].engine
        engine.reloaded(host.reloads.pop(), Status.OK if node_id != 1 else Status.INVALID_PARAM)
    assert program.late() == [Status.INVALID_PARAM]
    assert other.late() == []


def test_a_client_that_goes_before_the_reload_is_done_gets_no_answer(three: Cluster) -> None:
    program = Program(three[1])
    program.answers(RELOAD_CONFIG_REQUEST.pack())
    three[1].disconnect(program.client)
    three.run()
    three[1].engine.reloaded(three[1].host.reloads.pop(), Status.OK)
    assert three[1].host.responses == []


def test_a_reload_that_a_dead_engine_had_sent_is_done_but_answers_nobody(three: Cluster) -> None:
    Program(three[1]).answers(RELOAD_CONFIG_REQUEST.pack())
    sent = three[1].host.take_multicasts()
    successor = three.replace_engine(1)
    stranger = Program(successor)
    successor.host.multicasts.extend(sent)
    three.run()
    successor.engine.reloaded(successor.host.reloads.pop(), Status.OK)
    assert stranger.late() == []


def test_all_nodes_log_a_shutdown_and_only_its_sender_stops(three: Cluster) -> None:
    assert Program(three[2]).status(TryShutdownRequest(ShutdownFlag.IMMEDIATE).encode()) == Status.OK
    assert three[2].host.shutdowns == []
    three.run()
    for node_id in (1, 2, 3):
        assert three[node_id].host.lines == [("notice", "Node 2 was shut down by sysadmin")]
        assert len(three[node_id].host.shutdowns) == (1 if node_id == 2 else 0)


# The shutdown vote.


def announced(node: Node) -> bool:
    """Whether the engine has sent the shutdown message."""
    return [sent[:4] for _, sent in node.host.multicasts] == [b"\2\0\1\0"]


@pytest.mark.parametrize("flags", [0, 1, 2])
def test_without_trackers_the_node_stops_at_once(node: Node, program: Program, flags: int) -> None:
    assert program.status(TryShutdownRequest(flags).encode()) == Status.OK
    assert announced(node)


def test_the_requester_itself_is_not_asked(node: Node, program: Program) -> None:
    program.track()
    assert program.status(TryShutdownRequest(0).encode()) == Status.OK
    assert announced(node)


def test_immediate_asks_nobody(node: Node, program: Program) -> None:
    tracker = Program(node).track()
    assert program.status(TryShutdownRequest(2).encode()) == Status.OK
    assert tracker.events() == []
    assert announced(node)


def test_unknown_flags_are_invalid(node: Node, program: Program) -> None:
    assert program.status(TryShutdownRequest(3).encode()) == Status.INVALID_PARAM
    assert not announced(node)


@pytest.mark.parametrize(
    ("flags", "replies", "status"),
    [
        (0, (True, True), Status.OK),
        (0, (True, False), Status.BUSY),
        (0, (False, True), Status.BUSY),
        (1, (True, True), Status.OK),
        (1, (False, False), Status.OK),
    ],
)
def test_trackers_decide_unless_they_are_only_told(
    node: Node, program: Program, flags: int, replies: tuple[bool, bool], status: Status
) -> None:
    trackers = [Program(node).track(), Program(node).track()]
    assert program.answers(TryShutdownRequest(flags).encode()) == []
    for tracker, agree in zip(trackers, replies, strict=True):
        assert tracker.events() == [ShutdownRequested(flags)]
        assert program.late() == []
        assert tracker.reply(agree) == Status.OK
    assert program.late() == [status]
    assert announced(node) is (status == Status.OK)
    assert node.host.timers == {}


def test_a_second_shutdown_during_the_vote_exists(node: Node, program: Program) -> None:
    Program(node).track()
    program.answers(TryShutdownRequest(0).encode())
    assert Program(node).status(TryShutdownRequest(0).encode()) == Status.EXIST


def test_a_tracker_that_stops_tracking_or_goes_agrees(node: Node, program: Program) -> None:
    stops, goes = Program(node).track(), Program(node).track()
    program.answers(TryShutdownRequest(0).encode())
    assert stops.status(TRACKSTOP_REQUEST.pack()) == Status.OK
    assert program.late() == []
    node.disconnect(goes.client)
    assert program.late() == [Status.OK]
    assert announced(node)


def test_a_tracker_that_has_refused_does_not_agree_by_going(node: Node, program: Program) -> None:
    refuses, other = Program(node).track(), Program(node).track()
    program.answers(TryShutdownRequest(0).encode())
    refuses.reply(False)
    node.disconnect(refuses.client)
    other.reply(True)
    assert program.late() == [Status.BUSY]


def test_a_tracker_that_comes_during_the_vote_is_asked_too(node: Node, program: Program) -> None:
    first = Program(node).track()
    program.answers(TryShutdownRequest(1).encode())
    late = Program(node).track()
    assert late.events() == [ShutdownRequested(1)]
    first.reply(True)
    assert program.late() == []
    late.reply(True)
    assert program.late() == [Status.OK]


@pytest.mark.parametrize(("flags", "status"), [(0, Status.BUSY), (1, Status.OK)])
def test_no_answer_in_time_is_a_refusal(node: Node, program: Program, flags: int, status: Status) -> None:
    silent = Program(node).track()
    program.answers(TryShutdownRequest(flags).encode())
    silent.events()
    (token,) = node.host.timers
    assert node.host.timers[token] == 5.0
    node.host.expire(node.engine, token)
    assert program.late() == [status]
    assert announced(node) is (status == Status.OK)
    assert silent.events() == []
    assert silent.reply(True) == Status.ACCESS


def test_the_time_is_a_key_of_the_map(node: Node, program: Program) -> None:
    node.host.map.set("cfg.shutdown_timeout", uint32(250), client=False)
    Program(node).track()
    program.answers(TryShutdownRequest(0).encode())
    assert list(node.host.timers.values()) == [0.25]


def test_a_vote_ends_when_its_requester_goes(node: Node, program: Program) -> None:
    tracker = Program(node).track()
    program.answers(TryShutdownRequest(0).encode())
    node.disconnect(program.client)
    assert node.host.timers == {}
    assert tracker.reply(True) == Status.ACCESS
    assert not announced(node)
    assert node.host.responses == []


def test_a_reply_without_a_vote_or_without_being_asked_is_refused(node: Node, program: Program) -> None:
    assert program.reply(True) == Status.ACCESS
    Program(node).track()
    Program(node).answers(TryShutdownRequest(0).encode())
    assert program.reply(True) == Status.ACCESS


def test_a_second_reply_does_not_count(node: Node, program: Program) -> None:
    first, second = Program(node).track(), Program(node).track()
    program.answers(TryShutdownRequest(0).encode())
    first.reply(True)
    assert first.reply(True) == Status.OK
    assert program.late() == []
    second.reply(True)
    assert program.late() == [Status.OK]


def test_a_new_vote_may_follow(node: Node, program: Program) -> None:
    tracker = Program(node).track()
    for agree, status in ((False, Status.BUSY), (True, Status.OK)):
        program.answers(TryShutdownRequest(0).encode())
        tracker.reply(agree)
        assert program.late() == [status]


def test_a_client_with_too_many_open_requests_is_disconnected(node: Node, program: Program) -> None:
    for _ in range(REQUESTS_OPEN):
        program.answers(RELOAD_CONFIG_REQUEST.pack())
    assert node.host.disconnected == []
    program.answers(RELOAD_CONFIG_REQUEST.pack())
    assert [client for client, _ in node.host.disconnected] == [program.client]


def test_the_death_of_cpg_ends_the_connections_that_track_shutdown_and_no_others(node: Node) -> None:
    tracker, other = Program(node).track(), Program(node)
    for name, ended in (("votequorum", []), ("cpg", [tracker.client])):
        _, change = node.host.map.set(f"runtime.engines.{name}.deaths", uint32(1), client=False)
        assert change is not None
        node.engine.keys_changed([KeyChange(*change)])
        assert [client for client, _ in node.host.disconnected] == ended
    assert other.status(LOCAL_GET_REQUEST.pack()) == Status.OK
