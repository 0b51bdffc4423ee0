"""Programs in the nodes of a lab that write down what they are told, and the comparison of what they wrote.

A ``Member`` runs participant.c or participant.py. Its transcript is a file, so that it may write as much as it likes and
nobody has to read meanwhile.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.lab import CHECKOUT, DEADLINE, Node, execute, wait_until

MESSAGE, MEMBERS, LOST = "message ", "members", "lost "
_counter = itertools.count()


def compile_participant(folder: Path) -> Path:
    """Build participant.c against the distribution's libcpg."""
    program = folder / "participant"
    execute("gcc", "-O2", "-Wall", "-Werror", "-o", program, Path(__file__).with_name("participant.c"), "-lcpg")
    return program


class Member:
    """One program in one group. ``program``: the compiled participant, or None for the Python one."""

    def __init__(self, node: Node, group: str, program: Path | None) -> None:
        """Starts it; ``wait_joined`` waits for its join."""
        self.node = node
        self.kind = "python" if program is None else "c"
        self._path = node.lab.folder / f"transcript-{next(_counter)}"
        command: list[str | Path]
        if program is None:
            command = ["env", f"PYTHONPATH={CHECKOUT}", sys.executable, "-m", "tests.interop.participant", group]
        else:
            command = [program, group]
        with self._path.open("w") as output:
            # nsenter and env execute the next program in their own process: this pid is the member's.
            self.process = node.popen(*command, stdout=output, stderr=subprocess.STDOUT)
        self.address = f"{node.number}:{self.process.pid}"

    def lines(self) -> list[str]:
        """Everything that it has written in full."""
        return self._path.read_text().split("\n")[:-1]

    def messages(self) -> list[str]:
        """The messages in its order."""
        return [line for line in self.lines() if line.startswith(MESSAGE)]

    def changes(self) -> list[str]:
        """The configuration changes in its order."""
        return [line for line in self.lines() if line.startswith(MEMBERS)]

    def wait(self, accept: Callable[[list[str]], object], what: str) -> list[str]:
        """Until its transcript is accepted, and return it."""

        def probe() -> list[str]:
            lines = self.lines()
            if accept(lines):
                return lines
            if self.process.poll() is not None:
                raise AssertionError(f"{self.address} ended with {self.process.returncode}; its last lines: {lines[-3:]}")
            return []

        return wait_until(probe, f"{self.address} ({self.kind}): {what}", DEADLINE, lambda: "\n".join(self.lines()[-5:]))

    def wait_joined(self) -> None:
        """Until it has seen its own join."""
        self.wait(lambda lines: any(f"joined {self.address}:1" in line for line in lines), "its own join")

    def wait_group(self, addresses: Iterable[str]) -> None:
        """Until the last configuration it was told has exactly these members."""
        wanted = sorted(addresses)

        def current(lines: list[str]) -> bool:
            changes = [line for line in lines if line.startswith(MEMBERS)]
            return bool(changes) and members_of(changes[-1]) == wanted

        self.wait(current, f"the members {wanted}")

    def wait_messages(self, count: int) -> None:
        """Until it was delivered so many messages in all."""
        self.wait(lambda lines: sum(line.startswith(MESSAGE) for line in lines) >= count, f"{count} messages")

    def wait_lost(self) -> str:
        """Until its connection has failed; the line that says so."""
        wait_until(lambda: self.process.poll() is not None, f"{self.address}: the end of its connection", DEADLINE, lambda: "")
        return self.lines()[-1]

    def send(self, first: int, count: int, size: int = 100) -> None:
        """Ask it to multicast ``count`` messages, numbered from ``first``."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"send {first} {count} {size}\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """Let it finalize its connection, and return its exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(DEADLINE)

    def discard(self) -> None:
        """End it, however it fares."""
        self.process.kill()
        self.process.wait(DEADLINE)


def members_of(change: str) -> list[str]:
    """The addresses after "members", sorted."""
    return sorted(change.split(" | ")[0].split()[1:])


def left_of(change: str) -> list[str]:
    """The NODE:PID:REASON entries after "left", sorted."""
    return sorted(change.split(" | ")[1].split()[1:])


def joined_of(change: str) -> list[str]:
    """The NODE:PID:REASON entries after "joined", sorted."""
    return sorted(change.split(" | ")[2].split()[1:])
