"""The simulated network: datagrams between configured nodes, late, lost, doubled, out of order, damaged, or cut off.

Every ordered pair of nodes is a link of its own with its own base delay. A link is first in, first out, except for the
datagrams that chance sends by a detour. Consecutive frames of one multicast that fare alike travel as one train of equal
segments, cut by the transport's own rule, as generic receive offload hands them to a daemon.

Damage goes no deeper than a datagram checksum would let through: a damaged datagram either vanishes, or arrives so that its
first bytes or its length give it away. A flipped bit inside an otherwise valid frame cannot be told from a valid frame by any
member of the protocol, so it proves nothing about it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from corosyncd.transport.udpu import ETHERNET_SEGMENT, trains
from corosyncsim.kernel import Kernel

LINK_DATAGRAMS_LIMIT: Final = 4096
"""Datagrams that one link holds at a time; more are dropped, as by a router's full queue."""

NOISE_LIMIT: Final = 65_535
"""Bytes of a datagram that is nothing but foreign bytes."""
SELF_DELAY: Final = 20e-6
ICMP_BURST: Final = 6.0
"""Refusals that a host sends one peer at once (Linux, ``net.ipv4.icmp_ratelimit``) ..."""
ICMP_RATE: Final = 1.0
"""... and how many more a second."""
FRAME_TYPE_OFFSET: Final = 3
SMALLEST_FRAME: Final = 25
CHECKED_WHOLE: Final = (0, 3, 4)
"""Tokens, joins and commit tokens say in their fixed part how long they are, so that they show a cut anywhere."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """How links behave: delays in seconds, the rest probabilities for each datagram."""

    delay: float = 0.001
    jitter: float = 0.2
    tail_probability: float = 0.0
    tail_factor: float = 10.0
    loss: float = 0.0
    duplication: float = 0.0
    detour: float = 0.0
    damage: float = 0.0
    trains: bool = True

    def __str__(self) -> str:
        shares = {name: getattr(self, name) for name in ("tail_probability", "loss", "duplication", "detour", "damage")}
        said = [f"{name.replace('_', ' ')} {share:.1%}" for name, share in shares.items() if share]
        return ", ".join([f"delay {self.delay * 1000:.2f} ms", *said, "in trains" if self.trains else "frame by frame"])

    def calm(self) -> Conditions:
        """The same delays without any misfortune."""
        return replace(self, tail_probability=0.0, loss=0.0, duplication=0.0, detour=0.0, damage=0.0)


@dataclass(slots=True)
class Counters:
    """What became of the datagrams."""

    sent: int = 0
    delivered: int = 0
    lost: int = 0
    duplicated: int = 0
    detoured: int = 0
    damaged: int = 0
    cut: int = 0
    overflowed: int = 0
    refused: int = 0


@dataclass(slots=True)
class _Link:
    """One direction between two nodes."""

    source: int
    destination: int
    factor: float
    last_arrival: float = 0.0
    in_flight: int = 0
    cuts: int = 0
    size_limits: list[int] = field(default_factory=list)
    muted_types: list[int] = field(default_factory=list)
    rejecters: list[int] = field(default_factory=list)
    refusals_left: float = ICMP_BURST
    refused_at: float = 0.0


class Network:
    """Carries frames between ``node_ids``; ``arrive(node id, buffer, segment size)`` is called at each arrival.

    Where ``port_closed(node id)`` nothing arrives: the host answers, and ``refused(sender, receiver, offender)`` is called.
    """

    def __init__(
        self,
        kernel: Kernel,
        node_ids: Sequence[int],
        conditions: Conditions,
        arrive: Callable[[int, bytes, int], None],
        port_closed: Callable[[int], bool] = lambda _: False,
        refused: Callable[[int, int, int], None] = lambda *_: None,
    ) -> None:
        self.conditions = conditions
        self.counters = Counters()
        self._kernel = kernel
        self._node_ids = tuple(node_ids)
        self._arrive = arrive
        self._port_closed = port_closed
        self._refused = refused
        self._links = {
            (source, destination): _Link(source, destination, factor=kernel.random.uniform(0.6, 1.6))
            for source in node_ids
            for destination in node_ids
            if source != destination
        }

    # What faults turn on and off. Each is counted, so that faults may overlap.

    def cut(self, source: int, destination: int) -> None:
        """Nothing passes from ``source`` to ``destination`` until as many ``mend`` calls have come."""
        self._links[source, destination].cuts += 1

    def mend(self, source: int, destination: int) -> None:
        """Undo one ``cut``."""
        self._links[source, destination].cuts -= 1

    def limit_size(self, source: int, destination: int, size: int) -> None:
        """Frames above ``size`` bytes vanish on this link: a black hole for large packets."""
        self._links[source, destination].size_limits.append(size)

    def lift_size_limit(self, source: int, destination: int, size: int) -> None:
        """Undo one ``limit_size``."""
        self._links[source, destination].size_limits.remove(size)

    def mute(self, source: int, destination: int, frame_type: int) -> None:
        """Frames of this Totem type vanish on this link."""
        self._links[source, destination].muted_types.append(frame_type)

    def unmute(self, source: int, destination: int, frame_type: int) -> None:
        """Undo one ``mute``."""
        self._links[source, destination].muted_types.remove(frame_type)

    def reject(self, source: int, destination: int, offender: int) -> None:
        """A firewall on this link refuses everything, in the name of ``offender``; as often as it is called, it is ended."""
        self._links[source, destination].rejecters.append(offender)

    def admit(self, source: int, destination: int, offender: int) -> None:
        """Undo one ``reject``."""
        self._links[source, destination].rejecters.remove(offender)

    # What nodes do.

    def multicast(self, source: int, frames: Sequence[bytes]) -> None:
        """Send every frame to every other node."""
        for destination in self._node_ids:
            if destination != source:
                self._transmit(source, destination, frames)

    def unicast(self, source: int, destination: int, frame: bytes) -> None:
        """Send one frame to one node; to an unknown node it goes nowhere, to the sender itself it never fails."""
        if destination == source:
            self._kernel.after(SELF_DELAY, self._arrive, source, frame, len(frame))
        elif (source, destination) in self._links:
            self._transmit(source, destination, (frame,))

    def _transmit(self, source: int, destination: int, frames: Sequence[bytes]) -> None:
        link = self._links[source, destination]
        counters = self.counters
        counters.sent += len(frames)
        if link.cuts:
            counters.cut += len(frames)
            return
        conditions = self.conditions
        random = self._kernel.random.random
        misfortune = conditions.loss + conditions.duplication + conditions.detour + conditions.damage > 0.0
        straight: list[bytes] = []
        for frame in frames:
            if link.size_limits and len(frame) > min(link.size_limits):
                counters.cut += 1
                continue
            if link.muted_types and frame[FRAME_TYPE_OFFSET] in link.muted_types:
                counters.cut += 1
                continue
            if not misfortune:
                straight.append(frame)
                continue
            if random() < conditions.loss:
                counters.lost += 1
                continue
            if random() < conditions.damage:
                counters.damaged += 1
                self._send(link, destination, self._damaged(frame), 0, detour=False)
                continue
            if random() < conditions.duplication:
                counters.duplicated += 1
                self._send(link, destination, frame, len(frame), detour=True)
            if random() < conditions.detour:
                counters.detoured += 1
                self._send(link, destination, frame, len(frame), detour=True)
                continue
            straight.append(frame)
        if not straight:
            return
        if len(straight) == 1 or not conditions.trains:
            for frame in straight:
                self._send(link, destination, frame, len(frame), detour=False)
        else:
            for segment_size, train in trains(straight, ETHERNET_SEGMENT):
                self._send(link, destination, b"".join(train), segment_size, detour=False)

    def _send(self, link: _Link, destination: int, buffer: bytes, segment_size: int, *, detour: bool) -> None:
        if link.in_flight >= LINK_DATAGRAMS_LIMIT:
            self.counters.overflowed += 1
            return
        conditions = self.conditions
        random = self._kernel.random
        delay = conditions.delay * link.factor * (1.0 + conditions.jitter * random.random())
        if conditions.tail_probability and random.random() < conditions.tail_probability:
            delay *= 1.0 + conditions.tail_factor * random.expovariate(1.0)
        arrival = self._kernel.now + delay
        if detour:
            arrival += conditions.delay * 3.0 * random.expovariate(1.0)
        else:
            arrival = max(arrival, link.last_arrival)
            link.last_arrival = arrival
        link.in_flight += 1
        self._kernel.at(arrival, self._arrived, link, destination, buffer, segment_size or max(1, len(buffer)))

    def _arrived(self, link: _Link, destination: int, buffer: bytes, segment_size: int) -> None:
        link.in_flight -= 1
        if link.rejecters or self._port_closed(destination):
            for _ in range(0, len(buffer), segment_size):
                self._refuse(link, link.rejecters[-1] if link.rejecters else destination)
            return
        self.counters.delivered += 1
        self._arrive(destination, buffer, segment_size)

    def _refuse(self, link: _Link, offender: int) -> None:
        """Answer one datagram with "port unreachable", unless too many were answered: the answer may be late, or lost."""
        now, random = self._kernel.now, self._kernel.random.random
        self.counters.refused += 1
        link.refusals_left = min(ICMP_BURST, link.refusals_left + (now - link.refused_at) * ICMP_RATE)
        link.refused_at = now
        back = self._links[link.destination, link.source]
        if link.refusals_left < 1.0:
            return
        link.refusals_left -= 1.0
        if back.cuts or random() < self.conditions.loss:
            return
        delay = self.conditions.delay * back.factor * (1.0 + self.conditions.jitter * random())
        self._kernel.after(delay, self._refused, link.source, link.destination, offender)

    def _damaged(self, frame: bytes) -> bytes:
        """A datagram that everybody can see is damaged: cut short, with a foreign beginning, or all foreign bytes."""
        random = self._kernel.random
        choice = random.randrange(6)
        if choice == 5:
            return b"\xff" + random.randbytes(random.randrange(1, NOISE_LIMIT))
        if choice == 4 and frame[FRAME_TYPE_OFFSET] in CHECKED_WHOLE:
            return frame[: random.randrange(1, len(frame))]
        if choice == 0:
            return frame[: random.randrange(1, SMALLEST_FRAME)]
        if choice == 1:
            return bytes((frame[0] ^ random.randrange(1, 256),)) + frame[1:]
        if choice == 2:
            return frame[:2] + bytes((random.randrange(4, 256),)) + frame[3:]
        return frame[:FRAME_TYPE_OFFSET] + bytes((random.randrange(6, 256),)) + frame[FRAME_TYPE_OFFSET + 1 :]
