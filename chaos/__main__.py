"""Rings of real daemons under random faults: ``make chaos``, or ``python -m chaos --help``. Needs what make interop needs.

Exit status: 0 when every property held, 1 when one was violated, 2 for a missing requirement or a wrong command line.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
from pathlib import Path
from random import SystemRandom
from types import FrameType
from typing import NoReturn

from chaos.trial import Outcome, Plan, Trial
from tests.lab import LabError, missing_requirements

EXIT_VIOLATED, EXIT_MISSING = 1, 2
NODES_LIMIT = 16
SHOWN_LIMIT = 20


def main() -> int:
    """Run the trial and print what it found."""
    options = _options()
    missing = missing_requirements()
    if missing:
        print(f"chaos: needs {'; '.join(missing)}", file=sys.stderr)
        return EXIT_MISSING
    signal.signal(signal.SIGTERM, _terminated)  # As an exception, so that everything is removed.
    plan = Plan(options.seed, options.minutes, options.ours, options.stock)
    results = _unused(options.results / f"seed-{plan.seed}")
    print(f"seed {plan.seed}: {plan.ours} nodes of ours, {plan.stock} stock nodes, {plan.minutes:g} minutes", flush=True)
    try:
        outcome = Trial(plan, results, lambda text: print(text, flush=True)).run()
    except LabError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return EXIT_VIOLATED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    _show(outcome)
    if not outcome.violations:
        return 0
    for text in outcome.violations[:SHOWN_LIMIT]:
        print(f"violated: {text}")
    again = f"python -m chaos --seed {plan.seed} --ours {plan.ours} --stock {plan.stock} --minutes {plan.minutes:g}"
    print(f"{len(outcome.violations)} violations; seed {plan.seed}: {again}\nhistories, faults and logs: {results}")
    return EXIT_VIOLATED


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description="Rings of real daemons under random faults.")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (30)")
    parser.add_argument("--seed", type=int, default=None, help="of the faults and the load (default: drawn, and printed)")
    parser.add_argument("--ours", type=int, default=5, help="nodes of ours (5)")
    parser.add_argument("--stock", type=int, default=0, help="stock nodes (0)")
    parser.add_argument(
        "--results", type=Path, default=Path("chaos-results"), help="where to keep histories and logs of a violation"
    )
    options = parser.parse_args()
    if options.seed is None:
        options.seed = SystemRandom().randrange(1 << 32)
    if options.minutes <= 0 or min(options.ours, options.stock) < 0 or not 2 <= options.ours + options.stock <= NODES_LIMIT:
        parser.error(f"minutes must be above 0, and there must be 2 to {NODES_LIMIT} nodes")
    return options


def _unused(path: Path) -> Path:
    """The path, or with a number behind it: what an earlier violation left is kept."""
    names = itertools.chain([path], (path.with_name(f"{path.name}.{number}") for number in itertools.count(2)))
    return next(name for name in names if not name.exists())


def _show(outcome: Outcome) -> None:
    faults = ", ".join(f"{count} × {kind}" for kind, count in outcome.faults.most_common())
    print(f"faults: {outcome.faults.total()} ({faults}); {outcome.left_out.total()} found their victim down and were left out")
    messages = f"messages sent {outcome.sent}, delivered {outcome.delivered}"
    print(f"programs: {outcome.programs}; {messages}; membership changes told {outcome.changes}")
    print(f"rings: {outcome.rings}; longest time in which two nodes believed in quorum apart: {outcome.overlap_seconds:.2f} s")
    if outcome.gave_up:
        print(f"nodes that ended after repeated deaths of their engines: {outcome.gave_up}")
    print(f"largest growth of a process: {outcome.growth}")
    for excuse, count in outcome.excused.items():
        print(f"excused at stock nodes: {count} × {excuse}")


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
