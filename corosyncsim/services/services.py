"""Whole nodes on the simulated rings: their executives, engines and programs, and what is known of them.

One object for a run. It makes what uses a node's ring at each start of the node, starts programs, and keeps the journal that the
properties above the ring are judged from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from corosyncd.engines.engine import Engine
from corosyncd.keyspace import runtime_keys
from corosyncd.keyspace.values import Value, text, uint8, uint32
from corosyncsim.history import Process
from corosyncsim.node import Core, Power, SimulatedNode
from corosyncsim.services.connections import Peer
from corosyncsim.services.journal import ClientJournal, Journal, NodeEvent
from corosyncsim.services.options import Options
from corosyncsim.services.program import Program, Script, Session
from corosyncsim.services.round_watch import RoundWatch
from corosyncsim.services.stack import Stack

if TYPE_CHECKING:
    from corosyncsim.cluster import Cluster

FIRST_PID: Final = 1000
PIDS: Final = 40
"""Process ids of one machine are handed out again after so many, where they are free."""


class Services:
    """The stacks of the nodes that are up, and every program of the run."""

    def __init__(self, cluster: Cluster, options: Options) -> None:
        """Nothing happens before a node starts."""
        self.kernel = cluster.kernel
        self.trace = cluster.trace
        self.parameters = cluster.parameters
        self.options = options
        self.journal = cluster.recorder.history.services = Journal()
        self.journal.electorate, self.journal.wait_for_all = cluster.plan.node_ids, options.wait_for_all
        self.rounds = RoundWatch(self.journal)
        self.stacks: dict[int, Stack] = {}
        self.programs: dict[int, list[Program]] = {node_id: [] for node_id in cluster.plan.node_ids}
        """Programs that have not ended, by node."""
        self.addresses: Mapping[int, str] = {node_id: f"10.0.0.{node_id}" for node_id in cluster.plan.node_ids}
        self.settings: dict[str, Value] = {}
        """Keys that the configuration file has beyond those of every run; a reload applies them."""
        self.engine: Callable[[int, type[Engine]], type[Engine]] = lambda node_id, engine: engine
        """What is started as an engine of a node: tests of the checkers put something else in its place."""
        self.on_stack: Callable[[Stack], None] = lambda stack: None
        """Called with each stack before it starts, for the same tests."""
        self._next_pid = dict.fromkeys(cluster.plan.node_ids, 0)

    def upper(self, node: SimulatedNode, core: Core) -> Stack:
        """What uses the ring of a node that starts."""
        stack = Stack(self, node, core)
        self.on_stack(stack)
        self.stacks[node.node_id] = stack
        self.journal.nodes[node.process] = []
        return stack

    def keys(self, node_id: int) -> list[tuple[str, Value]]:
        """The map as the configuration file fills it."""
        keys = {"totem.cluster_name": text("simulated"), "quorum.provider": text("corosync_votequorum")}
        for position, (member, address) in enumerate(self.addresses.items()):
            keys[f"nodelist.node.{position}.nodeid"] = uint32(member)
            keys[f"nodelist.node.{position}.ring0_addr"] = text(address)
            if member == node_id:
                keys["nodelist.local_node_pos"] = uint32(position)
        if self.options.wait_for_all:
            keys["quorum.wait_for_all"] = uint8(1)
        published = {"block_unlisted_ips": 1, **self.parameters.published}
        timers = {0: runtime_keys.ping_timers(published["token"])}
        return [*keys.items(), *self.settings.items(), *runtime_keys.totem_parameters(published, timers)]

    # Programs.

    def program(
        self,
        node_id: int,
        service: str,
        script: Callable[[ClientJournal], tuple[Session, Script]],
        on_event: Callable[[Any], None] = lambda event: None,
    ) -> Program:
        """Start a program on a node's machine, whether its daemon runs or not; ``script`` makes its session and its life."""
        journal = ClientJournal(self.kernel, self.trace, node_id, len(self.journal.clients) + 1, self._free_pid(node_id), service)
        self.journal.clients.append(journal)
        session, life = script(journal)
        program = Program(self.kernel, self, journal, self.delay, node_id, session, life, on_event)
        self.programs[node_id] = [other for other in self.programs[node_id] if not other.over]
        self.programs[node_id].append(program)
        self.kernel.after(self.delay(), program.start)
        return program

    def backlog(self, node_id: int, service: str) -> tuple[Process, deque[Peer], Callable[[], None]] | None:
        """See program.Port."""
        stack = self.stacks.get(node_id)
        if stack is None or not stack.alive:
            return None
        return stack.process, stack.backlogs[service], lambda: self._wake_engine(stack, service)

    def _wake_engine(self, stack: Stack, service: str) -> None:
        link = stack.links.get(service)
        if link is not None:
            link.process.wake()

    def _free_pid(self, node_id: int) -> int:
        taken = {program.pid for program in self.programs[node_id] if not program.over}
        pid = self._next_pid[node_id]
        while FIRST_PID + pid % PIDS in taken and pid < self._next_pid[node_id] + PIDS:
            pid += 1
        self._next_pid[node_id] = pid + 1
        return FIRST_PID + pid % PIDS

    # Chance.

    def delay(self) -> float:
        """Until a process that has something to read runs."""
        return self.kernel.random.expovariate(1.0 / self.options.wake_delay)

    def start_delay(self) -> float:
        """Until an engine that was asked for says its first word."""
        return self.options.start_delay * self.kernel.random.uniform(0.5, 2.0)

    # What stacks report.

    def happened(self, process: Process, event: NodeEvent) -> None:
        """For the journal."""
        self.journal.nodes[process].append(event)

    def exits(self, stack: Stack, status: int, reason: str) -> None:
        """A node ends itself; its init system starts it again."""
        self.journal.exits.append((self.kernel.now, stack.node.node_id, f"status {status}: {reason}"))
        self.kernel.after(self.options.restart_delay, stack.node.start)

    def ended(self, stack: Stack, *, machine: bool) -> None:
        """A life of a node has ended; with its machine its programs are gone, too."""
        if self.stacks.get(stack.node.node_id) is stack:
            del self.stacks[stack.node.node_id]
        if machine:
            for program in self.programs[stack.node.node_id]:
                program.die()

    # What a run waits for.

    def asking(self) -> bool:
        """Whether a live program waits for an answer."""
        return any(program.asking for programs in self.programs.values() for program in programs)

    def still_apart(self) -> list[str]:
        """Why the live nodes have not all synchronised: one line each."""
        reasons = []
        for node_id, stack in self.stacks.items():
            executive = stack.executive
            if executive.sync.in_process:
                reasons.append(f"node {node_id} synchronises {executive.ring_id}: {executive.sync.phase.name.lower()}")
            missing = [engine.name for engine in executive.engines.values() if not engine.running]
            if missing:
                reasons.append(f"node {node_id} lacks {', '.join(missing)}")
            if stack.node.power is not Power.UP:
                reasons.append(f"node {node_id} is {stack.node.power.value}")
        return reasons
