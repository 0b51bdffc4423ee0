"""How soon the survivors of a killed daemon are a ring again: ``make failover``, or ``python -m bench.failover --help``.

In a ring of three with the default timeouts each node's daemon is killed in turn (SIGKILL of the main process, and everything of
the node dies with it), on an idle ring and on a busy one, where a program on each node multicasts all the time. Measured is the
time from the kill until the last survivor has formed the new ring, by the time stamps of the survivors' own logs.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from bench import conditions
from bench.figures import OURS, SIDES
from tests.lab import CHECKOUT, Lab, LabError, Node, missing_requirements, wait_until

EXIT_FAILED, EXIT_MISSING = 1, 2
NODES: Final = (1, 2, 3)
LOADS: Final = ("idle", "busy")
KILLS: Final = {"ours": 20, "stock": 2}
"""How often each node is killed; a stock ring takes the token timeout and the consensus timeout, about 8 s, each time."""
APART: Final = 4.0
"""Seconds between two kills at least: twice the token timeout lies between two deaths of one node, and hosts may answer again."""
LINES: Final = 4000
_FORMED: Final = re.compile(
    r"^(\w+ +\d+ [\d:.]+) .*A new membership \(\S+\) was formed\. Members(?: joined: [\d ]+)? ?left: ([\d ]+)$"
)

Times = dict[tuple[str, str, int], list[float]]
"""Seconds by side, load and victim."""


def main() -> int:
    """Measure and print; 1 for a failure, 2 where this machine lacks something."""
    parser = argparse.ArgumentParser(prog="bench.failover", description="Kill daemons and measure how soon the others go on.")
    parser.add_argument(
        "--kills", type=int, metavar="N", help="kills of each node under each load (default 20 of ours, 2 of stock)"
    )
    parser.add_argument("--side", choices=SIDES, help="only this side")
    options = parser.parse_args()
    if missing := missing_requirements():
        print(f"bench.failover: needs {'; '.join(missing)}", file=sys.stderr)
        return EXIT_MISSING
    facts = conditions.of_machine()
    times: Times = {}
    try:
        for side in (options.side,) if options.side else SIDES:
            for load in LOADS:
                measure(side, load, options.kills or KILLS[side], times)
    except LabError as error:
        print(f"bench.failover: {error}", file=sys.stderr)
        return EXIT_FAILED
    show(times)
    facts["load average after"] = conditions.load_average()
    for name, fact in facts.items():
        print(f"{name}: {fact}")
    return 0


def measure(side: str, load: str, kills: int, times: Times) -> None:
    """Kill every node of a ring of that side ``kills`` times. Raises LabError."""
    with Lab(len(NODES)) as lab:
        for number in NODES:
            if side == OURS:
                lab.our_node(number)
            else:
                lab.stock_node(number)
        lab.wait_ring(NODES)
        busy = [lab.node(number) for number in NODES if load == "busy"]
        for node in busy:
            chatter(node)
        for turn in range(kills):
            for victim in NODES:
                print(f"{side}, {load}: kill {turn + 1} of {kills} of node {victim}", file=sys.stderr)
                times.setdefault((side, load, victim), []).append(failover(lab, victim))
                lab.node(victim).start()
                lab.wait_ring(NODES)
                if busy:
                    chatter(lab.node(victim))
                time.sleep(APART)


def chatter(node: Node) -> None:
    """Start a program that multicasts; it ends with its daemon. Raises LabError."""
    program = node.popen("env", f"PYTHONPATH={CHECKOUT}", sys.executable, "-m", "bench.chatter")
    assert program.stdout is not None
    if program.stdout.readline() != "ready\n":
        raise LabError(f"node {node.number}: the program that makes it busy could not join its group\n{node.log()}")


def failover(lab: Lab, victim: int) -> float:
    """Kill a node's daemon; seconds until the last survivor has formed the new ring. Raises LabError."""
    survivors = [lab.node(number) for number in NODES if number != victim]
    killed = time.time()
    lab.node(victim).kill()

    def all_formed() -> float | None:
        formed = [next(formed_without(node, victim, killed), None) for node in survivors]
        return max(time for time in formed if time is not None) if None not in formed else None

    formed = wait_until(all_formed, f"a ring without node {victim}", explain=survivors[0].log)
    assert formed is not None
    return formed - killed


def formed_without(node: Node, victim: int, since: float) -> Iterator[float]:
    """When the node formed rings that the victim left, by its log."""
    for line in node.log(LINES).splitlines():
        match = _FORMED.match(line)
        if match and str(victim) in match[2].split():
            stamp = datetime.strptime(f"{datetime.now().year} {match[1]}", "%Y %b %d %H:%M:%S.%f").timestamp()
            if stamp >= since - 0.001:
                yield stamp


def show(times: Times) -> None:
    """One line a side, load and victim."""
    print(f"{'':28}{'kills':>8}{'p50':>10}{'p95':>10}{'max':>10}   seconds")
    for side, load in dict.fromkeys((side, load) for side, load, _ in times):
        rows = {f"node {victim}": times[side, load, victim] for victim in NODES}
        rows["node 1, the representative"] = rows.pop("node 1")
        for name, values in [*rows.items(), ("all", [value for row in rows.values() for value in row])]:
            p95 = statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]
            print(f"{side:6}{load:5}{name:26}{len(values):>5}{statistics.median(values):>10.3f}{p95:>10.3f}{max(values):>10.3f}")


if __name__ == "__main__":
    sys.exit(main())
