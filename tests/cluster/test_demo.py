"""The demo proves what it shows, ends by itself, and leaves nothing, whoever runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
NOBODY = 65534
LIMIT_SECONDS = 90
"""The demo itself gives up after 60."""
CHAPTERS = 5
CLAIMS = (
    "one ring with members 1 2 3 at all three",
    "all three are quorate",
    "all 6,000 messages are delivered at all three",
    "counter goes from 1 to 2,000 without a gap",
    "the same sequence at all three: SHA-256",
    "byte for byte, what it multicast",
    "processes, with the engines, ended",
    "nodes 1 and 2 have a new ring without node 3",
    "the quorum service reports node 3 as left",
    "quorum was kept all the time",
    "the program of node 3 left, node down",
    "the same sequence at both: SHA-256",
    "one ring of three again",
    "nothing of the killed daemon is there",
    "the programs have left the group and ended with status 0",
    "the daemons ended with status 0",
    "nothing is left: no process, no file, nothing in /dev/shm",
)


def run_demo(temporary: Path, python: Path, environment: Mapping[str, str], user: int | None = None) -> tuple[int, str]:
    """Its exit status and what it wrote, without a terminal; ``temporary`` is where its files are."""
    process = subprocess.Popen(
        [python, "-m", "demo"],
        cwd=CHECKOUT,
        env={**os.environ, **environment, "TMPDIR": str(temporary), "HOME": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    try:
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
    except BaseException:
        process.send_signal(signal.SIGTERM)  # It takes its daemons with it.
        process.communicate()
        raise
    return process.returncode, output


def check(status: int, output: str, temporary: Path) -> None:
    """Every claim was made and held, and nothing is left."""
    assert status == 0, output
    held = [line for line in output.splitlines() if "✓" in line]
    for claim in CLAIMS:
        assert any(claim in line for line in held), f"{claim!r} is not among the claims:\n{output}"
    assert "✗" not in output
    assert sum(line[:1].isdecimal() for line in output.splitlines()) == CHAPTERS
    assert "\x1b" not in output, "control characters where there is no terminal"
    assert list(temporary.iterdir()) == []


def test_every_claim_of_the_demo_holds_and_nothing_is_left(tmp_path: Path) -> None:
    check(*run_demo(tmp_path, Path(sys.executable), {}), tmp_path)


def works_for_nobody(python: Path, environment: Mapping[str, str]) -> bool:
    """Whether an ordinary user can execute this interpreter, read this checkout, and import what the daemon needs."""
    try:
        probe = subprocess.run(
            [python, "-c", "import demo, corosyncd.daemon.boot, pydantic, yaml, rich"],
            cwd=CHECKOUT,
            env={**os.environ, **environment},
            stderr=subprocess.DEVNULL,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            check=False,
        )
    except OSError:
        return False
    return probe.returncode == 0


def interpreter_for_nobody() -> tuple[Path, dict[str, str]]:
    """Ours or, where that lies in root's home, the system's of the same version with our packages; skips without either."""
    system = Path(f"/usr/bin/python3.{sys.version_info.minor}")
    candidates: list[tuple[Path, dict[str, str]]] = [
        (Path(sys.executable), {}),
        (system, {"PYTHONPATH": sysconfig.get_path("purelib")}),
    ]
    for python, environment in candidates:
        if works_for_nobody(python, environment):
            return python, environment
    pytest.skip(f"an ordinary user can run the daemon of {CHECKOUT} neither with {sys.executable} nor with {system}")


@pytest.mark.skipif(os.geteuid() != 0, reason="the tests run as an ordinary user already")
def test_every_claim_of_the_demo_holds_for_a_user_without_rights() -> None:
    python, environment = interpreter_for_nobody()
    with tempfile.TemporaryDirectory(prefix="test-demo-") as name:
        os.chown(name, NOBODY, NOBODY)
        check(*run_demo(Path(name), python, environment, NOBODY), Path(name))


def test_an_interrupted_demo_cleans_up(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "demo"],
        cwd=CHECKOUT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "SIGKILL to node 3" in line:  # The messiest moment: a dead daemon's files are in /dev/shm.
                process.send_signal(signal.SIGINT)
    output = "".join(said)
    assert process.returncode == 128 + signal.SIGINT, output
    assert "✓ nothing is left" in output
    assert list(tmp_path.iterdir()) == []
