"""One trial: a ring of three daemons of one kind, in namespaces, and every figure of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from bench.figures import DEFAULT, OURS, Window
from bench.programs import BenchError, Client, Programs
from bench.usage import processes, processor_share, proportional_set_size
from tests.lab import DEADLINE, Lab, Node

SENDER: Final = 1
WITNESSES: Final = (2, 3)
NODES: Final = (SENDER, *WITNESSES)
SMALL: Final = 64
BULK_64K: Final = 65_536
BULK_1M: Final = 1_000_000
"""Sizes of messages in bytes."""
KEY, VALUE = "totem.cluster_name", "lab"
"""What is read from the map: the lab's configuration sets it."""
TRACKED_KEY: Final = "bench.tracked"
"""What one connection sets and another tracks."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run measures, and for how long. ``together``: the clusters of both sides are up at once, one of them idle."""

    sides: tuple[str, ...]
    repeats: int
    together: bool
    sched_rr: str | None
    load_seconds: float
    idle_seconds: float
    round_trips: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """A ring that has been started; ``bystanders`` are a node's processes that are not the daemon's."""

    side: str
    window: Window
    lab: Lab
    bystanders: dict[int, frozenset[int]]

    def wait_formed(self) -> None:
        """Until all nodes are members of one ring. Raises LabError."""
        self.lab.wait_ring(NODES)

    def daemon(self, number: int) -> frozenset[int]:
        """All processes of a node's daemon, while no client runs there."""
        return processes(self.lab.node(number).namespace) - self.bystanders[number]

    def realtime(self) -> frozenset[bool]:
        """Whether the nodes' main processes have real-time priority now: both values where they differ."""
        mains = [node.process for node in self.lab.nodes.values()]
        return frozenset(main is not None and os.sched_getscheduler(main.pid) == os.SCHED_RR for main in mains)


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of one trial by name, and whether the daemons had real-time priority before and after the loads."""

    figures: dict[str, float]
    realtime: frozenset[bool]


@contextlib.contextmanager
def cluster(side: str, window: Window, sched_rr: str | None) -> Iterator[Cluster]:
    """Start three daemons of one kind; all of it is gone at the end. ``sched_rr`` None leaves the daemon's default."""
    with Lab(len(NODES)) as lab:
        bystanders = {number: processes(node.namespace) for number, node in lab.nodes.items()}
        system = {} if sched_rr is None else {"sched_rr": sched_rr}
        for number in NODES:
            if side == OURS:
                lab.our_node(number, totem=dict(window.totem), system=dict(system))
            else:
                lab.stock_node(number, _section("totem", window.totem) + _section("system", system))
        yield Cluster(side, window, lab, bystanders)


def _section(name: str, values: Any) -> str:
    lines = "".join(f"  {key}: {value}\n" for key, value in values.items())
    return f"{name} {{\n{lines}}}\n" if lines else ""


def measure(ring: Cluster, programs: Programs, plan: Plan) -> Measured:
    """Every figure of a formed ring. Raises BenchError, LabError."""
    realtime = ring.realtime()
    small = run_load(ring, programs, "throughput", SMALL, plan.load_seconds)
    bulk_64k = run_load(ring, programs, "throughput", BULK_64K, plan.load_seconds)
    bulk_1m = run_load(ring, programs, "throughput", BULK_1M, plan.load_seconds)
    round_trip = run_load(ring, programs, "latency", SMALL, plan.round_trips)
    figures = {
        "small_rate": small["per_second"],
        "bulk_64k_rate": bulk_64k["megabytes_per_second"],
        "bulk_1m_rate": bulk_1m["megabytes_per_second"],
        "round_trip_p50": round_trip["p50_us"],
        "round_trip_p99": round_trip["p99_us"],
        **_rotations("small", small),
        **_rotations("bulk", bulk_64k),
    }
    realtime |= ring.realtime()
    if ring.window is DEFAULT:
        figures |= _map(ring, programs, plan.load_seconds) | _idle(ring, plan.idle_seconds)
    return Measured(figures, realtime)


def run_load(ring: Cluster, programs: Programs, mode: str, size: int, amount: float) -> dict[str, Any]:
    """One sender's report, once witnesses on the other nodes have seen the same messages in the same order.

    ``amount`` is seconds or, for round trips, their number. The programs check every message's content and counter.
    """
    ring.wait_formed()
    group = f"bench-{mode}-{size}"

    def start(number: int, *arguments: str) -> Client:
        node = ring.lab.node(number)
        return Client(node, programs.folder / f"{node.namespace}-{group}", programs.cpg_load, *arguments)

    witnesses = {number: start(number, "witness", group) for number in WITNESSES}
    for witness in witnesses.values():
        witness.wait_ready()
    limit = DEADLINE + (amount if mode == "throughput" else 0)
    sent = start(SENDER, mode, group, str(size), str(amount)).result(limit)
    for number, witness in witnesses.items():
        seen = witness.result()
        different = [what for what in ("messages", "bytes", "order") if seen[what] != sent[what]]
        if different:
            raise BenchError(
                f"{ring.side}, {ring.window.title}: {mode} of {size} bytes: node {number} saw other {' and '.join(different)} "
                f"than the sender\nsender: {sent}\nnode {number}: {seen}"
            )
    return sent


def _rotations(load: str, report: dict[str, Any]) -> dict[str, float]:
    rotations: int = report["rotations"]
    if rotations <= 0:
        raise BenchError(f"the daemon counted {rotations} tokens while it ordered {report['messages']} messages")
    rate = rotations / report["seconds"]
    return {f"{load}_rotations": rate, f"{load}_hop": 1e6 / rate / len(NODES)}


def _map(ring: Cluster, programs: Programs, seconds: float) -> dict[str, float]:
    """One program that reads a key, then one that sets a key and waits for the notification of each change."""
    node: Node = ring.lab.node(SENDER)

    def load(*arguments: str) -> dict[str, Any]:
        output = programs.folder / f"{node.namespace}-cmap-{arguments[0]}"
        return Client(node, output, programs.cmap_load, *arguments, str(seconds)).result(DEADLINE + seconds)

    read = load("get", KEY, VALUE)
    told = load("notify", TRACKED_KEY)
    return {
        "cmap_rate": read["per_second"],
        "cmap_p50": read["p50_us"],
        "cmap_p99": read["p99_us"],
        "notification_p50": told["p50_us"],
        "notification_p99": told["p99_us"],
    }


def _idle(ring: Cluster, seconds: float) -> dict[str, float]:
    """Processor time and memory of the node that uses most of it, after the load."""
    shares = processor_share(lambda: [ring.daemon(number) for number in NODES], seconds)
    sizes = [proportional_set_size(ring.daemon(number)) for number in NODES]
    return {"idle_cpu": max(shares), "memory": max(sizes) / 1e6}
