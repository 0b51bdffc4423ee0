"""A hundred clusters under faults keep every property, and a seed means one history."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from corosyncsim.__main__ import EXIT_READER_GONE, main
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


def test_a_violation_makes_the_command_fail(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corosyncsim.run.merge_bound", lambda parameters: -1.0)
    monkeypatch.setattr("corosyncsim.cluster.Cluster.still_apart", lambda cluster: ["everybody is elsewhere"])
    assert main(["run", "--seeds", "1", "--minutes", "0.05"]) == 1
    assert "seed 1: property 14 (merge and termination)" in capsys.readouterr().out
