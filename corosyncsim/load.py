"""The programs of the simulated nodes: bursts of messages, answers, and patience when the ring is slow."""

from __future__ import annotations

from typing import Final

from corosyncsim.cluster import Cluster
from corosyncsim.history import Message
from corosyncsim.node import SimulatedNode
from corosyncsim.payload import SMALLEST

WAITING_LIMIT: Final = 60
"""Messages of one node that may wait for their delivery; its programs hold back above it."""
USUAL_LARGEST: Final = 200
FRAGMENTED_LARGEST: Final = 3000
MEDIUM_SHARE: Final = 0.2


class Programs:
    """Submits messages at every node until ``stop``."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._kernel = cluster.kernel
        self._load = cluster.plan.load
        self._stopped = False

    def start(self) -> None:
        """Begin everywhere, each node at a moment of its own."""
        for node in self._cluster.nodes.values():
            node.on_delivery = self._answer
            self._kernel.after(self._pause(), self._burst, node)

    def stop(self) -> None:
        """Submit nothing more."""
        self._stopped = True

    def _pause(self) -> float:
        return self._kernel.random.expovariate(1.0 / self._load.pause)

    def _burst(self, node: SimulatedNode) -> None:
        if self._stopped:
            return
        for _ in range(self._kernel.random.randint(1, self._load.burst)):
            if len(node.waiting) < WAITING_LIMIT:
                node.submit(self._size())
        self._kernel.after(self._pause(), self._burst, node)

    def _answer(self, node: SimulatedNode, _: Message) -> None:
        if not self._stopped and len(node.waiting) < WAITING_LIMIT and self._kernel.random.random() < self._load.answers:
            node.submit(self._size())

    def _size(self) -> int:
        random = self._kernel.random
        choice = random.random()
        if choice < self._load.large:
            return random.randint(FRAGMENTED_LARGEST, self._load.largest)
        if choice < self._load.large + MEDIUM_SHARE:
            return random.randint(USUAL_LARGEST, FRAGMENTED_LARGEST)
        return random.randint(SMALLEST, USUAL_LARGEST)
