"""The programs: one in C and one in Python on every node, members of one group, that send all the time.

Each sends a batch, waits until it was delivered the whole of it, pauses, and sends the next. Numbers name their senders, so that
a message given to the wrong one would show. A program whose connection fails ends; another takes its place.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

from chaos.transcripts import Transcript, told
from corosyncd.totem.events import RingId
from corosyncsim.group_lives import Address, Changed, Moved, Program, Spoken
from tests.lab import CHECKOUT, DEADLINE, Node

KINDS: Final = ("c", "python")
LOST: Final = 3
"""A participant's exit status when its connection has failed."""
SIZES: Final = ((8, 200), (8, 200), (8, 200), (1000, 4000), (20_000, 60_000))
"""Bytes of a message, least and most; one line is drawn for a batch."""
BATCH: Final = (1, 20)
LARGE_BATCH: Final = 3
"""Messages of a batch whose sizes are the last line's."""
PAUSE_SECONDS: Final = (0.0, 0.6)
RESTART_SECONDS: Final = 0.5
"""From a program's end until the next takes its place."""
NUMBERS_EACH: Final = 1 << 32


class Member:
    """One program, from its start to its end."""

    def __init__(self, node: Node, kind: str, group: str, participant: Path, path: Path, index: int) -> None:
        """``index`` makes its numbers its own. Does not wait for its join."""
        self.node, self.kind = node, kind
        self.transcript = Transcript(path)
        command: list[str | Path] = [participant, group, "timed"]
        if kind == "python":
            command = ["env", f"PYTHONPATH={CHECKOUT}", sys.executable, "-m", "tests.interop.participant", group, "timed"]
        with path.open("w") as output:
            # nsenter and env execute the next program in their own process: this pid is the member's.
            self.process = node.popen(*command, stdout=output, stderr=subprocess.STDOUT)
        self.program = Program(Address(node.number, self.process.pid))
        self.members: frozenset[Address] = frozenset()
        self.ring_id: RingId | None = None
        """The ring that it was told last."""
        self.last: dict[Address, int] = {}
        """The highest number that it was delivered of each sender."""
        self.strange: list[str] = []
        """Lines that no participant should write."""
        self.next_number = index * NUMBERS_EACH
        self.ready_at = 0.0
        self.ended_at: float | None = None
        self.expected_end = False

    def __str__(self) -> str:
        return f"{self.kind} program {self.process.pid} of node {self.node.number}, {self.transcript.path.name}"

    def read(self, origin: float) -> None:
        """Take what it has written since."""
        for words in self.transcript.more():
            try:
                event = told(words, origin)
            except (ValueError, IndexError):
                self.strange.append(" ".join(words))
                continue
            if event is None:
                continue
            self.program.told.append(event)
            if isinstance(event, Spoken):
                self.last[event.sender] = event.number
            elif isinstance(event, Changed):
                self.members = event.members
            elif isinstance(event, Moved):
                self.ring_id = event.ring_id

    @property
    def own_delivered(self) -> bool:
        """Whether everything that it was asked to send came back to it."""
        return not self.program.sizes or self.last.get(self.program.address) == self.next_number - 1

    def send(self, count: int, size: int) -> None:
        """Ask it for a batch; the last one must have been delivered."""
        self.program.sizes.update(dict.fromkeys(range(self.next_number, self.next_number + count), size))
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"send {self.next_number} {count} {size}\n")
            self.process.stdin.flush()
        self.next_number += count

    def signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)

    def close_input(self) -> None:
        """Ask it to finalize its connection and end."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()


class Crowd:
    """The programs of a round."""

    def __init__(self, nodes: list[Node], group: str, participant: Path, folder: Path, random: Random, origin: float) -> None:
        """Nothing runs before ``attend``."""
        self._nodes, self._group, self._participant, self._folder = nodes, group, participant, folder
        self._random, self.origin = random, origin
        self.all: list[Member] = []
        self.current: dict[tuple[int, str], Member] = {}

    def attend(self, now: float, sending: bool) -> None:
        """Read what all have written, replace who has ended, and give the next batch to who waits for one."""
        for node in self._nodes:
            for kind in KINDS:
                member = self.current.get((node.number, kind))
                if member is not None:
                    self._attend_one(member, now, sending)
                if node.process is not None and (
                    member is None or (member.ended_at is not None and now >= member.ended_at + RESTART_SECONDS)
                ):
                    self._start(node, kind)

    def _start(self, node: Node, kind: str) -> None:
        index = len(self.all) + 1
        path = self._folder / f"{index:04}-node{node.number}-{kind}"
        member = Member(node, kind, self._group, self._participant, path, index)
        self.all.append(member)
        self.current[node.number, kind] = member

    def _attend_one(self, member: Member, now: float, sending: bool) -> None:
        if member.ended_at is not None:
            return
        ended = member.process.poll() is not None  # Asked before reading, so that the last lines are read too.
        member.read(self.origin)
        if ended:
            self._note_end(member, now)
        elif sending and not member.expected_end and member.members and member.own_delivered and now >= member.ready_at:
            sizes = self._random.choice(SIZES)
            count = self._random.randint(*BATCH) if sizes is not SIZES[-1] else self._random.randint(1, LARGE_BATCH)
            member.send(count, self._random.randint(*sizes))
            member.ready_at = now + self._random.uniform(*PAUSE_SECONDS)

    def _note_end(self, member: Member, now: float) -> None:
        member.ended_at = now
        member.program.ended = True
        member.close_input()
        status = member.process.returncode
        if status != LOST and not member.expected_end:
            member.strange.append(f"exit status {status}")

    def live(self) -> list[Member]:
        """Who has not ended."""
        return [member for member in self.current.values() if member.ended_at is None]

    def complaints(self) -> Iterator[str]:
        """What programs wrote that they should not, and ends with a status that says no reason."""
        for member in self.all:
            for line in member.strange:
                yield f"{member}: {line}"

    def kill(self, member: Member, *, orderly: bool) -> None:
        """End a program: by SIGKILL, or by the end of its input."""
        member.expected_end = True
        if orderly:
            member.close_input()
        else:
            member.signal(signal.SIGKILL)

    def end(self) -> None:
        """Let everybody finalize and end. Programs that do not are killed, and complained of."""
        for member in self.live():
            member.signal(signal.SIGCONT)
            self.kill(member, orderly=True)
        deadline = time.monotonic() + DEADLINE
        for member in self.live():
            try:
                status = member.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                member.strange.append("it does not end although its input has")
                member.process.kill()
                status = member.process.wait(DEADLINE)
            if status != 0:
                member.strange.append(f"exit status {status} at the end of its input")
            member.ended_at = time.monotonic()
