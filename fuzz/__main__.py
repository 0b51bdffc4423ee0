"""Hostile input by the million: ``make fuzz INPUTS=10000000``, or ``python -m fuzz --help``.

Half of the inputs are drawn by mutation alone, which needs nothing and repeats with its seed; half are guided by coverage, where
atheris is installed. Exit status: 0 when every claim held, 1 when one was broken, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
import traceback
from hashlib import sha256
from pathlib import Path

from fuzz.run import Broken, run, run_one
from fuzz.targets import SHARES, TARGETS

EXIT_BROKEN = 1
REASONS_SHOWN = 8
LARGEST_GUIDED_SEED = (1 << 31) - 1


def main() -> int:
    """Run what was asked for."""
    options = _options()
    names = [options.target] if options.target else list(TARGETS)
    if options.replay is not None:
        run_one(TARGETS[options.target](), options.replay.read_bytes())
        print("every claim held")
        return 0
    guided = not options.unguided and importlib.util.find_spec("atheris") is not None
    print(f"seed {options.seed}", flush=True)
    if not guided:
        why = "as asked" if options.unguided else "atheris is not installed (pip install 'corosyncd[fuzz]'; Python 3.11 to 3.13)"
        print(f"no coverage guidance: {why}; all inputs are drawn by mutation", flush=True)
    whole = sum(SHARES[name] for name in names)
    broken = 0
    for name in names:
        inputs = max(1, options.inputs * SHARES[name] // whole)
        by_guidance = inputs // 2 if guided else 0
        broken += not _mutated(name, inputs - by_guidance, options.seed, options.results)
        if by_guidance:
            broken += not _guided(name, by_guidance, options.seed, options.results)
    return EXIT_BROKEN if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz", description="Hostile input for everything that decodes what it is sent.")
    parser.add_argument("--inputs", type=int, default=200_000, help="in all, shared among the targets (200,000)")
    parser.add_argument("--seed", type=int, default=1, help="equal seeds draw equal inputs (1)")
    parser.add_argument("--target", choices=list(TARGETS), help="one target alone")
    parser.add_argument("--unguided", action="store_true", help="mutation alone, also where atheris is installed")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one kept input of --target again")
    parser.add_argument("--results", type=Path, default=Path("fuzz-results"), help="folder for inputs that break a claim")
    options = parser.parse_args()
    if options.inputs < 1 or (options.replay is not None and options.target is None):
        parser.error("--inputs must be at least 1, and --replay needs --target")
    return options


def _mutated(name: str, inputs: int, seed: int, results: Path) -> bool:
    try:
        report = run(TARGETS[name](), inputs, seed)
    except Broken as broken:
        traceback.print_exception(broken.__cause__)
        results.mkdir(parents=True, exist_ok=True)
        path = results / f"{name.replace(' ', '-')}-{sha256(broken.data).hexdigest()[:16]}"
        path.write_bytes(broken.data)
        print(f"{name}: {broken}\nrun it again: python -m fuzz --target '{name}' --replay {path}", flush=True)
        return False
    dropped = ", ".join(f"{count} {reason}" for reason, count in report.dropped.most_common(REASONS_SHOWN))
    speed = f"{report.inputs} inputs in {report.seconds:.0f} s ({report.inputs / report.seconds:.0f}/s)"
    memory = f"grown {report.grown_kib} KiB, peak {report.peak_kib >> 10} MiB"
    print(f"{name}: {speed}, longest {report.longest_cpu_seconds * 1000:.0f} ms, {memory}; {dropped}", flush=True)
    return True


def _guided(name: str, inputs: int, seed: int, results: Path) -> bool:
    with tempfile.TemporaryDirectory(prefix="corosyncd-fuzz-") as scratch:
        folder = Path(scratch)
        command = [sys.executable, "-m", "fuzz.guided", name, str(inputs), str(1 + seed % LARGEST_GUIDED_SEED), str(folder)]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode == 0:
            seconds, found = time.perf_counter() - began, len(list((folder / "corpus").iterdir()))
            reached = " to ".join(re.findall(r"(?:INITED|DONE)\s+cov: ([0-9]+)", done.stderr))
            print(f"{name}: {inputs} guided in {seconds:.0f} s, {reached} branches, {found} inputs in the corpus", flush=True)
            return True
        kept = [path for path in folder.iterdir() if path.is_file()]
        results.mkdir(parents=True, exist_ok=True)
        for path in kept:
            (results / f"{name.replace(' ', '-')}-{path.name}").write_bytes(path.read_bytes())
        print(
            f"{name}: guided run ended with status {done.returncode}; inputs in {results}\n{done.stdout}{done.stderr}", flush=True
        )
        return False


if __name__ == "__main__":
    sys.exit(main())
