"""What the daemons hold: processes, descriptors, memory and files in /dev/shm, compared while nothing but the daemons runs.

A process is compared with itself: from the first quiet moment of its life to the last one. Nodes are compared as wholes: the same
processes must be there. In /dev/shm there may be nothing of a process that has ended, once every node was started again.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from tests.daemon_processes import family
from tests.lab import Node

DESCRIPTORS_GROWTH: Final = 4
MEMORY_GROWTH_KIB: Final = 8 << 10
"""Proportional set size of one process. Python's allocator keeps what a busy moment needed; a leak goes on growing past it."""
_SHARED_MEMORY: Final = re.compile(r"qb-(\d+)-(\d+)-\d+-.{6}|(?:sem\.)?corosyncd-(\d+)-.*")


@dataclass(frozen=True, slots=True)
class Holding:
    """What one process holds."""

    descriptors: int
    memory_kib: int


class Life(NamedTuple):
    """A process; process ids come back, its start (clock ticks since boot) does not."""

    pid: int
    started: int


@dataclass(slots=True)
class Ledger:
    """The holdings of our nodes' processes, from quiet moment to quiet moment."""

    first: dict[Life, tuple[int, str, Holding]] = field(default_factory=dict)
    """Node, title, and what it held at its first quiet moment."""
    last: dict[Life, Holding] = field(default_factory=dict)
    titles: dict[int, list[str]] = field(default_factory=dict)
    """By node: its processes at its first quiet moment."""

    def look(self, node: Node) -> Iterator[str]:
        """Enter what a node's processes hold now; complaints about what has grown."""
        titles = family(node)
        expected = self.titles.setdefault(node.number, sorted(titles.values()))
        if sorted(titles.values()) != expected:
            yield f"node {node.number} has the processes {sorted(titles.values())}, and had {expected}"
        for pid, title in titles.items():
            with contextlib.suppress(OSError):
                life, holding = Life(pid, _started(pid)), _holding(pid)
                _, _, before = self.first.setdefault(life, (node.number, title, holding))
                self.last[life] = holding
                if holding.descriptors > before.descriptors + DESCRIPTORS_GROWTH:
                    yield f"node {node.number}, {title}: {before.descriptors} descriptors have become {holding.descriptors}"
                if holding.memory_kib > before.memory_kib + MEMORY_GROWTH_KIB:
                    yield f"node {node.number}, {title}: {before.memory_kib} KiB have become {holding.memory_kib} KiB"

    def largest_growth(self) -> str:
        """The process that grew most, for the summary."""
        growths = [
            (self.last[life].memory_kib - before.memory_kib, self.last[life].descriptors - before.descriptors, title, number)
            for life, (number, title, before) in self.first.items()
        ]
        if not growths:
            return "nothing was measured"
        memory, descriptors, title, number = max(growths)
        return f"{memory} KiB and {descriptors} descriptors ({title} of node {number})"


def _started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])


def _holding(pid: int) -> Holding:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    memory = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return Holding(len(list(Path(f"/proc/{pid}/fd").iterdir())), memory)


def left_in_shared_memory(living: set[int], ended: set[int]) -> list[str]:
    """Names in /dev/shm that hold a connection of a dead program to one of the ``living`` servers, or anything of ``ended`` ones.

    Process ids come back: what belongs to a process that lives now is its own.
    """
    left = []
    for path in Path("/dev/shm").iterdir():
        match = _SHARED_MEMORY.fullmatch(path.name)
        if match is None:
            continue
        server, client = int(match[1] or match[3]), match[2]
        if (server in living and client is not None and not _lives(int(client))) or (server in ended and not _lives(server)):
            left.append(path.name)
    return left


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
