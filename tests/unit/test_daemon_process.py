"""What the driver knows of an engine's process: only one that is ready to run can have been kept from it."""

from __future__ import annotations

import os
import signal
import subprocess

from corosyncd.daemon.process import ran


def test_the_processor_time_is_told_of_a_process_that_is_ready_to_run_and_of_no_other() -> None:
    with subprocess.Popen(["sh", "-c", "echo begins; while :; do :; done"], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            child.send_signal(signal.SIGSTOP)
            os.waitpid(child.pid, os.WUNTRACED)
            assert ran(child.pid) is None
            child.send_signal(signal.SIGCONT)
            os.waitpid(child.pid, os.WCONTINUED)
            first = ran(child.pid)
            assert first is not None
            while (now := ran(child.pid)) is not None and now == first:
                os.sched_yield()
            assert now is not None
            assert now > first
        finally:
            child.kill()
    assert ran(child.pid) is None
