"""What this node knows of each node: votes, expected votes, flags, state.

Source: votequorum(5), reference services sections 4.1 and 4.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag


class NodeState(IntEnum):
    """Where a node stands; nodes are never forgotten, so a node that is gone stays DEAD."""

    MEMBER = 1
    DEAD = 2
    LEAVING = 3


class NodeFlag(IntFlag):
    """Bits of a node's flags word, as they travel on the ring. Unknown bits of newer peers are kept."""

    QUORATE = 1
    LEAVING = 2
    WAITING = 4
    """Waits for all nodes to be seen together once (WFASTATUS)."""
    FIRST = 8
    """Has not been in a ring with others yet."""
    DEVICE_REGISTERED = 16
    DEVICE_ALIVE = 32
    DEVICE_CASTS_VOTE = 64
    DEVICE_MASTER_WINS = 128


DEVICE_FLAGS = NodeFlag.DEVICE_REGISTERED | NodeFlag.DEVICE_ALIVE | NodeFlag.DEVICE_CASTS_VOTE | NodeFlag.DEVICE_MASTER_WINS
DEVICE_NODE_ID = 0
"""The quorum device's place in node lists and in NODEINFO."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node that was ever seen."""

    node_id: int
    votes: int = 0
    expected_votes: int = 0
    flags: int = 0
    state: NodeState = NodeState.DEAD

    def has(self, flags: int) -> bool:
        """Whether all these flags are set."""
        return self.flags & flags == flags


Nodes = Mapping[int, Node]


def members(nodes: Nodes) -> list[Node]:
    """The nodes whose votes count."""
    return [node for node in nodes.values() if node.state is NodeState.MEMBER]


def replaced(nodes: Nodes, changed: Iterable[Node]) -> dict[int, Node]:
    """A copy of the nodes with some of them new or changed."""
    return {**nodes, **{node.node_id: node for node in changed}}


def listed(nodes: Nodes, own_id: int) -> list[Node]:
    """Every node in the order of the library's lists: ascending, but the local node last, as clients know it from stock."""
    others = sorted(node_id for node_id in nodes if node_id != own_id)
    return [nodes[node_id] for node_id in [*others, own_id]]
