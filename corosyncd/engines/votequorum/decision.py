"""The arithmetic of votes: how many are needed, how many there are, and whether this part of the cluster may act.

Pure functions from one ``Votes`` value to the next; nothing here knows of rings, clients or time.

Source: votequorum(5), reference services section 4.3, whose names CALC, RECALC, DECIDE and ATB the functions quote.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import NamedTuple

from corosyncd.engines.votequorum.nodes import Node, NodeFlag, Nodes, NodeState, members, replaced
from corosyncd.totem.events import NO_RING, RingId

LARGEST_QUORUM = 255
"""Stock daemons hold the quorum in eight bits; a larger one wraps there and makes small minorities quorate."""
LARGEST_VOTE_SUM = 2 * LARGEST_QUORUM - 1
"""The largest sum of votes whose majority still fits."""
LARGEST_NUMBER = 0xFFFFFFFF
"""Sums end here: votes travel to other nodes and to clients in 32 bits, and a peer may claim any number."""
UNKNOWN_NODE = -1
"""Lowest or highest node id of a daemon that was never quorate."""


class TieBreaker(IntEnum):
    """Who wins an exact split into halves (auto_tie_breaker); the numbers are those of runtime.votequorum.atb_type."""

    NONE = 0
    LOWEST = 1
    HIGHEST = 2
    LIST = 3


@dataclass(frozen=True, slots=True)
class Rules:
    """The options of votequorum(5) in force."""

    two_node: bool = False
    wait_for_all: bool = False
    last_man_standing: bool = False
    tie_breaker: TieBreaker = TieBreaker.NONE
    tie_breaker_nodes: tuple[int, ...] = ()
    allow_downscale: bool = False
    expected_votes_tracking: bool = False
    device_master_wins: bool = False
    """Set by the device's daemon, not by the configuration."""


@dataclass(frozen=True, slots=True)
class Votes:
    """Everything a decision looks at, and what it leaves behind. ``nodes`` always has the local node."""

    own_id: int
    nodes: Nodes
    rules: Rules = field(default_factory=Rules)
    device_votes: int = 0
    quorum: int = 0
    """Votes needed; only falls where a decrease is allowed."""
    quorate: bool = False
    waiting: bool = False
    """wait_for_all: all nodes were not seen together since this daemon's start, or since it lost quorum."""
    members: tuple[int, ...] = ()
    previous_members: tuple[int, ...] = ()
    ring_id: RingId = NO_RING
    expected_barrier: int = 0
    """Configured (or ordered) expected votes: what a downscale never goes below."""
    tracking_barrier: int = 0
    """The highest expected votes ever seen (expected_votes_tracking)."""
    lowest_id: int = UNKNOWN_NODE
    highest_id: int = UNKNOWN_NODE

    @property
    def us(self) -> Node:
        """The local node."""
        return self.nodes[self.own_id]

    def with_nodes(self, *changed: Node) -> Votes:
        """The same with nodes new or changed."""
        return replace(self, nodes=replaced(self.nodes, changed))

    def with_expected(self, expected_votes: int) -> Votes:
        """The same with one number of expected votes on every member."""
        return self.with_nodes(*(replace(node, expected_votes=expected_votes) for node in members(self.nodes)))

    def with_waiting(self, waiting: bool) -> Votes:
        """The same with the waiting status, which our flags repeat for the other nodes."""
        flags = self.us.flags & ~NodeFlag.WAITING | (NodeFlag.WAITING if waiting else 0)
        return replace(self.with_nodes(replace(self.us, flags=flags)), waiting=waiting)


class Calculation(NamedTuple):
    """Votes needed, and votes there are."""

    quorum: int
    total: int


class Outcome(NamedTuple):
    """What a recalculation leads to."""

    votes: Votes
    total: int
    raised_to: int
    """There are more votes than were expected: clients that track are told this new number. 0: expected votes suffice."""


def calculate(votes: Votes, *, allow_decrease: bool, expected: int = 0) -> Calculation:
    """CALC. ``expected``, where not 0, stands in for the members' highest expected votes."""
    rules = votes.rules
    if rules.allow_downscale and allow_decrease and expected:
        expected = max(votes.expected_barrier, expected)
    voters = members(votes.nodes)
    total = sum(node.votes for node in voters)
    count = len(voters)
    if votes.us.has(NodeFlag.DEVICE_CASTS_VOTE):
        total += votes.device_votes
        count += 1
    total = min(total, LARGEST_NUMBER)
    highest = expected or max((node.expected_votes for node in voters), default=0)
    quorum = max((highest + 2) // 2, (total + 2) // 2)
    if not allow_decrease:
        quorum = max(votes.quorum, quorum)
    if rules.two_node and count <= 2:
        quorum = 1
    return Calculation(quorum, total)


def recalculate(votes: Votes, *, allow_decrease: bool = False, by_nodes: bool = False) -> Outcome:
    """RECALC. With ``by_nodes`` the number of present nodes becomes what is expected (last_man_standing, a leaving node)."""
    voters = members(votes.nodes)
    # The device counts here whether it casts its vote or not: this is how many votes there could be.
    possible = min(sum(node.votes for node in voters) + votes.device_votes, LARGEST_NUMBER)
    count = len(voters) + (1 if votes.device_votes else 0) if by_nodes else 0
    raised_to = possible if possible > votes.us.expected_votes else 0
    if raised_to:
        votes = votes.with_nodes(replace(votes.us, expected_votes=possible))
    if votes.rules.expected_votes_tracking and votes.us.expected_votes > votes.tracking_barrier:
        # What a peer claims beyond any allowed sum would, once stored, refuse this node's next start.
        votes = replace(votes, tracking_barrier=min(votes.us.expected_votes, LARGEST_VOTE_SUM))
    quorum, total = calculate(votes, allow_decrease=allow_decrease, expected=count)
    votes = replace(votes, quorum=quorum)
    if count:
        votes = votes.with_expected(count)
    return Outcome(decide(votes, total), total, raised_to)


def decide(votes: Votes, total: int) -> Votes:
    """DECIDE: whether ``total`` votes make this part of the cluster quorate."""
    rules = votes.rules
    if rules.wait_for_all and votes.waiting:
        if total != votes.us.expected_votes:
            return votes
        votes = votes.with_waiting(False)
    quorate = total >= votes.quorum
    if quorate:
        present = [node.node_id for node in members(votes.nodes)]
        votes = replace(votes, lowest_id=min(present), highest_id=max(present)) if present else votes
    elif _wins_tie(votes, total) or _device_wins(votes):
        quorate = True
    flags = votes.us.flags & ~NodeFlag.QUORATE | (NodeFlag.QUORATE if quorate else 0)
    votes = replace(votes.with_nodes(replace(votes.us, flags=flags)), quorate=quorate)
    return votes.with_waiting(not quorate) if rules.wait_for_all else votes


def _wins_tie(votes: Votes, total: int) -> bool:
    """Exactly half of the votes are here, no more than the other half went at once, and the tie breaker is with us."""
    if votes.rules.tie_breaker is TieBreaker.NONE or total != votes.us.expected_votes // 2:
        return False
    return len(votes.previous_members) - len(votes.members) < votes.quorum and tie_breaker_is_here(votes)


def tie_breaker_is_here(votes: Votes) -> bool:
    """ATB. The first node of a list that is a member decides, unless an earlier one was with us and has gone: it may live on
    in the other half."""
    match votes.rules.tie_breaker:
        case TieBreaker.LOWEST:
            return is_member(votes.nodes, votes.lowest_id)
        case TieBreaker.HIGHEST:
            return is_member(votes.nodes, votes.highest_id)
        case TieBreaker.LIST:
            for node_id in votes.rules.tie_breaker_nodes:
                if node_id in votes.members:
                    return True
                if node_id in votes.previous_members:
                    return False
    return False


def _device_wins(votes: Votes) -> bool:
    """A member's device casts its vote and its word beats the count of nodes (master_wins)."""
    wanted = NodeFlag.DEVICE_MASTER_WINS | NodeFlag.DEVICE_CASTS_VOTE
    return votes.rules.device_master_wins and any(node.has(wanted) for node in members(votes.nodes))


def is_member(nodes: Nodes, node_id: int) -> bool:
    """Whether that node's votes count."""
    node = nodes.get(node_id)
    return node is not None and node.state is NodeState.MEMBER


def members_changed(votes: Votes, new: tuple[int, ...], ring_id: RingId) -> tuple[Votes, bool]:
    """A new ring: whoever is missing is dead. The flag says whether somebody is."""
    gone = [node_id for node_id in votes.members if node_id not in new]
    known = [votes.nodes[node_id] for node_id in gone if node_id in votes.nodes]
    votes = votes.with_nodes(*(replace(node, state=NodeState.DEAD) for node in known))
    return replace(votes, previous_members=votes.members, members=new, ring_id=ring_id), bool(gone)
