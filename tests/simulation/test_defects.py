"""Every checker catches the defect that was made for it, in a short scenario, and nothing where there is none."""

from __future__ import annotations

import pytest

from corosyncsim import faults
from corosyncsim.checkers import PROPERTIES
from corosyncsim.defects import DEFECTS, Defect
from corosyncsim.faults import Fault, Load, Plan
from corosyncsim.network import Conditions
from corosyncsim.run import Report, execute

NODES = (1, 2, 3)
STRUCK = 2
SEED = 1


def scenario() -> Plan:
    """Three seconds in which the struck node restarts and another crashes, on a network that loses some datagrams."""
    events = (
        Fault(0.8, faults.CRASH, 0.5, (STRUCK,)),
        Fault(2.0, faults.CRASH, 0.5, (3,)),
        Fault(2.6, faults.PARTITION, 0.3, (STRUCK,)),
    )
    timeouts = {"token": 200, "token_coefficient": 1, "join": 50, "consensus": 240, "merge": 200}
    load = Load(pause=0.02, burst=6, large=0.02, largest=20_000, answers=0.05)
    return Plan(SEED, NODES, timeouts, Conditions(delay=0.001, loss=0.02), load, barrier=True, faults=events, duration=3.0)


def found(report: Report) -> set[int]:
    return {violation.number for violation in report.violations}


def test_the_scenario_without_a_defect_has_no_violation() -> None:
    report, _ = execute(scenario())
    assert report.violations == ()
    assert report.messages > 300
    assert report.configurations > 20


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=lambda defect: f"{defect.number}-{defect.name.replace(' ', '-')}")
def test_a_defect_is_caught_by_its_checker(defect: Defect) -> None:
    report, _ = execute(scenario(), adapt=defect.adapt(STRUCK))
    assert defect.number in found(report)
    assert 0 not in found(report)


def test_every_property_has_a_defect() -> None:
    assert {defect.number for defect in DEFECTS.values()} == set(PROPERTIES)
