"""Gather and commit: which nodes form the next ring, and whether all of them agree.

Source: Amir et al. 1995, section 5 (membership); reference totem.md §3.4, §3.5. Sets and verdicts only: the ring sends, and
keeps the timers.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, IntEnum

from corosyncd.totem.events import RingId
from corosyncd.totem.sequence import precedes
from corosyncd.totem.wire import MAXIMUM_NODES, CommitEntry, CommitToken, MembJoin

RING_SEQUENCE_STEP = 4
"""How far a new ring's sequence number lies above the highest that anybody has heard of."""
BELIEVED_SEQUENCE = 1 << 62
LONGEST_LEAP = 1 << 32
"""The field for a ring's number is finite, and whoever forges one must not use it up: above ``BELIEVED_SEQUENCE`` a frame makes
the next ring's number higher by this at most. Rings in earnest never lie so far apart."""
_EMPTY_ENTRY = CommitEntry(0, 0, 0, 0, 0)


class GatherReason(IntEnum):
    """Why a node gathers; the numbers are those of stock's logs."""

    CONSENSUS_TIMEOUT = 0
    TOKEN_LOST_OPERATIONAL = 2
    CONSENSUS_TIMEOUT_EXPIRED = 3
    TOKEN_LOST_COMMIT = 4
    TOKEN_LOST_RECOVERY = 5
    FAILED_TO_RECEIVE = 6
    FOREIGN_MCAST_OPERATIONAL = 7
    FOREIGN_MCAST_GATHER = 8
    MERGE_OPERATIONAL = 9
    MERGE_GATHER = 10
    JOIN_CHANGED_SETS = 11
    JOIN_OPERATIONAL = 12
    JOIN_COMMIT = 13
    JOIN_RECOVERY = 14
    INTERFACE_CHANGE = 15
    PORT_REFUSED = 16
    """Not in stock: see ``failover``."""


class Verdict(Enum):
    """What a join means for the round."""

    NOTHING = "nothing"
    CHANGED = "changed"
    """My sets have grown: everybody must repeat theirs."""
    CREATE_RING = "create ring"
    """All agree and I am the representative: create the commit token."""
    CREATE_ALONE = "create alone"
    """All agree, and I am the one who does not receive: form a ring of my own."""


class Membership:
    """The sets of a membership round. ``proc`` keeps the order in which nodes were learned, as stock's joins do."""

    __slots__ = ("consensus", "failed", "failed_to_receive", "left_on_purpose", "members", "node_id", "proc", "ring_sequence_max")

    def __init__(self, node_id: int, ring_sequence: int) -> None:
        self.node_id = node_id
        self.members: tuple[int, ...] = ()
        """Of the last installed configuration."""
        self.proc: dict[int, None] = {}
        self.failed: dict[int, None] = {}
        self.consensus: set[int] = set()
        self.failed_to_receive = False
        self.left_on_purpose: set[int] = set()
        self.ring_sequence_max = ring_sequence

    def restart(self) -> None:
        """A new round of joins: nobody has agreed yet but me."""
        self.proc[self.node_id] = None
        self.consensus = {self.node_id}

    def add(self, node: int) -> bool:
        """Consider a node that has shown itself; False if it was known, or if there are too many."""
        if node in self.proc or len(self.proc.keys() | self.failed.keys()) >= MAXIMUM_NODES:
            return False
        self.proc[node] = None
        return True

    def exclude(self, nodes: Iterable[int]) -> bool:
        """Accuse those of these nodes that somebody asks for; whether that changes my sets."""
        fresh = [node for node in nodes if node in self.proc and node not in self.failed]
        self.failed.update(dict.fromkeys(fresh))
        return bool(fresh)

    def hear(self, ring_sequence: int) -> None:
        """Rings of the future must be numbered above this one."""
        self.ring_sequence_max = max(self.ring_sequence_max, min(ring_sequence, self._reach()))

    def _reach(self) -> int:
        return max(self.ring_sequence_max, BELIEVED_SEQUENCE) + LONGEST_LEAP

    def candidates(self) -> tuple[int, ...]:
        """The nodes of the ring that my sets ask for, ascending; the first is its representative."""
        failed = self.failed
        return tuple(sorted(node for node in self.proc if node not in failed))

    def accused(self) -> list[int]:
        """Who is held to have failed, without those that said farewell."""
        return [node for node in self.failed if node not in self.left_on_purpose]

    def agreed(self) -> bool:
        """Whether every candidate has sent the sets that I have."""
        return self.consensus.issuperset(self.candidates())

    def silent(self) -> tuple[int, ...]:
        """The candidates that have not sent the sets that I have."""
        return tuple(node for node in self.candidates() if node not in self.consensus)

    def reopen(self, join: MembJoin) -> None:
        """A member of the forming ring has begun another round: nodes that it no longer accuses have shown themselves to it.

        We agreed on who had failed when the ring was agreed on, so its sets are the newer ones. Without this the members that had
        installed the ring and those that had not would accuse the node that made them gather, and be accused by it, without end.
        A node that it does not name at all was forgotten when it installed the ring: neither accuse it nor wait for it.
        """
        for node in self.failed.keys() - set(join.failed):
            del self.failed[node]
            if node not in join.proc:
                self.proc.pop(node, None)

    def asks_for_more(self, join: MembJoin) -> bool:
        """Whether the sender waits for a node that is not in the ring that is being committed.

        It has not had the commit token, so its join has an old ring number; and with its present sets it will never take the
        token. Stock holds the join to be late and waits for the token timeout: 12 s, where 16 nodes are switched on together.
        """
        return not (self.proc.keys() | self.failed.keys()).issuperset(node for node in join.proc if node not in join.failed)

    def consider(self, join: MembJoin) -> Verdict:
        """Process a join (§3.4): agree with it, learn from it, or neither."""
        sender = join.system_from
        proc, failed = self.proc.keys(), self.failed.keys()
        if not join.nodeid and join.failed and join.failed[-1] in proc:
            self.left_on_purpose.add(join.failed[-1])
        if proc == set(join.proc) and failed == set(join.failed):
            if join.nodeid:
                self.consensus.add(sender)
            return self._conclude()
        if proc >= set(join.proc) and failed >= set(join.failed):
            return Verdict.NOTHING
        if sender == self.node_id and sender in join.failed:
            return Verdict.NOTHING  # forged: nobody accuses itself
        # Bounded together: a join with a longer list is taken by nobody, and failed empties only with a ring.
        if sender in self.failed or len((proc | failed | {sender}).union(join.proc, join.failed)) > MAXIMUM_NODES:
            return Verdict.NOTHING
        before = len(self.proc), len(self.failed)
        self.proc.update(dict.fromkeys(join.proc))
        if self.node_id in join.failed:
            self.failed[sender] = None
        elif sender in self.members:
            # Accusations count only from those whose history I share.
            self.failed.update(dict.fromkeys(join.failed))
        # Both sets only grow. Stock gathers anew even when they did not; but then nodes that accuse different nodes, and do not
        # count each other's accusations, answer join with join as fast as the network carries them, and never time out.
        return Verdict.CHANGED if (len(self.proc), len(self.failed)) != before else Verdict.NOTHING

    def _conclude(self) -> Verdict:
        if not self.agreed():
            return Verdict.NOTHING
        if self.failed_to_receive:
            return Verdict.CREATE_ALONE
        return Verdict.CREATE_RING if self.candidates()[0] == self.node_id else Verdict.NOTHING

    def alone(self) -> None:
        """Give up on the others: I do not receive what they send."""
        self.failed_to_receive = False
        self.proc = {self.node_id: None}
        self.failed = {}

    def expire_consensus(self) -> bool:
        """The consensus timer: True if all had agreed, and only the commit token did not come; else the silent ones failed."""
        if self.agreed():
            self.consensus = {self.node_id}
            return True
        self.failed.update(dict.fromkeys(self.silent()))
        return False

    def accepts(self, token: CommitToken, ring_id: RingId) -> bool:
        """Whether a commit token is for the ring that I ask for, and on its first way through my entry."""
        return (
            token.addresses == self.candidates()
            and token.ring_representative == token.addresses[0]
            and ring_id.sequence < token.ring_sequence <= self._reach()
            and token.memb_index < len(token.addresses)
            and token.addresses[token.memb_index] == self.node_id
        )

    def create_commit_token(self) -> CommitToken:
        """The commit token of a new ring, with nobody's entry filled."""
        nodes = self.candidates()
        sequence = self.ring_sequence_max + RING_SEQUENCE_STEP
        return CommitToken(0, self.node_id, 0, 0, self.node_id, sequence, 0, 0, nodes, (_EMPTY_ENTRY,) * len(nodes))

    def install(self, members: Iterable[int]) -> None:
        """A configuration was installed: the round is over."""
        self.members = tuple(members)
        self.proc = dict.fromkeys(self.members)
        self.failed = {}
        self.consensus = set()
        self.failed_to_receive = False
        self.left_on_purpose = set()


def fill_entry(token: CommitToken, mine: CommitEntry) -> CommitToken:
    """Put my report into the commit token (§3.5 step 2).

    Of the entries of my old ring, those with a lower aru than the highest lack frames that another has, so their received
    flag falls.
    """
    index = token.memb_index
    entries = [*token.entries[:index], mine]
    same = [position for position, entry in enumerate(entries) if entry[:2] == mine[:2]]
    highest = mine.aru
    for position in same:
        if precedes(highest, entries[position].aru):
            highest = entries[position].aru
    for position in same:
        if precedes(entries[position].aru, highest):
            entries[position] = entries[position]._replace(received_flg=0)
    return token._replace(memb_index=index + 1, entries=(*entries, *token.entries[index + 1 :]))
