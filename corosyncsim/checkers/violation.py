"""What a checker reports, and the order in which it may see a history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from corosyncsim.history import History


@dataclass(frozen=True, slots=True)
class Violation:
    """A property that did not hold: which, where, when (simulated seconds), and what was expected instead."""

    number: int
    name: str
    node_id: int
    time: float
    expected: str

    def __str__(self) -> str:
        return f"property {self.number} ({self.name}), node {self.node_id}, {self.time:.6f} s: {self.expected}"


@dataclass(frozen=True, slots=True)
class Property:
    """A numbered property, its checker, and the one way to name a breach of it."""

    number: int
    name: str

    def broken(self, node_id: int, time: float, expected: str) -> Violation:
        """The violation of this property at a node and a time."""
        return Violation(self.number, self.name, node_id, time, expected)


Checker = Callable[[History], Iterator[Violation]]
