"""Whether a process lives, asked by its pid."""

from __future__ import annotations

import os
import subprocess
import sys

from coroipc.liveness import is_dead


def test_a_running_process_is_not_dead() -> None:
    assert not is_dead(os.getpid())
    assert not is_dead(1)


def test_a_process_that_has_ended_is_dead_before_and_after_it_is_reaped() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(child.pid)
    child.wait()
    assert is_dead(child.pid)


def test_a_number_that_no_process_can_have_is_dead() -> None:
    assert is_dead(10**30)
