"""Every option of votequorum(5): the same scenario on a ring of stock nodes, of ours, and of both, step by step the same.

The scenarios are texts in tests/data/votequorum, with the votes, quorum and flags that every step leads to; all else that
programs can see of the votes is compared between the rings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

import pytest

from tests.interop import vote_scenarios
from tests.interop.vote_rings import KINDS, SIZE, Facts, Ring
from tests.interop.vote_scenarios import Step
from tests.lab import Lab, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

T = TypeVar("T")


class Rings:
    """The rings side by side: what takes time in one takes it in all."""

    def __init__(self, rings: list[Ring], pool: ThreadPoolExecutor) -> None:
        self._rings = rings
        self._pool = pool

    def each(self, kinds: tuple[str, ...], act: Callable[[Ring], T]) -> dict[str, T]:
        """Do the same with every ring of these kinds; by kind, what came of it."""
        rings = [ring for ring in self._rings if ring.kind in kinds]
        return dict(zip((ring.kind for ring in rings), self._pool.map(act, rings), strict=True))

    def differences(self, kinds: tuple[str, ...]) -> str:
        """What programs see of one ring and not of the first one."""
        facts: dict[str, Facts] = self.each(kinds, Ring.facts)
        (_, model), *others = facts.items()
        return "\n".join(
            f"{kind}: {name} is {seen.get(name)}, not {model.get(name)}"
            for kind, seen in others
            for name in sorted(model.keys() | seen.keys())
            if seen.get(name) != model.get(name)
        )


@pytest.fixture(scope="module")
def rings() -> Iterator[Rings]:
    """Three labs; the daemons are the scenarios'."""
    with ExitStack() as stack:
        rings = [Ring(kind, stack.enter_context(Lab(SIZE))) for kind in KINDS]
        yield Rings(rings, stack.enter_context(ThreadPoolExecutor(len(rings))))
        for ring in rings:
            ring.end()


def play(step: Step) -> Callable[[Ring], None]:
    """Carry the step out, and see what it leads to."""

    def act(ring: Ring) -> None:
        ring.perform(step)
        ring.wait(step)

    return act


@pytest.mark.parametrize("name", vote_scenarios.names())
def test_the_rings_agree_with_each_other_and_with_the_scenario(rings: Rings, name: str) -> None:
    scenario = vote_scenarios.read(name)
    kinds = scenario.kinds
    rings.each(kinds, lambda ring: ring.begin(scenario))
    for step in scenario.steps:
        rings.each(kinds, play(step))
        agree = f"rings that agree after {str(step)!r}"
        wait_until(lambda: not rings.differences(kinds), agree, explain=lambda: rings.differences(kinds))
