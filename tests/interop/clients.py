"""Connections to the nodes of a lab, and how the library tests wait for what comes over them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any, TypeVar

from coroipc.errors import TryAgain
from coroipc.library import BlockingLibrary
from libcpg import ConfigurationChange, Cpg, Reason
from tests.lab import DEADLINE, Lab, wait_until

NODES = (1, 2, 3)
SHORT = 0.3
"""Seconds in which an event that must not come would have come."""
OURSELVES = os.getpid()

L = TypeVar("L", bound=BlockingLibrary[Any])
E = TypeVar("E")


class Clients:
    """Makes connections to nodes, and closes them with the test."""

    def __init__(self, lab: Lab, stack: contextlib.ExitStack) -> None:
        self.lab = lab
        self._stack = stack

    def open(self, kind: Callable[..., L], *arguments: Any, node: int = 1, **named: Any) -> L:
        """Connect to a node, once its daemon lets programs in."""

        def attempt() -> list[L]:
            with self.lab.node(node).network(), contextlib.suppress(TryAgain):
                return [kind(*arguments, **named)]
            return []

        (library,) = wait_until(attempt, f"a connection to node {node}")
        self._stack.callback(library.close)
        return library


def event_of(library: BlockingLibrary[Any], kind: type[E], accept: Callable[[E], bool] = lambda _: True) -> E:
    """The next event of that kind that is accepted; others before it are passed over."""
    for event in library.events(DEADLINE):
        if isinstance(event, kind) and accept(event):
            return event
    raise AssertionError(f"no {kind.__name__} came")


def persist(call: Callable[[], object]) -> None:
    """Repeat a call that the daemon has no room or no time for now."""

    def attempt() -> bool:
        try:
            call()
        except TryAgain:
            return False
        return True

    wait_until(attempt, "the daemon to take a request")


def joined(clients: Clients, group: str, node: int = 1, **named: Any) -> Cpg:
    """A member of a group, once its own join was delivered."""
    cpg = clients.open(Cpg, node=node, **named)
    persist(lambda: cpg.join(group))
    event_of(cpg, ConfigurationChange, lambda change: (node, OURSELVES, Reason.JOIN) in change.joined)
    return cpg
