"""The processes of our daemon on a node of a lab: who they are, for tests that kill one of them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.lab import DEADLINE, Node, execute, wait_until


def family(node: Node) -> dict[int, str]:
    """Pid and title of the daemon's processes that live."""
    found = {}
    for pid in map(int, execute("ip", "netns", "pids", node.namespace).stdout.split()):
        with contextlib.suppress(OSError):
            title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if title.startswith("corosyncd: "):
                found[pid] = title
    return found


def engine(node: Node, name: str) -> int:
    """The pid of an engine's process."""

    def probe() -> list[int]:
        node.check_alive()
        return [pid for pid, title in family(node).items() if title == f"corosyncd: {name}"]

    return wait_until(probe, f"engine {name}", DEADLINE, node.log)[0]
