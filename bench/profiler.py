"""Where our daemon's time goes while it is busy: py-spy over all processes of a node."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.figures import DEFAULT, OURS
from bench.programs import BenchError, MissingRequirement, Programs
from bench.trial import SENDER, SMALL, cluster, run_load
from tests.lab import DEADLINE

SECONDS: Final = 5
MARGIN: Final = 2
"""Seconds that the load lasts longer than the profile, for py-spy to start."""


def find() -> str:
    """The path of py-spy: beside the Python that runs, or on the path. Raises MissingRequirement."""
    beside = Path(sys.executable).parent / "py-spy"
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise MissingRequirement(f"--profile needs py-spy: install it by {sys.executable} -m pip install py-spy.")
    return found


def record(py_spy: str, programs: Programs, sched_rr: str | None, output: Path) -> None:
    """Profile the sending node under 64-byte messages into a flame graph. Raises BenchError, LabError."""
    with cluster(OURS, DEFAULT, sched_rr) as ring:
        ring.wait_formed()
        daemon = ring.lab.node(SENDER).process
        assert daemon is not None
        selection = ("--pid", str(daemon.pid), "--subprocesses", "--duration", str(SECONDS))
        command = [py_spy, "record", *selection, "--format", "flamegraph", "--output", str(output)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as recorder:
            try:
                run_load(ring, programs, "throughput", SMALL, SECONDS + MARGIN)
                said, _ = recorder.communicate(timeout=DEADLINE)
            finally:
                recorder.kill()
    if recorder.returncode != 0 or not output.exists():
        raise BenchError(f"py-spy ended with {recorder.returncode}\n{said}")
