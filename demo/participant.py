"""The demo's side of a program: its process, the commands to it, and what it reports."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.waiting import Changes
from libcpg import Address

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Round:
    """A program's account of one round; hashes are SHA-256 in hexadecimal."""

    count: int
    """Messages delivered."""
    gaps: int
    """Places where a sender's counter did not follow on its last one."""
    counters: dict[int, int]
    """Each node's last counter."""
    sequence: str
    """Of everything delivered, in its order."""
    streams: dict[int, str]
    """Of each node's messages."""
    sent: str
    """Of what the program itself multicast."""


class Participant:
    """One program and the last that is known of it."""

    def __init__(self, instance: str, log: Path, changes: Changes) -> None:
        """``instance`` is its daemon, ``log`` takes what the program has to complain of."""
        self._instance = instance
        self._log = log
        self._changes = changes
        self._process: asyncio.subprocess.Process | None = None
        self.members: set[int] = set()
        """Nodes with a program in the group, as this program sees it."""
        self.joined: list[Address] = []
        self.left: list[Address] = []
        """All joins and leaves that this program was told of; the reasons are those of cpg_join(3)."""
        self.delivered = 0
        self.rounds: dict[int, Round] = {}
        self.disconnected = 0
        """How often it has lost its daemon."""

    @property
    def pid(self) -> int:
        """Of its process; raises RuntimeError before ``start``."""
        return self._running().pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._running().returncode

    async def start(self) -> None:
        """Start the process, in a session of its own."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "demo.program", self._instance),
                cwd=CHECKOUT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    async def follow(self) -> None:
        """Take in reports until the program ends."""
        process = self._running()
        assert process.stdout is not None
        async for line in process.stdout:
            self._take(json.loads(line))
            self._changes.notify()
        await process.wait()
        self._changes.notify()

    def multicast(self, round_number: int, count: int) -> None:
        """Let it multicast ``count`` messages."""
        self._input().write(b"%d %d\n" % (round_number, count))

    def leave(self) -> None:
        """Let it leave the group and end."""
        self._input().close()

    async def reap(self) -> None:
        """Wait for the end of the process, if it was started."""
        if self._process is not None:
            await self._process.wait()

    def _take(self, report: dict[str, Any]) -> None:
        match report.pop("kind"):
            case "members":
                self.members = {nodeid for nodeid, _pid, _reason in report["members"]}
                self.joined += map(Address._make, report["joined"])
                self.left += map(Address._make, report["left"])
            case "progress":
                self.delivered = report["delivered"]
            case "round":
                for name in ("counters", "streams"):  # JSON's keys are text.
                    report[name] = {int(nodeid): value for nodeid, value in report[name].items()}
                number = report.pop("round")
                self.rounds[number] = Round(**report)
            case "disconnected":
                self.members = set()
                self.disconnected += 1

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the program was not started")
        return self._process

    def _input(self) -> asyncio.StreamWriter:
        stream = self._running().stdin
        assert stream is not None
        return stream
