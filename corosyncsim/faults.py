"""Chance's part in a run: each seed draws its own cluster, its own load, and its own choice and schedule of faults.

Swarm testing: a run does not use every kind of fault a little but some kinds much, so that rare meetings of two kinds happen.
Everything is drawn before the run begins, so that a run's plan can be read and does not depend on what the core does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from random import Random
from typing import Final, NamedTuple

from corosyncsim.network import Conditions
from corosyncsim.services.options import Options
from corosyncsim.wiretap import TYPE_NAMES

CRASH, CRASH_IN_STEP, LOSE_STORAGE, LEAVE, ROLLING, PAUSE, SLOW, CLOCK, GATHER, HOST_DOWN, REBUILD = (
    "crash",
    "crash in a step",
    "crash and lose storage",
    "leave",
    "rolling restart",
    "pause",
    "slow",
    "clock jump",
    "force gather",
    "host down",
    "socket rebuilt",
)
PARTITION, ONE_WAY, NOT_TRANSITIVE, ISOLATE, BLACK_HOLE, MUTE, STORM, REJECT = (
    "partition",
    "one-way cut",
    "cut",
    "isolate",
    "size limit",
    "mute",
    "storm",
    "firewall rejects",
)
KINDS: Final = (
    CRASH, CRASH_IN_STEP, LOSE_STORAGE, LEAVE, ROLLING, PAUSE, SLOW, CLOCK, GATHER, HOST_DOWN, REBUILD,
    PARTITION, ONE_WAY, NOT_TRANSITIVE, ISOLATE, BLACK_HOLE, MUTE, STORM, REJECT,
)  # fmt: skip
OF_LIVES: Final = frozenset((CRASH, CRASH_IN_STEP, LEAVE, PAUSE, GATHER))
"""They strike the life of a node: one that is down they do not find."""

WORST_LOSS: Final = 0.30
WORST_DUPLICATION: Final = 0.50
SMALLEST_SIZE_LIMIT: Final = 200
ETHERNET_MTU: Final = 1500
LONGEST_REBUILD: Final = 0.05
ON_THE_WAY, ONE_DIRECTION = 1, 2
"""How a firewall that rejects may differ from one on both nodes: it answers in a name of its own, or lets the answers through."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: when it begins, how long it lasts (seconds), whom it strikes and how hard."""

    time: float
    kind: str
    duration: float
    nodes: tuple[int, ...]
    number: int = 0
    conditions: Conditions | None = None

    def __str__(self) -> str:
        what = f"{self.kind} of {list(self.nodes)} for {self.duration:.3f} s"
        if self.kind == MUTE:
            return f"{what}: {TYPE_NAMES[self.number]} frames"
        return f"{what}: {self.number}" if self.number else what


@dataclass(frozen=True, slots=True)
class Load:
    """What the programs of one node do."""

    pause: float
    """Mean time between bursts, seconds."""
    burst: int
    """Largest number of messages in a burst."""
    large: float
    """Share of messages that are far longer than a frame."""
    largest: int
    """Their longest, bytes."""
    answers: float
    """Probability that a program answers a message that it gets."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a seed decides."""

    seed: int
    node_ids: tuple[int, ...]
    timeouts: dict[str, int]
    conditions: Conditions
    load: Load
    barrier: bool
    faults: tuple[Fault, ...]
    duration: float
    """Length of the phase with faults, simulated seconds."""
    services: Options | None = None
    """What stands on the rings; None: nothing but messages that name themselves."""


class Distance(NamedTuple):
    """How far apart nodes are, and what they may send there."""

    delays: tuple[float, float]
    """Mean one-way delays to draw from, as powers of ten of seconds."""
    rate: float
    """Messages a second of all nodes together."""
    largest: int
    """Bytes."""


DISTANCES: Final = {
    "site": Distance((-3.2, -2.2), inf, 1_000_000),
    "far": Distance((-2.0, -1.5), 50.0, 20_000),
}
"""A busy site, 0.6 to 6 ms; and sites 10 to 32 ms apart, where the window lets a ring of seven carry about 100 kB a second."""


def draw(seed: int, nodes: tuple[int, int], duration: float, distance: str = "site") -> Plan:
    """The plan of ``seed`` for a cluster of ``nodes`` (fewest, most) and so many seconds of faults; see ``DISTANCES``."""
    random = Random(seed * 2_654_435_761 + 1)
    count = random.randint(*nodes)
    node_ids = tuple(sorted(random.sample(range(1, 32), count)))
    apart = DISTANCES[distance]
    delay = 10 ** random.uniform(*apart.delays)
    token = int(max(200, count * delay * 1000 * random.uniform(15, 40)))
    timeouts = {
        "token": token,
        "token_coefficient": 1,
        "join": 50,
        "consensus": int(token * random.uniform(1.2, 1.6)),
        "merge": 200,
    }
    conditions = Conditions(
        delay=delay,
        tail_probability=random.choice((0.0, 0.002, 0.02)),
        loss=random.choice((0.0, 0.0, 0.001, 0.02)),
        duplication=random.choice((0.0, 0.0, 0.01)),
        detour=random.choice((0.0, 0.0, 0.02)),
        damage=random.choice((0.0, 0.0, 0.005)),
        trains=random.random() < 0.7,
    )
    load = Load(
        pause=10 ** random.uniform(-0.6, 0.5),
        burst=random.choice((1, 5, 20)),
        large=random.choice((0.0, 0.01, 0.05)),
        largest=random.choice((20_000, 60_000, 1_000_000)),
        answers=random.choice((0.0, 0.05)),
    )
    load = replace(load, pause=max(load.pause, count * load.burst / apart.rate), largest=min(load.largest, apart.largest))
    kinds = random.sample(KINDS, random.randint(2, 7))
    faults = _schedule(random, kinds, node_ids, conditions, token / 1000, duration)
    return Plan(seed, node_ids, timeouts, conditions, load, random.random() < 0.5, faults, duration)


def _schedule(
    random: Random, kinds: Sequence[str], node_ids: tuple[int, ...], conditions: Conditions, token: float, duration: float
) -> tuple[Fault, ...]:
    """Faults at random distances, some long after one another and some on top of one another."""
    mean = token * random.choice((1.0, 3.0, 8.0))
    faults: list[Fault] = []
    time = random.uniform(0.0, 2.0 * token)
    while time < duration:
        faults.append(_fault(random, random.choice(kinds), time, node_ids, conditions, token))
        time += random.expovariate(1.0 / mean)
    return tuple(faults)


def _fault(random: Random, kind: str, time: float, node_ids: tuple[int, ...], conditions: Conditions, token: float) -> Fault:
    length = token * 10 ** random.uniform(-1.5, 0.7)
    one = (random.choice(node_ids),)
    some = tuple(random.sample(node_ids, random.randint(1, len(node_ids) - 1)))
    match kind:
        case "crash in a step":
            return Fault(time, kind, length, one, number=random.randrange(1, 12))
        case "crash and lose storage":
            # The operator's rule: a node without its disk comes back only after the others have noticed that it was gone.
            return Fault(time, kind, 8.0 * token, one)
        case "rolling restart":
            return Fault(time, kind, length, tuple(random.sample(node_ids, len(node_ids))))
        case "slow":
            return Fault(time, kind, length * 2, one, number=random.choice((1, 5, 20)))
        case "partition":
            return Fault(time, kind, length * 3, some)
        case "isolate":
            return Fault(time, kind, length * 3, one)
        case "socket rebuilt":
            return Fault(time, kind, random.uniform(0.0, LONGEST_REBUILD), one)
        case "firewall rejects":
            how = random.choice((0, ON_THE_WAY))
            return Fault(time, kind, length * 2, tuple(random.sample(node_ids, 2)), number=how)
        case "one-way cut" | "cut":
            return Fault(time, kind, length * 2, tuple(random.sample(node_ids, 2)))
        case "size limit":
            where = random.choice((one, tuple(random.sample(node_ids, 2))))
            return Fault(time, kind, length * 3, where, number=random.randrange(SMALLEST_SIZE_LIMIT, ETHERNET_MTU))
        case "mute":
            return Fault(time, kind, length, one, number=random.randrange(len(TYPE_NAMES)))
        case "storm":
            return Fault(time, kind, length, node_ids, conditions=_storm(random, conditions))
        case _:
            return Fault(time, kind, length, one)


def _storm(random: Random, conditions: Conditions) -> Conditions:
    """Bad weather: each kind of misfortune may be at its worst."""
    return Conditions(
        delay=conditions.delay * random.choice((1.0, 1.0, 5.0)),
        tail_probability=random.choice((0.0, 0.1)),
        loss=random.choice((0.0, 0.05, WORST_LOSS)),
        duplication=random.choice((0.0, 0.1, WORST_DUPLICATION)),
        detour=random.choice((0.0, 0.1, 0.3)),
        damage=random.choice((0.0, 0.02)),
        trains=conditions.trains,
    )
