"""What a node's processes use: processor time and memory, all of them together (proc(5))."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

from tests.lab import execute

_TICKS = os.sysconf("SC_CLK_TCK")
_UTIME = 11
"""utime's place behind the command's closing bracket in /proc/pid/stat; stime follows."""


def processes(namespace: str) -> frozenset[int]:
    """The ids of all processes in a network namespace."""
    return frozenset(map(int, execute("ip", "netns", "pids", namespace).stdout.split()))


def _ticks(pid: int) -> int:
    behind_command = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(behind_command[_UTIME]) + int(behind_command[_UTIME + 1])


def _used(pids: Collection[int]) -> dict[int, int]:
    used = {}
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # It has ended since it was listed.
            used[pid] = _ticks(pid)
    return used


def processor_share(groups: Callable[[], Collection[Collection[int]]], seconds: float) -> list[float]:
    """How much of one core, in per cent, each group of processes uses during the next ``seconds``.

    ``groups`` is asked before and after, so that a process begun in between counts; one that ended in between does not.
    """
    started = time.monotonic()
    before = [_used(group) for group in groups()]
    time.sleep(seconds)
    after = [_used(group) for group in groups()]
    lasted = time.monotonic() - started
    pairs = zip(before, after, strict=True)
    ticks = [sum(used - earlier.get(pid, 0) for pid, used in later.items()) for earlier, later in pairs]
    return [100 * each / _TICKS / lasted for each in ticks]


def proportional_set_size(pids: Collection[int]) -> int:
    """Bytes of memory that these processes hold; pages shared with others count by the part."""
    total = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total
