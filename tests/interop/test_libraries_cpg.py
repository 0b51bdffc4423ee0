"""libcpg against real daemons: three nodes, the distribution's or ours, one suite for both."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from coroipc.errors import BadHandle, Exist, Interrupted, InvalidParameter, LibraryError, NoSections, NotExist, TooBig, TryAgain
from coroipc.library import Dispatch, ask
from libcpg import ATOMIC_MESSAGE_LIMIT, Address, ConfigurationChange, Cpg, Deliver, Event, Iteration, Reason, TotemConfiguration
from libcpg.messages import Fragment, PartialMcastRequest
from tests.interop.clients import NODES, OURSELVES, SHORT, Clients, event_of, joined, persist
from tests.lab import DEADLINE, Lab, execute, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

ZERO_COPY_TRANSCRIPT = """\
initialize: 1
allocate: 1
mcast: 12
join: 1
changed: 1 members, 0 left, 1 joined
mcast: 1
delivered 10 bytes of s to zero, 0 wrong
mcast: 1
delivered 0 bytes of - to zero, 0 wrong
mcast: 1
delivered 1000 bytes of t to zero, 0 wrong
allocate: 1
mcast: 1
delivered 1047552 bytes of l to zero, 0 wrong
mcast: 26
free: 1
mcast: 1
delivered 5 bytes of l to zero, 0 wrong
free: 1
allocate: 1
finalize: 1
"""
"""What zero_copy.c writes, as the stock daemon has it."""


def test_the_first_event_of_a_member_is_its_own_join(clients: Clients) -> None:
    cpg = clients.open(Cpg)
    cpg.join("alone")
    me = (1, OURSELVES)
    assert cpg.next_event(DEADLINE) == ConfigurationChange(b"alone", (Address(*me),), (), (Address(*me, Reason.JOIN),))
    assert cpg.membership("alone") == (Address(*me),)
    assert cpg.local_nodeid() == 1


def test_the_ring_is_named_after_the_join_where_the_flag_asks_for_it(clients: Clients) -> None:
    cpg = clients.open(Cpg, initial_totem_configuration=True)
    persist(lambda: cpg.join("flagged"))
    # In either order: the stock daemon sends it behind the next change of any group.
    events = {type(event): event for event in (cpg.next_event(DEADLINE), cpg.next_event(DEADLINE))}
    ring = events[TotemConfiguration]
    assert isinstance(ring, TotemConfiguration)
    assert (ring.members, ring.ring_nodeid, events.keys()) == (NODES, 1, {TotemConfiguration, ConfigurationChange})
    plain = joined(clients, "plain")
    assert plain.next_event(SHORT) is None


def test_members_see_each_other_come_and_go(clients: Clients) -> None:
    first = joined(clients, "meeting", node=1)
    second = joined(clients, "meeting", node=2)
    both = tuple(Address(node, OURSELVES) for node in (1, 2))
    came = event_of(first, ConfigurationChange)
    assert (came.members, came.joined) == (both, (Address(2, OURSELVES, Reason.JOIN),))
    second.leave("meeting")
    for member in (first, second):
        left = event_of(member, ConfigurationChange)
        assert (left.members, left.left, left.joined) == (both[:1], (Address(2, OURSELVES, Reason.LEAVE),), ())
    second.close()  # One connection joins once; this process joins again with another.
    joined(clients, "meeting", node=2)
    assert event_of(first, ConfigurationChange).members == both


def test_a_connection_that_ends_leaves_its_group(clients: Clients) -> None:
    watcher, other = joined(clients, "ending", node=1), joined(clients, "ending", node=3)
    event_of(watcher, ConfigurationChange)
    other.close()
    assert event_of(watcher, ConfigurationChange).left == (Address(3, OURSELVES, Reason.PROCESS_DOWN),)


def test_messages_of_several_senders_have_one_order_everywhere(clients: Clients) -> None:
    count = 200
    members = [joined(clients, "order", node=node) for node in NODES]
    for number in range(count):
        for node, member in zip(NODES, members, strict=True):
            persist(lambda member=member, text=b"%d-%d" % (node, number): member.mcast(text))  # type: ignore[misc]
    streams = [[event_of(member, Deliver) for _ in range(count * len(NODES))] for member in members]
    assert streams[0] == streams[1] == streams[2]
    for node in NODES:
        sent = [event.data for event in streams[0] if event.nodeid == node]
        assert sent == [b"%d-%d" % (node, number) for number in range(count)]
    assert {(event.group, event.pid) for event in streams[0]} == {(b"order", OURSELVES)}


@pytest.mark.parametrize(
    "size", [0, 1, 1300, 65536, ATOMIC_MESSAGE_LIMIT, ATOMIC_MESSAGE_LIMIT + 1, 3 * ATOMIC_MESSAGE_LIMIT + 17]
)
def test_a_message_of_any_size_arrives_whole_on_every_node(clients: Clients, size: int) -> None:
    members = [joined(clients, "sizes", node=node) for node in NODES]
    data = os.urandom(min(size, 4096)) * (size // 4096 + 1)
    persist(lambda: members[0].mcast(data[:size]))
    persist(lambda: members[0].mcast([data[: size // 2], data[size // 2 : size]]))
    for member in members:
        for _ in range(2):
            event = event_of(member, Deliver)
            assert (event.nodeid, event.data == data[:size]) == (1, True)
        assert member.dropped_messages == 0


def test_what_was_sent_before_the_connection_closed_is_not_lost(clients: Clients) -> None:
    sender, receiver = joined(clients, "closing", node=1), joined(clients, "closing", node=2)
    for number in range(100):
        persist(lambda text=b"%d" % number: sender.mcast(text))  # type: ignore[misc]
    sender.close()
    assert [event_of(receiver, Deliver).data for _ in range(100)] == [b"%d" % number for number in range(100)]


def test_joining_twice_and_leaving_what_was_not_joined_are_refused(clients: Clients) -> None:
    cpg = joined(clients, "once")
    with pytest.raises(Exist):
        cpg.join("once")
    with pytest.raises(Exist):
        clients.open(Cpg).join("once")
    outsider = clients.open(Cpg)
    with pytest.raises(NotExist):
        outsider.leave("once")
    with pytest.raises(NotExist):
        outsider.mcast(bytes(ATOMIC_MESSAGE_LIMIT + 1))


def test_a_process_can_be_in_several_groups_and_names_are_any_octets(clients: Clients) -> None:
    names = ["one", b"\0binary\xff", "x" * 128]
    members = {name: joined(clients, name) for name in names}  # type: ignore[arg-type]
    members["one"].mcast(b"to one")
    assert event_of(members["one"], Deliver).group == b"one"
    assert members["x" * 128].next_event(SHORT) is None


def test_iterations_list_groups_processes_or_names(clients: Clients) -> None:
    for group, node in (("left", 1), ("right", 2), ("right", 1)):
        member = joined(clients, group, node=node)
    watcher = clients.open(Cpg, node=3)
    wait_until(lambda: len(watcher.membership("right")) == 2, "both members of the group on node 3")
    everything = {(entry.group, entry.nodeid, entry.pid) for entry in watcher.iterate()}
    assert everything == {(b"left", 1, OURSELVES), (b"right", 1, OURSELVES), (b"right", 2, OURSELVES)}
    assert sorted(entry.group for entry in watcher.iterate(names_only=True)) == [b"left", b"right"]
    assert {(entry.group, entry.nodeid) for entry in watcher.iterate("right")} == {(b"right", 1), (b"right", 2)}
    assert list(watcher.iterate("absent")) == []
    assert (member.flow_control_state, member.max_atomic_message_size) == (0, ATOMIC_MESSAGE_LIMIT)


def test_an_iteration_is_a_snapshot_that_starts_over_after_its_end(clients: Clients) -> None:
    joined(clients, "listed")
    watcher = clients.open(Cpg)
    handle = watcher.iteration_initialize(Iteration.ONE_GROUP, "listed")
    joined(clients, "listed", node=2)
    wait_until(lambda: len(watcher.membership("listed")) == 2, "the second member")
    for _ in range(2):
        assert watcher.iteration_next(handle).nodeid == 1
        with pytest.raises(NoSections):
            watcher.iteration_next(handle)
    watcher.iteration_finalize(handle)
    for call in (watcher.iteration_next, watcher.iteration_finalize):
        with pytest.raises(LibraryError):
            call(handle)
    with pytest.raises(InvalidParameter):
        watcher.iteration_initialize(Iteration.ALL, "group")


def test_dispatch_takes_one_event_all_of_them_or_goes_on_until_the_end(clients: Clients) -> None:
    cpg = joined(clients, "dispatch")
    seen: list[Event] = []
    with pytest.raises(TryAgain):
        cpg.dispatch(seen.append, Dispatch.ONE_NONBLOCKING)
    assert cpg.dispatch(seen.append, Dispatch.ALL) == 0
    modes = (Dispatch.ONE, Dispatch.ONE_NONBLOCKING, Dispatch.ALL)
    for mode in modes:
        persist(lambda: cpg.mcast(b"one"))
        if mode is not Dispatch.ONE:
            wait_until(lambda: select.select([cpg], [], [], 0.0)[0], "the message")
        assert cpg.dispatch(seen.append, mode) == 1
    for _ in range(3):
        persist(lambda: cpg.mcast(b"several"))
    closing = Closing(cpg, 3)
    assert cpg.dispatch(closing, Dispatch.BLOCKING) == 3
    assert [event.data for event in (*seen, *closing.seen) if isinstance(event, Deliver)] == [b"one"] * 3 + [b"several"] * 3
    with pytest.raises(BadHandle):
        cpg.dispatch(seen.append)


class Closing:
    """A handler that ends its own connection at its last event."""

    def __init__(self, cpg: Cpg, last: int) -> None:
        self.cpg = cpg
        self.last = last
        self.seen: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.seen.append(event)
        if len(self.seen) == self.last:
            self.cpg.close()


def test_a_change_of_the_group_between_two_fragments_ends_the_message(clients: Clients) -> None:
    sender = joined(clients, "cut")

    def send(fragment: Fragment) -> None:
        request = PartialMcastRequest(b"half", 8, fragment).encode()
        persist(lambda: sender._run(ask(request, "a fragment", 2)))

    send(Fragment.FIRST)
    joined(clients, "cut", node=2)
    event_of(sender, ConfigurationChange)
    with pytest.raises(Interrupted):
        send(Fragment.LAST)
    send(Fragment.FIRST)
    send(Fragment.LAST)
    assert event_of(sender, Deliver).data == b"halfhalf"


def test_a_sender_under_pressure_is_told_to_try_again_and_loses_nothing(clients: Clients) -> None:
    sender, far = joined(clients, "pressure", node=1), joined(clients, "pressure", node=2)
    filling = bytes(64 << 10)
    sent = refused = 0
    while sent < ENOUGH or not refused:
        assert sent < FAR_TOO_MANY, "nothing held the sender back"
        try:
            sender.mcast(sent.to_bytes(8, "little") + filling)
        except TryAgain:
            refused += 1
            sender.next_event(0.01)  # It waits as a program would.
        else:
            sent += 1
    persist(lambda: sender.mcast(b"the end"))
    numbers = [int.from_bytes(event.data[:8], "little") for event in _until(far, b"the end")]
    assert numbers == list(range(sent))


ENOUGH, FAR_TOO_MANY = 300, 20_000
"""Messages of 64 KiB."""


def _until(member: Cpg, last: bytes) -> list[Deliver]:
    """The messages in front of the last one."""
    delivered: list[Deliver] = []
    while True:
        event = event_of(member, Deliver)
        if event.data == last:
            return delivered
        delivered.append(event)


def test_the_c_library_sends_from_its_buffers(lab: Lab, tmp_path: Path) -> None:
    program = tmp_path / "zero_copy"
    execute("gcc", "-O2", "-Wall", "-Werror", "-o", program, Path(__file__).with_name("zero_copy.c"), "-lcpg")
    assert lab.node(1).run(program).stdout == ZERO_COPY_TRANSCRIPT


def test_our_library_sends_from_its_buffers_to_every_node(clients: Clients) -> None:
    members = [joined(clients, "buffers", node=node) for node in NODES]
    sender = members[0]
    small, large = sender.zero_copy_allocate(64), sender.zero_copy_allocate(ATOMIC_MESSAGE_LIMIT + 1)
    small.data[:5] = b"hello"
    large.data[:4], large.data[-5:-1] = b"head", b"tail"
    persist(lambda: sender.zero_copy_mcast(small, 5))
    persist(lambda: sender.zero_copy_mcast(large, ATOMIC_MESSAGE_LIMIT))
    with pytest.raises(TooBig):
        sender.zero_copy_mcast(large)
    sender.zero_copy_free(large)
    small.data[:5] = b"again"
    persist(lambda: sender.zero_copy_mcast(small, 5))
    sender.zero_copy_free(small)
    for member in members:
        first, second, third = (event_of(member, Deliver) for _ in range(3))
        assert (first.nodeid, first.pid, first.data, third.data) == (1, OURSELVES, b"hello", b"again")
        assert (len(second.data), second.data[:4], second.data[-4:]) == (ATOMIC_MESSAGE_LIMIT, b"head", b"tail")


def test_a_program_in_no_group_is_told_so(clients: Clients) -> None:
    cpg = clients.open(Cpg)
    buffer = cpg.zero_copy_allocate(64)
    with pytest.raises(NotExist):
        cpg.zero_copy_mcast(buffer)


def test_a_ring_that_parts_and_heals_takes_processes_away_and_brings_them_back(clients: Clients, lab: Lab) -> None:
    near, far = joined(clients, "parting", node=1), joined(clients, "parting", node=3)
    event_of(near, ConfigurationChange)
    sides = {near: ((1, OURSELVES), (1, 2), (3, OURSELVES)), far: ((3, OURSELVES), (3,), (1, OURSELVES))}
    lab.partition((1, 2), (3,))
    for member, (own, ring, other) in sides.items():
        change = event_of(member, ConfigurationChange)
        assert (change.members, change.left, change.joined) == ((Address(*own),), (Address(*other, Reason.NODE_DOWN),), ())
        assert event_of(member, TotemConfiguration).members == ring
    lab.heal()
    for member, (_own, _ring, other) in sides.items():
        change = event_of(member, ConfigurationChange)
        assert (change.left, change.joined) == ((), (Address(*other, Reason.NODE_UP),))
        assert change.members == tuple(Address(node, OURSELVES) for node in (1, 3))
        assert event_of(member, TotemConfiguration).members == NODES
    lab.wait_ring(NODES)
