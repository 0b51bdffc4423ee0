"""Recovery: the members of an old ring who go on together exchange its last frames before the new ring is installed.

Source: Amir et al. 1995, section 6 (recovery); reference totem.md §3.6, §3.8.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from corosyncd.totem.events import RingId
from corosyncd.totem.ordering import SortQueue
from corosyncd.totem.sequence import MASK, lower, precedes
from corosyncd.totem.wire import ENCAPSULATED, MAGIC, MCAST, SIGNATURES, VERSION, CommitToken, FrameType, OrfToken

QUIET_VISITS: Final = 2
"""Visits without old frames on the way, after which the token's seq is where the new ring's own frames begin."""
FULL_ROTATIONS: Final = 2
"""Visits with everything received everywhere, after which the ring is operational: for all of them the fourth visit at least.

Going earlier would put frames of the new ring into the old queues of slower stock nodes."""

_PLACE: Final = tuple(MCAST.partial("seq", "ring_representative", "ring_sequence", swapped=order) for order in (False, True))
_SYSTEM_FROM: Final = tuple(MCAST.partial("system_from", swapped=order) for order in (False, True))


class Recovery:
    """One attempt to recover: the queue of the forming ring, and what this node still has to offer of the old one."""

    __slots__ = (
        "_flag_is_mine",
        "_full_rotations",
        "_install_seq",
        "_node_id",
        "_old_ring",
        "_quiet_visits",
        "_received",
        "_waiting",
        "commit_seq",
        "complete",
        "deliver_members",
        "members",
        "queue",
        "started",
        "transitional",
    )

    def __init__(self, node_id: int, token: CommitToken, old: SortQueue, old_members: tuple[int, ...]) -> None:
        self._node_id = node_id
        self.members = token.addresses
        self.queue = SortQueue(RingId(token.ring_representative, token.ring_sequence))
        entries = dict(zip(token.addresses, token.entries, strict=True))
        shared = {node: entry for node, entry in entries.items() if node in old_members and entry[:2] == old.ring_id}
        self.transitional = tuple(shared)
        """The members who come with me from the old ring. One that restarted meanwhile is not among them."""
        self.deliver_members: tuple[int, ...] = ()
        """Those whose old messages are delivered even behind a gap."""
        self._old_ring = old.ring_id
        self._waiting: dict[int, bytes] = {}
        """Old frames still to send, by their places in the old ring."""
        self._received = node_id in entries and bool(entries[node_id].received_flg)
        if any(not entry.received_flg for entry in shared.values()):
            self.deliver_members = self.transitional
            low = old.high_seq
            for entry in shared.values():
                low = lower(low, entry.aru)
            self._waiting = _held_frames(old, low)
        self.started = False
        """Whether the representative has sent the ring's first token."""
        self.commit_seq = token.token_seq
        """The number with which the complete commit token came first; one that ends the second rotation has a higher one."""
        self.complete = False
        self._flag_is_mine = False
        self._quiet_visits = 0
        self._install_seq = 0
        self._full_rotations = 0

    def backlog(self) -> int:
        """Old frames that wait to be sent."""
        return len(self._waiting)

    def take(self, limit: int, seq: int, this_seqno: int, ring: RingId) -> list[bytes]:
        """Old frames, unchanged, inside frames of the new ring."""
        frames = []
        node, pack, waiting = self._node_id, MCAST.little.pack, self._waiting
        for index, old_place in enumerate(list(islice(waiting, limit))):
            place, serial = (seq + index) & MASK, (this_seqno + index) & MASK
            head = pack(MAGIC, VERSION, FrameType.MCAST, ENCAPSULATED, node, 0, node, place, serial, *ring, 0, 0)
            frames.append(head + waiting.pop(old_place))
        return frames

    def accept(self, seq: int, outer: bytes) -> bool:
        """Another member's old frame, inside its own; False for a duplicate and for one outside the window.

        This node sends it no more. Stock does; but the members' copies together may fill the window of the forming ring, where
        nothing is released, and then nobody can send the rest: the ring recovers for ever.
        """
        if not self.queue.insert(seq, outer):
            return False
        if self._waiting and (inner := _inner_frame(outer, self._old_ring)) is not None:
            self._waiting.pop(inner[0], None)
        return True

    def first_token(self, target: int) -> OrfToken:
        """The token that the representative lets go, without having visited itself."""
        self.started = True
        self._flag_is_mine = bool(self._waiting)
        node, ring = self._node_id, self.queue.ring_id
        # fmt: off
        return OrfToken(0, node, target, 0, 0, MASK, node, ring.representative, ring.sequence, 0, 0, int(self._flag_is_mine), ())
        # fmt: on

    def visit(self, token: OrfToken) -> OrfToken:
        """What recovery adds to a visit (§3.6); ``complete`` tells when the new ring may be installed."""
        flag = token.retrans_flg
        if self._waiting:
            if not flag:
                flag, self._flag_is_mine = 1, True
        elif flag == 1 and self._flag_is_mine:
            flag, self._flag_is_mine = 0, False
        self._quiet_visits = 0 if flag else self._quiet_visits + 1
        if self._quiet_visits == QUIET_VISITS:
            self._install_seq = token.seq
        if self._quiet_visits >= QUIET_VISITS and not self._received and not precedes(self.queue.aru, self._install_seq):
            self._received = True
            self.deliver_members = self.transitional
        if self._quiet_visits > QUIET_VISITS and not precedes(token.aru, self._install_seq):
            self._full_rotations += 1
        else:
            self._full_rotations = 0
        self.complete = self._full_rotations >= FULL_ROTATIONS
        return token if flag == token.retrans_flg else token._replace(retrans_flg=flag)

    def restore(self, old: SortQueue) -> tuple[list[bytes], list[bytes]]:
        """Put what was recovered into the old queue, and return what there is still to deliver of the old ring:

        the frames up to the first gap, and those behind it whose originators share this node's fate.
        """
        seq = 0
        while seq != self.queue.aru:
            seq = (seq + 1) & MASK
            restore_frame(self.queue.frames[seq], old)
        first = _contiguous(old)
        rest = []
        seq = old.high_delivered
        while seq != old.high_seq:
            seq = (seq + 1) & MASK
            frame = old.frames.get(seq)
            if frame is not None and _originator(frame) in self.deliver_members:
                rest.append(frame)
        old.high_delivered = old.high_seq
        return first, rest


def restore_frame(outer: bytes, old: SortQueue) -> None:
    """Put the frame inside an encapsulated one back into its place in the old ring; a stranger's is left alone."""
    inner = _inner_frame(outer, old.ring_id)
    if inner is not None:
        old.insert(*inner)


def _inner_frame(outer: bytes, old_ring: RingId) -> tuple[int, bytes] | None:
    """The frame inside an encapsulated one, with its place in the old ring; None for a wreck and for a stranger's."""
    inner = outer[MCAST.size :]
    known = SIGNATURES.get(inner[:4])
    if outer[MCAST.offsets["encapsulated"]] != ENCAPSULATED or known is None or len(inner) < MCAST.size:
        return None
    kind, swapped = known
    seq, representative, sequence = _PLACE[swapped].unpack_from(inner)
    return (seq, inner) if kind is FrameType.MCAST and old_ring == (representative, sequence) else None


def _held_frames(old: SortQueue, low: int) -> dict[int, bytes]:
    """What is here of the old ring above ``low``; a false report cannot make this look below what was released."""
    frames = {}
    if precedes(low, old.released):
        low = old.released
    while low != old.high_seq:
        low = (low + 1) & MASK
        frame = old.frames.get(low)
        if frame is not None:
            frames[low] = frame
    return frames


def _contiguous(old: SortQueue) -> list[bytes]:
    """The undelivered frames up to the first gap, which are counted as delivered."""
    frames = []
    while old.high_delivered != old.aru:
        old.high_delivered = (old.high_delivered + 1) & MASK
        frames.append(old.frames[old.high_delivered])
    return frames


def _originator(frame: bytes) -> int:
    known = SIGNATURES[frame[:4]]
    originator: int = _SYSTEM_FROM[known[1]].unpack_from(frame)[0]
    return originator
