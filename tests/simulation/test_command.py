"""The command: what ``corosyncsim run`` writes, over one process and several, and how it ends."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from corosyncsim.__main__ import EXIT_INTERRUPTED, main
from corosyncsim.faults import Plan, draw
from corosyncsim.history import History
from corosyncsim.run import Report, execute
from corosyncsim.summary import Spent, summary

SHORT = ["run", "--seeds", "1-4", "--nodes", "3", "--minutes", "0.05"]
SPOILT = [*SHORT, "--no-shrink", "--defect", "deliver a message twice"]


def command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "corosyncsim", *arguments]


def what_was_found(arguments: Sequence[str]) -> tuple[int, list[str]]:
    """Exit status and output, but for what depends on the clock."""
    done = subprocess.run(command(arguments), capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, [line for line in done.stdout.splitlines() if "times real time" not in line]


def test_the_package_brings_the_command() -> None:
    (script,) = entry_points(group="console_scripts", name="corosyncsim")
    assert script.load() is main


@pytest.mark.parametrize("level", ["ring", "cluster"])
def test_the_summary_says_what_was_run(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SHORT, "--level", level]) == 0
    lines = capsys.readouterr().out.splitlines()
    plans = [["4 runs,", "simulated hours,", "events"], ["one core:", "events/s,", "times real time"], ["in all:", "1 process"]]
    plans += [["messages sent", "delivered", "configurations formed"], ["faults:", "×"], ["properties checked:"]]
    for words in plans:
        assert any(all(word in line for word in words) for line in lines), words
    assert ("18 quorum" in "".join(lines)) == (level == "cluster")
    assert lines[-1] == "no violation"


def test_a_configuration_counts_once_and_a_fault_only_where_it_finds_somebody() -> None:
    report, history = execute(draw(5, (3, 3), 20.0))
    formed = {str(ring) for epochs in history.epochs.values() for epoch in epochs[1:] for ring in [epoch.ring]}
    assert report.configurations == len(formed)
    assert 0 < report.faults.total() < len(history.strikes)


def test_the_figure_of_one_core_is_told_apart_from_what_all_did_together() -> None:
    report, _ = execute(draw(1, (3, 3), 2.0))
    lines = list(summary([report, report], Spent(processor=2.0, elapsed=1.0, jobs=2)))
    assert lines[1].startswith(f"one core: {report.actions:,} events/s, {report.simulated:.1f} times real time")
    assert lines[2].startswith(f"in all: {2 * report.actions:,} events/s")
    assert lines[2].endswith("2 processes")


@pytest.mark.parametrize("arguments", [SHORT, SPOILT], ids=["clean", "spoilt"])
def test_several_processes_find_what_one_finds_in_the_same_order(arguments: list[str]) -> None:
    status, lines = what_was_found(arguments)
    assert status == (1 if "--defect" in arguments else 0)
    assert what_was_found([*arguments, "--jobs", "3"]) == (status, lines)


def test_a_run_that_cannot_be_judged_costs_no_other_seed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(plan: Plan, **_: object) -> tuple[Report, History]:
        if plan.seed == 2:
            raise KeyError("an odd history")
        return execute(plan)

    monkeypatch.setattr("corosyncsim.__main__.execute", judge)
    assert main(SHORT) == 1
    printed = capsys.readouterr().out
    assert "seed 2: Traceback" in printed
    assert "KeyError: 'an odd history'" in printed
    assert printed.startswith("seed 2:")
    assert "\n3 runs," in printed
    assert printed.endswith("no violation\nNOT JUDGED: seed 2\n")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interruption_ends_all_and_leaves_what_was_done(jobs: str) -> None:
    arguments = ["run", "--seeds", "1-100000", "--nodes", "3", "--minutes", "0.05", "--jobs", jobs, "--no-shrink"]
    arguments += ["--defect", "deliver a message twice"]
    running = subprocess.Popen(
        command(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests that run in the background of a shell ignore it, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stdout is not None
    assert running.stdout.readline().startswith("seed ")  # it is in the middle of it
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    printed, complaints = running.communicate(timeout=30)
    assert complaints == ""
    assert running.returncode == EXIT_INTERRUPTED
    assert "interrupted after" in printed
    assert "events/s" in printed
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)


def test_a_bar_on_the_terminal_takes_nothing_from_a_file(tmp_path: Path) -> None:
    found = tmp_path / "found.txt"
    ours, theirs = pty.openpty()
    with found.open("w") as file:
        running = subprocess.Popen(
            command([*SPOILT, "--jobs", "2"]), stdout=file, stderr=theirs, env={**os.environ, "TERM": "xterm"}
        )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # the other end of a terminal is gone
        pass
    os.close(ours)
    assert running.wait(timeout=30) == 1
    assert b"100%" in shown
    assert b"property 2" not in shown
    assert "seed 2: property 2" in found.read_text()


@pytest.mark.parametrize(
    "arguments", [["run", "--seeds", "5-1"], ["run", "--nodes", "1"], ["run", "--seeds", "x"], ["run", "--jobs", "0"], []]
)
def test_a_wrong_command_line_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
