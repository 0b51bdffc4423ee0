"""Property 17 on histories made by hand: when two members of a group may have been told different things."""

from __future__ import annotations

import pytest

from corosyncd.totem.events import RingId
from corosyncsim.checkers import process_groups
from corosyncsim.history import History, Process
from corosyncsim.kernel import Kernel
from corosyncsim.services.journal import Changed, ClientJournal, Heard, Journal, RingTold, Sent
from corosyncsim.trace import Trace
from libcpg.messages import Reason

BOTH = ((1, 1000), (2, 1000))
RING, NEXT = RingId(1, 8), RingId(1, 12)


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


def left_alone(time: float, reason: Reason) -> list[Changed | RingTold]:
    """What member 2 is told when member 1 has gone."""
    nodes = (2,) if reason is Reason.NODE_DOWN else (1, 2)
    return [Changed(time, BOTH[1:], ((1, 1000, int(reason)),), ()), RingTold(time, NEXT, nodes)]


def violations(*members: ClientJournal) -> list[str]:
    history = History(services=Journal(clients=list(members)))
    return [violation.expected for violation in process_groups.check(history)]


@pytest.mark.parametrize(("reason", "count"), [(Reason.NODE_DOWN, 0), (Reason.PROCESS_DOWN, 1)])
def test_a_member_that_ended_was_not_told_of_a_cut_but_its_death_alone_excuses_nothing(reason: Reason, count: int) -> None:
    ended, stays = member(1), member(2)
    # Changes of third members must not make the judge believe that the one which ended was told everything.
    third = [Changed(4.0, (*BOTH, (2, 1001)), (), ((2, 1001, int(Reason.JOIN)),))]
    ended.entries += [heard(3.0, 1), *third]
    ended.ended_at = 5.0
    stays.entries += [heard(9.0, 2), *left_alone(9.0, reason)]
    assert len(violations(ended, stays)) == count


@pytest.mark.parametrize(("other", "count"), [((1, 2), 0), ((2, 1), 1)])
def test_members_that_stay_are_told_one_order(other: tuple[int, int], count: int) -> None:
    first, second = member(1), member(2)
    joins = Changed(4.0, (*BOTH, (2, 1001)), (), ((2, 1001, int(Reason.JOIN)),))
    first.entries += [heard(3.0, 1), heard(3.0, 2), joins]
    second.entries += [*(heard(3.0, sender) for sender in other), joins]
    assert len(violations(first, second)) == count
