"""libcpg against real daemons: three nodes, the distribution's or ours, one suite for both."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coroipc.errors import Exist, NotExist, TooBig
from libcpg import ATOMIC_MESSAGE_LIMIT, Address, ConfigurationChange, Cpg, Deliver, Reason, TotemConfiguration
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
    cpg = joined(clients, "flagged", initial_totem_configuration=True)
    ring = cpg.next_event(DEADLINE)
    assert isinstance(ring, TotemConfiguration)
    assert (ring.members, ring.ring_nodeid) == (NODES, 1)
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
