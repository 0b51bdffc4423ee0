"""Rings in memory, joined by a network without delay, on a clock that only moves when nobody has anything to do.

Every node has the least possible executive: it ends a synchronisation round as soon as every member has sent one barrier.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from corosyncd.totem.events import (
    Configuration,
    ConfigurationKind,
    Deliver,
    Group,
    Multicast,
    Notice,
    Queue,
    RingId,
    StoreRingSequence,
    Unicast,
)
from corosyncd.totem.ring import Ring, State
from corosyncd.totem.timeouts import Parameters, derive

Filter = Callable[[int, int, bytes], bool]
"""(sender, receiver, frame) → whether the frame arrives."""
Refuser = Callable[[int, int], int | None]
"""(sender, receiver) → the node whose host answers that the port is closed, 0 for another host; None where nobody answers."""
MAXIMUM_STEPS = 200_000


@dataclass
class Node:
    """A ring with its executive, and the record of what came out."""

    node_id: int
    ring: Ring
    cluster: Cluster
    inbox: deque[bytes] = field(default_factory=deque)
    refusals: deque[tuple[int, int]] = field(default_factory=deque)
    """(peer, offender) of datagrams that came back."""
    alive: bool = False
    synchronized: bool = False
    stored: int = 0
    trace: list[Configuration | tuple[int, bytes]] = field(default_factory=list)
    """Configurations and (originator, body) of the engines' messages, in the order in which they came out."""
    sent: list[tuple[float, int | None, bytes]] = field(default_factory=list)
    """(time, receiver or None, frame) of everything sent."""
    notices: list[Notice] = field(default_factory=list)
    barriers: set[int] = field(default_factory=set)
    ring_id: RingId | None = None

    @property
    def messages(self) -> list[tuple[int, bytes]]:
        """Delivered messages only."""
        return [item for item in self.trace if not isinstance(item, Configuration)]

    @property
    def configurations(self) -> list[Configuration]:
        """Installed configurations only."""
        return [item for item in self.trace if isinstance(item, Configuration)]

    def send(self, *bodies: bytes, tag: int = 0) -> None:
        """Submit ordinary messages."""
        self.ring.submit(Group.ENGINES, bodies, Queue.NORMAL, tag, self.cluster.now)

    def act(self) -> None:
        """Carry out the outputs."""
        for output in self.ring.outputs():
            match output:
                case Multicast(frames):
                    self.sent += [(self.cluster.now, None, frame) for frame in frames]
                    self.cluster.multicast(self.node_id, frames)
                case Unicast(node_id, frame):
                    self.sent.append((self.cluster.now, node_id, frame))
                    self.cluster.transmit(self.node_id, node_id, frame)
                case Deliver(messages):
                    for originator, group, body in messages:
                        if group is Group.ENGINES:
                            self.trace.append((originator, body))
                        else:
                            self._barrier(originator, body)
                case Configuration():
                    self.trace.append(output)
                    if output.kind is ConfigurationKind.REGULAR:
                        self._synchronize(output)
                case StoreRingSequence(sequence):
                    self.stored = sequence
                case Notice():
                    self.notices.append(output)

    def _synchronize(self, configuration: Configuration) -> None:
        self.synchronized = False
        self.barriers = set()
        self.ring_id = configuration.ring_id
        body = repr(tuple(configuration.ring_id)).encode()
        self.ring.submit(Group.SYNC, [body], Queue.SYNC, 0, self.cluster.now)

    def _barrier(self, originator: int, body: bytes) -> None:
        if self.ring_id is None or body != repr(tuple(self.ring_id)).encode():
            return
        self.barriers.add(originator)
        if self.barriers == set(self.ring.members):
            self.synchronized = True
            self.ring.synchronization_complete(self.cluster.now)


class Cluster:
    """Nodes 1..n. ``run`` advances the virtual time; ``passes`` may lose frames."""

    def __init__(self, count: int, settings: dict[str, int] | None = None) -> None:
        self.parameters: Parameters = derive(settings or {}, count)
        self.now = 1000.0
        self.passes: Filter = lambda sender, receiver, frame: True
        self.refuses: Refuser = lambda sender, receiver: None
        self.nodes: dict[int, Node] = {}
        for node_id in range(1, count + 1):
            self.nodes[node_id] = Node(node_id, Ring(node_id, self.parameters, 0, self.now), self)

    def __getitem__(self, node_id: int) -> Node:
        return self.nodes[node_id]

    def start(self, nodes: Iterable[int] = ()) -> None:
        """Start these nodes, or all."""
        for node_id in tuple(nodes) or tuple(self.nodes):
            self.nodes[node_id].alive = True
            self.nodes[node_id].ring.start(self.now)
            self.nodes[node_id].act()

    def form(self) -> None:
        """Start all nodes and wait until they are one synchronised ring."""
        self.start()
        self.run_until(lambda: self.formed(tuple(self.nodes)))

    def formed(self, members: Sequence[int]) -> bool:
        """Whether exactly these are one synchronised ring."""
        nodes = [self.nodes[node_id] for node_id in members]
        return len({node.ring.ring_id for node in nodes}) == 1 and all(
            node.ring.state is State.OPERATIONAL and node.ring.members == tuple(members) and node.synchronized for node in nodes
        )

    def kill(self, node_id: int) -> None:
        """The process ends without a word."""
        self.nodes[node_id].alive = False
        self.nodes[node_id].inbox.clear()

    def restart(self, node_id: int, *, remembers: bool = True) -> Node:
        """A new life of a node, with or without its stored ring sequence number."""
        stored = self.nodes[node_id].stored if remembers else 0
        node = Node(node_id, Ring(node_id, self.parameters, stored, self.now), self, alive=True, stored=stored)
        self.nodes[node_id] = node
        node.ring.start(self.now)
        node.act()
        return node

    def multicast(self, sender: int, frames: Sequence[bytes]) -> None:
        """One copy for every other node."""
        for node_id in self.nodes:
            if node_id != sender:
                for frame in frames:
                    self.transmit(sender, node_id, frame)

    def transmit(self, sender: int, receiver: int, frame: bytes) -> None:
        """One frame to one node."""
        assert sender != receiver, "a node's own frames loop inside the core"
        node = self.nodes[receiver]
        offender = self.refuses(sender, receiver)
        if offender is not None:
            self.nodes[sender].refusals.append((receiver, offender))
        elif node.alive and self.passes(sender, receiver, frame):
            node.inbox.append(frame)

    def step(self) -> bool:
        """Let every node act once at this instant; False when nobody had anything to do."""
        busy = False
        for node in list(self.nodes.values()):
            if not node.alive:
                continue
            if node.inbox:
                busy = True
                while node.inbox:
                    node.ring.receive(node.inbox.popleft(), 0, self.now)
                node.act()
            while node.refusals:
                busy = True
                node.ring.peer_port_refused(*node.refusals.popleft(), self.now)
                node.act()
            deadline = node.ring.next_timer()
            if deadline is not None and deadline <= self.now:
                busy = True
                node.ring.handle_timer(self.now)
                node.act()
        return busy

    def run(self, seconds: float) -> None:
        """Let virtual time pass. A round of steps takes 50 µs, so that a rotating token does not stop the clock."""
        end = self.now + seconds
        for _ in range(MAXIMUM_STEPS):
            if self.step():
                self.now += 50e-6
            else:
                self.now = self._next(end)
            if self.now >= end:
                return
        raise AssertionError("the cluster never comes to rest")

    def run_until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Run until the condition holds; fails when it does not within that virtual time."""
        end = self.now + seconds
        for _ in range(MAXIMUM_STEPS):
            if condition():
                return
            if self.step():
                self.now += 50e-6
            else:
                self.now = self._next(end)
            if self.now >= end:
                break
        raise AssertionError(
            f"not within {seconds} s: {[(n.node_id, n.ring.state, n.ring.members) for n in self.nodes.values()]}"
        )

    def _next(self, end: float) -> float:
        deadlines = [node.ring.next_timer() for node in self.nodes.values() if node.alive]
        return min([end, *(deadline for deadline in deadlines if deadline is not None)])


def formed(count: int, settings: dict[str, int] | None = None) -> Cluster:
    """That many nodes, started and one synchronised ring."""
    cluster = Cluster(count, settings)
    cluster.form()
    return cluster
