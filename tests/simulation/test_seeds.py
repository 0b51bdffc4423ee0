"""A hundred clusters under faults keep every property, and a seed means one history."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from corosyncsim.__main__ import EXIT_READER_GONE, main, summary
from corosyncsim.faults import draw
from corosyncsim.run import execute

SEEDS = 100
BLOCK = 10
NODES = (3, 7)
SECONDS = 40.0


@pytest.mark.parametrize("first", range(1, SEEDS + 1, BLOCK))
def test_no_seed_violates_a_property(first: int) -> None:
    violations = []
    for seed in range(first, first + BLOCK):
        report, _ = execute(draw(seed, NODES, SECONDS))
        violations += [f"seed {seed}: {violation}" for violation in report.violations]
        assert report.deliveries
    assert violations == []


def trace(seed: int, hash_seed: str) -> bytes:
    command = [sys.executable, "-m", "corosyncsim", "replay", str(seed), "--minutes", "0.1", "--frames"]
    done = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, check=True, timeout=60)
    return done.stdout


@pytest.mark.parametrize("seed", [4, 9])
def test_a_seed_means_one_trace_under_every_hash_seed(seed: int) -> None:
    first = trace(seed, "1")
    assert first == trace(seed, "2")
    assert first.count(b"\n") > 1000
    assert first != trace(seed + 1, "1")


def test_a_trace_shows_frames_only_where_asked_and_its_digest_covers_them(capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for arguments in ([], ["--frames"]):
        assert main(["replay", "4", "--minutes", "0.02", *arguments]) == 0
        printed.append(capsys.readouterr().out.splitlines())
    short, long = printed
    assert not any(" token " in line for line in short)
    assert any(" token " in line for line in long)
    assert [line for line in long if " regular " in line] == [line for line in short if " regular " in line]
    assert short[-1] == long[-1]


def test_a_reader_who_goes_away_is_no_violation() -> None:
    command = f"{sys.executable} -m corosyncsim replay 4 --minutes 0.1 --frames | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (EXIT_READER_GONE, "")


def test_a_trace_that_nobody_reads_changes_nothing() -> None:
    lines: list[str] = []
    silent, _ = execute(draw(4, NODES, 5.0))
    traced, _ = execute(draw(4, NODES, 5.0), lines.append)
    assert lines
    assert (silent.actions, silent.deliveries, silent.tokens) == (traced.actions, traced.deliveries, traced.tokens)


def test_the_command_reports_what_it_ran(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--seeds", "1-2", "--nodes", "3", "--minutes", "0.05"]) == 0
    printed = capsys.readouterr().out
    assert "2 runs" in printed
    assert "times real time" in printed
    assert "no violation" in printed


def test_a_violation_makes_the_command_fail(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corosyncsim.run.merge_bound", lambda parameters: -1.0)
    monkeypatch.setattr("corosyncsim.cluster.Cluster.still_apart", lambda cluster: ["everybody is elsewhere"])
    assert main(["run", "--seeds", "1", "--minutes", "0.05"]) == 1
    assert "seed 1: property 14 (merge and termination)" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["run", "--seeds", "5-1"], ["run", "--nodes", "1"], ["run", "--seeds", "x"], []])
def test_a_wrong_command_line_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_the_summary_names_what_was_broken() -> None:
    report, _ = execute(draw(1, NODES, 2.0))
    assert list(summary([report], 1.0))[-1] == "no violation"
