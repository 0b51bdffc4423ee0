"""Networks with broken links: every graph for which one ring is promised, and some for which it is not.

    python -m tests.simulation.broken_links 1-617       # every graph of the promised class with three to seven nodes
    python -m tests.simulation.broken_links 618-1234    # the same once more, by other chances
    python -m tests.simulation.broken_links --others    # how many of the others settle

prints what was broken on which graph, and how many settled. The exit status is 0 if all of the promised ones did.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from random import Random
from typing import Final

from corosyncd.totem.events import ConfigurationKind
from corosyncsim import faults
from corosyncsim.faults import Fault, Load, Plan
from corosyncsim.history import History, Installed
from corosyncsim.network import Conditions
from corosyncsim.run import execute

Pairs = tuple[tuple[int, int], ...]

FEWEST, MOST = 3, 7
"""Nodes."""
MOST_PAIRS: Final = 4
CUTS: Final = (40.0, 40.0, 40.0, 100.0)
"""Seconds for which the links are broken: one trial falls into them, or two."""
OTHERS: Final[dict[str, Pairs]] = {
    "two that share nothing": ((1, 2), (3, 4)),
    "three in a chain": ((1, 2), (2, 3), (3, 4)),
    "five in a ring": ((1, 2), (2, 3), (3, 4), (4, 5), (5, 1)),
}
"""Broken pairs among five nodes for which nothing is promised; who is who is drawn."""
OF_EACH: Final = 12
OTHERS_NODES: Final = 5
OTHERS_CUT: Final = 97.0
JUDGED: Final = 60.0
"""Seconds at the end of such a cut in which a ring that is stable is formed anew for trials only."""
FORMED: Final = 4
"""Configurations at most: two for a trial of each of two victims."""


def _promised() -> Iterator[tuple[int, Pairs]]:
    for count in range(FEWEST, MOST + 1):
        nodes = range(1, count + 1)
        yield from ((count, (pair,)) for pair in combinations(nodes, 2))
        for shared in nodes:
            others = [node for node in nodes if node != shared]
            # Whoever shares all pairs reaches at least one node: else it is alone, and no link is broken but to it.
            for size in range(2, min(MOST_PAIRS, count - 2) + 1):
                for some in combinations(others, size):
                    yield count, tuple((shared, other) for other in some)


GRAPHS: Final = tuple(_promised())
"""Number of nodes and broken pairs: one pair, or two to four that share a node. Ids count only by their order."""


def promised(number: int) -> Plan:
    """A graph of the promised class, counted from 1, on a network that the number decides as well."""
    count, pairs = GRAPHS[(number - 1) % len(GRAPHS)]
    random = Random(f"broken links {number}")
    return _broken(random, number, count, pairs, random.choice(CUTS))


def other(kind: str, number: int) -> Plan:
    """A graph of a kind for which nothing is promised."""
    random = Random(f"{kind} {number}")
    names = random.sample(range(1, OTHERS_NODES + 1), OTHERS_NODES)
    pairs = tuple((names[one - 1], names[another - 1]) for one, another in OTHERS[kind])
    return _broken(random, number, OTHERS_NODES, pairs, OTHERS_CUT)


def _broken(random: Random, number: int, count: int, pairs: Pairs, lasts: float) -> Plan:
    """A ring with broken pairs, from the start or once it stands."""
    nodes = tuple(range(1, count + 1))
    delay = 10 ** random.uniform(-3.5, -2.2)
    token = int(max(200, count * delay * 1000 * random.uniform(15, 40)))
    consensus = int(token * random.uniform(1.2, 1.6))
    timeouts = {"token": token, "token_coefficient": 1, "join": 50, "consensus": consensus, "merge": 200}
    load = Load(pause=random.choice((0.3, 1.0, 1e6)), burst=3, large=0.0, largest=20_000, answers=0.0)
    begin = random.choice((0.0, 2.0))
    cuts = tuple(Fault(begin, faults.NOT_TRANSITIVE, lasts, pair) for pair in pairs)
    return Plan(number, nodes, timeouts, Conditions(delay=delay), load, barrier=True, faults=cuts, duration=begin + lasts)


def stable(plan: Plan, history: History) -> bool:
    """Whether the largest ring at the end of the cut was formed anew for trials only; promised graphs property 22 judges."""
    installed = {
        process: [event for event in events if isinstance(event, Installed) and event.time <= plan.duration]
        for process, events in history.events.items()
    }
    largest = max((events[-1].members for events in installed.values()), key=lambda members: (len(members), members))
    formed = Counter(
        process.node_id
        for process, events in installed.items()
        for event in events
        if event.kind is ConfigurationKind.REGULAR and event.time > plan.duration - JUDGED
    )
    return all(formed[node] <= FORMED for node in largest)


def _numbers(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.broken_links")
    parser.add_argument("numbers", nargs="?", type=_numbers, default=range(1, len(GRAPHS) + 1), help="first-last, counted from 1")
    parser.add_argument("--others", action="store_true", help="the kinds for which nothing is promised")
    arguments = parser.parse_args()
    if arguments.others:
        for kind in OTHERS:
            settled = sum(stable(plan, execute(plan)[1]) for plan in (other(kind, number) for number in range(1, OF_EACH + 1)))
            print(f"{kind}: {settled} of {OF_EACH} settled", flush=True)
        return 0
    unsettled = 0
    for number in arguments.numbers:
        report, _ = execute(promised(number))
        unsettled += bool(report.violations)
        for violation in report.violations[:1]:
            print(f"graph {number}, {GRAPHS[(number - 1) % len(GRAPHS)]}: {violation}", flush=True)
    print(f"{len(arguments.numbers) - unsettled} of {len(arguments.numbers)} settled")
    return int(unsettled > 0)


if __name__ == "__main__":
    sys.exit(main())
