"""The processes of our daemon on a node of a lab: who they are, for those who kill or measure one of them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from tests.lab import DEADLINE, Node, execute, wait_until

TITLE: Final = "corosyncd: "


def family(node: Node) -> dict[int, str]:
    """Pid and role, as in its title, of every process of the daemon that lives."""
    found = {}
    for pid in map(int, execute("ip", "netns", "pids", node.namespace).stdout.split()):
        with contextlib.suppress(OSError):
            title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if title.startswith(TITLE):
                found[pid] = title.removeprefix(TITLE)
    return found


def engine(node: Node, name: str) -> int:
    """The pid of an engine's process."""

    def probe() -> list[int]:
        node.check_alive()
        return [pid for pid, role in family(node).items() if role == name]

    return wait_until(probe, f"engine {name}", DEADLINE, node.log)[0]
