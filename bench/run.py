"""All trials of a run: ours and stock in turn, in every window, as often as asked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from bench import conditions
from bench.figures import WINDOWS, Samples, Window
from bench.programs import Programs
from bench.trial import Measured, Plan, cluster, measure

_USED = {frozenset({True}): "yes", frozenset({False}): "no", frozenset({True, False}): "at times"}


def run(programs: Programs, plan: Plan, say: Callable[[str], None]) -> tuple[Samples, dict[str, str]]:
    """The samples, and the conditions under which they were taken. Raises BenchError, LabError.

    The side that goes first changes with each repeat, so that a drift of the machine meets both.
    """
    facts = conditions.of_machine()
    samples: Samples = {}
    realtime: dict[str, frozenset[bool]] = dict.fromkeys(plan.sides, frozenset())
    for repeat in range(plan.repeats):
        sides = plan.sides[::-1] if repeat % 2 else plan.sides
        for window in WINDOWS:
            for group in [sides] if plan.together else [(side,) for side in sides]:
                say(f"repeat {repeat + 1} of {plan.repeats}, {window.title}: {' and '.join(group)}")
                for side, measured in _trial(group, window, programs, plan):
                    realtime[side] |= measured.realtime
                    for name, value in measured.figures.items():
                        samples.setdefault((window.name, side, name), []).append(value)
    facts["load average after"] = conditions.load_average()
    facts["real-time priority used"] = ", ".join(f"{side} {_USED[seen]}" for side, seen in realtime.items())
    facts["system.sched_rr"] = plan.sched_rr or "each daemon's default (ours auto, stock yes)"
    facts["loads"] = (
        f"three nodes, udpu; {plan.load_seconds:g} s each, {plan.round_trips} round trips, {plan.idle_seconds:g} s idle"
    )
    facts["repeats"] = f"{plan.repeats}" + (", both clusters up at once" if plan.together and len(plan.sides) > 1 else "")
    return samples, facts


def _trial(sides: Sequence[str], window: Window, programs: Programs, plan: Plan) -> list[tuple[str, Measured]]:
    """Start the clusters of these sides, then measure one after the other."""
    with contextlib.ExitStack() as stack:
        rings = [stack.enter_context(cluster(side, window, plan.sched_rr)) for side in sides]
        for ring in rings:
            ring.wait_formed()
        return [(ring.side, measure(ring, programs, plan)) for ring in rings]
