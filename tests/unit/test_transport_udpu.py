"""The udpu transport on loopback addresses."""

from __future__ import annotations

import errno
import select
import socket
import struct
from collections.abc import Iterator
from typing import ClassVar

import pytest

from corosyncd.transport.udpu import BindError, UdpuTransport, trains

Pair = tuple[UdpuTransport, UdpuTransport]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def pair() -> Iterator[Pair]:
    members = {1: "127.0.0.1", 2: "127.0.0.2"}
    port = free_port()
    one = UdpuTransport(1, members, port)
    two = UdpuTransport(2, members, port)
    yield one, two
    one.close()
    two.close()


def everything(transport: UdpuTransport, count: int) -> list[bytes]:
    """Datagrams as they were on the wire, once ``count`` have come."""
    datagrams: list[bytes] = []
    while len(datagrams) < count:
        readable, _, _ = select.select([transport], [], [], 5)
        assert readable, f"only {len(datagrams)} of {count} datagrams came"
        for content, segment in transport.receive():
            step = segment or len(content)
            datagrams += [content[start : start + step] for start in range(0, len(content), step)]
    return datagrams


def test_frames_of_equal_size_make_one_train_and_a_shorter_one_may_end_it() -> None:
    frames = [b"a" * 100, b"b" * 100, b"c" * 50, b"d" * 100, b"e" * 1500, b"f" * 1500]
    plan = trains(frames, 1472)
    assert [(size, len(part)) for size, part in plan] == [(100, 3), (0, 1), (0, 1), (0, 1)]
    assert [frame for _size, part in plan for frame in part] == frames


def test_a_train_is_bounded_in_segments_and_bytes() -> None:
    plan = trains([b"x" * 1455] * 200, 1472)
    assert all(len(part) * 1455 <= 64_000 for _size, part in plan)
    assert sum(len(part) for _size, part in plan) == 200
    assert max(len(part) for _size, part in trains([b"x" * 10] * 200, 1472)) == 60


def test_all_frames_and_then_the_token_arrive_in_order(pair: Pair) -> None:
    one, two = pair
    frames = [bytes([number]) * 1455 for number in range(44)]
    one.send(frames, 2, b"token")
    assert everything(two, 45) == [*frames, b"token"]


def test_sizes_that_no_train_can_carry_arrive_too(pair: Pair) -> None:
    one, two = pair
    frames = [b"a" * 1500, b"b" * 1500, b"c" * 29]
    one.send(frames)
    assert everything(two, 3) == frames


def test_a_token_for_an_unknown_node_is_sent_to_nobody(pair: Pair) -> None:
    one, two = pair
    one.send([b"frame"], 9, b"token")
    assert everything(two, 1) == [b"frame"]
    assert two.receive() == []


def test_datagrams_from_unlisted_addresses_are_dropped_and_counted(pair: Pair) -> None:
    _one, two = pair
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.9", 0))
        stranger.sendto(b"hello", ("127.0.0.2", two._port))
    assert select.select([two], [], [], 5)[0]
    assert two.receive() == []
    assert two.counters.foreign_source == 1


def test_a_closed_port_is_counted_and_costs_no_later_frame() -> None:
    members = {1: "127.0.0.1", 2: "127.0.0.2"}
    port = free_port()
    one = UdpuTransport(1, members, port)
    try:
        one.send([b"lost"])
        two = UdpuTransport(2, members, port)
        try:
            one.send([b"found"])
            assert everything(two, 1) == [b"found"]
            assert one.counters.send_refused == 1
        finally:
            two.close()
    finally:
        one.close()


def test_a_peer_that_no_route_leads_to_is_counted_and_reached_as_soon_as_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unrouted(socket.socket):
        routed = False

        def connect(self, address: object) -> None:
            if not self.routed:
                raise OSError(errno.ENETUNREACH, "Network is unreachable")
            super().connect(address)  # type: ignore[arg-type]

    port = free_port()
    members = {1: "127.0.0.1", 2: "127.0.0.2"}
    two = UdpuTransport(2, members, port)
    monkeypatch.setattr("corosyncd.transport.udpu.socket.socket", Unrouted)
    one = UdpuTransport(1, members, port)
    monkeypatch.undo()
    try:
        one.send([b"lost"])
        assert one.counters.send_unreachable == 1
        Unrouted.routed = True
        one.send([b"found"])
        assert everything(two, 1) == [b"found"]
    finally:
        one.close()
        two.close()


def test_an_address_in_use_is_named_in_one_line() -> None:
    members = {1: "127.0.0.1", 2: "127.0.0.2"}
    port = free_port()
    first = UdpuTransport(1, members, port)
    try:
        with pytest.raises(BindError, match=rf"cannot bind UDP 127\.0\.0\.1 port {port}: Address already in use"):
            UdpuTransport(1, members, port)
    finally:
        first.close()


def test_an_address_that_no_interface_has_is_named() -> None:
    with pytest.raises(BindError, match=r"192\.0\.2\.1"):
        UdpuTransport(1, {1: "192.0.2.1", 2: "192.0.2.2"}, free_port())


def refusals(transport: UdpuTransport) -> list[tuple[int, int]]:
    """What the error queues tell, once they tell anything."""
    assert select.select([transport.errors_fileno()], [], [], 5)[0]
    return transport.refusals()


@pytest.mark.parametrize("hosts", [("127.0.0.1", "127.0.0.2"), ("::1", "::1")], ids=["ipv4", "ipv6"])
def test_a_closed_port_is_told_with_the_host_that_says_so_and_costs_no_frame(hosts: tuple[str, str]) -> None:
    port = free_port()
    one = UdpuTransport(1, {1: hosts[0], 2: hosts[1]}, port)
    try:
        # IPv6 has one loopback address only: another port of it stands for the peer's.
        one._peers[2].connect((hosts[1], free_port()))
        assert one.refusals() == []
        one.send([b"lost", b"lost", b"gone"])
        assert refusals(one) == [(2, 2)]
        assert one.refusals() == []
        one.send([b"lost"])
        assert refusals(one) == [(2, 2)]
        assert not select.select([one.errors_fileno()], [], [], 0)[0]
    finally:
        one.close()


def test_a_refusal_that_was_read_costs_the_next_send_nothing(pair: Pair) -> None:
    one, two = pair
    two.close()
    one.send([b"lost"])
    assert refusals(one) == [(2, 2)]
    reborn = UdpuTransport(2, {1: "127.0.0.1", 2: "127.0.0.2"}, one._port)
    try:
        one.send([b"found"])
        assert everything(reborn, 1) == [b"found"]
        assert one.counters.send_refused == 0
    finally:
        reborn.close()


@pytest.mark.parametrize(
    ("entry", "offenders"),
    [
        ((errno.ECONNREFUSED, 2, 3, 3, "127.0.0.2"), [2]),
        ((errno.ECONNREFUSED, 2, 3, 3, "127.0.0.9"), [0]),
        ((errno.EHOSTUNREACH, 2, 3, 1, "127.0.0.2"), []),
        ((errno.ENOPROTOOPT, 2, 3, 2, "127.0.0.2"), []),
        ((errno.EMSGSIZE, 1, 0, 0, "0.0.0.0"), []),
    ],
)
def test_only_a_closed_port_counts_and_the_offender_is_named_by_its_address(
    entry: tuple[int, int, int, int, str], offenders: list[int], pair: Pair
) -> None:
    number, origin, kind, code, host = entry
    extended = struct.pack("=IBBBBII", number, origin, kind, code, 0, 0, 0)
    data = extended + struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(host))

    class Queue:
        """A socket with one entry in its error queue."""

        entries: ClassVar[list[bytes]] = [data, extended[:-1]]

        def recvmsg(self, *_: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
            if not self.entries:
                raise BlockingIOError
            return b"", [(0, 11, self.entries.pop(0))], 0, None

    Queue.entries = [data, extended[:-1]]
    assert pair[0]._offenders(Queue()) == offenders  # type: ignore[arg-type]


def test_a_node_that_comes_is_sent_to_and_heard_and_one_that_goes_is_neither() -> None:
    all_three = {1: "127.0.0.1", 2: "127.0.0.2", 3: "127.0.0.3"}
    first_two = {1: "127.0.0.1", 2: "127.0.0.2"}
    port = free_port()
    transports = [UdpuTransport(1, first_two, port), UdpuTransport(2, all_three, port), UdpuTransport(3, all_three, port)]
    one, two, three = transports
    try:
        three.send([b"too early"])
        assert everything(two, 1) == [b"too early"]
        assert one.receive() == []
        assert one.counters.foreign_source == 1
        one.set_members(all_three)
        assert one.node_ids == {1, 2, 3}
        one.send([b"welcome"])
        three.send([b"thanks"])
        assert everything(three, 1) == [b"welcome"]
        assert everything(one, 1) == [b"thanks"]
        assert everything(two, 2) == [b"welcome", b"thanks"]
        one.set_members(first_two)
        three.send([b"too late"])
        one.send([b"last"])
        assert everything(two, 2) == [b"too late", b"last"]
        assert (one.receive(), three.receive()) == ([], [])
        assert one.counters.foreign_source == 2
        one.send([], 3, b"token")
        assert three.receive() == []
    finally:
        for transport in transports:
            transport.close()


def test_a_node_list_that_finds_no_socket_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = UdpuTransport(1, {1: "127.0.0.1", 2: "127.0.0.2"}, free_port())

    def no_socket(*_arguments: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    try:
        monkeypatch.setattr("corosyncd.transport.udpu.socket.socket", no_socket)
        with pytest.raises(BindError, match="Too many open files"):
            transport.set_members({1: "127.0.0.1", 3: "127.0.0.3"})
        assert transport.node_ids == {1, 2}
    finally:
        transport.close()
