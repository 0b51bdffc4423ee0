"""Property 17, closed process groups: all members of a group see one history of it.

What each is told follows from what it was told before (``group_changes``), and was sent. Two members that come to a ring
together see the same sequence of changes and messages from there on, until one of them ends or is told that the other has left.
Source: cpg_overview(8), reference services section 3.3; virtual synchrony as in Birman.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from corosyncd.totem.events import RingId
from corosyncsim import group_lives
from corosyncsim.checkers import group_changes
from corosyncsim.checkers.violation import Violation
from corosyncsim.group_lives import Address, Moved, Program, Spoken
from corosyncsim.history import History, Ring
from corosyncsim.services.journal import Changed, ClientJournal, Heard, Place, RingTold, Sent
from libcpg.messages import ATOMIC_MESSAGE_LIMIT

PROPERTY = group_changes.PROPERTY
PEERS: Final = 6
"""Members that each is compared with on one ring: enough to connect all of them."""
UNKNOWN: Final = -1
"""The number of a message that its sender has not sent."""

Step = Heard | Changed
_Sent = dict[tuple[bytes | None, Place], dict[tuple[int, int], int]]
"""Of each member of each group: size and checksum of what it has sent, with numbers."""


class Stretch(NamedTuple):
    """What one member was told between two rings."""

    member: ClientJournal
    steps: list[Step]
    joins: bool
    """Whether it begins with the member's own join, in the middle of the ring's history."""
    ends: bool
    """Whether the member ended in it, or lost its connection: what else was told on the ring did not reach it."""
    next_ring: RingId | None = None
    """The ring that it was told of next."""
    passage: int = 0
    """How many of the last steps, changes all, lead to that ring: they say who has come and gone on the way to it."""


def check(history: History) -> Iterator[Violation]:
    """Linear in entries, but for the comparison of each stretch with a few others."""
    journal = history.services
    if journal is None:
        return
    members = [client for client in journal.clients if client.service == "cpg" and client.group is not None]
    sent = _sent(members)
    for member in members:
        yield from _follow(member, sent)
    yield from _compare(history, members, journal.cut)
    if history.quiet is not None and history.quiet.drained_at is not None:
        yield from _own_messages(members)


def _sent(members: Sequence[ClientJournal]) -> _Sent:
    sent: _Sent = {}
    for member in members:
        numbers = sent.setdefault((member.group, place(member)), {})
        for each in member.sent:
            numbers.setdefault((each.size, each.digest), len(numbers))
    return sent


def place(member: ClientJournal) -> Address:
    """How a group knows the member."""
    return Address(member.node_id, member.pid)


def _program(member: ClientJournal, sent: _Sent) -> Program:
    """What the member was told, for ``group_changes``; a message by its place among those that its sender has sent."""
    program = Program(place(member))
    for entry in member.entries:
        match entry:
            case Changed(members=members, left=left, joined=joined):
                gone, come = (frozenset(Address(*each[:2]) for each in those) for those in (left, joined))
                program.told.append(group_lives.Changed(entry.time, frozenset(map(Address._make, members)), gone, come))
            case Heard(sender=sender, size=size, digest=digest):
                number = sent.get((member.group, sender), {}).get((size, digest), UNKNOWN)
                program.told.append(Spoken(entry.time, Address(*sender), number, size))
            case RingTold(ring_id=ring_id, members=nodes):
                program.told.append(Moved(entry.time, ring_id, frozenset(nodes)))
    return program


def _follow(member: ClientJournal, sent: _Sent) -> Iterator[Violation]:
    """One member's own history, and whether every message was sent by its sender."""
    program = _program(member, sent)
    for time, expected in group_changes.faults(program):
        yield PROPERTY.broken(member.node_id, time, f"{member}: {expected}")
    for told in program.told:
        if isinstance(told, Spoken) and told.number == UNKNOWN:
            expected = f"{member}: {told.size} bytes of {told.sender} should be a message that it has sent"
            yield PROPERTY.broken(member.node_id, told.time, expected)


def _compare(history: History, members: Sequence[ClientJournal], cut: set[tuple[Place, int, int]]) -> Iterator[Violation]:
    """Members of one group that come to a ring together, each with some of those before it.

    Messages of which a part was sent on an earlier ring are left out: a node that came later cannot have them. So are those that
    are longer than a ring message: the library sends them in parts, between which any change may fall.
    """
    rings: dict[tuple[bytes | None, Ring], list[Stretch]] = {}
    for member in members:
        for ring_id, stretch in _stretches(member):
            stretch.steps[:] = [step for step in stretch.steps if isinstance(step, Changed) or _whole(step, cut)]
            if stretch.steps:
                ring = history.ring_named(member.process, ring_id, stretch.steps[-1].time)
                rings.setdefault((member.group, ring), []).append(stretch)
    for (_, ring), stretches in rings.items():
        for index, stretch in enumerate(stretches):
            for other in stretches[max(0, index - PEERS) : index]:
                broken = _divergence(stretch, other, history, ring)
                if broken:
                    step = stretch.steps[0] if stretch.steps else other.steps[0]
                    yield PROPERTY.broken(stretch.member.node_id, step.time, f"on ring {ring}: {broken}")


def _whole(heard: Heard, cut: set[tuple[Place, int, int]]) -> bool:
    return heard[1:] not in cut and heard.size <= ATOMIC_MESSAGE_LIMIT


def _stretches(member: ClientJournal) -> Iterator[tuple[RingId, Stretch]]:
    """The member's history cut where it was told of a ring. What comes before the first is judged only where the ring was told
    at once with the member's own join: then it is the ring of the join."""
    ring_id: RingId | None = None
    steps: list[Step] = []
    joins = True
    for entry in member.entries:
        if isinstance(entry, Heard | Changed):
            steps.append(entry)
        elif isinstance(entry, RingTold) and entry.ring_id != ring_id:
            if ring_id is not None and steps:
                yield ring_id, Stretch(member, steps, joins, False, entry.ring_id, _passage(steps, entry.time))
            if steps and (ring_id is not None or steps[0].time != entry.time):
                steps, joins = [], False
            ring_id = entry.ring_id
    if ring_id is not None and steps:
        yield ring_id, Stretch(member, steps, joins, ends=member.ended_at is not None or member.lost_at is not None)


def _passage(steps: Sequence[Step], time: float) -> int:
    """The changes at the end that were told together with the ring at that time."""
    count = 0
    for step in reversed(steps):
        if not isinstance(step, Changed) or step.time != time:
            break
        count += 1
    return count


def _divergence(one: Stretch, other: Stretch, history: History, ring: Ring) -> str | None:
    """Two members on one ring: alike until one ends, or until each is told that the other left."""
    first, second = _overlap(one, other)
    lengths = len(first), len(second)
    if one.next_ring != other.next_ring:  # on the way to different rings others come and go
        lengths = len(first) - one.passage, len(second) - other.passage
    for index, (mine, theirs) in enumerate(zip(first[: lengths[0]], second[: lengths[1]], strict=False)):
        if mine[1:] == theirs[1:]:
            continue
        remainders = (first[index:], other.member), (second[index:], one.member)
        told = all(_may_have_been_told(*each) for each in remainders)
        if not told and not (_cut_off(one, other, history, ring) or _cut_off(other, one, history, ring)):
            return f"{one.member} and {other.member} should be told the same, not {_name(mine)} and {_name(theirs)}"
        return _order(first[index:], second[index:], one, other)
    return None


def _overlap(one: Stretch, other: Stretch) -> tuple[list[Step], list[Step]]:
    """What both should have been told: from the later join on, where one has joined in the middle."""
    if not (one.joins or other.joins):
        return one.steps, other.steps
    if one.joins and (rest := _from(one.steps[0], other.steps)):
        return one.steps, rest
    if other.joins and (rest := _from(other.steps[0], one.steps)):
        return rest, other.steps
    return [], []


def _from(join: Step, steps: list[Step]) -> list[Step]:
    """The steps from that one on; none where it is not among them."""
    for index, step in enumerate(steps):
        if step[1:] == join[1:]:
            return steps[index:]
    return []


def _may_have_been_told(steps: Sequence[Step], other: ClientJournal) -> bool:
    """Whether the other is told to have left in what remains; where nothing more came, it may not have been told yet."""
    changes = [step for step in steps if isinstance(step, Changed)]
    return not changes or any(place(other) == (node, pid) for change in changes for node, pid, _ in change.left)


def _cut_off(ended: Stretch, other: Stretch, history: History, ring: Ring) -> bool:
    """Whether the nodes of both parted, and the member ended before it could be told."""
    member = ended.member
    if not ended.ends:
        return False
    end = min(time for time in (member.ended_at, member.lost_at) if time is not None)
    return history.parted(ring, member.process, other.member.process, end)


def _order(first: Sequence[Step], second: Sequence[Step], one: Stretch, other: Stretch) -> str | None:
    """After they have parted, what both still heard of the old ring has one order."""
    mine = [step[1:] for step in first if isinstance(step, Heard)]
    common = set(mine) & {step[1:] for step in second if isinstance(step, Heard)}
    theirs = [step[1:] for step in second if isinstance(step, Heard) and step[1:] in common]
    if [step for step in mine if step in common] == theirs:
        return None
    return f"{one.member} and {other.member} should hear what both heard in one order"


def _name(step: Step) -> str:
    if isinstance(step, Heard):
        return f"message {step.digest:08x} of {step.sender}"
    return f"members {list(step.members)}"


def _own_messages(members: Sequence[ClientJournal]) -> Iterator[Violation]:
    """Whoever still is in its group has heard all that it sent."""
    for member in members:
        if member.ended_at is not None or member.lost_at is not None or member.left_group:
            continue
        heard = {(step.size, step.digest) for step in member.entries if isinstance(step, Heard) and step.sender == place(member)}
        missing: list[Sent] = [sent for sent in member.sent if (sent.size, sent.digest) not in heard]
        if missing:
            expected = f"{member} should have heard its own {len(missing)} messages from {missing[0].time:.6f} s on"
            yield PROPERTY.broken(member.node_id, missing[0].time, expected)
