"""The rules inside the ring, judged on single steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from corosyncd.totem.events import RingId
from corosyncsim.checkers.ring_rules import REQUESTS_LIMIT, Progress, RingRules
from corosyncsim.history import Ring
from corosyncsim.wiretap import NEVER, Frame, Token

RING = Ring(1, 8)
ID = RingId(1, 8)
WINDOW = 4


def token(token_seq: int, seq: int = 0, *, aru: int = 0, fcc: int = 0, requests: tuple[int, ...] = ()) -> Token:
    return Token(seq, token_seq, aru, 0, ID, 0, fcc, 0, tuple((ID, wanted) for wanted in requests))


def rules() -> RingRules:
    """A ring of nodes 1 and 2, both operational, whose first token has left node 1."""
    made = RingRules(WINDOW)
    made.installed(RING, (1, 2))
    for node in (1, 2):
        made.stepped(0.0, node, RING, at(0))
    made.token_left(0.0, 1, RING, token(0, aru=NEVER), b"first")
    return made


def at(received: int, *, highest: int | None = None, delivered: int | None = None, freed: int = 0) -> Progress:
    return Progress(
        True, False, received, received if highest is None else highest, received if delivered is None else delivered, freed
    )


def frame(made: RingRules, node: int, seq: int, raw: bytes = b"", *, originator: int | None = None) -> bool:
    return made.frame_left(0.0, node, RING, Frame(originator or node, seq, ID, False), raw or b"frame %d" % seq)


def test_a_rotation_with_frames_and_a_retransmission_is_fine() -> None:
    made = rules()
    assert frame(made, 2, 1)
    assert frame(made, 2, 2)
    made.token_left(0.0, 2, RING, token(1, 2, fcc=2), b"a")
    made.token_left(0.1, 2, RING, token(1, 2, fcc=2), b"a")
    assert not frame(made, 1, 1, originator=2)
    made.token_left(0.2, 1, RING, token(2, 2, fcc=3, requests=(2,)), b"b")
    made.token_left(0.3, 2, RING, token(3, 2, fcc=1), b"c")
    for node in (1, 2):
        made.stepped(0.4, node, RING, at(2))
    made.stepped(0.5, 1, RING, at(2, freed=2))
    assert made.violations == []


def repeats_a_token_seq(made: RingRules) -> None:
    made.token_left(0.0, 2, RING, token(0), b"other")


def repeats_another_nodes_token(made: RingRules) -> None:
    made.token_left(0.0, 2, RING, token(0, aru=NEVER), b"first")


def miscounts_the_rotation(made: RingRules) -> None:
    frame(made, 2, 1)
    made.token_left(0.0, 2, RING, token(1, 1, fcc=0), b"a")


def passes_the_window(made: RingRules) -> None:
    for seq in (1, 2, 3):
        frame(made, 2, seq)
    made.token_left(0.0, 2, RING, token(1, 3, fcc=3), b"a")
    for seq in (4, 5):
        frame(made, 1, seq)
    made.token_left(0.0, 1, RING, token(2, 5, fcc=5), b"b")


def passes_the_window_in_one_visit(made: RingRules) -> None:
    for seq in range(1, WINDOW + 2):
        frame(made, 2, seq)


def token_behind_the_frames(made: RingRules) -> None:
    frame(made, 2, 1)
    made.token_left(0.0, 2, RING, token(1, 0, fcc=1), b"a")


def aru_above_seq(made: RingRules) -> None:
    made.token_left(0.0, 2, RING, token(1, 0, aru=3), b"a")


def requests_too_much(made: RingRules) -> None:
    made.token_left(0.0, 2, RING, token(1, requests=tuple(range(1, REQUESTS_LIMIT + 2))), b"a")


def requests_twice(made: RingRules) -> None:
    frame(made, 2, 1)
    made.token_left(0.0, 2, RING, token(1, 1, fcc=1, requests=(1, 1)), b"a")


def requests_what_nobody_sent(made: RingRules) -> None:
    made.token_left(0.0, 2, RING, token(1, requests=(1,)), b"a")


def skips_a_number(made: RingRules) -> None:
    frame(made, 2, 2)


def gives_a_number_twice(made: RingRules) -> None:
    frame(made, 2, 1)
    frame(made, 1, 1, b"other")


def sends_for_another(made: RingRules) -> None:
    frame(made, 2, 1, originator=1)


def sends_before_all_are_operational(made: RingRules) -> None:
    made.installed(RING, (1, 2, 3))
    frame(made, 2, 1)


def receives_more_than_there_is(made: RingRules) -> None:
    made.stepped(0.0, 1, RING, at(3, highest=2))


def delivers_across_a_gap(made: RingRules) -> None:
    made.stepped(0.0, 1, RING, at(1, highest=3, delivered=3))


def frees_what_another_lacks(made: RingRules) -> None:
    made.stepped(0.0, 2, RING, at(1))
    made.stepped(0.0, 1, RING, at(2, freed=2))


def unreadable(made: RingRules) -> None:
    made.unreadable(0.0, 1, "nothing")


BREACHES: list[Callable[[RingRules], None]] = [
    repeats_a_token_seq,
    repeats_another_nodes_token,
    miscounts_the_rotation,
    passes_the_window,
    passes_the_window_in_one_visit,
    token_behind_the_frames,
    aru_above_seq,
    requests_too_much,
    requests_twice,
    requests_what_nobody_sent,
    skips_a_number,
    gives_a_number_twice,
    sends_for_another,
    sends_before_all_are_operational,
    receives_more_than_there_is,
    delivers_across_a_gap,
    frees_what_another_lacks,
    unreadable,
]


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_caught(breach: Callable[[RingRules], None]) -> None:
    made = rules()
    assert made.violations == []
    breach(made)
    assert {violation.number for violation in made.violations} == {15}


def test_a_member_whose_life_ended_is_not_waited_for() -> None:
    made = rules()
    made.installed(RING, (1, 2, 3))
    made.ended(3)
    frame(made, 2, 1)
    assert made.violations == []
