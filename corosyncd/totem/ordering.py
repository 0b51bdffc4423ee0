"""The total order: which frames are here, and what a visit of the token does about it.

Source: Amir et al. 1995, section 4 (total ordering); reference totem.md §3.7, whose steps A to H the comments name.
"""

from __future__ import annotations

from typing import Final, Protocol

from corosyncd.totem.events import RingId
from corosyncd.totem.sequence import BEFORE_ZERO, MASK, lower, precedes
from corosyncd.totem.statistics import Statistics
from corosyncd.totem.timeouts import Parameters
from corosyncd.totem.wire import MAXIMUM_RETRANSMIT_ENTRIES, OrfToken, RetransmitRequest

WINDOW: Final = 16384
"""Frames in a sort queue, from the first that is not released. Stock's arrays have this size: its tokens must fit it."""
_HALF: Final = 0x80000000
NEW_FRAMES: Final = WINDOW // 2
"""Half of the window is for new frames of an operational ring. All that a member lacks may have to pass the recovery of the next
ring, where nothing is released: the rest is room for the copies that several members send there, without which it would not end.
"""


class FrameSource(Protocol):
    """Where the frames of a visit come from: the packer, or in recovery the frames of the old ring."""

    def backlog(self) -> int:
        """Frames that wait."""

    def take(self, limit: int, seq: int, this_seqno: int, ring: RingId) -> list[bytes]:
        """At most ``limit`` frames for the places from ``seq`` on."""


class SortQueue:
    """The frames of one ring by their place in the order. Invariant: released ≤ high_delivered ≤ aru ≤ high_seq."""

    __slots__ = ("aru", "frames", "high_delivered", "high_seq", "released", "ring_id")

    def __init__(self, ring_id: RingId) -> None:
        self.ring_id = ring_id
        self.frames: dict[int, bytes] = {}
        self.aru = 0
        """Everything up to here is here."""
        self.high_seq = 0
        self.high_delivered = 0
        self.released = 0
        """Everything up to here is everywhere, and gone from ``frames``."""

    def insert(self, seq: int, frame: bytes) -> bool:
        """Take a frame; False for a duplicate and for one outside the window."""
        frames = self.frames
        if ((seq - self.released - 1) & MASK) >= WINDOW or seq in frames:
            return False
        frames[seq] = frame
        if ((seq - self.high_seq - 1) & MASK) < _HALF:
            self.high_seq = seq
        aru = self.aru
        if seq == (aru + 1) & MASK:
            while seq in frames:
                aru = seq
                seq = (seq + 1) & MASK
            self.aru = aru
        return True

    def append(self, frames: list[bytes]) -> None:
        """Take this node's own new frames, which follow ``high_seq`` directly."""
        seq = self.high_seq
        if self.aru == seq:
            self.aru = (seq + len(frames)) & MASK
        slots = self.frames
        for frame in frames:
            seq = (seq + 1) & MASK
            slots[seq] = frame
        self.high_seq = seq

    def release(self, seq: int) -> None:
        """Forget the frames up to ``seq``: every member has them."""
        released, frames = self.released, self.frames
        if ((seq - released) & MASK) > WINDOW:
            return
        while released != seq:
            released = (released + 1) & MASK
            frames.pop(released, None)
        self.released = released

    def settle(self) -> None:
        """Count everything so far as delivered and released (recovery frames, once every member has them)."""
        self.high_delivered = self.released = self.aru = self.high_seq
        self.frames.clear()


LONE_SENDER_RESERVE: Final = 10
"""A lone sender leaves this part of the window (a tenth) to a node that begins to send: it need not wait a rotation."""


class Ordering:
    """What a node remembers from one visit of the token to the next."""

    __slots__ = (
        "_aru_count",
        "_last_aru",
        "_misses",
        "_sent_last",
        "_statistics",
        "backlog_reported",
        "failed_to_receive",
        "held",
        "last_seq",
        "missing",
        "node_id",
        "parameters",
        "this_seqno",
        "token_seq_seen",
        "unchanged",
    )

    def __init__(self, node_id: int, parameters: Parameters, statistics: Statistics) -> None:
        self.node_id = node_id
        self.parameters = parameters
        self._statistics = statistics
        self.this_seqno = 0
        """Frames sent since the start: an informational field of every mcast."""
        self.last_seq = 0
        self.token_seq_seen = BEFORE_ZERO
        self.unchanged = 0
        """Visits in a row on which the token's seq had not moved."""
        self.held = False
        """Whether the token is believed to rest at the representative."""
        self.failed_to_receive = False
        self.missing: tuple[RetransmitRequest, ...] = ()
        """The retransmit list after the last visit."""
        self._misses: dict[int, int] = {}
        """Frame to the visits that missed it. What the list has no room for keeps its count, or a long gap would take five times
        the visits; frames that have come are forgotten with the gap, or when there are many."""
        self._last_aru = 0
        self._aru_count = 0
        self._sent_last = 0
        self.backlog_reported = 0

    def commit(self) -> None:
        """A ring is being formed: nothing of ours is in its flow control sums yet."""
        self._sent_last = self.backlog_reported = 0

    def recover(self) -> None:
        """The token of a new ring is about to start."""
        self.token_seq_seen = BEFORE_ZERO
        self.unchanged = self._aru_count = 0
        self._misses.clear()

    def operational(self) -> None:
        """The new ring is installed."""
        self._last_aru = self._aru_count = 0
        self.failed_to_receive = False

    def note(self, seq: int, representative: bool) -> bool:
        """Follow the token's seq; returns whether it moved. Sets ``held``: the representative counts one visit more."""
        if seq != self.last_seq:
            self.last_seq = seq
            self.unchanged = 0
            self.held = False
            return True
        unchanged = self.unchanged = self.unchanged + 1
        limit = self.parameters.seqno_unchanged_const
        self.held = unchanged > limit if representative else unchanged >= limit
        return False

    def visit(
        self, token: OrfToken, queue: SortQueue, source: FrameSource, target: int, release: bool
    ) -> tuple[list[bytes], OrfToken]:
        """Steps A to H: the frames to multicast, and the token as it goes on to node ``target``.

        ``release`` is set in an operational ring, where delivered frames may be forgotten.
        """
        seq, aru = token.seq, token.aru
        frames: list[bytes]
        previous_aru, self._last_aru = self._last_aru, aru
        if release:
            stable = lower(lower(aru, previous_aru), queue.high_delivered)
            if stable != queue.released:
                queue.release(stable)
        backlog = source.backlog()
        allowed = self._allowed(token, backlog)
        requests, frames = token.rtr, []
        if requests:
            requests, frames = self._retransmit(requests, queue, allowed)
        sent = len(frames)
        if queue.aru != seq:
            requests = self._request(requests, queue, seq)
        elif self._misses:
            self._misses.clear()
        self.missing = requests
        if self.held and self.parameters.cancel_token_hold_on_retransmit and (requests or sent):
            self.held = False
        allowed -= sent
        # C and D. Numbers that would leave somebody's window are not given out: a stock node aborts there.
        limit = queue.released + (NEW_FRAMES if release else WINDOW) - allowed - self.parameters.window_size
        if backlog and allowed > 0 and not precedes(limit & MASK, seq):
            new = source.take(allowed, (seq + 1) & MASK, self.this_seqno, queue.ring_id)
            # The token's seq counts frames that have not arrived here, too.
            queue.high_seq = seq
            queue.append(new)
            seq = queue.high_seq
            self.this_seqno = (self.this_seqno + len(new)) & MASK
            sent += len(new)
            if release:
                self._statistics.mcast_tx += len(new)
            frames += new
        # E. The sums change by exactly what we contribute, or the whole ring starves or floods.
        fcc = (token.fcc + sent - self._sent_last) & MASK
        total_backlog = (token.backlog + backlog - self.backlog_reported) & MASK
        self._sent_last = sent
        self.backlog_reported = backlog
        # F. Whoever lacks frames holds the aru down; whoever held it down lets it go.
        mine, holder = queue.aru, token.aru_addr
        if holder == self.node_id or not holder or precedes(mine, aru):
            aru = mine
            holder = 0 if mine == seq else self.node_id
        # G. An aru that we hold down for thousands of visits: this node does not receive.
        if holder and aru == previous_aru:
            self._aru_count += 1
            self.failed_to_receive = self._aru_count > self.parameters.fail_recv_const and holder == self.node_id
        else:
            self._aru_count = 0
        # H.
        self.token_seq_seen = token.token_seq
        # fmt: off
        onward = OrfToken(0, self.node_id, target, seq, (token.token_seq + 1) & MASK, aru, holder, token.ring_representative,
                          token.ring_sequence, total_backlog, fcc, token.retrans_flg, requests)
        # fmt: on
        return frames, onward

    def _allowed(self, token: OrfToken, backlog: int) -> int:
        """Flow control: the window of the whole ring, this node's part of it, and its share of what all have waiting.

        Where nobody else has anything waiting, max_messages protects nobody: a lone sender takes what is free of the window, its
        own frames of the last rotation counted as free, less a reserve for whoever comes next. The sums stay exact, so stock
        nodes see an ordinary ring whose window is used well.
        """
        parameters = self.parameters
        window_size = parameters.window_size
        others = (token.backlog - self.backlog_reported) & MASK
        if not others:
            free = window_size - token.fcc + self._sent_last - window_size // LONE_SENDER_RESERVE
            if free > parameters.max_messages:
                return free
        allowed = min(parameters.max_messages, window_size - token.fcc)
        waiting = (others + backlog) & MASK
        if waiting:
            share = window_size * self.backlog_reported // waiting
            if 0 < share < allowed:
                return share
        return allowed if allowed > 0 else 0

    def _retransmit(
        self, requests: tuple[RetransmitRequest, ...], queue: SortQueue, allowed: int
    ) -> tuple[tuple[RetransmitRequest, ...], list[bytes]]:
        """A. Serve what is asked for and here; what is not served stays in the list for the next node."""
        unserved: list[RetransmitRequest] = []
        frames: list[bytes] = []
        ring, slots = queue.ring_id, queue.frames
        for request in requests:
            frame = slots.get(request.seq)
            if frame is None or len(frames) >= allowed or request[:2] != ring:
                unserved.append(request)
            else:
                frames.append(frame)
        self._statistics.mcast_retx += len(frames)
        return tuple(unserved), frames

    def _request(self, requests: tuple[RetransmitRequest, ...], queue: SortQueue, seq: int) -> tuple[RetransmitRequest, ...]:
        """B. Ask for frames that were missing on several visits; until then they may only be late."""
        room = MAXIMUM_RETRANSMIT_ENTRIES - len(requests)
        asked = {request.seq for request in requests}
        representative, sequence = queue.ring_id
        slots, misses, wanted = queue.frames, self._misses, queue.aru
        if len(misses) > WINDOW:
            misses = self._misses = {missed: count for missed, count in misses.items() if precedes(wanted, missed)}
        limit = self.parameters.miss_count_const
        added: list[RetransmitRequest] = []
        while wanted != seq and room > 0:
            wanted = (wanted + 1) & MASK
            if wanted in slots:
                continue
            count = misses[wanted] = misses.get(wanted, 0) + 1
            if count >= limit and wanted not in asked:
                added.append(RetransmitRequest(representative, sequence, wanted))
                room -= 1
        return (*requests, *added) if added else requests
