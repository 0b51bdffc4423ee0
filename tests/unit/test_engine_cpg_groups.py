"""The cpg engine on one node: what a client may ask in each state, and what it is told."""

from __future__ import annotations

import itertools
import struct

import pytest

from coroipc.errors import Status
from coroipc.layouts import response_status
from corosyncd.engines.cpg import CpgEngine, wire
from corosyncd.engines.cpg.connection import JOIN, LEAVE, OWN_JOIN_DELIVERED, OWN_LEAVE_DELIVERED, SEND, State
from corosyncd.engines.engine import Client, MulticastClass
from libcpg.messages import (
    ATOMIC_MESSAGE_LIMIT,
    FINALIZE_REQUEST,
    ITERATION_FINALIZE_REQUEST,
    ITERATION_NEXT_REQUEST,
    LOCAL_REQUEST,
    Address,
    ConfigurationChange,
    Deliver,
    IterationNextResponse,
    IterationRequest,
    IterationResponse,
    JoinRequest,
    LeaveRequest,
    LocalResponse,
    McastRequest,
    MembershipRequest,
    MembershipResponse,
    PartialDeliver,
    PartialMcastRequest,
    TotemConfiguration,
    WireEvent,
    decode_event,
)
from tests.unit.fake_host import Cluster, Node


class Program:
    """A client of one node, with the few calls that a test needs."""

    def __init__(self, node: Node, pid: int) -> None:
        self.node = node
        self.pid = pid
        self.client: Client = node.connect(pid)

    def ask(self, body: bytes) -> bytes:
        (answer,) = self.node.request(self.client, body)
        return answer

    def join(self, group: bytes = b"g", flags: int = 0) -> int:
        return response_status(self.ask(JoinRequest(group, self.pid, flags).encode()))

    def leave(self, group: bytes = b"g") -> int:
        return response_status(self.ask(LeaveRequest(group, self.pid).encode()))

    def send(self, data: bytes) -> None:
        assert self.node.request(self.client, McastRequest(data).encode()) == []

    def send_fragment(self, data: bytes, total: int, fragment: int) -> int:
        return response_status(self.ask(PartialMcastRequest(data, total, fragment).encode()))

    def events(self) -> list[WireEvent]:
        return [decode_event(event) for event in self.node.host.take_events(self.client)]


@pytest.fixture
def alone() -> Cluster:
    """One node that has synchronised."""
    return Cluster(CpgEngine, [1])


def change(group: bytes, members: list[tuple[int, int]], *, joined: object = (), left: object = ()) -> ConfigurationChange:
    """A configuration change event; ``joined`` and ``left`` are (node, pid, reason)."""
    entries = tuple(Address(node, pid) for node, pid in members)
    return ConfigurationChange(group, entries, tuple(Address(*a) for a in left), tuple(Address(*a) for a in joined))  # type: ignore[attr-defined]


# The state table.


def program_in(cluster: Cluster, state: State, pid: int = 100) -> Program:
    """A program whose connection stands in that state; messages that would change it wait in the host."""
    program = Program(cluster[1], pid)
    if state is not State.UNJOINED:
        assert program.join() == Status.OK
    if state in (State.JOINED, State.LEAVE_STARTED):
        cluster.run()
    if state is State.LEAVE_STARTED:
        assert program.leave() == Status.OK
    program.events()
    return program


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        (State.UNJOINED, Status.OK),
        (State.JOIN_STARTED, Status.EXIST),
        (State.JOINED, Status.EXIST),
        (State.LEAVE_STARTED, Status.BUSY),
    ],
)
@pytest.mark.parametrize("group", [b"g", b"other"])
def test_join_is_answered_by_state(alone: Cluster, state: State, answer: Status, group: bytes) -> None:
    assert program_in(alone, state).join(group) == answer


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        (State.UNJOINED, Status.NOT_EXIST),
        (State.JOIN_STARTED, Status.BUSY),
        (State.JOINED, Status.OK),
        (State.LEAVE_STARTED, Status.NOT_EXIST),
    ],
)
def test_leave_is_answered_by_state(alone: Cluster, state: State, answer: Status) -> None:
    assert program_in(alone, state).leave() == answer


@pytest.mark.parametrize(
    ("state", "sent"),
    [(State.UNJOINED, False), (State.JOIN_STARTED, True), (State.JOINED, True), (State.LEAVE_STARTED, False)],
)
def test_messages_are_sent_in_a_group_only(alone: Cluster, state: State, sent: bool) -> None:
    program = program_in(alone, state)
    alone[1].host.take_multicasts()
    program.send(b"data")
    assert bool(alone[1].host.take_multicasts()) is sent
    assert program.send_fragment(b"data", 8, 1) == (Status.OK if sent else Status.NOT_EXIST)


def test_every_state_has_a_row_in_every_table() -> None:
    for table in (JOIN, LEAVE, SEND, OWN_JOIN_DELIVERED, OWN_LEAVE_DELIVERED):
        assert set(table) == set(State)


def test_a_dropped_message_is_logged_once_a_client(alone: Cluster) -> None:
    program = Program(alone[1], 100)
    program.send(b"one")
    program.send(b"two")
    assert len(alone[1].host.lines) == 1


def test_a_leave_of_another_group_is_refused_and_changes_nothing(alone: Cluster) -> None:
    program = program_in(alone, State.JOINED)
    assert program.leave(b"other") == Status.NOT_EXIST
    assert alone[1].host.take_multicasts() == []
    assert program.leave() == Status.OK


def test_a_connection_may_join_again_after_its_leave_came_round(alone: Cluster) -> None:
    program = program_in(alone, State.LEAVE_STARTED)
    alone.run()
    assert program.join(b"other") == Status.OK
    alone.run()
    assert program.events() == [
        change(b"g", [], left=[(1, 100, 2)]),
        change(b"other", [(1, 100)], joined=[(1, 100, 1)]),
    ]


def test_the_same_pid_and_group_on_another_connection_exists(alone: Cluster) -> None:
    program_in(alone, State.JOIN_STARTED)
    assert Program(alone[1], 100).join() == Status.EXIST
    assert Program(alone[1], 101).join() == Status.OK


def test_a_join_before_the_leave_of_a_dead_predecessor_came_round_has_to_try_again(alone: Cluster) -> None:
    dead = program_in(alone, State.JOINED)
    alone[1].disconnect(dead.client)
    successor = Program(alone[1], 100)
    assert successor.join() == Status.TRY_AGAIN
    alone.run()
    assert successor.join() == Status.OK


def test_a_process_that_dies_before_its_own_join_came_round_does_not_stay(alone: Cluster) -> None:
    witness = program_in(alone, State.JOINED, 50)
    dead = program_in(alone, State.JOIN_STARTED)
    alone[1].disconnect(dead.client)
    alone.run()
    assert witness.events() == [
        change(b"g", [(1, 50), (1, 100)], joined=[(1, 100, 1)]),
        change(b"g", [(1, 50)], left=[(1, 100, 5)]),
    ]
    assert Program(alone[1], 100).join() == Status.OK


def test_a_group_name_of_129_bytes_is_too_long(alone: Cluster) -> None:
    program = Program(alone[1], 100)
    body = bytearray(JoinRequest(b"n" * 128, 100).encode())
    body[16:20] = struct.pack("<I", 129)
    assert response_status(program.ask(bytes(body))) == Status.NAME_TOO_LONG
    assert program.join(b"n" * 128) == Status.OK


def test_names_differ_by_length_and_bytes_also_behind_a_nul(alone: Cluster) -> None:
    names = [b"", b"a", b"a\0", b"a\0b"]
    programs = [Program(alone[1], 100 + number) for number in range(len(names))]
    for program, name in zip(programs, names, strict=True):
        assert program.join(name) == Status.OK
    alone.run()
    for program, name in zip(programs, names, strict=True):
        assert program.events() == [change(name, [(1, program.pid)], joined=[(1, program.pid, 1)])]
        program.send(name + b"!")
    alone.run()
    for program, name in zip(programs, names, strict=True):
        assert program.events() == [Deliver(name, 1, program.pid, name + b"!")]


def test_the_leave_of_a_dead_client_of_the_empty_group_is_sent(alone: Cluster) -> None:
    program = Program(alone[1], 100)
    program.join(b"")
    alone.run()
    alone[1].disconnect(program.client)
    alone.run()
    assert MembershipResponse.decode(Program(alone[1], 1).ask(MembershipRequest(b"").encode())).members == ()


def test_a_node_takes_as_many_processes_as_its_join_list_can_name(alone: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MEMBERS_IN_JOIN_LIST", 2)
    answers = [Program(alone[1], pid).join() for pid in (1, 2, 3)]
    assert answers == [Status.OK, Status.OK, Status.NO_RESOURCES]
    assert 24 + 144 * 7000 < 1 << 20


# Events.


def test_a_joiner_hears_of_itself_first_and_members_are_sorted(alone: Cluster) -> None:
    first, second = Program(alone[1], 300), Program(alone[1], 200)
    first.join()
    second.join()
    alone.run()
    both = change(b"g", [(1, 200), (1, 300)], joined=[(1, 200, 1)])
    assert first.events() == [change(b"g", [(1, 300)], joined=[(1, 300, 1)]), both]
    assert second.events() == [both]


def test_a_leaver_hears_of_its_own_leave_and_nothing_after(alone: Cluster) -> None:
    stays, leaves = program_in(alone, State.JOINED, 1), program_in(alone, State.JOINED, 2)
    stays.events()
    stays.send(b"before")
    assert leaves.leave() == Status.OK
    stays.send(b"after the request")
    alone.run()
    stays.send(b"after the leave")
    alone.run()
    assert leaves.events() == [Deliver(b"g", 1, 1, b"before"), change(b"g", [(1, 1)], left=[(1, 2, 2)])]
    assert stays.events()[1:] == [
        change(b"g", [(1, 1)], left=[(1, 2, 2)]),
        Deliver(b"g", 1, 1, b"after the request"),
        Deliver(b"g", 1, 1, b"after the leave"),
    ]


def test_a_leaver_still_receives_until_its_leave_comes_round(alone: Cluster) -> None:
    stays, leaves = program_in(alone, State.JOINED, 1), program_in(alone, State.JOINED, 2)
    leaves.events()
    stays.send(b"first")
    leaves.leave()
    alone.run()
    assert leaves.events()[0] == Deliver(b"g", 1, 1, b"first")


def test_a_finalised_connection_hears_nothing_and_its_process_leaves_when_it_ends(alone: Cluster) -> None:
    witness, ends = program_in(alone, State.JOINED, 1), program_in(alone, State.JOINED, 2)
    witness.events()
    assert response_status(ends.ask(FINALIZE_REQUEST.pack())) == Status.OK
    witness.send(b"data")
    alone.run()
    assert ends.events() == []
    alone[1].disconnect(ends.client)
    alone.run()
    assert witness.events()[1:] == [change(b"g", [(1, 1)], left=[(1, 2, 5)])]


def test_the_initial_totem_membership_waits_for_the_clients_own_join(alone: Cluster) -> None:
    other, program = Program(alone[1], 1), Program(alone[1], 2)
    other.join(b"other")
    program.join(flags=1)
    alone.run()
    assert [type(event) for event in program.events()] == [ConfigurationChange, TotemConfiguration]
    assert [type(event) for event in other.events()] == [ConfigurationChange]


def test_the_initial_totem_membership_follows_the_first_change_once(alone: Cluster) -> None:
    program = Program(alone[1], 7)
    program.join(flags=1)
    alone.run()
    assert program.events() == [change(b"g", [(1, 7)], joined=[(1, 7, 1)]), TotemConfiguration(1, 4, (1,))]
    Program(alone[1], 8).join()
    alone.run()
    assert program.events() == [change(b"g", [(1, 7), (1, 8)], joined=[(1, 8, 1)])]


def test_without_the_flag_no_totem_membership_follows_a_join(alone: Cluster) -> None:
    program = Program(alone[1], 7)
    program.join()
    alone.run()
    assert program.events() == [change(b"g", [(1, 7)], joined=[(1, 7, 1)])]


def test_a_leave_of_an_unknown_process_is_not_announced(alone: Cluster) -> None:
    program = program_in(alone, State.JOINED)
    alone[1].engine.deliver(2, 1, bytes(16) + wire.encode_process(b"g", 9, 2))
    assert program.events() == []


def test_a_message_from_a_node_without_members_is_dropped(alone: Cluster) -> None:
    program = program_in(alone, State.JOINED)
    forged = bytes(16) + wire.MCAST.pack(1, b"g", 4, 9, 2, 1) + b"data"
    alone[1].engine.deliver(2, 3, forged)
    assert program.events() == []
    alone[1].engine.deliver(1, 3, forged)
    assert program.events() == [Deliver(b"g", 1, 9, b"data")]


# Messages.


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 100_000, ATOMIC_MESSAGE_LIMIT])
def test_a_message_reaches_every_member_as_one_shared_event(alone: Cluster, size: int) -> None:
    sender, other = program_in(alone, State.JOINED, 1), program_in(alone, State.JOINED, 2)
    sender.events()
    data = bytes(itertools.islice(itertools.cycle(range(251)), size))
    sender.send(data)
    alone.run()
    events = [event for _, event in alone[1].host.events]
    assert len(events) == 2
    assert events[0] is events[1]
    assert sender.events() == other.events() == [Deliver(b"g", 1, 1, data)]


def test_messages_are_normal_and_carry_the_senders_source(alone: Cluster) -> None:
    sender = program_in(alone, State.JOINED, 77)
    sender.send(b"payload")
    ((kind, message),) = alone[1].host.take_multicasts()
    assert kind is MulticastClass.NORMAL
    assert wire.MCAST.unpack_from(message, 16) == (1, b"g".ljust(128, b"\0"), 7, 77, 1, sender.client.identifier)


def test_a_request_longer_than_its_length_field_sends_what_the_field_says(alone: Cluster) -> None:
    sender = program_in(alone, State.JOINED, 77)
    sender.node.request(sender.client, McastRequest(b"1234").encode() + b"trailing")
    alone.run()
    assert sender.events() == [Deliver(b"g", 1, 77, b"1234")]


@pytest.mark.parametrize(
    "body",
    [
        McastRequest(b"x" * (ATOMIC_MESSAGE_LIMIT + 1)).encode(),
        McastRequest(b"1234").encode()[:-1],
        McastRequest(b"").encode()[:39],
    ],
)
def test_a_message_of_impossible_length_is_dropped_without_an_answer(alone: Cluster, body: bytes) -> None:
    sender = program_in(alone, State.JOINED)
    assert sender.node.request(sender.client, body) == []
    assert sender.node.host.take_multicasts() == []


def test_fragments_are_answered_and_delivered(alone: Cluster) -> None:
    sender = program_in(alone, State.JOINED, 5)
    for fragment, data in ((1, b"abc"), (2, b"def"), (3, b"g")):
        assert sender.send_fragment(data, 7, fragment) == Status.OK
    alone.run()
    assert sender.events() == [
        PartialDeliver(b"g", 1, 5, 7, 1, b"abc"),
        PartialDeliver(b"g", 1, 5, 7, 2, b"def"),
        PartialDeliver(b"g", 1, 5, 7, 3, b"g"),
    ]


def test_a_change_of_the_group_interrupts_a_fragmented_message(alone: Cluster) -> None:
    sender = program_in(alone, State.JOINED, 5)
    assert sender.send_fragment(b"abc", 7, 1) == Status.OK
    program_in(alone, State.JOINED, 6)
    assert sender.send_fragment(b"def", 7, 2) == Status.INTERRUPT
    assert sender.send_fragment(b"g", 7, 3) == Status.INTERRUPT
    assert sender.send_fragment(b"abc", 7, 1) == Status.OK
    assert sender.send_fragment(b"defg", 7, 3) == Status.OK


def test_a_change_of_another_group_does_not_interrupt(alone: Cluster) -> None:
    sender = program_in(alone, State.JOINED, 5)
    sender.send_fragment(b"abc", 7, 1)
    Program(alone[1], 6).join(b"other")
    alone.run()
    assert sender.send_fragment(b"defg", 7, 3) == Status.OK


@pytest.mark.parametrize(("data", "total", "fragment"), [(b"abc", 2, 1), (b"abc", 7, 0), (b"abc", 7, 4)])
def test_an_impossible_fragment_is_refused(alone: Cluster, data: bytes, total: int, fragment: int) -> None:
    assert program_in(alone, State.JOINED).send_fragment(data, total, fragment) == Status.INVALID_PARAM


@pytest.mark.parametrize(("function", "size"), [(0, 168), (1, 168), (2, 24), (3, 184), (4, 1560), (5, 1568), (6, 200)])
def test_a_ring_message_shorter_than_its_layout_is_refused(alone: Cluster, function: int, size: int) -> None:
    for length in (16, size - 1):
        with pytest.raises((ValueError, struct.error)):
            alone[1].engine.deliver(2, function, bytes(length))


def test_ring_messages_that_announce_more_than_they_hold_are_refused(alone: Cluster) -> None:
    for message in (
        wire.MCAST.pack(1, b"g", 5, 9, 2, 1) + b"data",
        wire.MCAST.pack(129, b"g", 4, 9, 2, 1) + b"data",
        wire.MCAST.pack(1, b"g", ATOMIC_MESSAGE_LIMIT + 1, 9, 2, 1) + bytes(ATOMIC_MESSAGE_LIMIT + 1),
    ):
        with pytest.raises(ValueError):
            alone[1].engine.deliver(2, 3, bytes(16) + message)
    with pytest.raises(ValueError):
        alone[1].engine.deliver(2, 6, bytes(16) + wire.PARTIAL_MCAST.pack(1, b"g", 9, 4, 9, 7, 2, 1) + b"data")
    with pytest.raises(ValueError):
        alone[1].engine.deliver(2, 7, bytes(200))


# Other requests.


def test_the_membership_answer_has_384_slots(alone: Cluster) -> None:
    program = program_in(alone, State.JOINED, 5)
    program_in(alone, State.JOINED, 4)
    answer = program.ask(MembershipRequest(b"g").encode())
    assert len(answer) == 9248
    assert MembershipResponse.decode(answer).members == (Address(1, 4), Address(1, 5))
    empty = program.ask(MembershipRequest(b"none").encode())
    assert (len(empty), response_status(empty)) == (9248, Status.OK)
    assert MembershipResponse.decode(empty).members == ()


def test_the_local_node_is_told(alone: Cluster) -> None:
    assert LocalResponse.decode(Program(alone[1], 5).ask(LOCAL_REQUEST.pack())).nodeid == 1


def iterate(program: Program, kind: int, group: bytes = b"") -> list[IterationNextResponse]:
    """One pass of a new iteration."""
    handle = IterationResponse.decode(program.ask(IterationRequest(group, kind).encode())).handle
    found: list[IterationNextResponse] = []
    while True:
        answer = program.ask(ITERATION_NEXT_REQUEST.pack(handle))
        assert len(answer) == 168
        if response_status(answer) == Status.NO_SECTIONS:
            return found
        assert response_status(answer) == Status.OK
        found.append(IterationNextResponse.decode(answer))


def test_iterations_list_groups_last_found_first_and_their_first_process_before_the_others_descending(alone: Cluster) -> None:
    for pid, group in ((10, b"a"), (11, b"a"), (12, b"a"), (13, b"a"), (20, b"b"), (21, b"b")):
        Program(alone[1], pid).join(group)
    alone.run()
    program = Program(alone[1], 1)
    assert iterate(program, 1) == [IterationNextResponse(b"b"), IterationNextResponse(b"a")]
    group_a = [IterationNextResponse(b"a", 1, pid) for pid in (10, 13, 12, 11)]
    assert iterate(program, 2, b"a") == group_a
    assert iterate(program, 3) == [IterationNextResponse(b"b", 1, 20), IterationNextResponse(b"b", 1, 21), *group_a]
    assert iterate(program, 2, b"none") == []


def test_the_name_in_a_request_counts_for_iterations_over_one_group_only(alone: Cluster) -> None:
    program = Program(alone[1], 1)
    statuses = []
    for kind in (1, 2, 3):
        request = bytearray(IterationRequest(b"", kind).encode())
        struct.pack_into("<I", request, 16, 0x7F00)  # What libcpg leaves there when it was given no name.
        statuses.append(response_status(program.ask(bytes(request))))
    assert statuses == [Status.OK, Status.NAME_TOO_LONG, Status.OK]


def test_an_iteration_is_a_snapshot_and_starts_over_after_its_end(alone: Cluster) -> None:
    program_in(alone, State.JOINED, 5)
    program = Program(alone[1], 1)
    handle = IterationResponse.decode(program.ask(IterationRequest(b"", 3).encode())).handle
    program_in(alone, State.JOINED, 6)
    answers = [program.ask(ITERATION_NEXT_REQUEST.pack(handle)) for _ in range(3)]
    assert [response_status(answer) for answer in answers] == [Status.OK, Status.NO_SECTIONS, Status.OK]
    assert answers[0] == answers[2]


def test_unknown_iterations_and_kinds_are_refused(alone: Cluster) -> None:
    program = Program(alone[1], 1)
    unknown = program.ask(ITERATION_NEXT_REQUEST.pack(99))
    assert (response_status(unknown), len(unknown)) == (Status.LIBRARY, 168)
    assert response_status(program.ask(ITERATION_FINALIZE_REQUEST.pack(99))) == Status.LIBRARY
    refused = program.ask(IterationRequest(b"", 4).encode())
    assert (response_status(refused), len(refused)) == (Status.INVALID_PARAM, 32)


def test_a_client_keeps_a_limited_number_of_iterations(alone: Cluster) -> None:
    program = Program(alone[1], 1)
    answers = [program.ask(IterationRequest(b"", 3).encode()) for _ in range(65)]
    assert [response_status(answer) for answer in answers] == [Status.OK] * 64 + [Status.NO_RESOURCES]
    handle = IterationResponse.decode(answers[0]).handle
    assert response_status(program.ask(ITERATION_FINALIZE_REQUEST.pack(handle))) == Status.OK
    assert response_status(program.ask(IterationRequest(b"", 3).encode())) == Status.OK


@pytest.mark.parametrize("request_id", [0, 1, 3, 5, 6, 7, 9, 10, 11, 12])
def test_a_request_shorter_than_its_layout_gets_the_generic_error(alone: Cluster, request_id: int) -> None:
    answer = Program(alone[1], 1).ask(struct.pack("<i4xi4x", request_id, 16))
    assert (answer[:4], len(answer), response_status(answer)) == (bytes(4), 24, Status.INVALID_PARAM)


def test_flow_controlled_and_unanswered_requests_are_those_of_the_interface() -> None:
    assert CpgEngine.description.flow_controlled == {0, 1, 2, 8, 9, 10, 11, 12}
    assert CpgEngine.description.unanswered == {2}
