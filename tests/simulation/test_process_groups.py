"""Property 17 on histories made by hand: when two members of a group may have been told different things."""

from __future__ import annotations

import pytest

from corosyncd.totem.events import ConfigurationKind, RingId
from corosyncsim.checkers import process_groups
from corosyncsim.history import Event, Failed, History, Installed, Process, Ring
from corosyncsim.kernel import Kernel
from corosyncsim.services.journal import Changed, ClientJournal, Heard, Journal, RingTold, Sent
from corosyncsim.trace import Trace
from libcpg.messages import Reason

BOTH = ((1, 1000), (2, 1000))
RING = RingId(1, 8)


def member(node_id: int) -> ClientJournal:
    """A member of the group on its node; both join at once, on one ring, and each has sent two messages."""
    kernel = Kernel(1)
    journal = ClientJournal(kernel, Trace(kernel), node_id, node_id, 1000, "cpg", Process(node_id, 1), b"group")
    journal.entries = [
        Changed(1.0, BOTH, (), tuple((*place, int(Reason.JOIN)) for place in BOTH)),
        RingTold(1.0, RING, (1, 2)),
    ]
    journal.sent = [Sent(2.0, 8, 10 * node_id), Sent(2.0, 8, 10 * node_id + 1)]
    return journal


def heard(time: float, sender: int, number: int = 0) -> Heard:
    return Heard(time, (sender, 1000), 8, 10 * sender + number)


def rings(node_id: int, *later: tuple[float, Ring]) -> tuple[Process, list[Event]]:
    """What a node's process installed: the ring of all, and later ones with the times."""
    ways = [(0.5, Ring(*RING)), *later]
    events = [Installed(order, time, ConfigurationKind.REGULAR, ring, (1, 2)) for order, (time, ring) in enumerate(ways)]
    return Process(node_id, 1), list(events)


def violations(*members: ClientJournal, events: dict[Process, list[Event]] | None = None) -> list[str]:
    history = History(events=events or {}, services=Journal(clients=list(members)))
    return [violation.expected for violation in process_groups.check(history)]


@pytest.mark.parametrize(("elsewhere", "count"), [(True, 0), (False, 1)])
def test_a_member_that_ended_was_not_told_of_a_cut_but_its_end_alone_excuses_nothing(elsewhere: bool, count: int) -> None:
    ended, stays = member(1), member(2)
    # Changes of third members must not make the judge believe that the one which ended was told everything.
    ended.entries += [heard(3.0, 1), Changed(4.0, (*BOTH, (2, 1001)), (), ((2, 1001, int(Reason.JOIN)),))]
    ended.ended_at = 5.0
    stays.entries += [heard(9.0, 2), Changed(9.0, BOTH[1:], ((1, 1000, int(Reason.PROCESS_DOWN)),), ())]
    together, alone = Ring(1, 12), Ring(2, 16)
    events = dict([rings(1, (8.0, together)), rings(2, (8.0, alone if elsewhere else together))])
    assert len(violations(ended, stays, events=events)) == count


@pytest.mark.parametrize(("other", "count"), [((1, 2), 0), ((2, 1), 1)])
def test_members_that_stay_are_told_one_order(other: tuple[int, int], count: int) -> None:
    first, second = member(1), member(2)
    joins = Changed(4.0, (*BOTH, (2, 1001)), (), ((2, 1001, int(Reason.JOIN)),))
    first.entries += [heard(3.0, 1), heard(3.0, 2), joins]
    second.entries += [*(heard(3.0, sender) for sender in other), joins]
    assert len(violations(first, second)) == count


@pytest.mark.parametrize(
    ("first", "second", "until", "parted"),
    [
        ([(8.0, Ring(1, 12))], [(8.0, Ring(1, 12))], 5.0, False),
        ([(8.0, Ring(1, 12))], [(8.0, Ring(2, 12))], 5.0, True),
        ([(8.0, Ring(1, 12))], [], 5.0, True),
        ([(4.0, Ring(1, 12)), (8.0, Ring(1, 16))], [(4.0, Ring(1, 12)), (8.0, Ring(2, 16))], 5.0, True),
        ([(6.0, Ring(1, 12)), (8.0, Ring(1, 16))], [(6.0, Ring(1, 12)), (8.0, Ring(2, 16))], 5.0, False),
    ],
    ids=["together", "apart", "one stayed behind", "apart from the ring after", "apart after the end"],
)
def test_processes_part_where_their_ways_differ(
    first: list[tuple[float, Ring]], second: list[tuple[float, Ring]], until: float, parted: bool
) -> None:
    history = History(events=dict([rings(1, *first), rings(2, *second)]))
    assert history.parted(Ring(*RING), Process(1, 1), Process(2, 1), until) is parted


def test_a_process_that_ended_on_the_ring_has_parted() -> None:
    process, events = rings(1)
    history = History(events={process: [*events, Failed(9, 4.0)], **dict([rings(2)])})
    assert history.parted(Ring(*RING), process, Process(2, 1), 5.0)


@pytest.mark.parametrize(("next_rings", "count"), [((RingId(1, 12), RingId(2, 16)), 0), ((RingId(1, 12), RingId(1, 12)), 1)])
def test_who_comes_and_goes_on_the_way_to_different_rings_may_differ(next_rings: tuple[RingId, RingId], count: int) -> None:
    first, second = member(1), member(2)
    third = (3, 1000)
    for each, ring_id, gone in zip((first, second), next_rings, (third, BOTH[0]), strict=True):
        members = tuple(sorted({*BOTH, third}))
        left = Changed(9.0, tuple(place for place in members if place != gone), ((*gone, int(Reason.NODE_DOWN)),), ())
        each.entries[0] = Changed(1.0, members, (), tuple((*place, int(Reason.JOIN)) for place in members))
        each.entries[1] = RingTold(1.0, RING, (1, 2, 3))
        each.entries += [left, RingTold(9.0, ring_id, (1, 2, 3))]
    assert len(violations(first, second)) == count
