"""Every checker of a property above the ring catches the defects made for it, by seeds that are written down here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from corosyncsim.__main__ import main
from corosyncsim.checkers import ABOVE_THE_RING, PROPERTIES
from corosyncsim.faults import Fault, Plan, draw
from corosyncsim.run import execute
from corosyncsim.services.defects import DEFECTS
from corosyncsim.services.swarm import MACHINE_PAUSE, with_services

SEEDS = {
    "hand messages over before the round is complete": 1,
    "keep the sync data of an aborted round": 15,
    "forget a leave": 1,
    "swap two messages of a group": 1,
    "claim quorum always": 1,
    "answer a request twice": 2,
    "never answer": 1,
    "miss a change of the map": 2,
    "apply half of a reload": 47,
    "form no new ring for a successor": 2,
    "blame engines for its own absence": 1,
    "let the programs of another engine share its fate": 1,
}
"""The first seed that shows each."""


def scenario(seed: int) -> Plan:
    """Three nodes and six seconds of faults."""
    return with_services(draw(seed, (3, 3), 6.0))


def standstill(seed: int) -> Plan:
    """A busy machine of three stands still three times, longer than its executive waits for an engine."""
    plan = scenario(seed)
    assert plan.services is not None
    busy = replace(plan.services, wake_delay=0.005, members=4, groups=1, pause=0.05)
    pauses = tuple(Fault(time, MACHINE_PAUSE, 2.0, plan.node_ids[1:2]) for time in (2.0, 6.0, 10.0))
    return replace(plan, services=busy, faults=pauses, duration=13.0)


SCENARIOS = {"blame engines for its own absence": standstill}
"""Of the defects that the common scenario has no occasion for."""


def scenario_of(name: str) -> Callable[[int], Plan]:
    return SCENARIOS.get(name, scenario)


@pytest.mark.parametrize("name", SEEDS)
def test_a_defect_is_caught_by_its_checker(name: str) -> None:
    defect, plan = DEFECTS[name], scenario_of(name)(SEEDS[name])
    report, _ = execute(plan, prepare=defect.spoil(plan.node_ids[1]))
    numbers = {violation.number for violation in report.violations}
    assert defect.number in numbers
    assert 0 not in numbers


@pytest.mark.parametrize(("make", "seed"), {(scenario_of(name), seed): None for name, seed in SEEDS.items()})
def test_the_same_scenario_without_a_defect_has_no_violation(make: Callable[[int], Plan], seed: int) -> None:
    report, _ = execute(make(seed))
    assert report.violations == ()


def test_every_property_above_the_ring_has_a_defect() -> None:
    assert set(SEEDS) == set(DEFECTS)
    assert {defect.number for defect in DEFECTS.values()} == {number for number in PROPERTIES if number in ABOVE_THE_RING}


def test_the_command_spoils_a_node_above_the_ring(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "--seeds", "1", "--nodes", "3", "--minutes", "0.1", "--defect", "claim quorum always"]
    assert main(arguments) == 1
    assert "property 18 (quorum)" in capsys.readouterr().out
