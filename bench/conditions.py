"""Where and with what a run was made: without it a figure says nothing."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import corosyncd.totem.core
from tests.lab import execute

PACKAGES = ("corosyncd", "uvloop", "msgpack", "posix_ipc")


def of_machine() -> dict[str, str]:
    """The machine and the versions of what runs on it; the load average is that of now."""
    return {
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}, {_processor()}",
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "real-time priority": "permitted" if _realtime_permitted() else "not permitted",
        "load average before": load_average(),
        "ours": ", ".join(f"{name} {_version(name)}" for name in PACKAGES) + f", protocol core {_core()}",
        "stock": _stock(),
    }


def load_average() -> str:
    """Over 1, 5 and 15 minutes."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def _realtime_permitted() -> bool:
    """Ask the kernel for the lowest real-time priority, and give it back at once."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
    except OSError:
        return False
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _core() -> str:
    source = corosyncd.totem.core.__file__ or ""
    return "interpreted" if source.endswith(".py") else "compiled"


def _stock() -> str:
    lines = execute("corosync", "-v").stdout.splitlines()
    found = re.search(r"version '([^']+)'", lines[0] if lines else "")
    return f"corosync {found[1]}" if found else "corosync of unknown version"
