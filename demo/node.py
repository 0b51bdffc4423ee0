"""One node: its configuration, its daemon's process, and what its quorum service says."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path

from coroipc.errors import LibraryError, TryAgain
from demo.participant import CHECKOUT, Participant
from demo.waiting import Changes
from libquorum import AsyncQuorum, NodeListNotification, QuorumNotification

NODES = {1: "127.0.0.1", 2: "127.0.0.2", 3: "127.0.0.3"}
TOKEN_MS = 1000
"""Shorter than the default of 3000, so that a node's death is seen soon; token_coefficient 0 adds nothing for the third node."""
RECONNECT_SECONDS = 0.05

CONFIGURATION = """\
totem:
  version: 2
  cluster_name: demo
  transport: udpu
  token: {token}
  token_coefficient: 0
  interface:
    - linknumber: 0
      mcastport: {port}
nodelist:
  node:
    - {{nodeid: 1, name: node1, ring0_addr: 127.0.0.1}}
    - {{nodeid: 2, name: node2, ring0_addr: 127.0.0.2}}
    - {{nodeid: 3, name: node3, ring0_addr: 127.0.0.3}}
quorum:
  provider: corosync_votequorum
logging:
  to_stderr: yes
  to_syslog: no
  timestamp: hires
system:
  instance: {instance}
  local_node: node{node_id}
  run_dir: "{folder}"
  state_dir: "{folder}"
  log_dir: "{folder}"
  sched_rr: no
"""


class Node:
    """A daemon, its program, and the last that is known of both."""

    def __init__(self, node_id: int, folder: Path, instance: str, port: int, changes: Changes) -> None:
        """Writes the configuration; ``folder`` must exist and is the node's own, ``port`` is the whole ring's."""
        self.node_id = node_id
        self.address = NODES[node_id]
        self.instance = instance
        self.log = folder / "log"
        self.program = Participant(instance, self.log, changes)
        self._file = folder / "corosync.yaml"
        self._file.write_text(
            CONFIGURATION.format(token=TOKEN_MS, port=port, instance=instance, node_id=node_id, folder=folder), encoding="utf-8"
        )
        self._changes = changes
        self._process: asyncio.subprocess.Process | None = None
        self._forget()
        self.state = "not started"

    def _forget(self) -> None:
        self.ring: tuple[int, int] | None = None
        """Node id of the representative and sequence number; None while the quorum service cannot be reached."""
        self.ring_seen_at = 0.0
        """When the quorum service told of it; a time of time.monotonic."""
        self.members: set[int] = set()
        self.left: list[int] = []
        """Nodes that the quorum service reported as gone."""
        self.decisions: list[tuple[tuple[int, int], bool]] = []
        """Every decision that the quorum service told of: ring and whether it is quorate."""

    @property
    def quorate(self) -> bool:
        """The last decision, if it is about the present ring."""
        return self.ring is not None and self.decisions[-1:] == [(self.ring, True)]

    def kept_quorum(self, since: int) -> bool:
        """Whether every decision after the first ``since`` was that the ring is quorate."""
        return all(quorate for _ring, quorate in self.decisions[since:])

    @property
    def pid(self) -> int:
        """Of the executive. Raises RuntimeError before the first ``start``."""
        if self._process is None:
            raise RuntimeError(f"node {self.node_id} was not started")
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while the daemon runs."""
        return None if self._process is None else self._process.returncode

    async def start(self) -> None:
        """Start the daemon, in a session of its own. It is not ready yet."""
        self._forget()
        self.state = "starting"
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "corosyncd.daemon", "-f", "-c", str(self._file)),
                cwd=CHECKOUT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill the executive as a power failure would: it can do nothing about it."""
        assert self._process is not None
        self.state = "killed"
        self._process.kill()

    async def stop(self) -> None:
        """Ask the daemon to stop, as init would, and wait for its end."""
        assert self._process is not None
        self.state = "stopping"
        self._process.send_signal(signal.SIGTERM)
        await self._process.wait()
        self.state = "stopped"
        self._changes.notify()

    async def reap(self) -> None:
        """Wait for the end of both processes, as far as they were started."""
        if self._process is not None:
            await self._process.wait()
        await self.program.reap()

    async def observe(self) -> None:
        """Follow the quorum service for as long as this task runs, over one connection after the other."""
        while True:
            try:
                async with AsyncQuorum(instance=self.instance) as quorum:
                    await quorum.trackstart()
                    async for event in quorum:
                        if isinstance(event, NodeListNotification):
                            self._on_ring(event)
                        elif isinstance(event, QuorumNotification):
                            self.decisions.append(((event.ring_nodeid, event.ring_sequence), event.quorate))
                        self._changes.notify()
            except (LibraryError, TryAgain):
                self.ring = None  # No daemon, or one that is not in a ring yet.
                self._changes.notify()
                await asyncio.sleep(RECONNECT_SECONDS)

    def _on_ring(self, event: NodeListNotification) -> None:
        self.ring = (event.ring_nodeid, event.ring_sequence)
        self.ring_seen_at = time.monotonic()
        self.members = set(event.members)
        self.left += event.left
        self.state = "in the ring"

    def last_log_lines(self, count: int) -> list[str]:
        """What the daemon and the program said last."""
        return self.log.read_text(errors="replace").splitlines()[-count:] if self.log.exists() else []
