"""How a ring behaves as it grows: real protocol cores on virtual time, each on a processor whose every packet has its price.

Unlike the swarm's nodes these are never unlucky; what they have is cost. A node works on one packet at a time; sending to n peers
is n system calls, one behind the other, as over udpu; a token waits until the datagrams before it are read. ``Costs`` are
measured by ``python -m bench.packet_costs``; ``python -m bench.scale`` draws the study in docs/scale.md.

Programs and engines run on other processor cores than the executive; a message costs it only the hand-over to the link.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, NamedTuple

from corosyncd.totem.events import Configuration, ConfigurationKind, Deliver, Group, Multicast, Queue, RingId, Unicast
from corosyncd.totem.ring import Ring
from corosyncd.totem.timeouts import Parameters
from corosyncd.transport.udpu import ETHERNET_SEGMENT, trains
from corosyncsim.kernel import Kernel

SYNCHRONISED_SERVICES: Final = 4
"""Rounds of barriers behind each configuration: votequorum, cmap, cpg and quorum's place in them."""
WIRE_DELAY: Final = 50e-6
"""Seconds from one host's socket to another's, beside the costs below: cards and a switch."""
WIRE_RATE: Final = 10e9 / 8
"""Bytes a second of each node's card."""
SMALL_BODY: Final = 512
"""Frames of messages below this size count as small: many messages share one."""
MICROSECOND: Final = 1e-6

_NUMBER = Struct("<Qd")
_BARRIER = Struct("<IQB")


class Costs(NamedTuple):
    """Microseconds of processor time."""

    send_call: float
    """One system call that sends, whatever is in it …"""
    send_frame: float
    """… and each full frame in it."""
    receive_call: float
    receive_frame: float
    wake_up: float
    """From a datagram's arrival at a sleeping process to its first instruction."""
    visit: float
    """The core's work on a token that brings and takes nothing."""
    small_frame_out: float
    """Packing one frame of 64-byte messages …"""
    small_frame_in: float
    """… ordering it and taking it apart."""
    large_frame_out: float
    large_frame_in: float
    hand_over: float
    """A message's way into the link to its engine."""


class Sample(NamedTuple):
    """One message at its own sender."""

    sent_at: float
    delivered_at: float


class Host:
    """One node: a core, the processor it runs on, and the synchronisation that follows each configuration."""

    __slots__ = (
        "_armed",
        "_barriers",
        "_busy",
        "_data",
        "_owed",
        "_refused",
        "_step",
        "_tokens",
        "_world",
        "alive",
        "card_free_at",
        "configuration",
        "configurations",
        "delivered",
        "lost",
        "node_id",
        "on_delivery",
        "refuses",
        "ring",
        "samples",
        "synchronised_at",
    )

    def __init__(self, world: World, node_id: int, parameters: Parameters) -> None:
        self.node_id = node_id
        self.ring = Ring(node_id, parameters, 0, world.kernel.now)
        self.alive = False
        self.lost = False
        self.refuses = False
        """The process is gone, but not the host: it answers "port unreachable"."""
        self.configuration: Configuration | None = None
        self.configurations = 0
        """Regular ones, with members beside this node."""
        self.synchronised_at = float("inf")
        self.delivered = 0
        self.samples: list[Sample] = []
        self.on_delivery: Callable[[Host], None] = lambda host: None
        self.card_free_at = 0.0
        self._world = world
        self._data: deque[tuple[bytes, int]] = deque()
        self._tokens: deque[bytes] = deque()
        self._refused: deque[int] = deque()
        self._busy = False
        self._armed = float("inf")
        self._owed = 0.0
        self._step = 0
        self._barriers: set[tuple[int, int]] = set()

    def start(self) -> None:
        """Begin to look for others."""
        self.alive = True
        self.ring.start(self._world.kernel.now)
        self._finish(0.0)

    def submit(self, size: int, count: int = 1) -> None:
        """Programs' messages arrive; each carries its sender and its time."""
        self.enqueue(size, count)
        if not self._busy:
            self._finish(0.0)

    def enqueue(self, size: int, count: int) -> None:
        """The same while this node is at work already (``on_delivery``)."""
        now = self._world.kernel.now
        body = _NUMBER.pack(self.node_id, now) + bytes(size - _NUMBER.size)
        self.ring.submit(Group.ENGINES, [body] * count, Queue.NORMAL, 1, now)
        self._owed += count * self._world.costs.hand_over

    def fail(self, *, host_too: bool) -> None:
        """The process ends; with its host nobody is left to refuse what is still sent there."""
        self.alive = False
        self.lost = True
        self.refuses = not host_too

    def peer_port_refused(self, node_id: int) -> None:
        """The answer to a datagram for a node whose process is gone."""
        if self.alive:
            self._refused.append(node_id)
            self._wake()

    def arrive(self, buffer: bytes, segment_size: int, token: bool) -> None:
        """A datagram or a train is in the socket."""
        if not self.alive:
            return
        if token:
            self._tokens.append(buffer)
        else:
            self._data.append((buffer, segment_size))
        self._wake()

    def _wake(self) -> None:
        if not self._busy:
            self._busy = True
            self._world.kernel.after(self._world.costs.wake_up * MICROSECOND, self._work)

    def _work(self) -> None:
        """The next thing to do: data before tokens, tokens before timers."""
        now = self._world.kernel.now
        costs = self._world.costs
        if not self.alive:
            return
        if self._refused:
            node_id = self._refused.popleft()
            self.ring.peer_port_refused(node_id, node_id, now)
            self._finish(costs.receive_call)
        elif self._data:
            buffer, segment_size = self._data.popleft()
            frames = -(-len(buffer) // segment_size) if segment_size else 1
            self.ring.receive(buffer, segment_size, now)
            self._finish(costs.receive_call + frames * (costs.receive_frame + self._world.frame_in))
        elif self._tokens:
            self.ring.receive(self._tokens.popleft(), 0, now)
            self._finish(costs.receive_call + costs.visit)
        elif (due := self.ring.next_timer()) is not None and due <= now:
            self.ring.handle_timer(now)
            self._finish(costs.visit)
        else:
            self._busy = False
            if due is not None and due < self._armed:
                self._armed = due
                self._world.kernel.at(due, self._timer, due)

    def _timer(self, armed: float) -> None:
        if armed == self._armed:
            self._armed = float("inf")
            if not self._busy and self.alive:
                self._busy = True
                self._work()

    def _finish(self, spent: float) -> None:
        """Carry out what the core says; the processor is busy until that, too, is done."""
        ring = self.ring
        self._busy = True
        spent += self._owed
        self._owed = 0.0
        while outputs := ring.outputs():
            frames: list[bytes] = []
            complete = False
            for output in outputs:
                match output:
                    case Multicast(frames=more):
                        frames += more
                    case Unicast(node_id=target, frame=token):
                        spent = self._send(frames, target, token, spent)
                        frames = []
                    case Deliver(messages=messages):
                        spent += len(messages) * self._world.costs.hand_over
                        complete = self._deliver(messages) or complete
                    case Configuration():
                        self._install(output)
            if frames:
                spent = self._send(frames, 0, b"", spent)
            if complete:
                self.synchronised_at = self._world.kernel.now
                ring.synchronization_complete(self._world.kernel.now)
        self._world.kernel.after(spent * MICROSECOND, self._work)

    def _send(self, frames: list[bytes], target: int, token: bytes, spent: float) -> float:
        """As the udpu transport does: the token's target first, the token behind its last frame. Returns what is spent then."""
        world = self._world
        spent += len(frames) * world.frame_out
        if token:
            spent = self._send_to(target, frames, token, spent)
        if frames:
            for peer in world.hosts:
                if peer not in (self.node_id, target):
                    spent = self._send_to(peer, frames, b"", spent)
        return spent

    def _send_to(self, peer: int, frames: list[bytes], token: bytes, spent: float) -> float:
        world, costs = self._world, self._world.costs
        for segment, part in trains(frames, ETHERNET_SEGMENT):
            pieces = [(b"".join(part), segment)] if segment else [(frame, 0) for frame in part]
            for buffer, size in pieces:
                spent += costs.send_call + (len(part) if segment else 1) * costs.send_frame
                world.carry(self, peer, buffer, size, spent, token=False)
        if token:
            if not frames:
                spent += costs.send_call
            world.carry(self, peer, token, 0, spent, token=True)
        return spent

    def _deliver(self, messages: Sequence[tuple[int, Group, bytes]]) -> bool:
        complete = False
        now = self._world.kernel.now
        for _, group, body in messages:
            if group is Group.SYNC:
                complete = self._barrier(body) or complete
                continue
            self.delivered += 1
            sender, sent_at = _NUMBER.unpack_from(body)
            if sender == self.node_id:
                self.samples.append(Sample(sent_at, now))
        self.on_delivery(self)
        return complete

    def _install(self, configuration: Configuration) -> None:
        if configuration.kind is ConfigurationKind.TRANSITIONAL:
            return
        self.configuration = configuration
        self.configurations += len(configuration.members) > 1
        self.synchronised_at = float("inf")
        self._step = 0
        self._barriers.clear()
        self._send_barrier(configuration.ring_id)

    def _send_barrier(self, ring_id: RingId) -> None:
        body = _BARRIER.pack(*ring_id, self._step)
        self.ring.submit(Group.SYNC, [self.node_id.to_bytes(4, "little") + body], Queue.SYNC, 0, self._world.kernel.now)

    def _barrier(self, body: bytes) -> bool:
        """Whether the last service's barriers are all here."""
        configuration = self.configuration
        node_id = int.from_bytes(body[:4], "little")
        *ring_id, step = _BARRIER.unpack(body[4:])
        if configuration is None or tuple(ring_id) != configuration.ring_id:
            return False
        self._barriers.add((step, node_id))
        if any((self._step, member) not in self._barriers for member in configuration.members):
            return False
        self._step += 1
        if self._step < SYNCHRONISED_SERVICES:
            self._send_barrier(configuration.ring_id)
        return self._step == SYNCHRONISED_SERVICES


class World:
    """A cluster of ``count`` nodes on one network; ``body`` is the size of the programs' messages, which prices a frame."""

    def __init__(self, count: int, parameters: Parameters, costs: Costs, seed: int = 1, body: int = 64) -> None:
        self.kernel = Kernel(seed)
        self.costs = costs
        small = body < SMALL_BODY
        self.frame_out = costs.small_frame_out if small else costs.large_frame_out
        self.frame_in = costs.small_frame_in if small else costs.large_frame_in
        self.hosts: dict[int, Host] = {}
        for node_id in range(1, count + 1):
            self.hosts[node_id] = Host(self, node_id, parameters)

    def carry(self, source: Host, peer: int, buffer: bytes, segment_size: int, spent: float, *, token: bool) -> None:
        """A datagram leaves the processor after ``spent`` microseconds, then the card, and reaches the peer."""
        if peer == source.node_id:
            self.kernel.after(spent * MICROSECOND, source.arrive, buffer, segment_size, token)
            return
        source.card_free_at = max(source.card_free_at, self.kernel.now + spent * MICROSECOND) + len(buffer) / WIRE_RATE
        arrival, host = source.card_free_at + WIRE_DELAY, self.hosts[peer]
        if host.refuses:
            self.kernel.at(arrival + WIRE_DELAY, source.peer_port_refused, peer)
        else:
            self.kernel.at(arrival, host.arrive, buffer, segment_size, token)

    def power_on(self, within: float) -> None:
        """Every node starts at a moment of its own within so many seconds."""
        for host in self.hosts.values():
            self.kernel.after(self.kernel.random.random() * within, host.start)

    def living(self) -> list[Host]:
        """The nodes that have started and not failed."""
        return [host for host in self.hosts.values() if host.alive]

    def whole(self) -> bool:
        """Whether all nodes that are not lost have started and serve in one configuration that has them all."""
        living = [host for host in self.hosts.values() if not host.lost]
        members = tuple(host.node_id for host in living)
        rings = {host.configuration.ring_id for host in living if host.configuration}
        return len(rings) == 1 and all(
            host.configuration is not None and host.configuration.members == members and host.synchronised_at <= self.kernel.now
            for host in living
        )

    def run_until_whole(self, limit: float, step: float) -> bool:
        """Let time pass in steps of ``step`` seconds until the cluster is whole; False if it is not after ``limit``."""
        end = self.kernel.now + limit
        while not self.whole():
            if self.kernel.now >= end:
                return False
            self.kernel.run_until(self.kernel.now + step)
        return True

    def served_since(self) -> float:
        """When the last living node was synchronised."""
        return max(host.synchronised_at for host in self.living())
