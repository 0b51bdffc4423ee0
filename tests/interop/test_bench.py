"""``make bench`` measures both sides, tells everything it promises, leaves nothing, and fails where a node saw something else.

Nothing here asserts a speed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import profiler, trial
from bench.figures import DEFAULT, FIGURES, STOCK, WIDE, WINDOWS
from bench.programs import BenchError, Client, MissingRequirement, Programs, compiled
from bench.trial import SENDER, WITNESSES, Cluster, cluster, run_load
from tests.interop.clients import Clients, joined, persist
from tests.lab import CHECKOUT, DEADLINE, execute, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, env=os.environ | environment, check=False)


def test_a_quick_run_prints_every_row_for_both_sides_and_leaves_nothing(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = bench("--quick", "--seconds", "0.5", "--json", str(output), TMPDIR=str(scratch))
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(scratch.iterdir()) == []

    expected = [(window, figure) for window in WINDOWS for figure in FIGURES if window in figure.windows]
    for window in WINDOWS:
        assert f"\n{window.title}\n" in done.stdout
    for figure in FIGURES:
        lines = [line for line in done.stdout.splitlines() if line.startswith(f"{figure.label}  ")]
        assert len(lines) == len(figure.windows)
        assert all("–" not in line for line in lines), "a side has no value"

    report = json.loads(output.read_text())
    assert [(row["window"], row["name"]) for row in report["rows"]] == [(window.name, figure.name) for window, figure in expected]
    for row, (window, figure) in zip(report["rows"], expected, strict=True):
        assert len(row["ours"]["samples"]) == len(row["stock"]["samples"]) == 1
        assert (row["met"] is None) == (window.name not in figure.aims)
    assert {"cores", "kernel", "python", "load average before", "stock", "real-time priority"} <= report["conditions"].keys()


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    with compiled() as programs:
        yield programs


@pytest.fixture(scope="module")
def ring() -> Iterator[Cluster]:
    """A stock ring: what is under test here is the witness."""
    with cluster(STOCK, DEFAULT, None) as ring:
        ring.wait_formed()
        yield ring


def test_a_witness_that_saw_another_order_fails_the_run(
    ring: Cluster, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deceived(Client):
        """What node 3's witness reports has an order of its own."""

        def result(self, timeout: float = DEADLINE) -> dict[str, Any]:
            report = super().result(timeout)
            return report | {"order": "0" * 16} if self.node.number == WITNESSES[-1] else report

    monkeypatch.setattr(trial, "Client", Deceived)
    with pytest.raises(BenchError, match="node 3 saw other order than the sender"):
        run_load(ring, programs, "latency", 64, 10)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (bytes(15), "a message is too short"),
        ((7).to_bytes(8, "little") + bytes(8), "a message is missing or repeated"),
        (bytes(16) + b"\3\3\4\3", "a message has a wrong byte"),
    ],
)
def test_a_witness_ends_at_a_message_that_is_not_as_sent(
    ring: Cluster, programs: Programs, tmp_path: Path, message: bytes, complaint: str
) -> None:
    group = "broken"
    witness = Client(ring.lab.node(WITNESSES[0]), tmp_path / "witness", programs.cpg_load, "witness", group)
    witness.wait_ready()
    with contextlib.ExitStack() as stack:
        sender = joined(Clients(ring.lab, stack), group, node=SENDER)
        persist(lambda: sender.mcast(message))
        with pytest.raises(BenchError, match=complaint):
            witness.result()


def test_an_aim_is_met_or_not_by_its_own_side_of_the_bound() -> None:
    small = next(figure for figure in FIGURES if figure.name == "small_rate").aims[WIDE.name]
    idle = next(figure for figure in FIGURES if figure.name == "idle_cpu").aims[DEFAULT.name]
    assert small.met(50, 0.5) is True
    assert small.met(49, 0.49) is False
    assert small.met(50, None) is None
    assert idle.met(1.99, 9.0) is True
    assert idle.met(2.0, 0.1) is False


def test_a_missing_requirement_is_one_sentence_and_status_2() -> None:
    done = bench("--quick", PATH="/nonexistent")
    assert done.returncode == 2
    assert done.stderr.startswith("bench: this needs the programs ip, ")
    assert len(done.stderr.splitlines()) == 1


def test_without_py_spy_a_profile_is_refused_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingRequirement, match="-m pip install py-spy"):
        profiler.find()


def test_a_run_that_is_told_to_end_removes_everything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--quick", "--only", "stock"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            (folder,) = wait_until(lambda: list(tmp_path.glob("corosyncd-lab*/node1/log/output")), "a daemon's start")
            number = folder.parts[-4].removeprefix("corosyncd-lab").partition("-")[0]
            assert f"cl{number}n1" in execute("ip", "netns", "list").stdout.split()
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 128 + signal.SIGTERM
        finally:
            process.kill()
    assert list(tmp_path.iterdir()) == []
