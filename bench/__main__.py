"""Our cluster and a stock one, in turn, under the same C programs: ``make bench``, or ``python -m bench --help``."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench import profiler, report
from bench.figures import SIDES, rows
from bench.programs import BenchError, MissingRequirement, compiled
from bench.run import run
from bench.trial import Plan
from tests.lab import LabError, missing_requirements

EXIT_FAILED, EXIT_MISSING = 1, 2
FULL = {"seconds": 3.0, "repeats": 3}
QUICK = {"seconds": 1.0, "repeats": 1}
IDLE_SECONDS = {True: 8.0, False: 15.0}
ROUND_TRIPS_A_SECOND = 1000
"""Round trips to measure for each second of load: about as long as the other loads where one takes 1 ms."""
FEWEST_ROUND_TRIPS = 100
"""Below that a 99th percentile says nothing."""
PYTHON_PACKAGES = ("msgpack", "posix_ipc", "pydantic", "rich", "setproctitle", "structlog", "sysv_ipc", "yaml")


def main() -> int:
    """Measure, print, and say by the exit status whether all went well: 1 for a failure, 2 for a missing requirement."""
    options = _options()
    signal.signal(signal.SIGTERM, _terminated)  # As an exception, so that everything is removed.
    try:
        _check_requirements()
        py_spy = profiler.find() if options.profile else None
        with compiled() as programs:
            samples, facts = run(programs, _plan(options), _say)
            if py_spy is not None:
                _say(f"profile of our node: {options.profile}")
                profiler.record(py_spy, programs, options.sched_rr, options.profile)
    except MissingRequirement as error:
        print(f"bench: {error}", file=sys.stderr)
        return EXIT_MISSING
    except (BenchError, LabError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    table = list(rows(samples))
    report.show(table, facts)
    if options.json is not None:
        chosen = {name: value for name, value in vars(options).items() if name not in ("json", "profile")}
        options.json.write_text(json.dumps(report.as_json(table, facts, chosen), indent=2, ensure_ascii=False) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", description="Three nodes of ours and three stock nodes under the same C programs."
    )
    parser.add_argument("--quick", action="store_true", help="about a minute: short loads, one repeat, both clusters up at once")
    parser.add_argument("--only", choices=SIDES, help="measure one side alone")
    parser.add_argument("--seconds", type=_positive, help="of each load (3; quick: 1)")
    parser.add_argument(
        "--repeats", type=_count, help="trials of each side in each setting; the table has median and range (3; quick: 1)"
    )
    parser.add_argument(
        "--sched-rr", choices=("yes", "no"), help="system.sched_rr of both daemons (default: each its own, ours auto, stock yes)"
    )
    parser.add_argument("--json", type=_writable, metavar="FILE", help="write all samples there as well")
    parser.add_argument(
        "--profile",
        type=_writable,
        nargs="?",
        const=Path("bench-profile.svg"),
        metavar="FILE",
        help="then profile our node under 64-byte messages with py-spy, as a flame graph (bench-profile.svg)",
    )
    options = parser.parse_args()
    defaults = QUICK if options.quick else FULL
    options.seconds = options.seconds or defaults["seconds"]
    options.repeats = options.repeats or int(defaults["repeats"])
    return options


def _plan(options: argparse.Namespace) -> Plan:
    return Plan(
        sides=(options.only,) if options.only else SIDES,
        repeats=options.repeats,
        together=options.quick,
        sched_rr=options.sched_rr,
        load_seconds=options.seconds,
        idle_seconds=IDLE_SECONDS[options.quick],
        round_trips=max(FEWEST_ROUND_TRIPS, round(options.seconds * ROUND_TRIPS_A_SECOND)),
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError("a number of seconds, above 0 and at most 3600")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1000:
        raise argparse.ArgumentTypeError("a whole number from 1 to 1000")
    return value


def _writable(text: str) -> Path:
    path = Path(text).absolute()
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written")
    return path


def _terminated(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _check_requirements() -> None:
    missing = missing_requirements()
    if shutil.which("gcc") is None:
        missing.append("gcc (package gcc)")
    packages = [name for name in PYTHON_PACKAGES if importlib.util.find_spec(name) is None]
    if packages:
        missing.append(f"the Python packages {', '.join(packages)} (make setup)")
    if not missing and subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, check=False).returncode != 0:
        missing.append("the right to make network and mount namespaces (CAP_SYS_ADMIN, which many containers do not give)")
    if missing:
        raise MissingRequirement(f"this needs {'; '.join(missing)}.")


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
