"""Every checker catches the defect that was made for it, in a short scenario, and nothing where there is none.

``tests/data/defect_seeds.json`` has the first seed of the scenario, among two hundred, that shows each defect; ``REWRITE=1`` in
the environment looks for them anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from corosyncsim import faults
from corosyncsim.checkers import ABOVE_THE_RING, PROPERTIES
from corosyncsim.defects import DEFECTS, Defect
from corosyncsim.faults import Fault, Load, Plan
from corosyncsim.network import Conditions
from corosyncsim.run import Report, execute
from tests.simulation.failover_scenarios import accusing

NODES = (1, 2, 3)
STRUCK = 2
SEEDS_LIMIT = 200
RECORD = Path(__file__).parent.parent / "data" / "defect_seeds.json"
RECORDED: dict[str, int] = json.loads(RECORD.read_text("utf-8"))


def scenario(seed: int) -> Plan:
    """Three seconds in which the struck node restarts and another crashes, on a network that loses some datagrams."""
    events = (
        Fault(0.8, faults.CRASH, 0.5, (STRUCK,)),
        Fault(2.0, faults.CRASH, 0.5, (3,)),
        Fault(2.6, faults.PARTITION, 0.3, (STRUCK,)),
    )
    timeouts = {"token": 200, "token_coefficient": 1, "join": 50, "consensus": 240, "merge": 200}
    load = Load(pause=0.02, burst=6, large=0.02, largest=20_000, answers=0.05)
    return Plan(seed, NODES, timeouts, Conditions(delay=0.001, loss=0.02), load, barrier=True, faults=events, duration=3.0)


def links(seed: int) -> Plan:
    """Forty seconds in which nodes 1 and 3 do not reach each other, and the struck node reaches both."""
    events = (Fault(1.0, faults.NOT_TRANSITIVE, 40.0, (1, 3)),)
    timeouts = {"token": 200, "token_coefficient": 1, "join": 50, "consensus": 240, "merge": 200}
    load = Load(pause=1.0, burst=3, large=0.0, largest=20_000, answers=0.0)
    return Plan(seed, NODES, timeouts, Conditions(delay=0.001), load, barrier=True, faults=events, duration=41.0)


SCENARIOS = {22: links, 23: accusing}
"""Of the properties that the common scenario has no occasion for."""


def found(report: Report) -> set[int]:
    return {violation.number for violation in report.violations}


def shows(defect: Defect, seed: int) -> bool:
    report, _ = execute(SCENARIOS.get(defect.number, scenario)(seed), adapt=defect.adapt(STRUCK))
    assert 0 not in found(report)
    return defect.number in found(report)


def first_seed(defect: Defect) -> int:
    return next(seed for seed in range(1, SEEDS_LIMIT + 1) if shows(defect, seed))


@pytest.mark.parametrize("seed", sorted(set(RECORDED.values())))
def test_the_scenario_without_a_defect_has_no_violation(seed: int) -> None:
    report, _ = execute(scenario(seed))
    assert report.violations == ()
    assert report.messages > 300
    assert report.configurations > 10


@pytest.mark.parametrize("plan", SCENARIOS.values())
def test_a_scenario_of_a_property_of_its_own_is_clean_without_its_defect(plan: Callable[[int], Plan]) -> None:
    report, _ = execute(plan(1))
    assert report.violations == ()


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=lambda defect: f"{defect.number}-{defect.name.replace(' ', '-')}")
def test_the_recorded_seed_of_a_defect_shows_it_to_its_checker(defect: Defect) -> None:
    if os.environ.get("REWRITE"):
        RECORDED[defect.name] = first_seed(defect)
        known = {name: RECORDED[name] for name in DEFECTS if name in RECORDED}
        RECORD.write_text(json.dumps(known, indent=2) + "\n", "utf-8")
    assert defect.name in RECORDED, "REWRITE=1 records the seed of a new defect"
    assert RECORDED[defect.name] <= SEEDS_LIMIT
    assert shows(defect, RECORDED[defect.name])


def test_every_property_has_a_defect() -> None:
    assert {defect.number for defect in DEFECTS.values()} == {number for number in PROPERTIES if number not in ABOVE_THE_RING}


def test_every_recorded_defect_is_still_there() -> None:
    assert RECORDED.keys() == DEFECTS.keys()
