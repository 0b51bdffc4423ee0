"""The drawing of a run says what the history says, in one file that needs no other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from corosyncsim import faults, timeline
from corosyncsim.__main__ import main
from corosyncsim.defects import DEFECTS
from corosyncsim.faults import Fault, Load, Plan
from corosyncsim.history import Installed
from corosyncsim.network import Conditions
from corosyncsim.run import execute

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


def data(page: str) -> dict[str, list[dict[str, object]]]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    decoded: dict[str, list[dict[str, object]]] = json.loads(found[1])
    return decoded


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


def test_a_page_needs_nothing_but_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "run.html"
    assert main(["replay", "4", "--minutes", "0.02", "--html", str(page)]) == 0
    assert str(page) in capsys.readouterr().out
    assert not re.search(r"https?:|src=|href=|@import|url\(", page.read_text())
