"""What programs were told, read as a history: the checkers of the ring judge views of a group, and catch what is broken there."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from corosyncd.totem.events import RingId
from corosyncsim import groups
from corosyncsim.checkers import check_history, group_changes, quorum
from corosyncsim.checkers.quorum import Belief
from corosyncsim.group_lives import Address, Changed, Moved, Program, Spoken
from corosyncsim.history import Quiet
from corosyncsim.overlap import longest_overlap

R1, R2, R3 = RingId(1, 8), RingId(1, 12), RingId(3, 12)
QUIET = Quiet(0.0, 10.0, 1.0, 10.0, 2.0, (), ())


class Tale:
    """Writes down what programs are told; each on a node of its own, numbered from 1."""

    def __init__(self, count: int = 3) -> None:
        self.programs = [Program(Address(number, 100 + number)) for number in range(1, count + 1)]
        self._members: dict[Address, frozenset[Address]] = {}
        self._time = 0.0

    def __getitem__(self, number: int) -> Program:
        return self.programs[number - 1]

    def _tick(self) -> float:
        self._time += 0.001
        return self._time

    def ring(self, ring_id: RingId, *at: int, nodes: Iterable[int] = ()) -> None:
        """Told to these programs; the nodes of the ring are theirs and ``nodes``."""
        for number in at:
            self[number].told.append(
                Moved(self._tick(), ring_id, frozenset((*(self[each].address.node_id for each in at), *nodes)))
            )

    def change(
        self, at: Iterable[int], *, joined: Iterable[int] = (), left: Iterable[int] = (), of_a_round: bool = False
    ) -> None:
        came, went = (frozenset(self[number].address for number in numbers) for numbers in (joined, left))
        for number in at:
            program = self[number]
            members = self._members.get(program.address, frozenset()) - went | came
            self._members[program.address] = members
            program.told.append(Changed(self._tick(), members, went, came, of_a_round))

    def say(self, sender: int, number: int, *at: int) -> None:
        self[sender].sizes[number] = 10
        for receiver in at:
            self[receiver].told.append(Spoken(self._tick(), self[sender].address, number, 10))

    def all_join(self) -> None:
        """Everybody joins on R1, one after the other."""
        present: list[int] = []
        for number in range(1, len(self.programs) + 1):
            self.ring(R1, number)
            self._members[self[number].address] = frozenset(self[other].address for other in present)
            present.append(number)
            self.change(present, joined=[number])

    def found(self) -> set[int]:
        """The numbers of the properties that do not hold."""
        history = groups.read(self.programs, QUIET)
        return {violation.number for violation in (*check_history(history), *group_changes.check(self.programs))}


def ordinary() -> Tale:
    """All talk on R1; 3 is cut off alone, 1 and 2 go on; then all come together again."""
    tale = Tale()
    tale.all_join()
    tale.say(1, 10, 1, 2, 3)
    tale.say(3, 30, 1, 2, 3)
    tale.change((1, 2), left=[3], of_a_round=True)
    tale.ring(R2, 1, 2)
    tale.change([3], left=[1, 2], of_a_round=True)
    tale.ring(R3, 3)
    tale.say(1, 11, 1, 2)
    tale.say(3, 31, 3)
    tale.change((1, 2), joined=[3], of_a_round=True)
    tale.change([3], joined=[1, 2], of_a_round=True)
    tale.ring(RingId(1, 20), 1, 2, 3)
    for sender in (1, 2, 3):
        tale.say(sender, 40 + sender, 1, 2, 3)
    return tale


def test_programs_that_part_and_meet_again_hold_every_property() -> None:
    assert ordinary().found() == set()


def test_a_program_that_joins_late_owes_nothing_for_what_came_before() -> None:
    tale = Tale(3)
    for number in (1, 2):
        tale.ring(R1, number)
    tale.change([1], joined=[1])
    tale._members[tale[2].address] = frozenset({tale[1].address})
    tale.change([1, 2], joined=[2])
    tale.say(1, 10, 1, 2)
    tale._members[tale[3].address] = frozenset({tale[1].address, tale[2].address})
    tale.change([1, 2, 3], joined=[3])
    tale.ring(R1, 3, nodes=(1, 2))
    tale.say(2, 20, 1, 2, 3)
    assert tale.found() == set()


def test_holes_of_a_program_that_had_lost_the_others_are_allowed() -> None:
    tale = Tale()
    tale.all_join()
    tale.say(1, 10, 1, 2)  # 3 never gets it, and goes on with its own alone until its next ring.
    tale.say(3, 30, 1, 2, 3)
    tale.change((1, 2), left=[3], of_a_round=True)
    tale.ring(R2, 1, 2)
    tale.change([3], left=[1, 2], of_a_round=True)
    tale.ring(R3, 3)
    assert tale.found() == set()


def test_a_program_that_joins_behind_a_hole_of_its_node_is_no_companion_from_before() -> None:
    tale = Tale()
    tale.all_join()
    tale.programs.append(Program(Address(3, 104)))
    tale._members[tale[4].address] = frozenset(tale[number].address for number in (1, 2, 3))
    tale.say(1, 9, 1, 2, 3)
    tale.say(1, 10, 1, 2)  # Node 3 never gets it; the join of its second program comes behind it.
    tale.change([1, 2, 3, 4], joined=[4])
    tale.ring(R1, 4, nodes=(1, 2))
    tale.change((1, 2), left=[3, 4], of_a_round=True)
    tale.ring(R2, 1, 2)
    tale.change((3, 4), left=[1, 2], of_a_round=True)
    tale.ring(R3, 3, 4)
    assert tale.found() == set()


def test_first_messages_that_began_before_a_merge_may_be_missing_at_those_who_were_not_there() -> None:
    tale = ordinary()
    tale.change((1, 2), left=[3], of_a_round=True)
    tale.ring(RingId(1, 24), 1, 2)
    tale.change([3], left=[1, 2], of_a_round=True)
    tale.ring(RingId(3, 24), 3)
    tale.change((1, 2), joined=[3], of_a_round=True)
    tale.change([3], joined=[1, 2], of_a_round=True)
    tale.ring(RingId(1, 32), 1, 2, 3)
    tale.say(1, 12, 1, 2)
    tale.say(1, 13, 1, 2, 3)
    assert tale.found() == set()


def two_rings_behind_a_merge(*, spoken_between: bool) -> Tale:
    """3 meets the others on a ring that ends at once, and goes on with 1: of two messages it is told the second only."""
    tale = ordinary()
    tale.change((1, 2), left=[3], of_a_round=True)
    tale.ring(RingId(1, 24), 1, 2)
    tale.change([3], left=[1, 2], of_a_round=True)
    tale.ring(RingId(3, 24), 3)
    tale.say(1, 12, 1, 2)
    tale.change((1, 2), joined=[3], of_a_round=True)
    tale.change([3], joined=[1, 2], of_a_round=True)
    tale.ring(RingId(1, 32), 1, 2, 3)
    if spoken_between:
        tale.say(1, 13, 1, 2, 3)
    tale.change((1, 3), left=[2], of_a_round=True)
    tale.ring(RingId(1, 36), 1, 3)
    tale.say(1, 14, 1)
    tale.say(1, 15, 1, 3)
    return tale


def test_what_began_before_a_ring_whose_synchronisation_was_aborted_may_be_missing_behind_it() -> None:
    assert two_rings_behind_a_merge(spoken_between=False).found() == set()


def test_whose_messages_came_on_the_ring_before_has_nothing_left_that_began_earlier() -> None:
    assert two_rings_behind_a_merge(spoken_between=True).found() == {9, 11, 13}


def test_two_that_were_apart_between_told_rings_are_no_companions() -> None:
    tale = Tale(2)
    tale.all_join()
    tale.say(1, 10, 1, 2)
    tale.say(1, 11, 1)  # 2 had lost 1 already.
    for at, other in ((1, 2), (2, 1)):
        tale.change([at], left=[other], of_a_round=True)
        tale.change([at], joined=[other], of_a_round=True)
    tale.ring(R2, 1, 2)
    assert tale.found() == set()


def apart_on_the_way(*, missing_at: int) -> Tale:
    """1 and 2 parted from 3 and met it again before anybody was told; on the next ring but one a message of 1 is missing."""
    tale = Tale(3)
    tale.all_join()
    tale.say(1, 10, 1, 2, 3)
    for side, others in (((1, 2), (3,)), ((3,), (1, 2))):
        tale.change(side, left=others, of_a_round=True)
        tale.change(side, joined=others, of_a_round=True)
    tale.ring(R2, 1, 2, 3)
    tale.ring(RingId(1, 20), 1, 2, 3)
    tale.say(1, 11, *({1, 2, 3} - {missing_at}))
    tale.say(1, 12, 1, 2, 3)
    return tale


def test_what_began_on_a_ring_that_nobody_was_told_may_be_missing_at_who_was_on_another() -> None:
    assert apart_on_the_way(missing_at=3).found() == set()


def test_who_came_the_same_way_as_the_sender_lacks_nothing_of_it() -> None:
    assert apart_on_the_way(missing_at=2).found() == {9, 11, 13}


def swapped(tale: Tale) -> None:
    tale.say(1, 50, 1, 2)
    tale.say(2, 60, 1, 2)
    tale.say(2, 60, 3)
    tale.say(1, 50, 3)


def lost_by_a_companion(tale: Tale) -> None:
    tale.say(1, 50, 1, 2)
    tale.ring(RingId(1, 40), 1, 2, 3)


def skipped(tale: Tale) -> None:
    tale.say(1, 50, 1, 2)
    tale.say(1, 51, 1, 2, 3)


def not_to_its_sender(tale: Tale) -> None:
    tale.say(1, 50, 2, 3)


def told_twice(tale: Tale) -> None:
    tale.say(1, 50, 1, 2, 3, 3)


def told_on_another_ring(tale: Tale) -> None:
    tale.say(1, 50, 1, 2)
    tale.ring(RingId(1, 40), 1, 2, 3)
    tale.say(1, 50, 3)


def never_sent(tale: Tale) -> None:
    tale.say(1, 50, 1, 2, 3)
    tale[1].sizes.clear()


def a_ghost(tale: Tale) -> None:
    tale.programs.append(Program(Address(4, 104), ended=True))
    tale.change((1, 2, 3), joined=[4])


def a_companion_that_came_another_way(tale: Tale) -> None:
    tale.ring(RingId(2, 36), 2, nodes=(1, 3))
    tale.ring(RingId(1, 40), 1, 2, 3)


def a_list_that_is_no_difference(tale: Tale) -> None:
    tale[1].told.append(Changed(1.0, tale._members[tale[1].address], frozenset({tale[2].address}), frozenset()))


def a_stranger_speaks(tale: Tale) -> None:
    tale.programs.append(Program(Address(4, 104), ended=True))
    tale.say(4, 90, 1, 2, 3)


def heard_after_its_own_leave(tale: Tale) -> None:
    tale.change((1, 2, 3), left=[3])
    tale.say(1, 50, 1, 2, 3)


def told_of_others_after_its_own_leave(tale: Tale) -> None:
    tale.change((1, 2, 3), left=[3])
    tale.change((1, 2, 3), left=[2])


def a_member_beyond_the_ring(tale: Tale) -> None:
    tale.ring(RingId(1, 40), 1, 2)


def a_ring_with_an_older_number(tale: Tale) -> None:
    tale.ring(RingId(1, 16), 1, 2, 3)


@pytest.mark.parametrize(
    ("defect", "number"),
    [
        (never_sent, 1),
        (told_twice, 2),
        (told_on_another_ring, 2),
        (a_ghost, 3),
        (a_ring_with_an_older_number, 4),
        (a_companion_that_came_another_way, 6),
        (not_to_its_sender, 7),
        (lost_by_a_companion, 8),
        (skipped, 9),
        (swapped, 10),
        (skipped, 11),
        (a_list_that_is_no_difference, 17),
        (a_stranger_speaks, 17),
        (heard_after_its_own_leave, 17),
        (told_of_others_after_its_own_leave, 17),
        (a_member_beyond_the_ring, 17),
    ],
)
def test_what_is_broken_among_programs_is_found(defect: Callable[[Tale], None], number: int) -> None:
    tale = ordinary()
    defect(tale)
    assert number in tale.found()


# Quorum.


def belief(node_id: int, begins: float, ends: float, members: set[int], *, quorate: bool = True) -> Belief:
    return Belief(node_id, begins, ends, quorate, RingId(min(members), int(begins) * 4), frozenset(members))


def test_a_majority_after_another_is_no_breach_and_the_time_in_which_both_believe_is_reported() -> None:
    beliefs = [belief(1, 0, 9, {1, 2, 3}), belief(4, 7, 12, {3, 4, 5}), belief(2, 1, 20, {1, 2}, quorate=False)]
    assert list(quorum.check(beliefs, 5)) == []
    assert longest_overlap(beliefs) == 2


def test_an_overlap_lasts_as_long_as_some_two_are_apart_whoever_they_are() -> None:
    beliefs = [belief(1, 0, 20, {1, 2, 3}), belief(4, 4, 6, {3, 4, 5}), belief(5, 6, 9, {3, 4, 5}), belief(4, 10, 12, {3, 4, 5})]
    assert longest_overlap(beliefs) == 5


def test_who_is_still_on_the_way_to_the_same_members_is_no_other_side() -> None:
    assert longest_overlap([belief(1, 0, 9, {1, 2, 3}), belief(2, 3, 9, {1, 2, 3})]) == 0


@pytest.mark.parametrize(
    "beliefs",
    [
        [belief(1, 0, 9, {1, 2})],
        [belief(1, 0, 9, {2, 3, 4})],
        [belief(1, 0, 9, {1, 2, 3}), belief(4, 5, 9, {4, 5, 6})],
    ],
    ids=["a minority", "without oneself", "two at once"],
)
def test_a_part_that_must_not_act_is_found(beliefs: list[Belief]) -> None:
    assert {violation.number for violation in quorum.check(beliefs, 5)} == {18}
