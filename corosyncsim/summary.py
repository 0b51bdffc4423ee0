"""What many runs did, in a few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from corosyncsim.checkers import PROPERTIES
from corosyncsim.run import Report

_DATAGRAMS: Final = ("sent", "lost", "cut", "duplicated", "detoured", "damaged", "overflowed")


@dataclass(frozen=True, slots=True)
class Spent:
    """Real seconds: what all processors did, what it took from beginning to end, and with how many processes."""

    processor: float
    elapsed: float
    jobs: int = 1


def summary(reports: Sequence[Report], spent: Spent) -> Iterator[str]:
    """What was run, what it cost, and what was found; nothing but that where no run has ended."""
    simulated = sum(report.simulated for report in reports)
    actions = sum(report.actions for report in reports)
    yield f"{len(reports)} runs, {simulated / 3600:.2f} simulated hours, {actions:,} events"
    if not reports:
        return
    yield f"one core: {_speed(actions, simulated, spent.processor)}"
    yield f"in all: {_speed(actions, simulated, spent.elapsed)} with {spent.jobs} process{'es' if spent.jobs > 1 else ''}"
    yield (
        f"{sum(r.messages for r in reports):,} messages sent and {sum(r.deliveries for r in reports):,} times delivered, "
        f"{sum(r.configurations for r in reports):,} configurations formed, {sum(r.tokens for r in reports):,} tokens"
    )
    lost = {name: sum(getattr(report.datagrams, name) for report in reports) for name in _DATAGRAMS}
    yield "datagrams: " + ", ".join(f"{count:,} {name}" for name, count in lost.items())
    faults: Counter[str] = sum((report.faults for report in reports), Counter())
    yield f"{faults.total():,} faults: " + ", ".join(f"{count:,} × {kind}" for kind, count in sorted(faults.items()))
    yield from _longest(reports)
    judged = frozenset[int]().union(*(report.properties for report in reports))
    yield f"properties checked: {', '.join(f'{number} {PROPERTIES[number]}' for number in sorted(judged))}"
    yield _verdict(reports)


def _speed(actions: int, simulated: float, seconds: float) -> str:
    return f"{actions / seconds:,.0f} events/s, {simulated / seconds:.1f} times real time, {seconds:.1f} s"


def _longest(reports: Sequence[Report]) -> Iterator[str]:
    """What took longest, of things that may take a while."""
    slowest = max(
        (report.one_configuration_after / report.bound for report in reports if report.one_configuration_after), default=0.0
    )
    yield f"slowest merge took {slowest:.0%} of its bound"
    longest = max(reports, key=lambda report: report.quorum_overlap)
    yield (
        f"{sum(report.early_accusations for report in reports):,} early accusations; "
        f"two sides believed in their quorum for {longest.quorum_overlap:.3f} s at most (seed {longest.seed})"
    )


def _verdict(reports: Sequence[Report]) -> str:
    violations = [violation for report in reports for violation in report.violations]
    if not violations:
        return "no violation"
    seeds = sum(1 for report in reports if report.violations)
    broken = Counter(f"{violation.number} {violation.name}" for violation in violations)
    return f"VIOLATED in {seeds} runs: " + ", ".join(f"{count} × {name}" for name, count in sorted(broken.items()))
