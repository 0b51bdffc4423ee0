"""A test's view of a supervised program: what it writes, and what the map shows of it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from typing import Any

from coroipc.errors import NotExist
from libcmap import Cmap, Plain
from libsam import Policy

DEADLINE = 60.0
INTERVAL_MS = 1000
KEYS = ["last_updated", "poll_period", "recovery", "state"]
QUORUM_RESTART = Policy.QUORUM_RESTART | Policy.CMAP


class Supervised:
    """``supervised_program``, started by somebody else in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Read its first line, with which it is registered."""
        self.process = process
        self._buffer = b""
        line = self.line()
        match line.split():
            case ["instance", "1", pid, "nothing"]:
                self.supervisor = int(pid)
            case _:
                raise AssertionError(line)

    def line(self) -> str:
        """The next line that it writes."""
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE)
            assert ready, "the program is silent"
            part = os.read(self.process.stdout.fileno(), 4096)
            assert part, "the program has ended"
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode()

    def expect(self, *lines: str) -> None:
        """These lines come next."""
        for line in lines:
            assert self.line() == line

    def tell(self, command: str) -> None:
        """Have it do something."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """Until the supervisor has ended: its exit status."""
        return self.process.wait(DEADLINE)

    def keys(self, cmap: Cmap) -> dict[str, Plain]:
        """What the map shows of it."""
        prefix = f"resources.process.{self.supervisor}."
        return {key.removeprefix(prefix): value.value for key, value in cmap.items(prefix)}

    def state(self, cmap: Cmap) -> Plain:
        """Its key ``state``."""
        return cmap.get(f"resources.process.{self.supervisor}.state")

    def forget(self, cmap: Cmap) -> None:
        """Remove what it left in the map."""
        for name in KEYS:
            with contextlib.suppress(NotExist):
                cmap.delete(f"resources.process.{self.supervisor}.{name}")


def next_update(supervised: Supervised, cmap: Cmap) -> Any:
    """The next change of ``last_updated``."""
    tracker = cmap.track(f"resources.process.{supervised.supervisor}.last_updated")
    event = cmap.next_event(DEADLINE)
    cmap.untrack(tracker)
    return event


def check_that_a_hung_program_is_restarted(supervised: Supervised, cmap: Cmap) -> None:
    """Warning, kill, and the next instance has the data; the map shows it all. The program ends in order."""
    supervised.expect("started")
    seen = supervised.keys(cmap)
    assert sorted(seen) == KEYS
    assert (seen["recovery"], seen["poll_period"], seen["state"]) == ("restart", INTERVAL_MS, "running")
    assert next_update(supervised, cmap).new.value > seen["last_updated"]
    supervised.tell("store kept")
    supervised.tell("hang")
    supervised.expect("warned", f"instance 2 {supervised.supervisor} kept", "started")
    assert supervised.state(cmap) == "running"
    supervised.tell("stop")
    supervised.expect("stopped")
    assert supervised.state(cmap) == "stopped"
    supervised.tell("exit 3")
    assert supervised.end() == 3
    assert supervised.keys(cmap) == {}


def check_that_a_program_marked_failed_stays_in_the_map(supervised: Supervised, cmap: Cmap) -> None:
    """It is killed without a warning, its supervisor ends, and its keys say so."""
    supervised.expect("started")
    supervised.tell("fail")
    assert supervised.end() == 128 + signal.SIGKILL
    seen = supervised.keys(cmap)
    assert sorted(seen) == KEYS
    assert seen["state"] == "failed"
    supervised.forget(cmap)
