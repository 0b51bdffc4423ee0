"""Which processes belong to a daemon or a program that the demo started, and what they have in /dev/shm.

Each was started as the leader of a session of its own, which all its descendants share, also those that have lost their parent.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_SHARED_NAME = re.compile(r"(?:qb|corosyncd|sem\.corosyncd)-(\d+)-.+")
"""Folders of client connections, and a link's segment and semaphores: each holds the pid of the process that made it."""


def of_sessions(sessions: Collection[int]) -> list[int]:
    """The pids of the sessions' processes. One that has ended, and that nobody has asked for its status yet, is none."""
    return [pid for pid, state, session in _all() if session in sessions and state not in "ZX"]


def _all() -> Iterator[tuple[int, str, int]]:
    """pid, state letter and session of every process (proc(5))."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):  # It may end while we look.
                state, _parent, _group, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                yield int(folder.name), state, int(session)


def shared_memory_of(pids: Collection[int]) -> list[str]:
    """The names in /dev/shm that processes with these pids have made."""
    names = (entry.name for entry in SHARED_MEMORY.iterdir())
    return sorted(name for name in names if (match := _SHARED_NAME.fullmatch(name)) and int(match[1]) in pids)


async def ended(pids: Collection[int], limit: float) -> bool:
    """Wait until all these processes have ended; False where one still runs after ``limit`` seconds."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limit):
            for pid in pids:
                with suppress(ProcessLookupError):
                    descriptor = os.pidfd_open(pid)
                    end = loop.create_future()
                    loop.add_reader(descriptor, _resolve, end)
                    try:
                        await end
                    finally:
                        loop.remove_reader(descriptor)
                        os.close(descriptor)
    except TimeoutError:
        return False
    return True


def _resolve(end: asyncio.Future[None]) -> None:
    if not end.done():
        end.set_result(None)


def kill(pids: Collection[int]) -> None:
    """SIGKILL to those that still run."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
