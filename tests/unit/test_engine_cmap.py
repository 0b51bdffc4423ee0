"""The cmap engine: clients' requests, iterations, trackers and statistics."""

from __future__ import annotations

import struct

import pytest

from coroipc.errors import Status
from coroipc.layouts import response_status
from coroipc.map_values import ValueType
from corosyncd.engines.cmap import CmapEngine
from corosyncd.engines.cmap.connection import ITERATIONS_OF_ONE_CLIENT, REQUESTS_WAITING, TRACKERS_OF_ONE_CLIENT
from corosyncd.engines.engine import Client
from corosyncd.keyspace.values import Value, text, uint32, uint64
from libcmap.messages import (
    ITERATION_FINALIZE_REQUEST,
    ITERATION_NEXT_REQUEST,
    TRACK_DELETE_REQUEST,
    AdjustRequest,
    DeleteRequest,
    GetRequest,
    GetResponse,
    HandleRequest,
    IterationNextResponse,
    IterationRequest,
    IterationResponse,
    Map,
    Notification,
    SetCurrentMapRequest,
    SetRequest,
    Track,
    TrackAddRequest,
    TrackAddResponse,
    TrackDeleteResponse,
    decode_event,
)
from tests.unit.fake_host import Node

KEYS = {
    "totem.cluster_name": text("ipcref"),
    "totem.version": uint32(2),
    "test.b": uint32(7),
    "test.a": uint64(1),
    "test.a.x": text(""),
}
UINT32_9 = uint32(9).data


class Program:
    """A client of the engine's node; the executive answers at once unless a test plays it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.client: Client = node.connect()

    def ask(self, body: bytes) -> bytes:
        answers = self.node.request(self.client, body)
        self.node.host.apply_key_requests(self.node.engine)
        answers += self.node.host.take_responses(self.client)
        (answer,) = answers
        return answer

    def status(self, body: bytes) -> int:
        return response_status(self.ask(body))

    def track(self, key: str, kind: int, instance: int = 77) -> int:
        answer = self.ask(TrackAddRequest(key, kind, instance).encode())
        assert len(answer) == 32
        return TrackAddResponse.decode(answer).handle if response_status(answer) == Status.OK else -response_status(answer)

    def names(self, prefix: str = "") -> list[str]:
        handle = IterationResponse.decode(self.ask(IterationRequest(prefix).encode())).handle
        found: list[str] = []
        while True:
            answer = self.ask(HandleRequest(handle).encode(ITERATION_NEXT_REQUEST))
            assert len(answer) == 304
            if response_status(answer) == Status.NO_SECTIONS:
                assert self.status(HandleRequest(handle).encode(ITERATION_FINALIZE_REQUEST)) == Status.OK
                return found
            found.append(IterationNextResponse.decode(answer).key)

    def events(self) -> list[Notification]:
        return [decode_event(event) for event in self.node.host.take_events(self.client)]


@pytest.fixture
def node() -> Node:
    return Node(CmapEngine, 1, KEYS)


@pytest.fixture
def program(node: Node) -> Program:
    return Program(node)


# Keys.


def test_get_gives_the_value_filled_up_to_the_clients_buffer(program: Program) -> None:
    answer = program.ask(GetRequest("totem.cluster_name", 64).encode())
    assert len(answer) == 104
    assert answer[24:47] == struct.pack("<QB7x", 7, ValueType.STRING) + b"ipcref\0"
    assert answer[47:] == bytes(57)


@pytest.mark.parametrize(
    ("key", "room", "status", "size"),
    [
        ("totem.cluster_name", 0, Status.OK, 40),
        ("totem.cluster_name", 7, Status.OK, 47),
        ("totem.cluster_name", 6, Status.INVALID_PARAM, 40),
        ("totem.cluster_name", 1 << 40, Status.INVALID_PARAM, 40),
        ("no.such", 16, Status.NOT_EXIST, 40),
    ],
)
def test_get_answers_by_room(program: Program, key: str, room: int, status: Status, size: int) -> None:
    answer = program.ask(GetRequest(key, room).encode())
    assert (response_status(answer), len(answer)) == (status, size)
    if status == Status.OK:
        assert GetResponse.decode(answer, with_value=False)[:2] == (ValueType.STRING, 7)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (SetRequest("test.new", ValueType.UINT32, UINT32_9).encode(), Status.OK),
        (SetRequest("test.b", ValueType.STRING, b"text").encode(), Status.OK),
        (SetRequest("test.new", ValueType.UINT32, b"\1").encode(), Status.INVALID_PARAM),
        (SetRequest("test.new", ValueType.BINARY, bytes(16385)).encode(), Status.INVALID_PARAM),
        (SetRequest("x", ValueType.UINT32, UINT32_9).encode(), Status.NAME_TOO_LONG),
        (SetRequest("with blank", ValueType.UINT32, UINT32_9).encode(), Status.NAME_TOO_LONG),
        (SetRequest("totem.version", ValueType.UINT32, UINT32_9).encode(), Status.ACCESS),
        (DeleteRequest("test.b").encode(), Status.OK),
        (DeleteRequest("no.such").encode(), Status.NOT_EXIST),
        (DeleteRequest("totem.version").encode(), Status.ACCESS),
        (AdjustRequest("test.b", -1).encode(), Status.OK),
        (AdjustRequest("test.a.x", 1).encode(), Status.INVALID_PARAM),
        (AdjustRequest("no.such", 1).encode(), Status.NOT_EXIST),
    ],
)
def test_changes_are_answered_with_what_the_owner_of_the_map_says(program: Program, body: bytes, status: Status) -> None:
    answer = program.ask(body)
    assert (response_status(answer), answer[0], len(answer)) == (status, body[0], 24)


def test_a_change_is_answered_only_when_the_executive_has_answered(node: Node, program: Program) -> None:
    assert node.request(program.client, SetRequest("test.b", ValueType.UINT32, UINT32_9).encode()) == []
    node.host.apply_key_requests(node.engine)
    assert [response_status(answer) for answer in node.host.take_responses(program.client)] == [Status.OK]


def test_requests_behind_an_open_change_wait_for_it(node: Node, program: Program) -> None:
    node.request(program.client, SetRequest("test.b", ValueType.UINT32, UINT32_9).encode())
    assert node.request(program.client, GetRequest("test.b", 4).encode()) == []
    assert node.request(program.client, DeleteRequest("test.b").encode()) == []
    node.host.apply_key_requests(node.engine)
    answers = node.host.take_responses(program.client)
    assert [answer[0] for answer in answers] == [0, 2, 1]
    assert GetResponse.decode(answers[1]).value == UINT32_9


def test_another_client_is_not_held_up(node: Node, program: Program) -> None:
    node.request(program.client, SetRequest("test.b", ValueType.UINT32, UINT32_9).encode())
    other = node.connect()
    assert len(node.request(other, GetRequest("test.b", 4).encode())) == 1


def test_a_client_that_runs_far_ahead_of_its_answers_is_disconnected(node: Node, program: Program) -> None:
    for _ in range(REQUESTS_WAITING + 1):
        node.request(program.client, DeleteRequest("test.b").encode())
    assert node.host.disconnected == []
    node.request(program.client, DeleteRequest("test.b").encode())
    assert [client for client, _ in node.host.disconnected] == [program.client]


def test_the_answer_for_a_client_that_has_gone_is_forgotten(node: Node, program: Program) -> None:
    node.request(program.client, SetRequest("test.b", ValueType.UINT32, UINT32_9).encode())
    node.request(program.client, GetRequest("test.b", 4).encode())
    node.disconnect(program.client)
    node.host.apply_key_requests(node.engine)
    assert node.host.responses == []


@pytest.mark.parametrize("request_id", range(10))
def test_a_request_shorter_than_its_layout_gets_the_generic_error(program: Program, request_id: int) -> None:
    answer = program.ask(struct.pack("<i4xi4x", request_id, 16))
    assert (answer[:4], len(answer), response_status(answer)) == (bytes(4), 24, Status.INVALID_PARAM)


def test_a_set_that_announces_more_than_it_holds_gets_the_generic_error(program: Program) -> None:
    body = SetRequest("test.b", ValueType.BINARY, b"1234").encode()[:-1]
    assert program.status(body) == Status.INVALID_PARAM


# Iterations.


def test_an_iteration_walks_a_plain_prefix_in_byte_order(program: Program) -> None:
    assert program.names() == ["test.a", "test.a.x", "test.b", "totem.cluster_name", "totem.version"]
    assert program.names("test.a") == ["test.a", "test.a.x"]
    assert program.names("none") == []


def test_an_iteration_tells_length_and_type(program: Program) -> None:
    handle = IterationResponse.decode(program.ask(IterationRequest("totem.c").encode())).handle
    found = IterationNextResponse.decode(program.ask(HandleRequest(handle).encode(ITERATION_NEXT_REQUEST)))
    assert found == ("totem.cluster_name", 7, ValueType.STRING)


def test_an_iteration_sees_what_changes_ahead_of_it_and_survives_what_is_deleted_below_it(node: Node, program: Program) -> None:
    handle = IterationResponse.decode(program.ask(IterationRequest("test.").encode())).handle
    step = HandleRequest(handle).encode(ITERATION_NEXT_REQUEST)
    assert IterationNextResponse.decode(program.ask(step)).key == "test.a"
    program.ask(DeleteRequest("test.a").encode())
    program.ask(DeleteRequest("test.a.x").encode())
    program.ask(SetRequest("test.a.y", ValueType.UINT32, UINT32_9).encode())
    program.ask(SetRequest("test.Z", ValueType.UINT32, UINT32_9).encode())
    assert IterationNextResponse.decode(program.ask(step)).key == "test.a.y"
    assert IterationNextResponse.decode(program.ask(step)).key == "test.b"
    assert [program.status(step) for _ in range(2)] == [Status.NO_SECTIONS] * 2
    program.ask(SetRequest("test.c", ValueType.UINT32, UINT32_9).encode())
    assert IterationNextResponse.decode(program.ask(step)).key == "test.c"


def test_unknown_handles_are_bad(program: Program) -> None:
    unknown = HandleRequest(99)
    next_answer = program.ask(unknown.encode(ITERATION_NEXT_REQUEST))
    assert (response_status(next_answer), len(next_answer)) == (Status.BAD_HANDLE, 304)
    assert program.status(unknown.encode(ITERATION_FINALIZE_REQUEST)) == Status.BAD_HANDLE
    track_answer = program.ask(unknown.encode(TRACK_DELETE_REQUEST))
    assert (response_status(track_answer), len(track_answer)) == (Status.BAD_HANDLE, 32)


def test_a_client_cannot_use_anothers_handles(node: Node, program: Program) -> None:
    handle = IterationResponse.decode(program.ask(IterationRequest("").encode())).handle
    assert Program(node).status(HandleRequest(handle).encode(ITERATION_NEXT_REQUEST)) == Status.BAD_HANDLE


def test_open_iterations_are_limited(program: Program) -> None:
    statuses = [program.status(IterationRequest("").encode()) for _ in range(ITERATIONS_OF_ONE_CLIENT + 1)]
    assert statuses == [Status.OK] * ITERATIONS_OF_ONE_CLIENT + [Status.NO_RESOURCES]


# Trackers.


def test_a_notification_has_the_stock_layout(program: Program) -> None:
    program.track("test.n", Track.ADD, 0x1122334455667788)
    program.ask(SetRequest("test.n", ValueType.UINT32, uint32(7).data).encode())
    ((_, event),) = program.node.host.events
    assert len(event) == 340
    assert event[:40] == struct.pack("<i4xi4xi4xQQ", 9, 340, 1, 0x1122334455667788, 6)
    assert event[0x128:] == struct.pack("<i4xB7xB7xQQI", 4, 6, 0, 4, 0, 7)


def test_trackers_fire_by_kind_of_change(program: Program) -> None:
    for instance, kind in ((1, Track.ADD), (2, Track.MODIFY), (3, Track.DELETE)):
        program.track("test.n", kind, instance)
    program.ask(SetRequest("test.n", ValueType.UINT32, UINT32_9).encode())
    program.ask(SetRequest("test.n", ValueType.UINT32, UINT32_9).encode())
    program.ask(AdjustRequest("test.n", 1).encode())
    program.ask(DeleteRequest("test.n").encode())
    ten = uint32(10).data
    assert program.events() == [
        Notification(1, "test.n", Track.ADD, 6, UINT32_9, 0, b""),
        Notification(2, "test.n", Track.MODIFY, 6, ten, 6, UINT32_9),
        Notification(3, "test.n", Track.DELETE, 0, b"", 6, ten),
    ]


def test_the_most_specific_tracker_fires_first(program: Program) -> None:
    everything = Track.ADD | Track.MODIFY | Track.DELETE
    program.track("", everything | Track.PREFIX, 1)
    program.track("test.", everything | Track.PREFIX, 2)
    program.track("test.b", everything, 3)
    program.track("test.b", everything, 4)
    program.track("test.b", everything | Track.PREFIX, 5)
    program.track("test.", everything | Track.PREFIX, 6)
    program.track("", everything, 7)
    program.ask(AdjustRequest("test.b", 1).encode())
    assert [event.instance for event in program.events()] == [4, 3, 5, 2, 6, 1]


def test_trackers_of_others_are_told_too(node: Node, program: Program) -> None:
    other = Program(node)
    other.track("test.b", Track.MODIFY)
    program.ask(AdjustRequest("test.b", 1).encode())
    assert len(other.events()) == 1


def test_track_delete_gives_the_clients_handle_back_and_ends_the_events(program: Program) -> None:
    handle = program.track("test.b", Track.MODIFY, 1234)
    answer = program.ask(HandleRequest(handle).encode(TRACK_DELETE_REQUEST))
    assert TrackDeleteResponse.decode(answer).instance == 1234
    program.ask(AdjustRequest("test.b", 1).encode())
    assert program.events() == []


def test_unknown_tracker_bits_are_invalid(program: Program) -> None:
    assert program.track("test.b", 16) == -Status.INVALID_PARAM


def test_trackers_of_one_client_are_limited(program: Program) -> None:
    for _ in range(TRACKERS_OF_ONE_CLIENT):
        assert program.track("test.b", Track.MODIFY) > 0
    assert program.track("test.b", Track.MODIFY) == -Status.NO_RESOURCES


def test_a_client_that_goes_takes_its_trackers_along(node: Node, program: Program) -> None:
    program.track("test.b", Track.MODIFY)
    node.disconnect(program.client)
    Program(node).ask(AdjustRequest("test.b", 1).encode())
    assert node.host.events == []


# The two maps.

STATISTICS = {"stats.srp.mcast_tx": uint64(5), "stats.ipcs.global.active": uint64(1), "stats.pg.msg_reserved": uint32(1)}


@pytest.fixture
def observer(node: Node) -> Program:
    """A program that looks at the statistics."""
    observer = Program(node)
    answer = observer.ask(SetCurrentMapRequest(Map.STATS).encode())
    assert (response_status(answer), answer[0], len(answer)) == (Status.OK, 10, 24)
    return observer


def answered(program: Program, body: bytes, values: dict[str, Value] = STATISTICS) -> bytes:
    """A request that needs the statistics: nothing comes before they are there."""
    host = program.node.host
    assert program.node.request(program.client, body) == []
    program.node.engine.statistics(host.statistics_requests.pop(), values)
    (answer,) = host.take_responses(program.client)
    return answer


def refresh(node: Node, values: dict[str, Value]) -> None:
    """The next comparison of the statistics."""
    if not node.host.statistics_requests:
        (token,) = node.host.timers
        node.host.expire(node.engine, token)
    node.engine.statistics(node.host.statistics_requests.pop(), values)


def test_an_unknown_map_does_not_exist(program: Program) -> None:
    assert program.status(SetCurrentMapRequest(2).encode()) == Status.NOT_EXIST


def test_the_map_is_busy_while_an_iteration_or_a_tracker_is_open(program: Program) -> None:
    handle = IterationResponse.decode(program.ask(IterationRequest("").encode())).handle
    assert program.status(SetCurrentMapRequest(1).encode()) == Status.BUSY
    program.ask(HandleRequest(handle).encode(ITERATION_FINALIZE_REQUEST))
    tracker = program.track("test.b", Track.MODIFY)
    assert program.status(SetCurrentMapRequest(1).encode()) == Status.BUSY
    program.ask(HandleRequest(tracker).encode(TRACK_DELETE_REQUEST))
    assert program.status(SetCurrentMapRequest(1).encode()) == Status.OK


def test_statistics_are_asked_for_and_answered_when_they_come(observer: Program) -> None:
    answer = answered(observer, GetRequest("stats.srp.mcast_tx", 8).encode())
    assert GetResponse.decode(answer).value == uint64(5).data
    assert response_status(answered(observer, GetRequest("totem.version", 8).encode())) == Status.NOT_EXIST


def test_an_iteration_over_statistics_is_a_snapshot(observer: Program) -> None:
    handle = IterationResponse.decode(answered(observer, IterationRequest("stats.").encode())).handle
    step = HandleRequest(handle).encode(ITERATION_NEXT_REQUEST)
    assert [IterationNextResponse.decode(observer.ask(step)).key for _ in STATISTICS] == sorted(STATISTICS)
    assert observer.status(step) == Status.NO_SECTIONS


@pytest.mark.parametrize("what", ["totem", "knet", "ipc", "schedmiss", "all"])
def test_statistics_can_be_cleared(observer: Program, what: str) -> None:
    assert observer.status(SetRequest(f"stats.clear.{what}", ValueType.UINT8, b"\1").encode()) == Status.OK
    assert observer.node.host.cleared == [what]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (SetRequest("stats.clear.moon", ValueType.UINT8, b"\1").encode(), Status.NOT_SUPPORTED),
        (SetRequest("stats.srp.mcast_tx", ValueType.UINT8, b"\1").encode(), Status.ACCESS),
        (SetRequest("test.b", ValueType.UINT8, b"\1").encode(), Status.ACCESS),
        (DeleteRequest("stats.srp.mcast_tx").encode(), Status.ACCESS),
        (DeleteRequest("stats.clear.all").encode(), Status.NOT_SUPPORTED),
        (AdjustRequest("stats.srp.mcast_tx", 1).encode(), Status.ACCESS),
    ],
)
def test_statistics_cannot_be_changed(observer: Program, body: bytes, status: Status) -> None:
    assert observer.status(body) == status
    assert (observer.node.host.cleared, observer.node.host.key_requests) == ([], [])


def test_a_prefix_of_statistics_is_tracked_for_keys_that_come_and_go(observer: Program) -> None:
    both = Track.ADD | Track.DELETE | Track.PREFIX
    assert observer.track("stats.ipcs.", Track.ADD | Track.PREFIX) == -Status.NOT_SUPPORTED
    assert observer.track("stats.ipcs.", both | Track.MODIFY, 5) > 0
    refresh(observer.node, STATISTICS)
    assert observer.events() == []
    more = {**STATISTICS, "stats.ipcs.more": uint32(1), "stats.ipcs.global.active": uint64(2)}
    refresh(observer.node, more)
    refresh(observer.node, STATISTICS)
    assert [(event.instance, event.key, event.event) for event in observer.events()] == [
        (5, "stats.ipcs.more", Track.ADD),
        (5, "stats.ipcs.more", Track.DELETE),
    ]


def test_a_program_that_lives_shorter_than_a_snapshot_is_told_of_once(observer: Program) -> None:
    sent, procname = "stats.ipcs.service2.9.0x1.sent", "stats.ipcs.service2.9.0x1.procname"
    observer.track("stats.ipcs.", Track.ADD | Track.DELETE | Track.PREFIX, 5)
    refresh(observer.node, STATISTICS)
    engine = observer.node.engine
    engine.connection_changed(True, {sent: uint32(0), procname: text("short")})
    refresh(observer.node, {**STATISTICS, sent: uint32(1), procname: text("short")})
    engine.connection_changed(False, {sent: uint32(2), procname: text("short")})
    refresh(observer.node, STATISTICS)
    nothing, name = Value(0, b""), text("short")
    assert observer.events() == [
        Notification(5, sent, Track.ADD, *uint32(0), *nothing),
        Notification(5, procname, Track.ADD, *name, *nothing),
        Notification(5, sent, Track.DELETE, *nothing, *uint32(2)),
        Notification(5, procname, Track.DELETE, *nothing, *name),
    ]


def test_a_statistic_of_one_connection_is_compared_as_others_are(observer: Program) -> None:
    sent = "stats.ipcs.service2.9.0x1.sent"
    observer.track(sent, Track.MODIFY, 6)
    refresh(observer.node, {**STATISTICS, sent: uint32(1)})
    refresh(observer.node, {**STATISTICS, sent: uint32(2)})
    assert [(event.key, event.event, event.new_value) for event in observer.events()] == [(sent, Track.MODIFY, uint32(2).data)]


def test_a_single_statistic_is_compared_every_second_and_a_half(observer: Program) -> None:
    observer.track("stats.srp.mcast_tx", Track.MODIFY, 6)
    refresh(observer.node, STATISTICS)
    before = observer.node.host.clock
    refresh(observer.node, {**STATISTICS, "stats.srp.mcast_tx": uint64(6)})
    assert observer.node.host.clock - before == 1.5
    six = uint64(6).data
    assert observer.events() == [Notification(6, "stats.srp.mcast_tx", Track.MODIFY, 8, six, 8, six)]


def test_statistics_are_not_asked_for_when_nobody_tracks_them(observer: Program) -> None:
    handle = observer.track("stats.srp.mcast_tx", Track.MODIFY)
    refresh(observer.node, STATISTICS)
    observer.ask(HandleRequest(handle).encode(TRACK_DELETE_REQUEST))
    refresh(observer.node, STATISTICS)
    assert observer.node.host.timers == {}


def test_a_change_of_the_map_does_not_reach_trackers_of_statistics(node: Node, observer: Program) -> None:
    observer.track("test.b", Track.MODIFY)
    Program(node).ask(AdjustRequest("test.b", 1).encode())
    assert observer.events() == []
