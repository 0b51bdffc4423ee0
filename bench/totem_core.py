"""What the protocol core costs: three rings in one process, without a network. Run: ``python -m bench.totem_core``."""

from __future__ import annotations

import argparse
import gc
import time
from collections import deque
from collections.abc import Callable, Iterable
from statistics import median

from corosyncd.totem.events import Configuration, ConfigurationKind, Deliver, Group, Multicast, Output, Queue, Unicast
from corosyncd.totem.ring import Ring
from corosyncd.totem.timeouts import derive
from corosyncd.transport.udpu import ETHERNET_SEGMENT, trains

NODES = (1, 2, 3)
BATCH = 64
"""Messages that a client of the core submits at once."""


class Loop:
    """Three rings that hand each other trains of frames, as segmentation offload does."""

    def __init__(self, **settings: int) -> None:
        parameters = derive(settings, len(NODES))
        self.rings = {node: Ring(node, parameters, 0, 0.0) for node in NODES}
        self.now = 0.0
        self.work: deque[tuple[int, bytes, int]] = deque()
        self.delivered = dict.fromkeys(NODES, 0)
        self.barriers = dict.fromkeys(NODES, 0)
        for node, ring in self.rings.items():
            ring.start(0.0)
            self.act(node)
        self.run(lambda: all(ring.members == NODES for ring in self.rings.values()))
        self.run(lambda: all(count >= len(NODES) for count in self.barriers.values()))

    def act(self, node: int) -> None:
        """Carry out what a ring has to say."""
        self.act_on(node, self.rings[node].outputs())

    def act_on(self, node: int, outputs: Iterable[Output]) -> None:
        """Carry out what a ring has said."""
        ring, work = self.rings[node], self.work
        for output in outputs:
            if isinstance(output, Multicast):
                for size, train in trains(output.frames, ETHERNET_SEGMENT):
                    buffer = b"".join(train)
                    for other in NODES:
                        if other != node:
                            work.append((other, buffer, size))
            elif isinstance(output, Unicast):
                work.append((output.node_id, output.frame, 0))
            elif isinstance(output, Deliver):
                if output.messages[0][1] is Group.SYNC:
                    self.synchronize(node, len(output.messages))
                else:
                    self.delivered[node] += len(output.messages)
            elif isinstance(output, Configuration) and output.kind is ConfigurationKind.REGULAR:
                self.barriers[node] = 0
                if output.members == NODES:
                    ring.submit(Group.SYNC, [b"barrier"], Queue.SYNC)

    def synchronize(self, node: int, barriers: int) -> None:
        """Count barriers; the last ends the round."""
        self.barriers[node] += barriers
        if self.barriers[node] == len(NODES):
            self.rings[node].synchronization_complete(self.now)

    def run(self, done: Callable[[], bool]) -> None:
        """Hand frames on until done, or let time pass where nobody has any."""
        rings, work = self.rings, self.work
        while not done():
            if work:
                node, train, size = work.popleft()
                rings[node].receive(train, size, self.now)
                self.act(node)
            deadlines = {node: ring.next_timer() for node, ring in rings.items()}
            if not work:
                self.now = max(self.now, min(deadline for deadline in deadlines.values() if deadline is not None))
            for node, deadline in deadlines.items():
                if deadline is not None and deadline <= self.now:
                    rings[node].handle_timer(self.now)
                    self.act(node)


def visits(loop: Loop) -> int:
    """Token visits so far, on all nodes."""
    return sum(ring.statistics.orf_token_rx for ring in loop.rings.values())


def idle_visit(count: int) -> float:
    """Microseconds of a token visit in a ring without work, loop and hand-over included."""
    loop = Loop(seqno_unchanged_const=2**30)
    start, target = time.perf_counter(), visits(loop) + count
    before = visits(loop)
    loop.run(lambda: visits(loop) >= target)
    return (time.perf_counter() - start) * 1e6 / (visits(loop) - before)


def core_visit(count: int) -> float:
    """Microseconds of ``receive`` and ``outputs`` alone, for a token without work: a median, which others' load hardly moves."""
    loop = Loop(seqno_unchanged_const=2**30)
    while not (len(loop.work) == 1 and loop.work[0][2] == 0):
        loop.run(lambda: True)
        node, train, size = loop.work.popleft()
        loop.rings[node].receive(train, size, loop.now)
        loop.act(node)
    node, frame, _ = loop.work.popleft()
    spent: list[float] = []
    for _ in range(count):
        ring = loop.rings[node]
        started = time.perf_counter()
        ring.receive(frame, 0, loop.now)
        outputs = ring.outputs()
        spent.append(time.perf_counter() - started)
        (token,) = (output for output in outputs if isinstance(output, Unicast))
        node, frame = token.node_id, token.frame
    return median(spent) * 1e6


def message(size: int, count: int, senders: tuple[int, ...]) -> float:
    """Microseconds a message, all three nodes together: submit, pack, order, unpack."""
    loop = Loop()
    body = bytes(size)
    submitted = dict.fromkeys(senders, 0)
    each = count // len(senders)
    total = each * len(senders)

    def done() -> bool:
        for node in senders:
            ring = loop.rings[node]
            if submitted[node] < each and ring.queued_bytes(1) < 100_000:
                batch = min(BATCH, each - submitted[node])
                ring.submit(Group.ENGINES, [body] * batch, Queue.NORMAL, 1)
                submitted[node] += batch
        return all(delivered == total for delivered in loop.delivered.values())

    start = time.perf_counter()
    loop.run(done)
    return (time.perf_counter() - start) * 1e6 / total


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60_000, help="messages, and token visits, a line")
    parser.add_argument("--profile", action="store_true", help="profile the 64-byte line instead")
    arguments = parser.parse_args()
    gc.collect()
    gc.freeze()
    if arguments.profile:
        import cProfile

        cProfile.runctx("message(64, count, NODES)", globals(), {"count": arguments.count}, sort="tottime")
        return
    print(f"token visit, idle, core alone      {core_visit(arguments.count):8.2f} us")
    print(f"token visit, idle, with this loop  {idle_visit(arguments.count):8.2f} us")
    for size, divisor in ((64, 1), (1000, 4), (10_000, 20), (100_000, 200)):
        for senders in ((1,), NODES):
            cost = message(size, max(60, arguments.count // divisor), senders)
            print(f"{size:7} bytes, {len(senders)} sender{'s' if len(senders) > 1 else ' '}           {cost:8.2f} us a message")


if __name__ == "__main__":
    main()
