"""Client library for the votequorum service: votes, expected votes, and the quorum device's side.

with Votequorum() as votequorum:
    info = votequorum.getinfo()
    print(info.total_votes, "of", info.expected_votes)
"""

from libvotequorum.api import AsyncVotequorum, Votequorum
from libvotequorum.messages import (
    Event,
    ExpectedVotesNotification,
    Info,
    InfoFlag,
    Node,
    NodeListNotification,
    NodeState,
    QuorumNotification,
    Track,
)

__all__ = [
    "AsyncVotequorum",
    "Event",
    "ExpectedVotesNotification",
    "Info",
    "InfoFlag",
    "Node",
    "NodeListNotification",
    "NodeState",
    "QuorumNotification",
    "Track",
    "Votequorum",
]
