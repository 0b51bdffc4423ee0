"""What a successor needs when this engine's process dies: the cluster must not notice that the count began anew.

Design: "Engine death, step by step". The executive holds the last blob; it lives as long as the node does and never reaches
a disk, so wait_for_all begins again after a restart of the node, as on stock nodes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from corosyncd.engines.votequorum.configuration import Settings
from corosyncd.engines.votequorum.decision import Rules, TieBreaker, Votes
from corosyncd.engines.votequorum.nodes import Node, NodeState
from corosyncd.totem.events import RingId

_NUMBERS = (
    "device_votes",
    "quorum",
    "quorate",
    "waiting",
    "expected_barrier",
    "tracking_barrier",
    "lowest_id",
    "highest_id",
)


@dataclass(frozen=True, slots=True)
class Kept:
    """The state of one moment."""

    votes: Votes
    settings: Settings
    device_name: str = ""
    window_open: bool = False

    def encode(self) -> bytes:
        """As a blob."""
        votes = self.votes
        state: dict[str, Any] = {name: getattr(votes, name) for name in _NUMBERS}
        state["own_id"] = votes.own_id
        state["nodes"] = [list(asdict(node).values()) for node in votes.nodes.values()]
        state["members"] = votes.members
        state["previous_members"] = votes.previous_members
        state["ring_id"] = votes.ring_id
        state["rules"] = asdict(votes.rules)
        state["settings"] = asdict(self.settings)
        state["device_name"] = self.device_name
        state["window_open"] = self.window_open
        return json.dumps(state).encode()


def decode(blob: bytes) -> Kept:
    """The predecessor's state. Raises ValueError, KeyError or TypeError for a blob of something else."""
    state = json.loads(blob)
    nodes = [
        Node(node_id, node_votes, expected_votes, flags, NodeState(node_state))
        for node_id, node_votes, expected_votes, flags, node_state in state["nodes"]
    ]
    votes = Votes(
        own_id=state["own_id"],
        nodes={node.node_id: node for node in nodes},
        rules=_rules(state["rules"]),
        members=tuple(state["members"]),
        previous_members=tuple(state["previous_members"]),
        ring_id=RingId(*state["ring_id"]),
        **{name: state[name] for name in _NUMBERS},
    )
    settings = state["settings"]
    settings["rules"] = _rules(settings["rules"])
    settings["initial_tie_breaker"] = TieBreaker(settings["initial_tie_breaker"])
    return Kept(votes, Settings(**settings), state["device_name"], state["window_open"])


def _rules(fields: dict[str, Any]) -> Rules:
    fields["tie_breaker"] = TieBreaker(fields["tie_breaker"])
    fields["tie_breaker_nodes"] = tuple(fields["tie_breaker_nodes"])
    return Rules(**fields)
