"""One run: a phase in which faults strike, then a quiet phase in which the cluster has to recover, then judgement.

Safety must hold throughout. Liveness is asked only of the quiet phase, within stated bounds.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from corosyncd.totem.events import RingId
from corosyncd.totem.timeouts import Parameters
from corosyncsim.checkers import ON_BARE_RINGS, ON_WHOLE_NODES, Property, Violation, check_history
from corosyncsim.cluster import Cluster, wait
from corosyncsim.faults import Plan
from corosyncsim.history import History, Quiet
from corosyncsim.injector import Injector
from corosyncsim.network import Counters
from corosyncsim.node import MakeCore
from corosyncsim.overlap import quorum_overlap

MEMBERSHIP_ROUNDS: Final = 3
"""Rounds of membership that the last fault may leave to be done: one that fails on old knowledge, one a half, one that merges."""
DRAIN_BOUND: Final = 30.0
"""Seconds in which one configuration must deliver what its programs had queued, and one message more from each."""
CALM: Final = Property(0, "no exception")
START_SPREAD: Final = 0.2


@dataclass(frozen=True, slots=True)
class Report:
    """What one run did and what it found."""

    seed: int
    simulated: float
    actions: int
    datagrams: Counters
    messages: int
    deliveries: int
    configurations: int
    """Regular ones that were formed, however many nodes installed each."""
    tokens: int
    faults: Counter[str]
    one_configuration_after: float | None
    bound: float
    violations: tuple[Violation, ...]
    early_accusations: int
    quorum_overlap: float
    """The longest time for which two sides believed in their quorum, seconds."""
    trace_digest: str
    properties: frozenset[int] = ON_BARE_RINGS
    """Those that were judged."""


def merge_bound(parameters: Parameters) -> float:
    """Seconds after the last fault by which all nodes must be one configuration (property 14).

    Each round of membership may take a token timeout to be noticed and a consensus timeout to be agreed on; an idle ring shows
    itself to others once a hold and merge interval.
    """
    round_time = parameters.token + parameters.consensus + parameters.hold + parameters.merge + 2 * parameters.join
    return MEMBERSHIP_ROUNDS * round_time


def starts(plan: Plan) -> dict[int, float]:
    """When each node starts for the first time, seconds."""
    random = Random(f"starts of seed {plan.seed}")
    return {node_id: random.uniform(0.0, START_SPREAD) for node_id in sorted(plan.node_ids)}


def execute(
    plan: Plan,
    sink: Callable[[str], object] | None = None,
    adapt: Callable[[MakeCore], MakeCore] | None = None,
    *,
    frames: bool = True,
    prepare: Callable[[Cluster], None] = lambda cluster: None,
) -> tuple[Report, History]:
    """Run ``plan``; ``sink`` gets the trace line by line, with the ``frames`` on the wire or without them.

    ``adapt`` may change the cores, and ``prepare`` the cluster before anything runs (for tests of the checkers).
    """
    cluster = Cluster(plan, sink, adapt, frames=frames)
    prepare(cluster)
    injector, programs = Injector(cluster), cluster.programs
    for node_id, time in starts(plan).items():
        cluster.kernel.at(time, cluster.nodes[node_id].start)
    programs.start()
    injector.start()
    history = cluster.recorder.history
    raised: tuple[Violation, ...] = ()
    try:
        cluster.kernel.run_until(plan.duration)
        programs.stop()
        injector.end()
        cluster.recorder.note("phase", "quiet")
        history.quiet = quiet_phase(cluster)
    except OSError:
        raise  # the core has no I/O: this is the reader of the trace who went away
    except Exception as error:
        raised = (raised_by(cluster, error),)
    return judge(cluster, injector, raised), history


def judge(cluster: Cluster, injector: Injector, raised: tuple[Violation, ...] = ()) -> Report:
    """What became of a run that has ended: every property looked at, after what was ``raised``."""
    recorder = cluster.recorder
    history = recorder.history
    quiet = history.quiet
    united_at = quiet.one_configuration_at if quiet else None
    return Report(
        seed=cluster.plan.seed,
        simulated=cluster.kernel.now,
        actions=cluster.kernel.actions,
        datagrams=cluster.network.counters,
        messages=cluster.programs.sent,
        deliveries=cluster.programs.delivered,
        configurations=len(history.formed()),
        tokens=cluster.recorder.rules.tokens,
        faults=injector.injected,
        one_configuration_after=united_at - quiet.began if quiet and united_at is not None else None,
        bound=merge_bound(cluster.parameters),
        violations=(*raised, *violations_of(cluster)),
        early_accusations=len(recorder.accusations.accusations),
        quorum_overlap=quorum_overlap(history, len(cluster.nodes), cluster.kernel.now),
        trace_digest=cluster.trace.digest(),
        properties=ON_BARE_RINGS if cluster.plan.services is None else ON_WHOLE_NODES,
    )


def violations_of(cluster: Cluster) -> tuple[Violation, ...]:
    """Every property that did not hold so far; liveness is judged in a run that has had its quiet phase."""
    recorder = cluster.recorder
    return (*recorder.rules.violations, *recorder.accusations.violations, *check_history(recorder.history))


def raised_by(cluster: Cluster, error: Exception) -> Violation:
    """An exception out of the core is a violation of its own: nothing that a network brings may raise there."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(where.filename).name}:{where.lineno}"
    return CALM.broken(0, cluster.kernel.now, f"no step should raise; {place} raised {type(error).__name__}: {error}")


def quiet_phase(cluster: Cluster) -> Quiet:
    """The phase without faults. What the last fault still breaks once the nodes were one begins the wait anew."""
    began = cluster.kernel.now
    united_by = began + merge_bound(cluster.parameters)
    while True:
        united_at = wait(cluster, united_by, lambda: not cluster.still_apart())
        drained_by = cluster.kernel.now + DRAIN_BOUND
        if united_at is None or united_at > united_by:
            apart = cluster.still_apart() or [f"one configuration only at {united_at} s"]
            return Quiet(began, united_by, None, drained_by, None, (), tuple(apart), cluster.leaving())
        ring_ids = cluster.ring_ids()
        drained_at, missing = cluster.programs.drain(_until(cluster, drained_by, ring_ids))
        if cluster.ring_ids() == ring_ids:
            return Quiet(began, united_by, united_at, drained_by, drained_at, tuple(missing), ())


def _until(cluster: Cluster, end: float, ring_ids: set[RingId]) -> Callable[[Callable[[], bool]], float | None]:
    """A way to wait until ``end`` at the latest, and no longer than the rings are these."""
    return lambda reached: wait(cluster, end, lambda: reached() or cluster.ring_ids() != ring_ids)
