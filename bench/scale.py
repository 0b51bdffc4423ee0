"""How far one ring goes: rings of 3 to 128 nodes on virtual time, measured and drawn (python -m bench.scale).

Writes the table and the plots of docs/scale.md. Everything follows from the costs of packets, measured by
``python -m bench.packet_costs`` (``--measure`` measures them here first), and from the seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median, quantiles
from typing import Final, NamedTuple

from bench.packet_costs import measure
from corosyncd.totem.timeouts import Parameters, derive
from corosyncsim.scale import Costs, Host, World

SIZES: Final = (3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
SMALL: Final = 64
LARGE: Final = 1380
"""Bytes: many messages a frame, and one that fills a frame."""
QUEUED: Final = 200_000
"""Bytes that a sender always has waiting."""
POWER_ON: Final = 0.1
"""All nodes start within so many seconds."""
IDLE: Final = 1.0
LIGHT_RATE: Final = 200
"""Messages a second of the whole cluster under light load."""
LIGHT_SECONDS: Final = 5.0
FULL_SECONDS: Final = 0.5
PATIENCE: Final = 1000.0
COSTS: Final = Costs(1.1, 0.05, 0.75, 0.02, 19.0, 4.2, 6.9, 4.6, 3.1, 1.75, 0.35)


class Setting(NamedTuple):
    """A name, and the totem section for a number of nodes."""

    name: str
    totem: Callable[[int], Mapping[str, int]]


STOCK: Final = Setting("stock defaults", lambda nodes: {})
PLANNED: Final = Setting(
    "planned",
    lambda nodes: {
        "token": 1000,
        "token_coefficient": 20,
        "window_size": max(50, 6 * nodes),
        "max_messages": max(17, 2 * nodes),
    },
)

SETTINGS: Final = (STOCK, PLANNED)


class Result(NamedTuple):
    """What a ring of that size does; seconds, and numbers a second."""

    nodes: int
    formation: float
    host_lost: float
    process_lost: float
    rotation: float
    latency: float
    latency_p99: float
    small_rate: float
    large_rate: float
    full_rotation: float


def study(nodes: int, setting: Setting, costs: Costs) -> Result:
    """Every figure of one size."""
    parameters = derive(setting.totem(nodes), nodes)
    formation, host_lost = form_and_fail(nodes, parameters, costs, host_too=True)
    _, process_lost = form_and_fail(nodes, parameters, costs, host_too=False)
    rotation, latency, latency_p99 = light_load(nodes, parameters, costs)
    small, full_rotation = full_load(nodes, parameters, costs, SMALL)
    large, _ = full_load(nodes, parameters, costs, LARGE)
    return Result(nodes, formation, host_lost, process_lost, rotation, latency, latency_p99, small, large, full_rotation)


def form_and_fail(nodes: int, parameters: Parameters, costs: Costs, *, host_too: bool) -> tuple[float, float]:
    """Seconds from power-on to a whole cluster that serves, and from the loss of a node to the same among the rest."""
    world = _formed(nodes, parameters, costs, SMALL)
    formation = world.served_since()
    world.kernel.run_until(world.kernel.now + IDLE)
    lost_at = world.kernel.now
    world.hosts[nodes // 2 + 1].fail(host_too=host_too)
    _wait(world)
    return formation, world.served_since() - lost_at


def light_load(nodes: int, parameters: Parameters, costs: Costs) -> tuple[float, float, float]:
    """The token's rotation, and how long a message takes to come back to its sender: median and p99."""
    world = _formed(nodes, parameters, costs, SMALL)
    kernel, hosts = world.kernel, list(world.hosts.values())

    def submit() -> None:
        kernel.random.choice(hosts).submit(SMALL)
        kernel.after(kernel.random.expovariate(LIGHT_RATE), submit)

    submit()
    before = hosts[0].ring.statistics.orf_token_rx
    kernel.run_until(kernel.now + LIGHT_SECONDS)
    rotations = hosts[0].ring.statistics.orf_token_rx - before
    times = sorted(sample.delivered_at - sample.sent_at for host in hosts for sample in host.samples)
    return LIGHT_SECONDS / rotations, median(times), quantiles(times, n=100)[98]


def full_load(nodes: int, parameters: Parameters, costs: Costs, body: int) -> tuple[float, float]:
    """Messages a second that every node delivers while all have as much to send as they can, and the token's rotation."""
    world = _formed(nodes, parameters, costs, body)

    def refill(host: Host) -> None:
        missing = QUEUED - host.ring.queued_bytes(1)
        if missing > QUEUED // 2:
            host.enqueue(body, missing // body)

    for host in world.hosts.values():
        host.on_delivery = refill
        host.submit(body, QUEUED // body)
    watched = world.hosts[1]
    world.kernel.run_until(world.kernel.now + FULL_SECONDS / 2)
    before, tokens = watched.delivered, watched.ring.statistics.orf_token_rx
    world.kernel.run_until(world.kernel.now + FULL_SECONDS)
    rotations = watched.ring.statistics.orf_token_rx - tokens
    return (watched.delivered - before) / FULL_SECONDS, FULL_SECONDS / max(1, rotations)


def _formed(nodes: int, parameters: Parameters, costs: Costs, body: int) -> World:
    world = World(nodes, parameters, costs, body=body)
    world.power_on(POWER_ON)
    _wait(world)
    return world


def _wait(world: World) -> None:
    if not world.run_until_whole(PATIENCE, 0.01):
        raise RuntimeError(f"{len(world.hosts)} nodes are not one cluster after {PATIENCE:g} simulated seconds")


def plot(results: Mapping[str, list[Result]], file: Path) -> None:
    """Eight pictures in one file. Raises ImportError without matplotlib (extra ``plots``)."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    panels: tuple[tuple[str, str, Callable[[Result], float], bool], ...] = (
        ("formation from power-on", "s", lambda result: result.formation, False),
        ("failover, a host is lost", "s", lambda result: result.host_lost, True),
        ("failover, a daemon is killed", "s", lambda result: result.process_lost, False),
        ("token rotation, light load", "ms", lambda result: result.rotation * 1e3, False),
        ("latency, light load, p50", "ms", lambda result: result.latency * 1e3, False),
        ("latency, light load, p99", "ms", lambda result: result.latency_p99 * 1e3, False),
        ("64-byte messages, all sending", "thousand/s", lambda result: result.small_rate / 1e3, False),
        ("full frames, all sending", "MB/s", lambda result: result.large_rate * LARGE / 1e6, False),
    )
    figure = Figure(figsize=(15, 7), layout="constrained")
    axes = figure.subplots(2, 4)
    for axis, (title, unit, value, logarithmic) in zip(axes.flat, panels, strict=True):
        for (name, rows), style in zip(results.items(), ("o-", "s--", "^:"), strict=False):
            axis.plot([row.nodes for row in rows], [value(row) for row in rows], style, label=name, markersize=4)
        axis.set_title(title, fontsize=10)
        axis.set_ylabel(unit)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_locator(FixedLocator((3, 8, 16, 32, 64, 128)))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(ScalarFormatter())
        if logarithmic:
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(FixedLocator((2, 5, 10, 20, 50, 100, 200)))
            axis.yaxis.set_minor_locator(NullLocator())
            axis.yaxis.set_major_formatter(ScalarFormatter())
        else:
            axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    for axis in axes[1]:
        axis.set_xlabel("nodes")
    axes[0, 0].legend(fontsize=9)
    figure.savefig(file, dpi=90)


def table(results: Mapping[str, list[Result]]) -> str:
    """The figures as a table in Markdown."""
    heads = (
        "nodes",
        "settings",
        "formation s",
        "host lost s",
        "daemon killed s",
        "rotation ms",
        "latency p50 / p99 ms",
        "64-byte messages/s",
        "full frames MB/s",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for rows in zip(*results.values(), strict=True):
        for name, row in zip(results, rows, strict=True):
            cells = (
                f"{row.nodes}",
                name,
                f"{row.formation:.2f}",
                f"{row.host_lost:.2f}",
                f"{row.process_lost:.2f}",
                f"{row.rotation * 1e3:.2f}",
                f"{row.latency * 1e3:.2f} / {row.latency_p99 * 1e3:.2f}",
                f"{row.small_rate:,.0f}",
                f"{row.large_rate * LARGE / 1e6:.1f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the study; the table goes to standard output, the plots to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="measure the costs of packets on this machine first")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="NODES")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw a PNG or SVG file (needs matplotlib: pip install '.[plots]')"
    )
    options = parser.parse_args()
    costs = measure() if options.measure else COSTS
    results: dict[str, list[Result]] = {setting.name: [] for setting in SETTINGS}
    for nodes in options.sizes:
        for setting in SETTINGS:
            print(f"{nodes} nodes, {setting.name}", file=sys.stderr, flush=True)
            results[setting.name].append(study(nodes, setting, costs))
    print("microseconds: " + ", ".join(f"{name} {value:.2f}" for name, value in zip(Costs._fields, costs, strict=True)))
    print()
    print(table(results))
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
