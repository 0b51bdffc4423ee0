"""Each checker, judged on small histories written by hand: it passes the good one and catches the bad one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from corosyncd.totem.events import ConfigurationKind
from corosyncsim import faults
from corosyncsim.checkers import ABOVE_THE_RING, HISTORY_CHECKERS, Violation
from corosyncsim.history import (
    Delivered,
    Failed,
    History,
    Installed,
    Message,
    Process,
    Quiet,
    Ring,
    Sent,
    Strike,
    Submitted,
)

ONE, TWO, THREE = Process(1, 1), Process(2, 1), Process(3, 1)
R1, R2, R3 = Ring(1, 8), Ring(1, 12), Ring(2, 16)
SIZE, DIGEST = 10, 77


class Story:
    """Writes a history one event at a time; frames are numbered in the order of sending."""

    def __init__(self, *processes: Process) -> None:
        self.history = History()
        self._order = 0
        self._frames: dict[Ring, int] = {}
        for process in processes:
            self.history.events[process] = []
            self.history.storage_losses[process] = 0

    def _tick(self) -> tuple[int, float]:
        self._order += 1
        return self._order, self._order / 1000

    def install(self, ring: Ring, members: tuple[Process, ...], transitional: tuple[Process, ...], *at: Process) -> None:
        for process in at or members:
            alone = (process,) if self.history.events[process] else ()
            self.transition(ring, transitional if process in transitional else alone, process)
            self.regular(ring, members, process)

    def transition(self, ring: Ring, members: tuple[Process, ...], at: Process) -> None:
        ids = tuple(member.node_id for member in members)
        self.history.events[at].append(Installed(*self._tick(), ConfigurationKind.TRANSITIONAL, ring, ids))

    def regular(self, ring: Ring, members: tuple[Process, ...], at: Process) -> None:
        ids = tuple(member.node_id for member in members)
        self.history.events[at].append(Installed(*self._tick(), ConfigurationKind.REGULAR, ring, ids))

    def send(self, sender: Process, number: int, ring: Ring, begun_on: Ring | None = None) -> Message:
        message = Message(sender, number)
        self.history.submitted[message] = Submitted(*self._tick(), message, SIZE, DIGEST)
        self._frames[ring] = self._frames.get(ring, 0) + 1
        sent = Sent(*self._tick(), message, ring, begun_on or ring, (self._frames[ring], 0))
        self.history.sent[message] = sent
        self.history.events[sender].append(sent)
        return message

    def deliver(self, message: Message, *at: Process, digest: int = DIGEST, originator: int | None = None) -> None:
        for process in at:
            source = originator or message.sender.node_id
            self.history.events[process].append(Delivered(*self._tick(), message, source, SIZE, digest))

    def fail(self, process: Process) -> None:
        self.history.events[process].append(Failed(*self._tick()))

    def quiet(self, undelivered: tuple[tuple[Process, Message], ...] = (), apart: tuple[str, ...] = ()) -> None:
        united_at = None if apart else 1.0
        drained_at = None if undelivered or apart else 2.0
        self.history.quiet = Quiet(0.5, 10.0, united_at, 20.0, drained_at, undelivered, apart)


def pair() -> Story:
    """Two processes that come up alone and then form R1."""
    story = Story(ONE, TWO)
    story.install(Ring(1, 4), (ONE,), ())
    story.install(Ring(2, 4), (TWO,), ())
    story.install(R1, (ONE, TWO), ())
    return story


def found(story: Story, number: int) -> list[Violation]:
    return list(HISTORY_CHECKERS[number](story.history))


def good() -> Story:
    story = pair()
    a = story.send(ONE, 0, R1)
    story.deliver(a, ONE, TWO)
    b = story.send(TWO, 0, R1)
    story.deliver(b, TWO, ONE)
    story.install(R2, (ONE, TWO), (ONE, TWO))
    story.quiet()
    return story


@pytest.mark.parametrize("number", sorted(HISTORY_CHECKERS))
def test_a_faultless_history_passes(number: int) -> None:
    assert found(good(), number) == []


def altered_bytes() -> Story:
    story = pair()
    story.deliver(story.send(ONE, 0, R1), TWO, digest=DIGEST + 1)
    return story


def wrong_sender() -> Story:
    story = pair()
    story.deliver(story.send(ONE, 0, R1), TWO, originator=2)
    return story


def from_nowhere() -> Story:
    story = pair()
    story.deliver(Message(ONE, 5), TWO)
    return story


def from_another_ring() -> Story:
    story = pair()
    message = story.send(ONE, 0, R1)
    story.install(R2, (ONE, TWO), (ONE, TWO))
    story.deliver(message, TWO)
    return story


def before_it_was_sent() -> Story:
    story = pair()
    message = Message(ONE, 0)
    story.deliver(message, TWO)
    story.send(ONE, 0, R1)
    return story


def twice() -> Story:
    story = pair()
    story.deliver(story.send(ONE, 0, R1), TWO, TWO)
    return story


def in_two_rings() -> Story:
    story = pair()
    message = story.send(ONE, 0, R1)
    story.deliver(message, ONE)
    story.install(R2, (ONE, TWO), (ONE, TWO))
    story.deliver(message, TWO)
    return story


def left_behind() -> Story:
    story = pair()
    story.install(R2, (ONE, TWO), (ONE, TWO), ONE)
    story.quiet()
    return story


def unfinished_transition() -> Story:
    story = pair()
    story.transition(R2, (ONE, TWO), ONE)
    story.quiet()
    return story


def one_id_two_member_lists() -> Story:
    story = Story(ONE, TWO)
    story.install(R1, (ONE, TWO), (), ONE)
    story.install(R1, (TWO,), (), TWO)
    return story


def sequence_that_repeats_after_a_restart() -> Story:
    reborn = Process(1, 2)
    story = Story(ONE, reborn)
    story.install(R1, (ONE,), (ONE,))
    story.fail(ONE)
    story.install(R1, (reborn,), (reborn,))
    return story


def without_itself() -> Story:
    story = pair()
    story.install(R2, (TWO,), (TWO,), ONE)
    return story


def sent_on_an_old_ring() -> Story:
    story = pair()
    story.install(R2, (ONE, TWO), (ONE, TWO))
    story.send(ONE, 0, R1)
    return story


def alive_after_failure() -> Story:
    story = pair()
    message = story.send(ONE, 0, R1)
    story.fail(TWO)
    story.deliver(message, TWO)
    return story


def no_transition() -> Story:
    story = pair()
    story.regular(R2, (ONE, TWO), ONE)
    return story


def transition_named_after_another_ring() -> Story:
    story = pair()
    story.transition(R3, (ONE,), ONE)
    story.regular(R2, (ONE,), ONE)
    return story


def companion_left_out() -> Story:
    story = pair()
    story.install(R2, (ONE, TWO), (ONE,))
    return story


def stranger_in_the_transition() -> Story:
    story = Story(ONE, TWO, THREE)
    story.install(R1, (ONE, TWO), ())
    story.install(Ring(3, 4), (THREE,), ())
    story.install(R2, (ONE, TWO, THREE), (ONE, TWO, THREE))
    return story


def company_before_the_first_configuration() -> Story:
    story = Story(ONE)
    story.transition(R1, (ONE,), ONE)
    story.regular(R1, (ONE,), ONE)
    return story


def companion_from_elsewhere() -> Story:
    story = pair()
    story.install(R3, (TWO,), (TWO,), TWO)
    story.install(Ring(1, 20), (ONE, TWO), (ONE, TWO))
    return story


def own_message_lost() -> Story:
    story = pair()
    story.deliver(story.send(ONE, 0, R1), TWO)
    story.install(R2, (ONE, TWO), (ONE, TWO))
    return story


def own_message_lost_at_the_end() -> Story:
    story = pair()
    story.send(ONE, 0, R1)
    story.quiet()
    return story


def companion_without_a_message() -> Story:
    story = pair()
    story.deliver(story.send(ONE, 0, R1), ONE)
    story.install(R2, (ONE, TWO), (ONE, TWO))
    return story


def answer_before_question() -> Story:
    story = pair()
    question = story.send(ONE, 0, R1)
    story.deliver(question, TWO)
    answer = story.send(TWO, 0, R1)
    story.deliver(answer, ONE)
    story.deliver(question, ONE)
    return story


def one_senders_messages_swapped() -> Story:
    story = pair()
    first, second = story.send(ONE, 0, R1), story.send(ONE, 1, R1)
    story.deliver(second, TWO)
    story.deliver(first, TWO)
    return story


def two_orders() -> Story:
    story = pair()
    first, second = story.send(ONE, 0, R1), story.send(TWO, 0, R1)
    for message in (first, second):
        story.deliver(message, ONE)
    for message in (second, first):
        story.deliver(message, TWO)
    return story


def two_orders_of_configurations() -> Story:
    story = Story(ONE, TWO)
    for ring in (R1, R2):
        story.install(ring, (ONE, TWO), (), ONE)
    for ring in (R2, R1):
        story.install(ring, (ONE, TWO), (), TWO)
    return story


def hole() -> Story:
    story = pair()
    story.send(ONE, 0, R1)
    story.deliver(story.send(TWO, 0, R1), ONE)
    return story


def companions_hole_in_the_transition() -> Story:
    story = pair()
    story.send(TWO, 0, R1)
    second = story.send(ONE, 0, R1)
    story.transition(R2, (ONE, TWO), ONE)
    story.deliver(second, ONE)
    story.regular(R2, (ONE, TWO), ONE)
    return story


def never_delivered() -> Story:
    story = pair()
    story.quiet(undelivered=((TWO, story.send(ONE, 0, R1)),))
    return story


def missing_at_the_end() -> Story:
    story = pair()
    story.deliver(story.send(ONE, 0, R1), ONE)
    story.quiet()
    return story


def never_together() -> Story:
    story = pair()
    story.quiet(apart=("node 2 is elsewhere",))
    return story


def cut_in_two() -> tuple[Story, float]:
    """A cut that is not transitive, seen long enough, and a story at its end."""
    story = pair()
    story.history.strikes.append(Strike(0.0, 100.0, faults.NOT_TRANSITIVE, (2, 3), ""))
    story.history.quiet = Quiet(100.0, 101.0, 100.5, 110.0, 105.0, (), ())
    return story, 50.0


def churning() -> Story:
    story, late = cut_in_two()
    for number in range(5):
        ring = Ring(1, 20 + 4 * number)
        story.history.events[ONE].append(Installed(100 + number, late + number, ConfigurationKind.REGULAR, ring, (1,)))
    return story


def apart_over_a_cut() -> Story:
    story, late = cut_in_two()
    story.history.events[TWO].clear()
    story.history.events[THREE] = []
    story.history.strikes[0] = story.history.strikes[0]._replace(nodes=(2, 4))
    story.history.events[THREE].append(Installed(90, late, ConfigurationKind.REGULAR, R3, (3,)))
    return story


BAD: list[tuple[int, Callable[[], Story]]] = [
    (1, altered_bytes),
    (1, wrong_sender),
    (1, from_nowhere),
    (1, from_another_ring),
    (1, before_it_was_sent),
    (2, twice),
    (2, in_two_rings),
    (3, left_behind),
    (3, unfinished_transition),
    (4, one_id_two_member_lists),
    (4, sequence_that_repeats_after_a_restart),
    (5, without_itself),
    (5, sent_on_an_old_ring),
    (5, alive_after_failure),
    (6, no_transition),
    (6, transition_named_after_another_ring),
    (6, companion_left_out),
    (6, stranger_in_the_transition),
    (6, companion_from_elsewhere),
    (6, company_before_the_first_configuration),
    (7, own_message_lost),
    (7, own_message_lost_at_the_end),
    (8, companion_without_a_message),
    (9, answer_before_question),
    (9, one_senders_messages_swapped),
    (10, two_orders),
    (10, two_orders_of_configurations),
    (11, hole),
    (11, companions_hole_in_the_transition),
    (13, never_delivered),
    (13, missing_at_the_end),
    (14, never_together),
    (22, churning),
    (22, apart_over_a_cut),
]


@pytest.mark.parametrize(("number", "story"), BAD, ids=[f"{number}-{story.__name__}" for number, story in BAD])
def test_a_breach_is_caught(number: int, story: Callable[[], Story]) -> None:
    violations = found(story(), number)
    assert violations
    assert {violation.number for violation in violations} == {number}
    assert all(violation.expected for violation in violations)


def test_every_checker_has_a_breach_to_catch() -> None:
    assert {number for number, _ in BAD} == {number for number in HISTORY_CHECKERS if number not in ABOVE_THE_RING}


def test_a_strangers_hole_in_the_transition_is_allowed() -> None:
    story = pair()
    story.send(TWO, 0, R1)
    second = story.send(ONE, 0, R1)
    story.transition(R2, (ONE,), ONE)
    story.deliver(second, ONE)
    story.regular(R2, (ONE,), ONE)
    assert found(story, 11) == []


def test_a_message_is_not_expected_of_a_process_that_was_not_there_for_its_beginning() -> None:
    story = Story(ONE, TWO, THREE)
    story.install(R1, (ONE, TWO), ())
    story.install(Ring(3, 4), (THREE,), ())
    story.install(R2, (ONE, TWO, THREE), (ONE, TWO))
    cut = story.send(ONE, 0, R2, begun_on=R1)
    whole = story.send(ONE, 1, R2)
    story.deliver(cut, ONE, TWO)
    story.deliver(whole, ONE, TWO, THREE)
    story.install(Ring(1, 20), (ONE, TWO, THREE), (ONE, TWO, THREE))
    assert [violation for number in (8, 9, 11) for violation in found(story, number)] == []


def test_it_is_expected_of_one_who_was_there() -> None:
    story = pair()
    story.install(R2, (ONE, TWO), (ONE, TWO))
    cut = story.send(ONE, 0, R2, begun_on=R1)
    story.deliver(cut, ONE)
    story.install(Ring(1, 20), (ONE, TWO), (ONE, TWO))
    assert found(story, 8)


def test_losing_the_disk_may_repeat_a_ring_id_but_not_while_it_is_kept() -> None:
    reborn = Process(1, 2)
    story = Story(ONE, reborn)
    story.history.storage_losses[reborn] = 1
    story.install(R1, (ONE,), (ONE,))
    story.fail(ONE)
    story.install(R1._replace(losses=1), (reborn,), (reborn,))
    assert found(story, 4) == []


def test_who_is_leaving_a_configuration_needs_nobody_in_it() -> None:
    story = left_behind()
    assert found(story, 3)
    assert story.history.quiet is not None
    story.history.quiet = story.history.quiet._replace(leaving=frozenset((ONE,)))
    assert found(story, 3) == []


def test_a_failed_sender_need_not_deliver_its_own_message() -> None:
    story = pair()
    story.send(ONE, 0, R1)
    story.fail(ONE)
    story.quiet()
    assert found(story, 7) == []
