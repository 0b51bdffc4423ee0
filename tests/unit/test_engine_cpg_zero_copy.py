"""Zero-copy buffers in the cpg engine: what is sent from them, what is refused, and when they are let go."""

from __future__ import annotations

import struct

import pytest

from coroipc.errors import Status
from coroipc.layouts import response_status
from corosyncd.engines.cpg import CpgEngine
from corosyncd.engines.cpg.zero_copy import BUFFERS_OF_ONE_CLIENT
from libcpg.messages import ATOMIC_MESSAGE_LIMIT, Deliver, JoinRequest, McastRequest, decode_event
from libcpg.zero_copy import ADDRESS, ADDRESS_OFFSET, DATA_OFFSET, MESSAGE_OFFSET, AllocateRequest, ExecuteRequest, FreeRequest
from tests.unit.fake_host import Cluster, FakeFile

PATH = b"/dev/shm/corosync_zerocopy-aB3dE9"
SIZE = DATA_OFFSET + 1000


class Program:
    """A client that shares buffers."""

    def __init__(self, cluster: Cluster, group: bytes | None = b"g") -> None:
        self.node = cluster[1]
        self.host = self.node.host
        self.client = self.node.connect(77)
        if group is not None:
            assert self.status(JoinRequest(group, 77).encode()) == Status.OK
            cluster.run()
            self.host.take_events(self.client)

    def status(self, body: bytes) -> int:
        (answer,) = self.node.request(self.client, body)
        assert len(answer) == 24
        return response_status(answer)

    def allocate(self, size: int = SIZE, content: bytearray | None = None) -> int:
        """A status; the file is the last in ``host.taken``."""
        self.host.shared[PATH] = bytearray(size) if content is None else content
        return self.status(AllocateRequest(size, PATH).encode())

    def buffer(self, size: int = SIZE) -> tuple[FakeFile, int]:
        """A file that the engine has taken, and its address."""
        assert self.allocate(size) == Status.OK
        file = self.host.taken[-1]
        return file, ADDRESS.unpack_from(file.content, ADDRESS_OFFSET)[0]

    def execute(self, address: int) -> int:
        return self.status(ExecuteRequest(address).encode())

    def free(self, address: int, size: int = SIZE) -> int:
        return self.status(FreeRequest(size, address).encode())


@pytest.fixture
def alone() -> Cluster:
    return Cluster(CpgEngine, [1])


def put(file: FakeFile, data: bytes, length: int | None = None) -> None:
    """Write a message, whose head claims ``length`` bytes, into a buffer."""
    mcast = bytearray(McastRequest(data).encode())
    if length is not None:
        struct.pack_into("<I", mcast, 32, length)
    file.content[MESSAGE_OFFSET : MESSAGE_OFFSET + len(mcast)] = mcast


def test_what_a_buffer_holds_is_sent_each_time_as_it_is_then(alone: Cluster) -> None:
    program = Program(alone)
    first, address = program.buffer()
    second, other = program.buffer()
    assert 0 < address != other > 0
    for file, where, data in (
        (first, address, b"one"),
        (second, other, b"two"),
        (first, address, b""),
        (first, address, b"three"),
    ):
        put(file, data)
        assert program.execute(where) == Status.OK
    alone.run()
    events = [decode_event(event) for event in program.host.take_events(program.client)]
    assert events == [Deliver(b"g", 1, 77, data) for data in (b"one", b"two", b"", b"three")]


def test_a_message_of_the_largest_size_goes_and_a_longer_one_is_refused(alone: Cluster) -> None:
    program = Program(alone)
    file, address = program.buffer(DATA_OFFSET + ATOMIC_MESSAGE_LIMIT + 1)
    put(file, bytes(ATOMIC_MESSAGE_LIMIT))
    assert program.execute(address) == Status.OK
    put(file, bytes(ATOMIC_MESSAGE_LIMIT + 1))
    assert program.execute(address) == Status.TOO_BIG
    assert len(program.host.take_multicasts()) == 1


def test_a_program_in_no_group_sends_nothing(alone: Cluster) -> None:
    program = Program(alone, None)
    file, address = program.buffer()
    put(file, b"lost")
    assert program.execute(address) == Status.NOT_EXIST
    assert program.host.take_multicasts() == []


def test_a_message_without_room_on_the_ring_is_refused_for_now(alone: Cluster) -> None:
    program = Program(alone)
    file, address = program.buffer()
    put(file, bytes(1000))
    program.host.free_room = 1000
    assert program.execute(address) == Status.TRY_AGAIN
    assert program.host.take_multicasts() == []
    program.host.free_room = 2000
    assert program.execute(address) == Status.OK


@pytest.mark.parametrize("length", [1001, ATOMIC_MESSAGE_LIMIT])
def test_a_message_longer_than_its_buffer_is_refused(alone: Cluster, length: int) -> None:
    program = Program(alone)
    file, address = program.buffer()
    put(file, b"short", length)
    assert program.execute(address) == Status.INVALID_PARAM


@pytest.mark.parametrize("length", [1 << 31, (1 << 32) - 1])
def test_a_giant_message_is_refused_before_anything_is_read(alone: Cluster, length: int) -> None:
    program = Program(alone)
    file, address = program.buffer()
    put(file, b"short", length)
    assert program.execute(address) == Status.TOO_BIG


@pytest.mark.parametrize("left", [0, MESSAGE_OFFSET, DATA_OFFSET, DATA_OFFSET + 4])
def test_a_buffer_that_was_cut_is_refused_and_good_again_once_it_is_whole(alone: Cluster, left: int) -> None:
    program = Program(alone)
    file, address = program.buffer()
    put(file, b"hello")
    whole = bytes(file.content)
    del file.content[left:]
    assert program.execute(address) == Status.INVALID_PARAM
    file.content[:] = whole
    assert program.execute(address) == Status.OK


def test_a_refused_buffer_is_told_and_logged_once(alone: Cluster) -> None:
    program = Program(alone)
    for _ in range(3):
        assert program.status(AllocateRequest(SIZE, b"/etc/passwd").encode()) == Status.NOT_EXIST
    assert [line for level, line in program.host.lines if level == "warning" and "process 77 refused" in line] == [
        line for _, line in program.host.lines
    ]
    assert len(program.host.lines) == 1


@pytest.mark.parametrize("size", [1, MESSAGE_OFFSET, DATA_OFFSET - 1])
def test_a_buffer_without_room_for_a_message_is_refused_and_let_go(alone: Cluster, size: int) -> None:
    program = Program(alone)
    assert program.allocate(size) == Status.INVALID_PARAM
    assert program.host.taken[-1].closed == 1


def test_a_buffer_cut_before_its_address_is_written_is_refused_and_let_go(alone: Cluster) -> None:
    program = Program(alone)
    assert program.allocate(SIZE, bytearray(4)) == Status.INVALID_PARAM
    assert program.host.taken[-1].closed == 1


def test_a_client_has_a_limited_number_of_buffers_and_freed_ones_do_not_count(alone: Cluster) -> None:
    program = Program(alone)
    addresses = [program.buffer()[1] for _ in range(BUFFERS_OF_ONE_CLIENT)]
    assert program.allocate() == Status.NO_RESOURCES
    assert len(program.host.taken) == BUFFERS_OF_ONE_CLIENT
    assert program.free(addresses[5]) == Status.OK
    _, address = program.buffer()
    assert address not in addresses


def test_a_buffer_is_freed_once_and_then_unknown(alone: Cluster) -> None:
    program = Program(alone)
    file, address = program.buffer()
    put(file, b"late")
    assert [program.free(address), program.free(address)] == [Status.OK, Status.NOT_EXIST]
    assert file.closed == 1
    assert program.execute(address) == Status.NOT_EXIST


@pytest.mark.parametrize("address", [0, 2, 0x7FFF_0000_1000, (1 << 64) - 1])
def test_an_address_that_was_never_given_out_is_unknown(alone: Cluster, address: int) -> None:
    program = Program(alone)
    program.buffer()
    assert (program.free(address), program.execute(address)) == (Status.NOT_EXIST, Status.NOT_EXIST)


def test_nobody_else_can_use_or_free_a_buffer(alone: Cluster) -> None:
    owner, other = Program(alone), Program(alone, None)
    file, address = owner.buffer()
    put(file, b"mine")
    assert (other.free(address), other.execute(address)) == (Status.NOT_EXIST, Status.NOT_EXIST)
    assert owner.execute(address) == Status.OK


def test_the_buffers_of_a_connection_that_ends_are_let_go(alone: Cluster) -> None:
    program = Program(alone)
    files = [program.buffer()[0] for _ in range(3)]
    program.free(1)
    program.node.disconnect(program.client)
    assert [file.closed for file in files] == [1, 1, 1]
