"""The scenarios as text do what they say; ``REWRITE=1`` in the environment writes what they do now into the files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corosyncsim.__main__ import main
from corosyncsim.player import perform
from corosyncsim.scenario import KIND_OF_VERB, BadScenario, command, duration, seconds

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_shows_what_it_says(path: Path) -> None:
    text = path.read_text("utf-8")
    played, player = perform(text)
    if os.environ.get("REWRITE"):
        path.write_text(played, "utf-8")
    else:
        assert played == text, f"if {path.name} is right about what changed, REWRITE=1 takes it over"
    assert text.startswith("# "), "a scenario begins with a sentence about what it shows"
    assert player.report, "a scenario ends with a check"
    assert player.report.violations == ()


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 20


def test_a_scenario_that_shows_something_else_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SCENARIOS[0].read_text("utf-8")
    changed = tmp_path / "changed.txt"
    changed.write_text(text.replace("regular", "irregular"), "utf-8")
    assert main(["replay", str(changed)]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("run 1s", "begins with a cluster"),
        ("cluster nodes=1,x", "nodes cannot be"),
        ("cluster speed=3", "no option speed"),
        ("cluster defect=none", "no such defect"),
        ("cluster defect='never answer'", "services=yes"),
        ("cluster\nfly 1", "no such command"),
        ("cluster\nstart 9", "no node 9"),
        ("cluster\npause 9", "no node 9"),
        ("cluster\nmute 1", "needs frames="),
        ("cluster\nmute 1 frames=none", "frames cannot be"),
        ("cluster\nrun 5", "needs its unit"),
        ("cluster\npause one", "node ids"),
        ("cluster\nsend 1 'a", "closing quotation"),
        ("cluster\nsend", "takes a node"),
        ("cluster\nsend 1 a size=2", "4 to 1048560 bytes"),
        ("cluster\nprogram 1 a", "services=yes"),
        ("cluster\nkill-an-engine 1", "services=yes"),
        ("cluster services=yes\nsend 1", "program, join, say"),
        ("cluster services=yes\nsay a b", "no program a"),
    ],
)
def test_a_scenario_that_cannot_be_played_says_why(text: str, why: str) -> None:
    with pytest.raises(BadScenario, match=why):
        perform(text)


def test_a_file_that_cannot_be_played_is_a_wrong_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.txt"
    path.write_text("cluster\nfly 1")
    assert main(["replay", str(path)]) == 2
    assert "no such command" in capsys.readouterr().err
    assert main(["replay", str(tmp_path / "absent")]) == 2


@pytest.mark.parametrize("time", [0.0, 0.8, 1.2345678, 17.0, 0.1 + 0.2, 1e-07])
def test_a_time_reads_as_it_was_written(time: float) -> None:
    assert seconds(duration(time)) == time


def test_a_command_reads_as_it_was_written() -> None:
    for line in ("@800ms crash 2 for=500ms", "send 1 a size=20 times=3", "cluster nodes=1,2 defect='leave a hole' struck=2"):
        assert str(command(line)) == line


def test_every_kind_of_fault_is_a_command() -> None:
    assert {"crash", "partition", "rolling-restart", "kill-an-engine", "storm"} <= set(KIND_OF_VERB)
