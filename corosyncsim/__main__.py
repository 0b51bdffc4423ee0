"""The simulator's command: ``python -m corosyncsim run`` over many seeds, ``replay`` to read one, or a scenario.

Exit status: 0 when every property held in every run, 1 when one was violated, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from time import perf_counter

from corosyncsim import timeline
from corosyncsim.checkers import PROPERTIES
from corosyncsim.faults import DISTANCES, Plan, draw
from corosyncsim.history import History
from corosyncsim.player import perform, told
from corosyncsim.run import Report, execute
from corosyncsim.scenario import BadScenario
from corosyncsim.services.swarm import with_services
from corosyncsim.shrink import shrink
from corosyncsim.spoiling import NAMES, Spoilt, changes, needs_services

SEEDS_LIMIT = 1_000_000
NODES_LIMIT = 16
SHRUNK_LIMIT = 3
"""Failing seeds of one command that are shrunk."""
EXIT_WRONG = 2
EXIT_READER_GONE = 128 + 13
"""As a shell reports a death by SIGPIPE: whoever read the output has closed it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _replay(options) if options.command == "replay" else _run(options)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains about it once more
        return EXIT_READER_GONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="corosyncsim", description="The real protocol core under simulated faults.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run seeds and judge them")
    run.add_argument("--seeds", type=_range(1, SEEDS_LIMIT), default=(1, 100), metavar="FIRST-LAST")
    run.add_argument("--no-shrink", action="store_true", help="do not look for a short scenario where a seed violates a property")
    replay = commands.add_parser("replay", help="print the trace of one seed, or play a scenario")
    replay.add_argument("seed", metavar="SEED|FILE", help="a seed, or a file with a scenario")
    replay.add_argument("--frames", action="store_true", help="show every frame on the wire, too")
    replay.add_argument("--html", type=Path, metavar="FILE", help="draw the history as one HTML file instead of printing it")
    for command in (run, replay):
        command.add_argument("--defect", choices=NAMES, metavar="NAME", help="spoil one node: " + "; ".join(NAMES))
        command.add_argument("--nodes", type=_range(2, NODES_LIMIT), default=(3, 7), metavar="FEWEST-MOST")
        command.add_argument("--minutes", type=float, default=1.0, help="simulated time with faults, each seed")
        command.add_argument(
            "--distance", choices=DISTANCES, default="site", help="mean one-way delays: 0.6 to 6 ms, or 10 to 32 ms"
        )
        command.add_argument(
            "--level",
            choices=("ring", "cluster"),
            default="ring",
            help="what stands on the rings: messages that name themselves (fast), or executive, engines and programs",
        )
    return parser


def _plan(options: argparse.Namespace, seed: int) -> Plan:
    plan = draw(seed, options.nodes, options.minutes * 60, options.distance)
    whole_nodes = options.level == "cluster" or (options.defect and needs_services(options.defect))
    return with_services(plan) if whole_nodes else plan


def _range(least: int, most: int) -> Callable[[str], tuple[int, int]]:
    """A parser of ``5`` and ``3-7`` within limits, for argparse."""

    def parse(text: str) -> tuple[int, int]:
        first, _, last = text.partition("-")
        try:
            numbers = int(first), int(last or first)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number or two numbers with - between") from error
        if not least <= numbers[0] <= numbers[1] <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a range within {least}-{most}")
        return numbers

    return parse


def _run(options: argparse.Namespace) -> int:
    first, last = options.seeds
    began = perf_counter()
    reports: list[Report] = []
    bad = 0
    for seed in _progress(range(first, last + 1)):
        plan = _plan(options, seed)
        spoilt = _spoilt(plan, options.defect)
        adapt, prepare = changes(spoilt)
        report, _ = execute(plan, adapt=adapt, prepare=prepare)
        reports.append(report)
        bad += bool(report.violations)
        for line in told(report.violations):
            print(f"seed {seed}: {line}", flush=True)
        if report.violations and bad <= SHRUNK_LIMIT and not options.no_shrink:
            print(_shrunk(plan, report, spoilt), flush=True)
    for line in summary(reports, perf_counter() - began):
        print(line)
    return 1 if bad else 0


def _progress(seeds: range) -> Iterable[int]:
    """The seeds, with a progress bar where somebody watches."""
    if not sys.stderr.isatty():
        return seeds
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError:
        return seeds
    return track(seeds, description="seeds", console=Console(stderr=True))


def summary(reports: Sequence[Report], seconds: float) -> Iterator[str]:
    """What was run, in a few lines; ``seconds`` is what it took in real time."""
    simulated = sum(report.simulated for report in reports)
    actions = sum(report.actions for report in reports)
    faults: Counter[str] = sum((report.faults for report in reports), Counter())
    slowest = max(
        (report.one_configuration_after / report.bound for report in reports if report.one_configuration_after), default=0.0
    )
    violations = [violation for report in reports for violation in report.violations]
    yield (
        f"{len(reports)} runs, {simulated / 3600:.2f} simulated hours, {actions:,} events in {seconds:.1f} s: "
        f"{actions / seconds:,.0f} events/s, {simulated / seconds:.1f} times real time"
    )
    yield (
        f"{sum(r.messages for r in reports):,} messages sent, {sum(r.deliveries for r in reports):,} delivered, "
        f"{sum(r.configurations for r in reports):,} configurations, {sum(r.tokens for r in reports):,} tokens"
    )
    lost = {
        name: sum(getattr(r.datagrams, name) for r in reports)
        for name in ("sent", "lost", "cut", "duplicated", "detoured", "damaged", "overflowed")
    }
    yield "datagrams: " + ", ".join(f"{count:,} {name}" for name, count in lost.items())
    yield "faults: " + ", ".join(f"{count:,} × {kind}" for kind, count in sorted(faults.items()))
    yield f"slowest merge took {slowest:.0%} of its bound"
    overlap = max((report.quorum_overlap for report in reports), default=0.0)
    if overlap:
        yield f"longest time that a side believed in its quorum beside a new one: {overlap:.3f} s"
    longest = max(reports, key=lambda report: report.majority_overlap)
    yield (
        f"{sum(report.early_accusations for report in reports):,} early accusations; "
        f"longest overlap of two sides with a majority {longest.majority_overlap:.3f} s (seed {longest.seed})"
    )
    judged = frozenset[int]().union(*(report.properties for report in reports))
    yield f"properties checked: {', '.join(f'{number} {PROPERTIES[number]}' for number in sorted(judged))}"
    if violations:
        seeds = sum(1 for report in reports if report.violations)
        broken = Counter(f"{violation.number} {violation.name}" for violation in violations)
        yield f"VIOLATED in {seeds} runs: " + ", ".join(f"{count} × {name}" for name, count in sorted(broken.items()))
    else:
        yield "no violation"


def _spoilt(plan: Plan, name: str | None) -> Spoilt | None:
    """The deliberate defect of this name stands in the second node of the plan."""
    return (name, plan.node_ids[1]) if name else None


def _shrunk(plan: Plan, report: Report, spoilt: Spoilt | None) -> str:
    first = report.violations[0].number
    text = shrink(plan, first, spoilt)
    return text or f"seed {plan.seed}: written down step by step the run does not violate property {first}; replay the seed"


def _replay(options: argparse.Namespace) -> int:
    if not options.seed.isdecimal():
        return _play(options)
    plan = _plan(options, int(options.seed))
    facts = f"seed {plan.seed}: nodes {list(plan.node_ids)}, timeouts {plan.timeouts}, barrier {plan.barrier}"
    adapt, prepare = changes(_spoilt(plan, options.defect))
    if options.html:
        report, history = execute(plan, adapt=adapt, prepare=prepare)
        _draw(options.html, f"seed {plan.seed}", plan, history, report)
    else:
        print(f"{facts}\n{plan.conditions}\n{plan.services or plan.load}")
        report, _ = execute(plan, print, adapt, frames=options.frames, prepare=prepare)
        print(f"trace digest {report.trace_digest}")
    for violation in report.violations:
        print(f"seed {plan.seed}: {violation}")
    return 1 if report.violations else 0


def _play(options: argparse.Namespace) -> int:
    """Play a scenario file: print it with what really happens."""
    path = Path(options.seed)
    try:
        played, player = perform(path.read_text("utf-8"), print if options.frames else None, frames=options.frames)
    except (BadScenario, OSError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return EXIT_WRONG
    print(played, end="")
    if options.html and player.cluster and player.report:
        _draw(options.html, path.name, player.cluster.plan, player.cluster.recorder.history, player.report)
    return 1 if player.report and player.report.violations else 0


def _draw(path: Path, title: str, plan: Plan, history: History, report: Report) -> None:
    facts = f"token timeout {plan.timeouts['token']} ms, {plan.conditions}"
    page = timeline.draw(title, facts, history, report.violations, report.simulated)
    path.write_text(page, "utf-8")
    print(f"{path}: {len(page):,} bytes")


if __name__ == "__main__":
    sys.exit(main())
