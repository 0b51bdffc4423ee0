"""Nodes of ours and stock nodes in one ring: one membership, one quorum, one total order, through deaths, returns and leaves."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.transcripts import MESSAGE, Member, joined_of, left_of
from tests.lab import Lab, Node, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

TOTEM = {"token": 1000, "token_coefficient": 0}
COUNT = 400
"""Messages that each of two programs a node sends."""
SIZES = (20, 700, 4000)
"""Bytes of a message of node 1, 2 and 3: packed with others, alone in a frame, in several frames."""
JOIN, NODE_DOWN, PROCESS_DOWN = 1, 3, 5
"""Reasons of cpg."""


@dataclass(frozen=True)
class Mixed:
    """A ring, and which of its nodes are ours."""

    lab: Lab
    stock: tuple[int, ...]
    ours: tuple[int, ...]

    @property
    def all(self) -> tuple[int, ...]:
        """Every node id."""
        return tuple(sorted(self.stock + self.ours))


@pytest.fixture(scope="module", params=[((1, 2), (3,)), ((2,), (1, 3))], ids=["two stock, one ours", "one stock, two ours"])
def ring(request: pytest.FixtureRequest) -> Iterator[Mixed]:
    """A ring of three, quorate."""
    stock, ours = request.param
    with Lab(3) as lab:
        for number in stock:
            lab.stock_node(number, "totem {\n" + "".join(f"  {key}: {value}\n" for key, value in TOTEM.items()) + "}\n")
        for number in ours:
            lab.our_node(number, totem=TOTEM)
        lab.wait_ring((*stock, *ours))
        yield Mixed(lab, stock, ours)


@contextlib.contextmanager
def group(name: str, ring: Mixed, program: Path) -> Iterator[list[Member]]:
    """A C and a Python program on every node, in one group; each has seen all of them."""
    with contextlib.ExitStack() as stack:
        members: list[Member] = []
        for number in ring.all:
            members += add_members(name, ring.lab.node(number), program, stack)
        for member in members:
            member.wait_group(each.address for each in members)
        yield members


def add_members(name: str, node: Node, program: Path, stack: contextlib.ExitStack) -> list[Member]:
    """A C and a Python program of one node."""
    added = [Member(node, name, program), Member(node, name, None)]
    for member in added:
        stack.callback(member.discard)
    return added


def since_all_were_in(member: Member, members: list[Member]) -> list[str]:
    """A transcript behind the change that brought the last of these members in."""
    lines = member.lines()
    missing = {each.address for each in members}
    for index, line in enumerate(lines):
        if line.startswith("members"):
            missing -= set(line.split(" | ")[0].split()[1:])
            if not missing:
                return lines[index + 1 :]
    raise AssertionError(f"{missing} never came")


def send(members: list[Member], first: int, count: int = COUNT) -> None:
    for member in members:
        member.send(first, count, SIZES[member.node.number - 1])


def wait_all_delivered(receivers: list[Member], senders: list[Member], last: int) -> None:
    """Until everybody has the last message of every sender."""
    for receiver in receivers:
        for sender in senders:
            line = f"{MESSAGE}{sender.address} {last} {SIZES[sender.node.number - 1]}"
            receiver.wait(lambda lines, line=line: line in lines, f"{line!r} of {sender.kind}")  # type: ignore[misc]


def numbers_of(sender: Member, lines: list[str]) -> list[int]:
    """The numbers of one sender's messages, in the order of a transcript."""
    return [int(line.split()[2]) for line in lines if line.startswith(f"{MESSAGE}{sender.address} ")]


def check_one_membership(ring: Mixed, numbers: tuple[int, ...]) -> None:
    """Each of these nodes is quorate on the same ring of exactly these nodes."""
    ring.lab.wait_ring(numbers)

    def statuses() -> set[tuple[str, ...]]:
        shown = set()
        for number in numbers:
            done = ring.lab.node(number).run("corosync-quorumtool", "-s", check=False)
            wanted = ("Ring ID", "Quorate:", "Nodes:", "Expected votes", "Total votes", "Quorum:", "Flags")
            shown.add((str(done.returncode), *(line for line in done.stdout.splitlines() if line.startswith(wanted))))
        return shown

    status = wait_until(lambda: len(shown := statuses()) == 1 and shown, "the same status on all nodes")
    assert status is not False
    (lines,) = status
    assert lines[0] == "0", lines


def tokens_lost(node: Node) -> int:
    """How often the node has lost the token on a ring that worked."""
    answer = node.run("corosync-cmapctl", "-m", "stats", "-q", "-g", "stats.srp.operational_token_lost")
    return int(answer.stdout)


def test_all_nodes_form_one_quorate_ring(ring: Mixed) -> None:
    check_one_membership(ring, ring.all)


def test_everybody_is_told_the_same_in_the_same_order_while_all_send(ring: Mixed, program: Path) -> None:
    with group("order", ring, program) as members:
        send(members, 0)
        wait_all_delivered(members, members, COUNT - 1)
        transcripts = [since_all_were_in(member, members) for member in members]
        assert all(transcript == transcripts[0] for transcript in transcripts)
        for sender in members:
            assert numbers_of(sender, transcripts[0]) == list(range(COUNT))
        # One that leaves is a LEAVE at the same place for the others.
        leaver, *others = members
        leaver.end()
        for member in others:
            member.wait_group(each.address for each in others)
        assert {left_of(member.changes()[-1])[0] for member in others} == {f"{leaver.address}:5"}


@pytest.mark.parametrize("kind", ["stock", "ours"])
def test_a_node_is_killed_under_load_and_returns(ring: Mixed, program: Path, kind: str) -> None:
    struck = (ring.stock if kind == "stock" else ring.ours)[-1]
    node = ring.lab.node(struck)
    rest = tuple(number for number in ring.all if number != struck)
    with group(f"killed {kind}", ring, program) as members, contextlib.ExitStack() as stack:
        dying = [member for member in members if member.node is node]
        survivors = [member for member in members if member.node is not node]
        send(members, 0)
        survivors[0].wait_messages(len(members) * COUNT // 4)
        node.kill(signal.SIGKILL)
        for member in dying:
            assert member.wait_lost() == "lost 2"
        send(survivors, COUNT)
        wait_all_delivered(survivors, survivors, 2 * COUNT - 1)
        transcripts = [since_all_were_in(member, members) for member in survivors]
        assert all(transcript == transcripts[0] for transcript in transcripts)
        for sender in survivors:
            assert numbers_of(sender, transcripts[0]) == list(range(2 * COUNT))
        for sender in dying:
            numbers = numbers_of(sender, transcripts[0])
            assert numbers == list(range(len(numbers))), "what came of the dead node has no gaps"
        changes = [line for line in transcripts[0] if line.startswith("members")]
        assert [left_of(change) for change in changes] == [sorted(f"{member.address}:{NODE_DOWN}" for member in dying)]
        check_one_membership(ring, rest)

        node.start()
        check_one_membership(ring, ring.all)
        newcomers = add_members(f"killed {kind}", node, program, stack)
        everybody = survivors + newcomers
        for member in everybody:
            member.wait_group(each.address for each in everybody)
        send(everybody, 2 * COUNT)
        wait_all_delivered(everybody, everybody, 3 * COUNT - 1)
        transcripts = [since_all_were_in(member, everybody) for member in everybody]
        # A newcomer's transcript begins with its own join; the survivors' are longer.
        assert all(transcript == transcripts[-1] for transcript in transcripts)


def test_a_node_of_ours_that_leaves_in_order_costs_nobody_a_token_timeout(ring: Mixed, program: Path) -> None:
    node = ring.lab.node(ring.ours[-1])
    rest = tuple(number for number in ring.all if number != node.number)
    with group("leaving", ring, program) as members:
        leaving = [member for member in members if member.node is node]
        others = [member for member in members if member.node is not node]
        before = [tokens_lost(ring.lab.node(number)) for number in rest]
        send(members, 0)
        others[0].wait_messages(COUNT)
        assert node.stop() == 0
        for member in leaving:
            assert member.wait_lost() == "lost 2"
        wait_all_delivered(others, others, COUNT - 1)
        for member in others:
            member.wait_group(each.address for each in others)
        check_one_membership(ring, rest)
        assert [tokens_lost(ring.lab.node(number)) for number in rest] == before
        transcripts = [since_all_were_in(member, members) for member in others]
        assert all(transcript == transcripts[0] for transcript in transcripts)
        left = [entry for line in transcripts[0] if line.startswith("members") for entry in left_of(line)]
        assert sorted(left) == sorted(f"{member.address}:{PROCESS_DOWN}" for member in leaving)
        node.start()
        check_one_membership(ring, ring.all)


def test_a_stock_node_that_leaves_in_order_is_a_leave_to_ours_too(ring: Mixed, program: Path) -> None:
    node = ring.lab.node(ring.stock[-1])
    rest = tuple(number for number in ring.all if number != node.number)
    with group("stock leaving", ring, program) as members:
        leaving = [member for member in members if member.node is node]
        others = [member for member in members if member.node is not node]
        before = [tokens_lost(ring.lab.node(number)) for number in rest]
        assert node.stop() == 0
        for member in others:
            member.wait_group(each.address for each in others)
        check_one_membership(ring, rest)
        assert [tokens_lost(ring.lab.node(number)) for number in rest] == before
        told = []
        for member in others:
            changes = [line for line in since_all_were_in(member, members) if line.startswith("members")]
            told.append(sorted(entry for change in changes for entry in left_of(change)))
            assert not any(joined_of(change) for change in changes)
        assert all(left == told[0] for left in told)
        # Stock ends without waiting for the token that would take along what its cpg said last: whether the programs there leave
        # before their node or with it is chance.
        assert [entry.rpartition(":")[0] for entry in told[0]] == sorted(str(member.address) for member in leaving)
        assert {entry.rpartition(":")[2] for entry in told[0]} <= {str(PROCESS_DOWN), str(NODE_DOWN)}
        node.start()
        check_one_membership(ring, ring.all)
