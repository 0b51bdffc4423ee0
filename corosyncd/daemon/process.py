"""What the daemon wants of the kernel for its processes: title, end with the parent, signals, priority, memory, time had.

Sources: prctl(2), sched(7), mlockall(2), proc(5).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Final

from setproctitle import setproctitle

_PR_SET_PDEATHSIG: Final = 1
_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_USER_TIME: Final = 10
_SYSTEM_TIME: Final = 11
"""Places in /proc/PID/stat, counted behind the state."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_libc = ctypes.CDLL(None, use_errno=True)

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
"""What a terminal or an init system sends to a whole process group, and only the executive may act on."""


def set_title(role: str) -> None:
    """Show the process as ``corosyncd: <role>``."""
    setproctitle(f"corosyncd: {role}")


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when process ``parent``, which forked it, ends; end at once if it has already."""
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if os.getppid() != parent:
        os._exit(0)


def ignore_stop_signals() -> None:
    """Leave TERM, INT, QUIT and HUP to the executive."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def set_realtime(pid: int, below_maximum: int) -> None:
    """Schedule a process round-robin, so many steps below the highest real-time priority. Raises OSError (PermissionError)."""
    priority = os.sched_get_priority_max(os.SCHED_RR) - below_maximum
    os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(priority))


def ran(pid: int) -> float | None:
    """The processor time (seconds) that a process has had, if it is ready to run; None where it sleeps, is stopped or is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, *numbers = file.read().rpartition(b") ")[2].split()
    except OSError:
        return None
    return (int(numbers[_USER_TIME]) + int(numbers[_SYSTEM_TIME])) / _TICKS if state == b"R" else None


def lock_memory() -> None:
    """Keep all memory of this process, present and future, out of swap. Raises OSError (PermissionError)."""
    if _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def raise_descriptor_limit(wanted: int) -> None:
    """Allow this process and its children so many descriptors, or as many as its hard limit lets it have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if os.geteuid() == 0 and hard != resource.RLIM_INFINITY and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (OSError, ValueError):
            pass  # a container's limit: what is there must do
        else:
            return
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
