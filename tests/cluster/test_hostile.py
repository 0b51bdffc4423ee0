"""Datagrams and programs that lie to a running node: the ring and everybody else's connections go on."""

from __future__ import annotations

import itertools
import os
import random
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from coroipc import handshake
from coroipc.errors import TryAgain
from coroipc.messages import request
from corosyncd.totem import wire
from libcfg import Cfg
from libcmap import Cmap, Map
from libcpg import ConfigurationChange, Cpg, Deliver, Reason
from libquorum import Quorum
from libvotequorum import Votequorum
from tests.cluster.harness import DEADLINE, Cluster, Node, eventually
from tests.data.coroipc_process import RawClient
from tests.unit.totem_vectors import HEX

ALL = {1, 2, 3}
NEVER_READS = """
import sys
from coroipc.errors import CorosyncError
from libcpg import Cpg
with Cpg(instance=sys.argv[1]) as cpg:
    cpg.join(b"flood")
    print("joined", flush=True)
    sys.stdin.readline()
    try:
        cpg.local_nodeid()
    except CorosyncError as error:
        print(type(error).__name__)
"""
SERVICES = ("cmap", "cfg", "cpg", "quorum", "votequorum")
DROPPED = "stats.srp.rx_msg_dropped"
UNKNOWN_TYPE = 9
LARGEST_DATAGRAM = 65_507
ATTEMPT_SECONDS = 5.0
OVERFLOW = 16 << 20
"""Bytes that may wait for a program that does not read."""
EVENT_SIZE = 512 << 10


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(3) as formed:
        yield formed


@pytest.fixture
def attacker(cluster: Cluster) -> Iterator[Callable[[bytes], None]]:
    """Sends datagrams to node 1 from an address of the nodelist."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((cluster[2].address, 0))
        sock.connect((cluster[1].address, cluster.port))
        yield lambda datagram: sock.sendall(datagram)


def delivered_everywhere(cluster: Cluster) -> None:
    """A message from each node reaches all, in one order: soon, where the ring is being formed anew."""
    groups = itertools.count()
    eventually(lambda: _one_order(cluster, b"alive %d" % next(groups)), "one order", cluster.logs)


def _one_order(cluster: Cluster, group: bytes) -> bool:
    """One attempt; a change of the ring may spoil it."""
    with ExitStack() as stack:
        try:
            members = [stack.enter_context(node.connect(Cpg)) for node in cluster]
            for cpg in members:
                cpg.join(group)
            if not all(_complete(cpg, len(members)) for cpg in members):
                return False
            for cpg in members:
                cpg.mcast(group)
        except TryAgain:
            return False
        events = [[cpg.next_event(ATTEMPT_SECONDS) for _ in members] for cpg in members]
    orders = [[event.nodeid for event in each if isinstance(event, Deliver)] for each in events]
    return orders[0] == orders[1] == orders[2] and set(orders[0]) == ALL


def _complete(cpg: Cpg, count: int) -> bool:
    """Wait until the group has so many members."""
    changes = (event for event in cpg.events(ATTEMPT_SECONDS) if isinstance(event, ConfigurationChange))
    return any(len(change.members) == count for change in changes)


def test_random_truncated_oversized_and_foreign_datagrams_leave_the_configuration_alone_and_are_counted(
    cluster: Cluster, attacker: Callable[[bytes], None]
) -> None:
    rng = random.Random(20)
    frames = [bytes.fromhex(text) for text in HEX.values()]
    foreign_token = wire.decode_orf_token(frames[list(HEX).index("V6")])._replace(ring_sequence=1 << 40)
    with ExitStack() as stack:
        trackers = {node: stack.enter_context(node.quorum()) for node in cluster}
        rings = {node: node.next_membership(tracker, ALL) for node, tracker in trackers.items()}
        statistics = stack.enter_context(cluster[1].connect(lambda **where: Cmap(Map.STATS, **where)))
        before = statistics.get(DROPPED)
        for size in (0, 1, 4, 14, 15, 45, 57, 1400, LARGEST_DATAGRAM):
            attacker(rng.randbytes(size))
        for frame in frames:
            # A whole mcast header is a frame, however little follows, and may name the ring that stands here or its successor.
            end = wire.MCAST.size if frame[3] == wire.FrameType.MCAST else len(frame)
            for size in range(0, end, 7):
                attacker(frame[:size])
        for _ in range(200):
            attacker(wire.encode(foreign_token._replace(seq=rng.getrandbits(32), token_seq=rng.getrandbits(32))))
        for kind in range(6):
            attacker(wire.MAGIC.to_bytes(2, "little") + bytes((wire.VERSION, kind)) + bytes(LARGEST_DATAGRAM - 4))
        unknown = wire.MAGIC.to_bytes(2, "little") + bytes((wire.VERSION, UNKNOWN_TYPE)) + bytes(20)
        for _ in range(50):
            attacker(unknown)
        delivered_everywhere(cluster)
        eventually(lambda: int(statistics.get(DROPPED)) - int(before) >= 50, "50 counted frames", cluster.logs)
        for node, tracker in trackers.items():
            assert list(tracker.events(0.0)) == []
            assert node.wait_members(ALL) == rings[node]


def test_what_looks_like_frames_may_cost_a_membership_but_never_the_ring(
    cluster: Cluster, attacker: Callable[[bytes], None]
) -> None:
    rng = random.Random(21)
    frames = [bytearray.fromhex(text) for text in HEX.values()]
    for _ in range(300):
        frame = bytearray(rng.choice(frames))
        for _ in range(rng.randrange(1, 6)):
            frame[rng.randrange(4, len(frame))] = rng.getrandbits(8)
        attacker(bytes(frame))
    delivered_everywhere(cluster)
    for node in cluster:
        node.wait_members(ALL, quorate=True)


class Bystanders:
    """A program at each service of a node, which must not notice."""

    def __init__(self, node: Node, stack: ExitStack) -> None:
        self.cmap = stack.enter_context(node.connect(Cmap))
        self.cfg = stack.enter_context(node.connect(Cfg))
        self.cpg = stack.enter_context(node.connect(Cpg))
        self.quorum = stack.enter_context(node.connect(Quorum))
        self.votequorum = stack.enter_context(node.connect(Votequorum))

    def check(self, number: int) -> None:
        assert self.cmap.get("nodelist.local_node_pos") == number - 1
        assert self.cfg.local_nodeid() == number
        assert self.cpg.local_nodeid() == number
        assert self.quorum.getquorate()
        assert self.votequorum.getinfo().nodeid == number


def raw_client(node: Node, service: str) -> RawClient:
    return RawClient(handshake.socket_address(service, node.instance))


@pytest.fixture
def bystanders(cluster: Cluster) -> Iterator[None]:
    node = cluster[1]
    engines = {name: node.engine(name) for name in SERVICES}
    with ExitStack() as stack:
        others = Bystanders(node, stack)
        others.check(1)
        yield
        others.check(1)
    assert {name: node.engine(name) for name in SERVICES} == engines


def _wrong_pointer(client: RawClient) -> None:
    client.commit(request(0))
    client.set_word(0, 0xFFFFFFFF)


def _inflated(client: RawClient) -> None:
    client.commit(request(0))
    client.set_semaphore(0x7FFFFFFF)


LIES: dict[str, Callable[[RawClient], object]] = {
    "a request shorter than its header": lambda client: client.commit(request(0)[:15]),
    "a negative size": lambda client: client.commit(struct.pack("<i4xi4x", 0, -16)),
    "a size beyond the maximum": lambda client: client.commit(struct.pack("<i4xi4x", 0, 1 << 30)),
    "a chunk longer than the ring": lambda client: client.commit(request(0), size=0x7FFFFFFF),
    "a chunk that is not committed": lambda client: client.commit(request(0), magic=0xA110CED0),
    "a write pointer outside the ring": _wrong_pointer,
    "a semaphore at its maximum": _inflated,
}


@pytest.mark.usefixtures("bystanders")
@pytest.mark.parametrize("service", SERVICES)
def test_a_program_that_lies_in_its_rings_loses_its_own_connection_alone(cluster: Cluster, service: str) -> None:
    for name, lie in LIES.items():
        client = raw_client(cluster[1], service)
        lie(client)
        client.wake()
        assert client.closed_by_server(), name
        client.close()


@pytest.mark.usefixtures("bystanders")
@pytest.mark.parametrize("service", SERVICES)
def test_requests_that_are_too_short_or_unknown_cost_nobody_else_anything(cluster: Cluster, service: str) -> None:
    for identifier in (*range(25), -1, -2, 99, 0x7FFFFFFF, -0x80000000):
        for body in (b"", b"\xff" * 3):
            client = raw_client(cluster[1], service)
            client.commit(request(identifier, body))
            client.wake()
            client.close()


@pytest.mark.usefixtures("bystanders")
@pytest.mark.parametrize("service", ["cmap", "cpg", "quorum"])
def test_requests_of_random_content_cost_nobody_else_anything(cluster: Cluster, service: str) -> None:
    # Not cfg and votequorum: there random numbers are orders that an authorised program may give.
    rng = random.Random(service)
    for _ in range(150):
        client = raw_client(cluster[1], service)
        for _ in range(rng.randrange(1, 4)):
            client.commit(request(rng.randrange(14), rng.randbytes(rng.choice((8, 16, 140, 264, 400, 2000)))))
            client.wake()
        client.close()


@pytest.mark.usefixtures("bystanders")
@pytest.mark.parametrize("service", SERVICES)
def test_programs_that_stall_or_die_in_the_middle_are_nobody_elses_business(cluster: Cluster, service: str) -> None:
    with ExitStack() as stack:
        address = handshake.socket_address(service, cluster[1].instance)
        for first_bytes in (b"", handshake.REQUEST.pack(-1, 24, 1 << 20)[:10]):
            half_open = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            half_open.connect(address)
            half_open.sendall(first_bytes)
        silent = raw_client(cluster[1], service)
        stack.callback(silent.close)
        silent.commit(request(0))
        child = os.fork()
        if child == 0:
            dying = raw_client(cluster[1], service)
            dying.commit(request(0), magic=0xA110CED0, tokens=0)
            os.kill(os.getpid(), 9)
        os.waitpid(child, 0)


def test_a_program_that_never_reads_is_disconnected_at_its_limit_while_the_others_go_on() -> None:
    with Cluster(1, system={"client_queue_limit": OVERFLOW}) as cluster, ExitStack() as stack:
        node = cluster[1]
        others = Bystanders(node, stack)
        sender = stack.enter_context(node.connect(Cpg))
        sender.join(b"flood")
        idle = cluster.program("-c", NEVER_READS, node.instance)
        assert idle.stdout is not None
        assert idle.stdout.readline() == "joined\n"
        content = bytes(EVENT_SIZE)
        sent = received = 0
        left: list[int] = []
        while not left:
            assert sent * EVENT_SIZE < 2 * OVERFLOW, "it is not disconnected"
            sender.mcast(content)
            sent += 1
            while received < sent:
                event = sender.next_event(DEADLINE)
                assert event is not None
                if isinstance(event, Deliver):
                    received += 1
                elif isinstance(event, ConfigurationChange):
                    left += [address.pid for address in event.left if address.reason == Reason.PROCESS_DOWN]
        assert left == [idle.pid]
        assert sent * EVENT_SIZE > OVERFLOW
        assert idle.communicate("go on\n", timeout=DEADLINE)[0] == "LibraryError\n"
        node.wait_logged(f"process {idle.pid} (python")
        node.wait_logged(f"the limit is {OVERFLOW}")
        others.check(1)
