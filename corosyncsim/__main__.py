"""The simulator's command: ``corosyncsim run`` over many seeds, ``corosyncsim replay`` to read one, or a scenario.

Exit status: 0 when every property held in every run, 1 when one was violated or a run could not be judged, 2 for a wrong command
line, 130 when it was interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import perf_counter

from corosyncsim import timeline
from corosyncsim.faults import DISTANCES, Plan, draw
from corosyncsim.history import History
from corosyncsim.player import perform, told
from corosyncsim.run import Report, execute
from corosyncsim.scenario import BadScenario
from corosyncsim.services.swarm import with_services
from corosyncsim.shrink import shrink
from corosyncsim.spoiling import NAMES, Spoilt, changes, needs_services
from corosyncsim.spread import Done, each
from corosyncsim.summary import Spent, summary

SEEDS_LIMIT = 1_000_000
NODES_LIMIT = 16
JOBS_LIMIT = 256
SHRUNK_LIMIT = 3
"""Failing seeds of one command that are shrunk."""
EXIT_WRONG = 2
EXIT_INTERRUPTED = 128 + 2
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
    run.add_argument("--jobs", type=_jobs, default=1, metavar="N", help="processes that seeds are spread over")
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
    return with_services(plan, options.distance) if whole_nodes else plan


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


def _jobs(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= JOBS_LIMIT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {JOBS_LIMIT}")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    first, last = options.seeds
    began = perf_counter()
    runs: list[Done[int, Report]] = []
    interrupted = False
    try:
        with _progress(last + 1 - first) as advance, closing(_judged(options, range(first, last + 1))) as judged:
            for run in judged:
                runs.append(run)
                for line in _complaints(run):
                    print(line, flush=True)
                advance()
    except KeyboardInterrupt:
        interrupted = True
        print(f"interrupted after {len(runs)} of {last + 1 - first} seeds")
    elapsed = perf_counter() - began
    reports = [run.result for run in runs if run.result is not None]
    if not (options.no_shrink or interrupted):
        _print_shrunk(options, reports)
    for line in summary(reports, Spent(sum(run.processor for run in runs), elapsed, options.jobs)):
        print(line)
    failed = [str(run.of) for run in runs if run.result is None]
    if failed:
        print(f"NOT JUDGED: seed {', '.join(failed)}")
    if interrupted:
        return EXIT_INTERRUPTED
    return 1 if failed or any(report.violations for report in reports) else 0


def _judged(options: argparse.Namespace, seeds: range) -> Generator[Done[int, Report], None, None]:
    """The seeds' runs in their order, as many at a time as there are jobs."""

    def judge(seed: int) -> Report:
        plan = _plan(options, seed)
        adapt, prepare = changes(_spoilt(plan, options.defect))
        return execute(plan, adapt=adapt, prepare=prepare)[0]

    return each(judge, seeds, options.jobs)


def _complaints(run: Done[int, Report]) -> list[str]:
    """What is wrong with a seed's run, a line each."""
    lines = [run.failure] if run.result is None else told(run.result.violations)
    return [f"seed {run.of}: {line}" for line in lines]


def _print_shrunk(options: argparse.Namespace, reports: Sequence[Report]) -> None:
    """The first seeds that failed, each as a short scenario."""

    def shrunk(report: Report) -> str:
        plan, first = _plan(options, report.seed), report.violations[0].number
        text = shrink(plan, first, _spoilt(plan, options.defect))
        return text or f"seed {plan.seed}: written down step by step the run does not violate property {first}; replay the seed"

    bad = [report for report in reports if report.violations]
    for done in each(shrunk, bad[:SHRUNK_LIMIT], options.jobs):
        print(done.result or f"seed {done.of.seed} could not be shrunk: {done.failure}", flush=True)


@contextmanager
def _progress(seeds: int) -> Iterator[Callable[[], None]]:
    """Something to call behind each seed; it moves a progress bar where somebody watches.

    The bar has no thread of its own: processes are forked beside it.
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield lambda: None
        return
    # What is printed goes above the bar only where it goes to a terminal, too: else a file would miss it.
    screen = sys.stdout.isatty()
    with Progress(console=Console(stderr=True), auto_refresh=False, redirect_stdout=screen) as bar:
        task = bar.add_task("seeds", total=seeds)
        bar.refresh()
        yield lambda: bar.update(task, advance=1, refresh=True)


def _spoilt(plan: Plan, name: str | None) -> Spoilt | None:
    """The deliberate defect of this name stands in the second node of the plan."""
    return (name, plan.node_ids[1]) if name else None


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
