"""Runs a target over so many inputs, and holds the claims on time and memory."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fuzz.mutation import Mutator
from fuzz.target import LONGEST_CPU_SECONDS, MEMORY_GROWTH_KIB, Finding, Target, claim

WARM_UP: Final = 1000
"""Inputs before memory is first looked at: imports, caches and the allocator's arenas."""
MEMORY_EVERY: Final = 5000


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did."""

    inputs: int
    seconds: float
    longest_cpu_seconds: float
    grown_kib: int
    peak_kib: int
    """Of the whole process so far."""
    dropped: Counter[str]


class Broken(Exception):
    """An input that broke a claim, or let an exception escape (the cause)."""

    def __init__(self, data: bytes, number: int) -> None:
        super().__init__(f"input {number}, {len(data)} bytes: {data[:200].hex()}{'…' if len(data) > 200 else ''}")
        self.data = data
        self.number = number


def run(target: Target, inputs: int, seed: int | str, tick: Callable[[int], None] = lambda done: None) -> Report:
    """Equal seeds run equal inputs. Raises Broken at the first input that breaks a claim."""
    mutator = Mutator(target.seeds, seed)
    began, longest, base, grown = time.perf_counter(), 0.0, 0, 0
    for number in range(inputs):
        data = mutator.next()
        try:
            longest = max(longest, run_one(target, data))
            if number == WARM_UP:
                base = memory_kib()
            elif number % MEMORY_EVERY == 0 and base:
                grown = memory_kib() - base
                claim(grown <= MEMORY_GROWTH_KIB, f"{inputs} inputs made the process grow by {grown} KiB")
                tick(number)
        except Exception as error:
            raise Broken(data, number) from error
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Report(inputs, time.perf_counter() - began, longest, grown, peak, target.dropped)


def run_one(target: Target, data: bytes) -> float:
    """One input; the processor time that it took. Raises Finding, or what escapes."""
    began = time.thread_time()
    target.run(data)
    spent = time.thread_time() - began
    if spent > LONGEST_CPU_SECONDS:
        raise Finding(f"{spent:.1f} s of processor time for one input")
    return spent


def memory_kib() -> int:
    """What this process has resident."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4
