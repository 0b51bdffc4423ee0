"""The three nodes, where they live on this machine, and how every trace of them is removed."""

from __future__ import annotations

import asyncio
import errno
import shutil
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

from coroipc.server import files
from corosyncd.link import segments
from demo import processes
from demo.node import NODES, Node
from demo.waiting import Changes

CLEAN_UP_LIMIT = 5.0
PORT_ATTEMPTS = 64


class Cluster:
    """Three nodes on the loopback addresses; ``clean_up`` afterwards, however it ends."""

    def __init__(self, changes: Changes) -> None:
        """Find a port and write the configurations; nothing is started."""
        self.folder = Path(tempfile.mkdtemp(prefix="corosyncd-demo-"))
        self.port = free_port()
        self.nodes = [self._node(node_id, changes) for node_id in NODES]
        self._sessions: set[int] = set()
        self._pids: set[int] = set()

    def _node(self, node_id: int, changes: Changes) -> Node:
        folder = self.folder / f"node{node_id}"
        folder.mkdir()
        # The folder's name is nobody else's on this machine, so the instances' names are not either.
        return Node(node_id, folder, f"{self.folder.name}-{node_id}", self.port, changes)

    async def start(self, node: Node, background: asyncio.TaskGroup, *, first: bool) -> None:
        """Start a node's daemon and, the ``first`` time, its program and what follows both."""
        await node.start()
        self._sessions.add(node.pid)
        if first:
            await node.program.start()
            self._sessions.add(node.program.pid)
            background.create_task(node.observe())
            background.create_task(node.program.follow())

    def processes(self) -> list[int]:
        """Our processes that run now; all that were ever seen here are remembered."""
        found = processes.of_sessions(self._sessions)
        self._pids.update(found)
        return found

    def processes_of(self, node: Node) -> list[int]:
        """A daemon's processes: executive, fork server, engines, helpers."""
        found = processes.of_sessions({node.pid})
        self._pids.update(found)
        return found

    def shared_memory(self) -> list[str]:
        """What all processes of ours that were ever seen have in /dev/shm now."""
        self.processes()
        return processes.shared_memory_of(self._pids)

    def shared_memory_of_dead(self) -> list[str]:
        """What those of them that no longer run have there."""
        return processes.shared_memory_of(self._pids.difference(self.processes()))

    def traces(self) -> list[str]:
        """Everything of ours that there still is, in words."""
        found = [f"process {pid}" for pid in self.processes()]
        found += [str(processes.SHARED_MEMORY / name) for name in self.shared_memory()]
        return found + [str(self.folder)] * self.folder.exists()

    async def clean_up(self) -> None:
        """Remove what is there: nothing but the folder, unless the demo broke off."""
        running = self.processes()
        processes.kill(running)
        await processes.ended(running, CLEAN_UP_LIMIT)
        for node in self.nodes:
            await node.reap()
        files.sweep(self._pids.__contains__)
        segments.sweep()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    """A UDP port that is free on every address of the ring. Raises OSError."""
    for _ in range(PORT_ATTEMPTS):
        with ExitStack() as stack:
            port = 0
            try:
                for address in NODES.values():
                    port = _bind(stack, address, port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            return port
    raise OSError(errno.EADDRINUSE, f"no UDP port is free on all of {', '.join(NODES.values())}")


def _bind(stack: ExitStack, address: str, port: int) -> int:
    sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sock.bind((address, port))
    bound: int = sock.getsockname()[1]
    return bound
