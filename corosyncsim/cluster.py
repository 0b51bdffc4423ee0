"""A whole simulated cluster: the kernel, the network, the recorder and the nodes, put together from a plan."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from corosyncd.totem.core import State
from corosyncd.totem.events import RingId
from corosyncd.totem.ring import PAUSE_FRACTION, Ring
from corosyncd.totem.timeouts import Parameters, derive
from corosyncsim.checkers.ring_rules import Progress
from corosyncsim.defects import Distorted
from corosyncsim.faults import Plan
from corosyncsim.history import Process
from corosyncsim.kernel import Kernel
from corosyncsim.load import Programs
from corosyncsim.network import Network
from corosyncsim.node import Core, MakeCore, Power, SimulatedNode
from corosyncsim.recorder import Recorder
from corosyncsim.services.member import Member
from corosyncsim.services.population import Population
from corosyncsim.trace import Trace
from libcpg.session import Event

PROBE_INTERVAL: Final = 0.02


class Cluster:
    """The world of one run; ``nodes`` in ascending order of their ids."""

    def __init__(
        self,
        plan: Plan,
        sink: Callable[[str], object] | None = None,
        adapt: Callable[[MakeCore], MakeCore] | None = None,
        *,
        frames: bool = True,
    ) -> None:
        self.plan = plan
        self.parameters: Parameters = derive(plan.timeouts, len(plan.node_ids))
        self.kernel = Kernel(plan.seed)
        self._cuts: list[tuple[int, int]] = []
        self.trace = Trace(self.kernel, sink, frames=frames)
        self.recorder = Recorder(self.kernel, self.trace, self.parameters, names_messages=plan.services is None)
        self.network = Network(self.kernel, plan.node_ids, plan.conditions, self._arrive, self._port_closed, self._refused)
        self.programs = Programs(self) if plan.services is None else Population(self, plan.services)
        make_core = adapt(self._make_core) if adapt else self._make_core
        self.nodes = {
            node_id: SimulatedNode(
                self.kernel,
                self.network,
                self.recorder,
                node_id,
                make_core,
                self.programs.upper,
                progress,
                self.parameters.token * PAUSE_FRACTION,
            )
            for node_id in sorted(plan.node_ids)
        }

    # For scenarios: what a test does with a cluster, besides letting a plan's chance do it.

    def start(self) -> None:
        """Start every node."""
        for node in self.nodes.values():
            node.start()

    def run(self, seconds: float) -> None:
        """Let so much simulated time pass."""
        self.kernel.run_until(self.kernel.now + seconds)

    def run_until(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until ``reached()`` is true, ``seconds`` at most; whether it came to that."""
        return wait(self, self.kernel.now + seconds, reached) is not None

    def program(self, node_id: int, on_event: Callable[[Event], None] | None = None) -> Member:
        """A new libcpg-like program on a node of a cluster with services; raises ValueError on a bare ring."""
        if not isinstance(self.programs, Population):
            raise ValueError("the nodes of a bare ring serve no programs: give the plan services")
        return Member(self.programs.services, node_id, on_event)

    def partition(self, *sides: Collection[int]) -> None:
        """Cut the network into these sides; nodes that none of them names are a side together. ``heal`` takes it back."""
        self.heal()
        named = {node_id for side in sides for node_id in side}
        parts = [set(side) for side in sides] + [set(self.nodes) - named]
        for source in self.nodes:
            for destination in self.nodes:
                if source != destination and not any(source in part and destination in part for part in parts):
                    self.network.cut(source, destination)
                    self._cuts.append((source, destination))

    def heal(self) -> None:
        """End the partition."""
        for pair in self._cuts:
            self.network.mend(*pair)
        self._cuts.clear()

    def _arrive(self, node_id: int, buffer: bytes, segment_size: int) -> None:
        self.nodes[node_id].arrive(buffer, segment_size)

    def _port_closed(self, node_id: int) -> bool:
        return self.nodes[node_id].port_closed()

    def _refused(self, sender: int, receiver: int, offender: int) -> None:
        self.nodes[sender].refused(receiver, offender)

    def _make_core(self, node_id: int, stored_sequence: int, now: float) -> Core:
        return Ring(node_id, self.parameters, stored_sequence, now)

    def ring_ids(self) -> set[RingId]:
        """The rings that the live nodes belong to, or try to form."""
        return {node.core.ring_id for node in self.nodes.values() if node.core is not None}

    def leaving(self) -> frozenset[Process]:
        """The lives that are on the way from their last configuration to another; those without any are not."""
        return frozenset(
            node.process
            for node in self.nodes.values()
            if node.core is not None and node.configuration and node.core.ring_id != node.configuration.ring_id
        )

    def still_apart(self) -> list[str]:
        """Why the live nodes are not one configuration: one line each, empty when they are."""
        live = [node for node in self.nodes.values() if node.power is not Power.DOWN]
        everybody = tuple(node.node_id for node in live)
        reasons = []
        for node in live:
            if node.configuration is None or node.core is None:
                reasons.append(f"node {node.node_id} has no configuration")
            elif node.core.ring_id != node.configuration.ring_id:
                reasons.append(f"node {node.node_id} is between {node.configuration.ring_id} and {node.core.ring_id}")
            elif tuple(sorted(node.configuration.members)) != everybody:
                reasons.append(f"node {node.node_id} is in {node.configuration.ring_id} with {list(node.configuration.members)}")
        rings = {node.configuration.ring_id for node in live if node.configuration}
        if not reasons and len(rings) > 1:
            reasons.append(f"all members, but in {sorted(rings)}")
        return reasons or self.programs.still_apart()


def wait(cluster: Cluster, end: float, reached: Callable[[], bool]) -> float | None:
    """The time at which ``reached`` became true, looked at now and then until ``end``; None if it did not."""
    while not reached():
        if cluster.kernel.now >= end:
            return None
        cluster.kernel.run_until(min(end, cluster.kernel.now + PROBE_INTERVAL))
    return cluster.kernel.now


def progress(core: Core) -> tuple[RingId, Progress] | None:
    """How far a ring is in its receive queue: the simulator looks inside the core here, and nowhere else."""
    while isinstance(core, Distorted):
        core = core.core
    if not isinstance(core, Ring):
        return None
    inside = core._core
    recovery = inside.recovery
    queue = recovery.queue if recovery else inside.queue
    members = recovery.members if recovery else inside.membership.members
    operational = inside.state is State.OPERATIONAL
    return queue.ring_id, Progress(
        operational, len(members) == 1, queue.aru, queue.high_seq, queue.high_delivered, queue.released
    )
