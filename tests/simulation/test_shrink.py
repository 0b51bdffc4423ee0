"""A run that violates a property shrinks to a short scenario that violates it, too, and only because of the defect."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corosyncsim import faults
from corosyncsim.__main__ import main
from corosyncsim.defects import DEFECTS
from corosyncsim.faults import Fault, Load, Plan, draw
from corosyncsim.network import Conditions
from corosyncsim.player import perform
from corosyncsim.run import execute
from corosyncsim.scenario import blocks
from corosyncsim.services import swarm
from corosyncsim.services.options import Options
from corosyncsim.services.swarm import with_services
from corosyncsim.shrink import shrink

STRUCK = 2
SHRUNK_COMMANDS = 25
PLAN = Plan(
    seed=3,
    node_ids=(1, 2, 3, 4),
    timeouts={"token": 200, "token_coefficient": 1, "join": 50, "consensus": 240, "merge": 200},
    conditions=Conditions(loss=0.02, duplication=0.01),
    load=Load(pause=0.1, burst=5, large=0.02, largest=20_000, answers=0.05),
    barrier=True,
    faults=(
        Fault(0.8, faults.CRASH, 0.5, (STRUCK,)),
        Fault(1.0, faults.PARTITION, 0.3, (STRUCK, 3)),
        Fault(1.5, faults.PAUSE, 0.4, (1,)),
        Fault(1.9, faults.STORM, 0.2, (1, 2, 3, 4), conditions=Conditions(loss=0.3)),
        Fault(2.2, faults.MUTE, 0.1, (4,), number=1),
    ),
    duration=3.0,
)
NAMES = (
    "deliver a message twice",
    "skip the sequence store",
    "skip self-delivery",
    "request a frame twice",
    "ignore the commit tokens of others",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_shrunk_scenario_fails_with_the_defect_is_clean_without_and_is_short(name: str) -> None:
    defect = DEFECTS[name]
    report, _ = execute(PLAN, adapt=defect.adapt(STRUCK))
    assert defect.number in {violation.number for violation in report.violations}
    text = shrink(PLAN, defect.number, (name, STRUCK))
    assert text
    again, player = perform(text)
    assert again == text
    assert player.report
    assert defect.number in {violation.number for violation in player.report.violations}
    block = blocks(text)[0]
    assert len(block.commands()) <= SHRUNK_COMMANDS < report.messages + sum(report.faults.values())
    made, *steps = block.commands()
    sound = replace(made, options={key: value for key, value in made.options.items() if key not in ("defect", "struck")})
    _, player = perform("\n".join(map(str, (sound, *steps))))
    assert player.report
    assert player.report.violations == ()


def test_shrinking_ends_at_its_limit_of_runs() -> None:
    text = shrink(PLAN, 2, ("deliver a message twice", STRUCK), runs_limit=10)
    assert text
    assert "shrunk in 10 runs" in text


def test_a_run_that_holds_does_not_shrink() -> None:
    assert shrink(PLAN, 2) is None


def test_a_run_of_whole_nodes_shrinks_to_its_faults_and_its_load() -> None:
    plan = replace(PLAN, services=Options(members=1), faults=(*PLAN.faults, Fault(0.9, swarm.KILL, 0.0, (3,))))
    text = shrink(plan, 5, ("leave oneself out of the members", STRUCK), runs_limit=40)
    assert text
    assert "services=yes" in text
    assert perform(text)[0] == text


def test_a_defect_above_the_ring_shrinks_too() -> None:
    plan = replace(PLAN, services=Options(members=1), faults=(*PLAN.faults, Fault(0.9, swarm.KILL, 0.0, (STRUCK,), number=3)))
    name = "claim quorum always"
    text = shrink(plan, 18, (name, STRUCK), runs_limit=40)
    assert text
    played, player = perform(text)
    assert played == text
    assert player.report
    assert 18 in {violation.number for violation in player.report.violations}


def test_a_run_of_whole_nodes_shrinks_to_what_its_members_did(capsys: pytest.CaptureFixture[str]) -> None:
    name = "swap two messages of a group"
    plan = with_services(draw(2, (3, 3), 6.0))
    arguments = ["run", "--level", "cluster", "--seeds", "2", "--nodes", "3", "--minutes", "0.1", "--defect", name]
    assert main(arguments) == 1
    printed = capsys.readouterr().out
    text = printed[printed.index("# Property 17") : printed.index("1 runs,")]
    made, *steps = blocks(text)[0].commands()
    assert len(plan.faults) > 5
    assert {step.verb for step in steps} <= {"start", "program", "join", "say", "quit", "check"}, "no chance, and no fault"
    assert len(steps) <= 8
    assert len(made.options["nodes"].split(",")) < 3
    assert (steps[-1].at or 0.0) < plan.duration
    for spoilt in (True, False):
        options = {key: value for key, value in made.options.items() if spoilt or key not in ("defect", "struck")}
        _, player = perform("\n".join(map(str, (replace(made, options=options), *steps))))
        assert player.report
        assert (17 in {violation.number for violation in player.report.violations}) == spoilt
        assert spoilt or player.report.violations == ()


def test_run_prints_a_shrunk_scenario_unless_told_not_to(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "--seeds", "1", "--nodes", "3", "--minutes", "0.05", "--defect", "drop the transitional configuration"]
    assert main(arguments) == 1
    assert "\ncluster nodes=" in capsys.readouterr().out
    assert main([*arguments, "--no-shrink"]) == 1
    assert "\ncluster nodes=" not in capsys.readouterr().out
