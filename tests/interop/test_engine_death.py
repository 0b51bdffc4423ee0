"""An engine of our node dies in a ring with two stock nodes: its own programs get an error, nobody else loses anything.

What stock programs may see is one membership event with the same members and a new ring id, and the dead engine's processes
leaving their groups. Source: design, "What happens when something dies" (docs/architecture.md).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coroipc.errors import LibraryError, TryAgain
from libquorum import NodeListNotification, Quorum, QuorumNotification, Track
from tests.daemon_processes import engine, family
from tests.engine_calls import LIBRARIES, RETURN_SECONDS, answered
from tests.interop.clients import Clients
from tests.interop.transcripts import MEMBERS, Member, left_of
from tests.lab import DEADLINE, Lab, LabError, Node, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

STOCK, OURS = (1, 2), 3
ALL = (*STOCK, OURS)
TOTEM = {"token": 1000, "token_coefficient": 0}
COUNT = 400
SIZES = {1: 20, 2: 700, 3: 4000}
PROCESS_DOWN = 5


@pytest.fixture(scope="module")
def ring() -> Iterator[Lab]:
    """Two stock nodes and, once ``ours`` has started it, one of ours."""
    with Lab(len(ALL)) as lab:
        for number in STOCK:
            lab.stock_node(number, "totem {\n" + "".join(f"  {key}: {value}\n" for key, value in TOTEM.items()) + "}\n")
        yield lab


@pytest.fixture
def ours(ring: Lab) -> Iterator[Node]:
    """Our node, fresh: an engine that dies for the third time within a minute would end it."""
    for number in STOCK:
        if ring.node(number).process is None:
            ring.node(number).start()
    node = ring.our_node(OURS, totem=TOTEM)
    ring.wait_ring(ALL)
    yield node
    if node.process is not None:
        assert node.stop() == 0
    ring.wait_ring(STOCK)


@pytest.fixture
def clients(ours: Node) -> Iterator[Clients]:
    with contextlib.ExitStack() as stack:
        yield Clients(ours.lab, stack)


@pytest.fixture
def members(ours: Node, program: Path) -> Iterator[list[Member]]:
    """A C and a Python program on every node, in one group; each has seen all of them."""
    with contextlib.ExitStack() as stack:
        started = [Member(ours.lab.node(number), "deaths", kind) for number in ALL for kind in (program, None)]
        for member in started:
            stack.callback(member.discard)
        for member in started:
            member.wait_group(each.address for each in started)
        yield started


def wait_served(node: Node, name: str) -> float:
    """Until a new connection to the engine is answered; the seconds that it took."""
    library, call = LIBRARIES[name]
    began = time.monotonic()
    while time.monotonic() - began < DEADLINE:
        try:
            with node.network():
                connection = library()
            with connection:
                call(connection)
        except (LibraryError, TryAgain):
            node.check_alive()
            continue
        return time.monotonic() - began
    raise LabError(f"engine {name} does not come back\n{node.log()}")


def call_through(connection: Any, call: Callable[[Any], object]) -> None:
    """An answer comes on a connection that must have lived on."""
    wait_until(lambda: answered(connection, call), "an answer")


class Observers:
    """A quorum connection on every node, which has seen the present ring."""

    def __init__(self, clients: Clients, numbers: tuple[int, ...]) -> None:
        """``numbers``: on which nodes."""
        self._connections: dict[int, Quorum] = {number: clients.open(Quorum, node=number) for number in numbers}
        self._seen: dict[int, list[object]] = {number: [] for number in numbers}
        self._before: dict[int, int] = {}
        for number, quorum in self._connections.items():
            quorum.trackstart(Track.CURRENT | Track.CHANGES)
            self._before[number] = self.next_ring(number, ALL)

    def next_ring(self, number: int, expected: tuple[int, ...]) -> int:
        """Until a node's programs are told of a ring of these members; its sequence. Quorum may not be lost on the way."""
        for event in self._connections[number].events(DEADLINE):
            self._seen[number].append(event)
            if isinstance(event, QuorumNotification):
                assert event.quorate
                if set(event.members) == set(expected):
                    return event.ring_sequence
        raise AssertionError(f"node {number} was not told of {expected}")

    def expect_one_change(self) -> None:
        """Each was told once, of the same members on a new ring, and of nothing else."""
        for number, quorum in self._connections.items():
            while (sequence := self.next_ring(number, ALL)) == self._before[number]:
                pass
            call_through(quorum, LIBRARIES["quorum"][1])
            told = [*self._seen[number], *quorum.events(0.0)]
            events = [event for event in told if getattr(event, "ring_sequence", sequence) != self._before[number]]
            lists = [event for event in events if isinstance(event, NodeListNotification)]
            assert [(set(event.members), event.joined, event.left) for event in lists] == [(set(ALL), (), ())], number
            quorate = [event for event in events if isinstance(event, QuorumNotification)]
            assert [event.ring_sequence for event in quorate] == [sequence], number


def listed_processes(node: Node) -> set[str]:
    """Every member of every group that the distribution's tool shows on a node, as NODE:PID."""
    lines = node.run("corosync-cpgtool", "-d:").stdout.splitlines()[1:]
    return {":".join((words[2], words[1])) for words in (line.split(":") for line in lines)}


def expect_no_ghosts(lab: Lab, alive: list[Member]) -> None:
    """Every node lists these members and no others."""
    for number in ALL:
        node = lab.node(number)
        wait_until(
            lambda node=node: listed_processes(node) == {member.address for member in alive},  # type: ignore[misc]
            f"node {number}: the groups' true members",
            DEADLINE,
            lambda node=node: f"{listed_processes(node)}\n{node.log()}",  # type: ignore[misc]
        )


def message(sender: Member, number: int) -> str:
    """The line of a message in a transcript."""
    return f"message {sender.address} {number} {SIZES[sender.node.number]}"


def send(senders: list[Member], first: int) -> None:
    for sender in senders:
        sender.send(first, COUNT, SIZES[sender.node.number])


def wait_last(receivers: list[Member], senders: list[Member], last: int) -> None:
    """Until everybody has the last message of every sender."""
    for receiver in receivers:
        for sender in senders:
            line = message(sender, last)
            receiver.wait(lambda lines, line=line: line in lines, line)  # type: ignore[misc]


@pytest.mark.parametrize("name", ["cpg", "votequorum", "cmap"])
def test_a_death_costs_the_engines_own_programs_and_shows_as_one_membership_event(
    ours: Node, clients: Clients, members: list[Member], name: str
) -> None:
    observers = Observers(clients, ALL)
    connections = {each: clients.open(library, node=OURS) for each, (library, _) in LIBRARIES.items()}
    os.kill(engine(ours, name), signal.SIGKILL)
    seconds = wait_served(ours, name)
    observers.expect_one_change()
    for each, (_, call) in LIBRARIES.items():
        if each == name:
            with pytest.raises(LibraryError):
                call(connections[each])
        else:
            call_through(connections[each], call)
    lost = [member for member in members if name == "cpg" and member.node is ours]
    kept = [member for member in members if member not in lost]
    for member in lost:
        assert member.wait_lost() == "lost 2"
    if name == "cpg":
        for member in kept:
            member.wait_group(each.address for each in kept)
            changes = member.changes()
            left = [entry for change in changes for entry in left_of(change)]
            assert sorted(left) == sorted(f"{each.address}:{PROCESS_DOWN}" for each in lost)
    send(kept, 0)
    wait_last(kept, kept, COUNT - 1)
    expect_no_ghosts(ours.lab, kept)
    assert seconds < RETURN_SECONDS


def test_nothing_is_lost_on_stock_nodes_when_the_cpg_engine_dies_under_load(
    ours: Node, clients: Clients, members: list[Member], program: Path
) -> None:
    observers = Observers(clients, ALL)
    dying = [member for member in members if member.node is ours]
    kept = [member for member in members if member.node is not ours]
    send(members, 0)
    kept[0].wait_messages(COUNT)
    os.kill(engine(ours, "cpg"), signal.SIGKILL)
    for member in dying:
        assert member.wait_lost() == "lost 2"
    observers.expect_one_change()
    send(kept, COUNT)
    wait_last(kept, kept, 2 * COUNT - 1)
    transcripts = [behind(member, members) for member in kept]
    assert all(transcript == transcripts[0] for transcript in transcripts)
    for sender in members:
        numbers = [int(line.split()[2]) for line in transcripts[0] if line.startswith(f"message {sender.address} ")]
        assert numbers == list(range(2 * COUNT if sender in kept else len(numbers)))
    wait_served(ours, "cpg")
    with contextlib.ExitStack() as stack:
        newcomers = [Member(ours, "deaths", kind) for kind in (program, None)]
        for member in newcomers:
            stack.callback(member.discard)
        everybody = kept + newcomers
        for member in everybody:
            member.wait_group(each.address for each in everybody)
        send(everybody, 2 * COUNT)
        wait_last(everybody, everybody, 3 * COUNT - 1)
        transcripts = [behind(member, everybody) for member in everybody]
        assert all(transcript == transcripts[0] for transcript in transcripts)
        expect_no_ghosts(ours.lab, everybody)


def behind(member: Member, members: list[Member]) -> list[str]:
    """A transcript behind the change that first shows all these members together."""
    lines = member.lines()
    wanted = {each.address for each in members}
    for index, line in enumerate(lines):
        if line.startswith(MEMBERS) and wanted <= set(line.split(" | ")[0].split()[1:]):
            return lines[index + 1 :]
    raise AssertionError(f"{wanted} were never together")


@pytest.mark.parametrize("name", ["cpg", "votequorum", "cmap"])
def test_a_ring_with_stock_nodes_is_formed_although_an_engine_dies_while_it_synchronises(
    ours: Node, clients: Clients, members: list[Member], name: str
) -> None:
    peer, bystander = ours.lab.node(1), ours.lab.node(2)
    quorum = Observers(clients, (2,))
    stopped = engine(ours, name)
    # A stopped engine keeps the synchronisation open, on the stock nodes as well, until it is killed.
    os.kill(stopped, signal.SIGSTOP)
    peer.kill()
    wait_until(lambda: re.search(r"Members left: 1|left\[1\]: 1", ours.log()), "the ring without the peer", DEADLINE, ours.log)
    os.kill(stopped, signal.SIGKILL)
    quorum.next_ring(2, (2, OURS))
    wait_served(ours, name)
    rest = [member for member in members if member.node is bystander or (member.node is ours and name != "cpg")]
    for member in rest:
        member.wait_group(each.address for each in rest)
    # The second death comes as soon as the returning peer has formed a ring with us: in its round, or next to it.
    victim = engine(ours, name)
    rings = ours.log(10_000).count("A new membership")
    peer.start()
    while ours.log(10_000).count("A new membership") == rings:
        ours.check_alive()
    os.kill(victim, signal.SIGKILL)
    quorum.next_ring(2, ALL)
    wait_served(ours, name)
    ours.lab.wait_ring(ALL)
    send(rest, 0)
    wait_last(rest, rest, COUNT - 1)
    expect_no_ghosts(ours.lab, rest)


def test_votes_survive_the_death_of_their_engine(ours: Node) -> None:
    def shown(number: int) -> str:
        text = ours.lab.node(number).run("corosync-quorumtool", "-s", "-p", check=False).stdout
        return re.sub(r"(Date|Ring ID): .*", "", text)

    ours.run("corosync-quorumtool", "-n", str(OURS), "-v", "2")
    ours.run("corosync-quorumtool", "-e", "5")
    before = wait_until(lambda: "Expected votes:   5" in shown(1) and [shown(number) for number in ALL], "the votes")
    ring = ours.run("corosync-quorumtool", "-s").stdout
    os.kill(engine(ours, "votequorum"), signal.SIGKILL)
    wait_served(ours, "votequorum")
    wait_until(
        lambda: ours.run("corosync-quorumtool", "-s", check=False).stdout.splitlines()[6:7] != ring.splitlines()[6:7], "a ring"
    )
    wait_until(lambda: [shown(number) for number in ALL] == before, "the same votes as before", DEADLINE, lambda: shown(OURS))
    for number in ALL:
        ours.lab.node(number).run("corosync-quorumtool", "-n", str(OURS), "-v", "1")
        ours.lab.node(number).run("corosync-quorumtool", "-e", "3")


def test_nothing_of_a_killed_executive_lives_on_and_its_next_start_sweeps_what_it_left(
    ours: Node, members: list[Member], clients: Clients
) -> None:
    pids = family(ours)
    assert "executive" in pids.values()
    assert "cpg" in pids.values()
    ours.kill(signal.SIGKILL)
    wait_until(lambda: not family(ours), "the end of its processes", DEADLINE, lambda: str(family(ours)))
    kept = [member for member in members if member.node is not ours]
    for member in kept:
        member.wait_group(each.address for each in kept)
    ours.lab.wait_ring(STOCK)
    ours.start()
    ours.lab.wait_ring(ALL)
    left = [name for name in os.listdir("/dev/shm") if any(re.search(rf"(^|-){pid}(-|$)", name) for pid in pids)]
    assert left == []
    expect_no_ghosts(ours.lab, kept)
