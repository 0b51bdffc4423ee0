"""Which faults strike when: drawn from a seed, before anything runs.

Times are seconds from the beginning of the round. Each run of a seed has the same plan; what the daemons make of it depends on
the machine. A fault that finds its victim down already is left out and counted as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final


class Kind(StrEnum):
    """What happens; the words of the summary."""

    KILL_NODE = "node killed"
    RESTART_NODE = "node restarted in order"
    PAUSE_NODE = "node paused"
    KILL_ENGINE = "engine killed"
    PAUSE_ENGINE = "engine paused"
    KILL_FORK_SERVER = "fork server killed"
    PARTITION = "partition"
    UNPLUG = "cable unplugged"
    ONE_WAY = "one-way cut"
    NOT_TRANSITIVE = "cut between two nodes"
    REJECT = "rejecting firewall"
    LOSS = "loss"
    KILL_PROGRAM = "program killed"
    PAUSE_PROGRAM = "program paused"
    END_PROGRAM = "program ended in order"


WEIGHTS: Final = {
    Kind.KILL_NODE: 4,
    Kind.RESTART_NODE: 4,
    Kind.PAUSE_NODE: 5,
    Kind.KILL_ENGINE: 5,
    Kind.PAUSE_ENGINE: 2,
    Kind.KILL_FORK_SERVER: 1,
    Kind.PARTITION: 5,
    Kind.UNPLUG: 3,
    Kind.ONE_WAY: 2,
    Kind.NOT_TRANSITIVE: 2,
    Kind.REJECT: 2,
    Kind.LOSS: 4,
    Kind.KILL_PROGRAM: 5,
    Kind.PAUSE_PROGRAM: 3,
    Kind.END_PROGRAM: 3,
}
"""How often each kind is drawn, before a round favours some of them."""
OF_OURS_ALONE: Final = frozenset({Kind.KILL_ENGINE, Kind.PAUSE_ENGINE, Kind.KILL_FORK_SERVER})
"""Stock nodes have no such processes."""
DURATIONS: Final = {
    Kind.KILL_NODE: (0.2, 8.0),
    Kind.RESTART_NODE: (0.0, 4.0),
    Kind.PAUSE_NODE: (0.05, 6.0),
    Kind.PAUSE_ENGINE: (0.05, 3.0),
    Kind.PARTITION: (0.5, 15.0),
    Kind.UNPLUG: (0.2, 10.0),
    Kind.ONE_WAY: (0.5, 8.0),
    Kind.NOT_TRANSITIVE: (0.5, 8.0),
    Kind.REJECT: (0.5, 6.0),
    Kind.LOSS: (1.0, 12.0),
    Kind.PAUSE_PROGRAM: (0.1, 6.0),
}
"""Seconds until a fault is undone, least and most; kinds without an entry need nothing undone."""
ENGINES: Final = ("cmap", "cfg", "cpg", "quorum", "votequorum")
LOSS_PERMILLE: Final = (10, 300)
MEAN_GAP_SECONDS: Final = 2.5
"""Between the beginnings of two faults."""
FAULTS_LIMIT: Final = 1000
"""A round draws no more."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``nodes``: the victims, or one side of a partition; ``detail`` is what its kind needs besides."""

    at: float
    kind: Kind
    nodes: tuple[int, ...]
    seconds: float
    detail: int | str = 0

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        until = f" for {self.seconds:.2f} s" if self.seconds else ""
        return f"{self.kind}{detail} at {', '.join(map(str, self.nodes))}{until}"


def draw(seed: int, number: int, ours: Sequence[int], stock: Sequence[int], seconds: float) -> list[Fault]:
    """The faults of a round. Each round favours some kinds and leaves some out (swarm)."""
    random = Random(f"{seed}/{number}")
    weights = {
        kind: weight * random.choice((0, 1, 1, 1, 3)) for kind, weight in WEIGHTS.items() if ours or kind not in OF_OURS_ALONE
    }
    if not any(weights.values()):
        weights = dict(WEIGHTS)
    pace = random.uniform(0.5, 2.0)
    faults: list[Fault] = []
    at = 0.0
    while len(faults) < FAULTS_LIMIT:
        at += random.expovariate(1 / (MEAN_GAP_SECONDS * pace))
        if at >= seconds:
            break
        (kind,) = random.choices(list(weights), list(weights.values()))
        faults.append(_fault(random, at, kind, tuple(ours), (*ours, *stock)))
    return faults


def _fault(random: Random, at: float, kind: Kind, ours: tuple[int, ...], everybody: tuple[int, ...]) -> Fault:
    nodes: tuple[int, ...] = (random.choice(ours if kind in OF_OURS_ALONE else everybody),)
    detail: int | str = 0
    match kind:
        case Kind.KILL_ENGINE | Kind.PAUSE_ENGINE:
            detail = random.choice(ENGINES)
        case Kind.PARTITION:
            nodes = tuple(sorted(random.sample(everybody, random.randint(1, len(everybody) - 1))))
        case Kind.ONE_WAY | Kind.NOT_TRANSITIVE | Kind.REJECT:
            nodes = tuple(random.sample(everybody, 2))
        case Kind.LOSS:
            detail = random.randint(*LOSS_PERMILLE)
            if random.random() < 0.3:
                nodes = everybody
        case Kind.KILL_PROGRAM | Kind.PAUSE_PROGRAM | Kind.END_PROGRAM:
            detail = random.choice(("c", "python"))
    least, most = DURATIONS.get(kind, (0.0, 0.0))
    # Short ones as often as long ones: a pause of 100 ms and one of 5 s are different faults.
    seconds = least + (most - least) * random.random() ** 2
    return Fault(at, kind, nodes, seconds, detail)
