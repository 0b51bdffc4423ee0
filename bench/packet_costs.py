"""What a packet costs a node, in microseconds: the figures that ``corosyncsim.scale`` plans with (python -m bench.packet_costs).

Each figure is a median of many short measurements, so that a neighbour's load does not reach it; a line through the medians of
several train lengths separates what a call costs from what each frame in it costs.
"""

from __future__ import annotations

import gc
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from statistics import linear_regression, median

from bench.link_hop import one_process
from bench.totem_core import BATCH, NODES, Loop, core_visit
from corosyncd.totem.events import Group, Multicast, Queue
from corosyncd.transport.udpu import SOL_UDP, UDP_GRO, UDP_SEGMENT
from corosyncsim.scale import Costs

ROUNDS = 3000
HOP = 25.0
"""Of the token from one daemon's core to the next on one host, where nothing else runs, as ``make bench`` prints it: what its
parts below do not explain is the way of a wake-up through kernel and event loop."""
FRAME = 1460
TRAINS = (1, 4, 8, 16, 32, 44)
TRAIN_BATCH = 64
_SEGMENT_SIZE = struct.Struct("=H")


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1e6


def _line(points: Mapping[int, list[float]]) -> tuple[float, float]:
    """Cost of the call, and of each frame in it."""
    medians = {count: median(values) for count, values in points.items()}
    slope, start = linear_regression(list(medians), list(medians.values()))
    return max(0.0, start), max(0.0, slope)


def _pair() -> tuple[socket.socket, socket.socket]:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    receiver.setsockopt(SOL_UDP, UDP_GRO, 1)
    receiver.bind(("127.0.0.1", 0))
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect(receiver.getsockname())
    return sender, receiver


def sockets() -> tuple[tuple[float, float], tuple[float, float]]:
    """(call, frame) of sending and of receiving trains of full frames."""
    sender, receiver = _pair()
    sending: dict[int, list[float]] = defaultdict(list)
    receiving: dict[int, list[float]] = defaultdict(list)
    buffers = [memoryview(bytearray(65_536))]
    ancillary = [(SOL_UDP, UDP_SEGMENT, _SEGMENT_SIZE.pack(FRAME))]
    with sender, receiver:
        for count in TRAINS:
            frames = [bytes(FRAME)] * count
            for _ in range(ROUNDS):
                sending[count].append(_timed(lambda frames=frames: sender.sendmsg(frames, ancillary)))  # type: ignore[misc]
                receiving[count].append(_timed(lambda: receiver.recvmsg_into(buffers, 64)))
    return _line(sending), _line(receiving)


class TimedLoop(Loop):
    """Notes how long each step of a core takes, by how many frames went in or out."""

    def __init__(self) -> None:
        self.receiving: dict[int, list[float]] = defaultdict(list)
        self.sending: dict[int, list[float]] = defaultdict(list)
        super().__init__()

    def run(self, done: Callable[[], bool]) -> None:
        """As the loop's, with a clock round each step."""
        while not done():
            if not self.work:
                super().run(lambda: bool(self.work) or done())
                continue
            node, train, size = self.work.popleft()
            ring = self.rings[node]
            taken = _timed(lambda ring=ring, train=train, size=size: ring.receive(train, size, self.now))  # type: ignore[misc]
            outputs = ring.outputs()
            frames = sum(len(output.frames) for output in outputs if isinstance(output, Multicast))
            self.act_on(node, outputs)
            if frames:
                self.sending[frames].append(taken)
            elif size:
                self.receiving[-(-len(train) // size)].append(taken)


def core(size: int, visit: float) -> tuple[float, float]:
    """A frame's cost in the core of its sender and in that of each receiver, for messages of ``size`` bytes."""
    loop = TimedLoop()
    delivered = dict(loop.delivered)
    goal = 400_000 // max(20, size // 20)
    sent = 0

    def done() -> bool:
        nonlocal sent
        ring = loop.rings[NODES[0]]
        if sent < goal and ring.queued_bytes(1) < 100_000:
            ring.submit(Group.ENGINES, [bytes(size)] * BATCH, Queue.NORMAL, 1)
            sent += BATCH
        return all(count - delivered[node] >= goal for node, count in loop.delivered.items())

    loop.run(done)
    return _each(loop.sending, visit), _each(loop.receiving, 0.0)


def _each(points: Mapping[int, list[float]], start: float) -> float:
    """The cost of one frame in the steps of the most usual length."""
    count, usual = max(points.items(), key=lambda item: item[0] * len(item[1]))
    return (median(usual) - start) / count


def measure() -> Costs:
    """Everything, which takes about half a minute."""
    gc.collect()
    gc.freeze()
    (send_call, send_frame), (receive_call, receive_frame) = sockets()
    visit = core_visit(20_000)
    small, large = core(64, visit), core(1380, visit)
    link = one_process(TRAIN_BATCH, 64, ROUNDS)
    return Costs(
        send_call=send_call,
        send_frame=send_frame,
        receive_call=receive_call,
        receive_frame=receive_frame,
        wake_up=max(0.0, HOP - visit - send_call - receive_call),
        visit=visit,
        small_frame_out=small[0],
        small_frame_in=small[1],
        large_frame_out=large[0],
        large_frame_in=large[1],
        hand_over=link[0] * 1e6,
    )


if __name__ == "__main__":
    for name, value in zip(Costs._fields, measure(), strict=True):
        print(f"{name:18} {value:6.2f} us")
