"""The programs of the bare ring's nodes: bursts of messages, answers, and patience when the ring is slow."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from corosyncsim.bare import Bare
from corosyncsim.faults import Fault, Load
from corosyncsim.history import Message, Process
from corosyncsim.node import Core, SimulatedNode
from corosyncsim.payload import SMALLEST

if TYPE_CHECKING:
    from corosyncsim.cluster import Cluster

WAITING_LIMIT: Final = 60
"""Messages of one node that may wait for their delivery; its programs hold back above it."""
USUAL_LARGEST: Final = 200
FRAGMENTED_LARGEST: Final = 3000
MEDIUM_SHARE: Final = 0.2
FAREWELL_SIZE: Final = 100


class Programs:
    """Submits messages at every node until ``stop``."""

    def __init__(self, cluster: Cluster) -> None:
        """Nothing happens before ``start``."""
        self._cluster = cluster
        self._kernel = cluster.kernel
        self._load = cluster.plan.load
        self._random = Random(f"programs of seed {cluster.plan.seed}")
        """Their own, so that the network's chance does not depend on how the messages came about."""
        self.handed_over: list[tuple[float, int, int]] = []
        """Time, node and size of every message that these programs handed to their nodes."""
        self._bare: dict[int, Bare] = {}
        self._stopped = True
        self.strikes: dict[str, Callable[[Fault], Callable[[], None] | None]] = {}
        """There are no faults that strike messages."""

    def upper(self, node: SimulatedNode, core: Core) -> Bare:
        """What uses the ring of a node that starts."""
        cluster = self._cluster
        bare = Bare(cluster.recorder, node, core, self._answer, barrier=cluster.plan.barrier)
        self._bare[node.node_id] = bare
        return bare

    def start(self, load: Load | None = None) -> None:
        """Begin everywhere, each node at a moment of its own; with another ``load`` than the plan's if there is one."""
        self._load = load or self._load
        self._stopped = False
        for node_id in self._cluster.nodes:
            self._kernel.after(self._pause(), self._burst, node_id)

    def stop(self) -> None:
        """Submit nothing more."""
        self._stopped = True

    def submit(self, node_id: int, size: int) -> Message | None:
        """A message of so many bytes; None while the node cannot take one."""
        bare = self._bare.get(node_id)
        message = bare.submit(size) if bare is not None else None
        if message is not None:
            self.handed_over.append((self._kernel.now, node_id, size))
        return message

    def still_apart(self) -> list[str]:
        """One configuration is all that the bare ring has to come to."""
        return []

    @property
    def sent(self) -> int:
        """Messages that have left their senders."""
        return len(self._cluster.recorder.history.sent)

    @property
    def delivered(self) -> int:
        """Messages delivered, at all nodes together."""
        return self._cluster.recorder.deliveries

    def drain(self, wait: Callable[[Callable[[], bool]], float | None]) -> tuple[float | None, list[tuple[Process, Message]]]:
        """Wait until all that was queued and a last message of each node has arrived: when, and what has not."""
        farewells: list[Message] = []
        drained_at = wait(lambda: not any(bare.waiting for bare in self._bare.values()))
        if drained_at is not None:
            # Only now: what shares a frame with the rest of a message from an earlier ring is not expected of newcomers.
            farewells = [message for bare in self._bare.values() if (message := bare.submit(FAREWELL_SIZE))]
            drained_at = wait(lambda: not self._missing(farewells))
        return drained_at, self._missing(farewells)

    def _missing(self, farewells: list[Message]) -> list[tuple[Process, Message]]:
        """What has not been delivered: a node's own messages at that node, and everybody's last message everywhere."""
        missing = []
        for node in self._cluster.nodes.values():
            bare = self._bare[node.node_id]
            missing += [(node.process, message) for message in bare.waiting]
            missing += [(node.process, message) for message in farewells if message not in bare.delivered]
        return missing

    def _pause(self) -> float:
        return self._random.expovariate(1.0 / self._load.pause)

    def _burst(self, node_id: int) -> None:
        if self._stopped:
            return
        bare = self._bare.get(node_id)
        for _ in range(self._random.randint(1, self._load.burst)):
            if bare is not None and len(bare.waiting) < WAITING_LIMIT:
                self.submit(node_id, self._size())
        self._kernel.after(self._pause(), self._burst, node_id)

    def _answer(self, bare: Bare, message: Message) -> None:
        if not self._stopped and len(bare.waiting) < WAITING_LIMIT and self._random.random() < self._load.answers:
            self.submit(bare.node_id, self._size())

    def _size(self) -> int:
        random = self._random
        choice = random.random()
        if choice < self._load.large:
            return random.randint(FRAGMENTED_LARGEST, self._load.largest)
        if choice < self._load.large + MEDIUM_SHARE:
            return random.randint(USUAL_LARGEST, FRAGMENTED_LARGEST)
        return random.randint(SMALLEST, USUAL_LARGEST)
