"""Two nodes that do not reach each other, with others who reach both: one ring stands, and after the mend all are one again."""

from __future__ import annotations

import pytest

from corosyncsim import faults
from corosyncsim.faults import Fault, Load, Plan
from corosyncsim.network import Conditions
from corosyncsim.run import execute
from tests.simulation.broken_links import GRAPHS as PROMISED
from tests.simulation.broken_links import promised

TIMEOUTS = {"token": 200, "token_coefficient": 1, "join": 50, "consensus": 240, "merge": 200}
CUT = 40.0
"""Seconds; the first trial falls into them."""

GRAPHS: dict[str, tuple[int, list[tuple[int, int]], int]] = {
    "a chain of three": (3, [(1, 3)], 3),
    "neighbours on the ring of four": (4, [(2, 3)], 3),
    "the representative and the last of five": (5, [(1, 5)], 5),
    "neighbours on the ring of five": (5, [(3, 4)], 4),
    "two pairs that share the lowest": (4, [(1, 3), (1, 4)], 1),
    "two pairs that share one in the middle": (5, [(3, 4), (3, 5)], 3),
    "three pairs that share the highest": (5, [(5, 1), (5, 2), (5, 3)], 5),
}
"""Number of nodes, broken pairs, and who is left out for them."""
SOME = (66, 94, 147, 231, 377, 493, 598)
"""66: only one of two pairs that share a node breaks the ring. 94: nodes that start by and by do not see the same accusations."""


def plan(graph: str, cut_at: float, seed: int = 1) -> Plan:
    count, pairs, _ = GRAPHS[graph]
    cuts = tuple(Fault(cut_at, faults.NOT_TRANSITIVE, CUT, pair) for pair in pairs)
    load = Load(pause=1.0, burst=3, large=0.0, largest=20_000, answers=0.0)
    nodes = tuple(range(1, count + 1))
    return Plan(seed, nodes, TIMEOUTS, Conditions(delay=0.001), load, barrier=True, faults=cuts, duration=cut_at + CUT)


@pytest.mark.parametrize("cut_at", [0.0, 2.0], ids=["from the start", "on a ring that stands"])
@pytest.mark.parametrize("graph", GRAPHS)
def test_one_ring_stands_and_the_pair_is_named(graph: str, cut_at: float) -> None:
    lines: list[str] = []
    report, _ = execute(plan(graph, cut_at), lines.append, frames=False)
    assert report.violations == ()
    _, pairs, victim = GRAPHS[graph]
    named = [line for line in lines if "do not reach each other, although this node hears both" in line]
    low, high = sorted(pairs[0])
    assert any(f"Nodes {low} and {high} " in line and f"Node {victim} is left out" in line for line in named)
    assert report.one_configuration_after is not None


@pytest.mark.parametrize("number", SOME, ids=lambda number: f"{number} {PROMISED[number - 1][1]}")
def test_some_of_the_promised_graphs_settle(number: int) -> None:
    """All of them: ``python -m tests.simulation.broken_links``."""
    report, _ = execute(promised(number))
    assert report.violations == ()


def test_two_nodes_far_apart_on_the_ring_stay_in_it_by_the_help_of_the_others() -> None:
    """The token never passes between them, and what one lacks of the other a third sends again: nobody is left out."""
    cut = (Fault(2.0, faults.NOT_TRANSITIVE, CUT, (2, 4)),)
    load = Load(pause=1.0, burst=3, large=0.0, largest=20_000, answers=0.0)
    made = Plan(1, (1, 2, 3, 4, 5), TIMEOUTS, Conditions(delay=0.001), load, barrier=True, faults=cut, duration=2.0 + CUT)
    lines: list[str] = []
    report, history = execute(made, lines.append, frames=False)
    assert report.violations == ()
    assert not [line for line in lines if "is left out of the ring" in line]
    assert {epochs[-1].members for epochs in history.epochs.values()} == {(1, 2, 3, 4, 5)}
