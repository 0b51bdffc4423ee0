"""The drawing of a run says what the history says, in one file that needs no other."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corosyncsim import faults, timeline
from corosyncsim.__main__ import main
from corosyncsim.defects import DEFECTS
from corosyncsim.faults import Fault, Load, Plan
from corosyncsim.history import History, Installed, Process
from corosyncsim.network import Conditions
from corosyncsim.run import execute
from corosyncsim.services import swarm
from corosyncsim.services.options import Options

PLAN = Plan(
    seed=3,
    node_ids=(1, 2, 3),
    timeouts={"token": 200, "token_coefficient": 1, "join": 50, "consensus": 240, "merge": 200},
    conditions=Conditions(),
    load=Load(pause=0.05, burst=3, large=0.0, largest=20_000, answers=0.0),
    barrier=False,
    faults=(Fault(1.0, faults.CRASH, 0.5, (2,)), Fault(2.0, faults.PAUSE, 0.6, (3,)), Fault(2.9, faults.ISOLATE, 9.0, (1,))),
    duration=3.0,
)


def data(page: str) -> Any:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_a_page_holds_the_configurations_faults_deaths_pauses_and_messages_of_the_run() -> None:
    report, history = execute(PLAN)
    drawn = data(timeline.draw("a run", "of </script> nodes", history, report.violations, report.simulated))
    assert [fault["label"] for fault in drawn["faults"]] == ["crash 2", "pause 3", "isolate 1"]
    assert all(float(str(fault["end"])) <= report.simulated for fault in drawn["faults"])
    one, two, three = drawn["nodes"]
    installed = [event for process, events in history.events.items() if process.node_id == 2 for event in events]
    assert two["blocks"] == [
        block | {"members": list(event.members), "ring": str(event.ring)}
        for block, event in zip(
            two["blocks"], [event for event in installed if isinstance(event, Installed) and event.members], strict=True
        )
    ]
    assert [how for _, _, how in two["downs"]] == ["", "crashes"]
    assert [round(end - start, 3) for start, end in three["pauses"]] == [0.6]
    assert one["pauses"] == []
    assert len(drawn["messages"]) == len(history.sent) > 50
    assert sum(len(message["delivered"]) for message in drawn["messages"]) == report.deliveries
    assert drawn["violations"] == []


def test_a_page_shows_where_a_property_was_violated() -> None:
    report, history = execute(PLAN, adapt=DEFECTS["deliver a message twice"].adapt(2))
    (violation, *_) = data(timeline.draw("a run", "", history, report.violations, report.simulated))["violations"]
    assert (violation["node"], violation["number"]) == (2, 2)
    assert str(report.violations[0]) == violation["text"]


def test_a_page_of_whole_nodes_shows_quorum_the_deaths_of_engines_and_the_messages_of_groups() -> None:
    kill = Fault(1.5, swarm.KILL, 0.0, (1,), number=swarm.NAMES.index("cpg"))
    report, history = execute(replace(PLAN, faults=(*PLAN.faults, kill), services=Options(members=1)))
    drawn = data(timeline.draw("a run", "", history, report.violations, report.simulated))
    one, two, _ = drawn["nodes"]
    assert [what for _, what, _ in one["deaths"]] == ["cpg dies"]
    assert two["deaths"] == []
    assert all(0.0 < start <= end <= report.simulated for node in drawn["nodes"] for start, end in node["quorate"])
    assert len(two["quorate"]) >= 2
    assert len(drawn["messages"]) == report.messages
    assert 0 < sum(len(message["delivered"]) for message in drawn["messages"]) <= report.deliveries


def test_a_page_of_a_node_that_has_installed_nothing_is_drawn() -> None:
    report, history = execute(replace(PLAN, faults=(), duration=0.01))
    early = History(events={Process(1, 1): []}, started={Process(1, 1): 0.0})
    assert data(timeline.draw("a run", "", early, (), 0.1))["nodes"]
    assert data(timeline.draw("a run", "", history, report.violations, report.simulated))["nodes"]


def test_a_page_needs_nothing_but_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "run.html"
    assert main(["replay", "4", "--minutes", "0.02", "--html", str(page)]) == 0
    assert str(page) in capsys.readouterr().out
    assert not re.search(r"https?:|src=|href=|@import|url\(", page.read_text())
