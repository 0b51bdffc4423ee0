"""Property 15, inside Totem: the rules of the token and of the receive window, watched at every step.

Token: its sequence number grows with every hop, and a ring has one live token: a number that was used before may leave a node
only as the repetition of the very frame that this node sent last. Flow control: the token's count of frames in the last rotation
is exact and never above the window; how the members share it is theirs to choose. Frames: the ring gives each sequence number
once, in order, to one frame. No ordinary frame leaves before every member is operational. Retransmission lists are bounded, free
of repeats, and ask for nothing that was never sent. Inside a node: received without gaps ≤ highest received; delivered ≤ received
without gaps; no frame is freed before every member has it, which is what freeing at the lower of two successive token arus is
for. Source: Amir et al., ACM TOCS 13(4), 1995, section 4 and the flow control of section 7; that members become operational
before the first frame is section 6.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import Ring
from corosyncsim.wiretap import NEVER, Frame, Token

PROPERTY = Property(15, "ring rules")
REQUESTS_LIMIT: Final = 30
VIOLATIONS_LIMIT: Final = 20


class Progress(NamedTuple):
    """How far one node is on its ring; sequence numbers of frames."""

    operational: bool
    alone: bool
    """Whether the ring has no other member: then its token never shows on the wire."""
    received_without_gaps: int
    highest_received: int
    delivered: int
    freed: int


@dataclass(slots=True)
class _RingState:
    token_seq: int = -1
    last_token_of: dict[int, bytes] = field(default_factory=dict)
    frames: dict[int, bytes] = field(default_factory=dict)
    highest: int = 0
    visit: dict[int, int] = field(default_factory=dict)
    last_visit: dict[int, int] = field(default_factory=dict)
    members: tuple[int, ...] = ()
    received: dict[int, int] = field(default_factory=dict)
    freed: int = 0
    ready: set[int] = field(default_factory=set)
    """Who has been operational on this ring, or has ended his life since."""


class RingRules:
    """Sees every frame that leaves a node and every node's progress after each step; collects ``violations``."""

    def __init__(self, window_size: int) -> None:
        self.violations: list[Violation] = []
        self.tokens = 0
        self._window_size = window_size
        self._rings: dict[Ring, _RingState] = {}

    def _broken(self, node_id: int, time: float, expected: str) -> None:
        if len(self.violations) < VIOLATIONS_LIMIT:
            self.violations.append(PROPERTY.broken(node_id, time, expected))

    def _state(self, ring: Ring) -> _RingState:
        state = self._rings.get(ring)
        if state is None:
            state = self._rings[ring] = _RingState()
        return state

    def unreadable(self, time: float, node_id: int, what: str) -> None:
        """A node sent what the tap cannot make sense of."""
        self._broken(node_id, time, f"every frame should be readable: {what}")

    def frame_left(self, time: float, node_id: int, ring: Ring, frame: Frame, raw: bytes) -> bool:
        """A multicast frame left a node; whether it is new, not a retransmission."""
        state = self._state(ring)
        state.visit[node_id] = state.visit.get(node_id, 0) + 1
        if state.visit[node_id] > self._window_size:
            expected = f"at most {self._window_size} frames, a whole window, should leave a node in a visit on ring {ring}"
            self._broken(node_id, time, expected)
        known = state.frames.get(frame.seq)
        if known is not None:
            if known != raw:
                self._broken(node_id, time, f"frame {frame.seq} of ring {ring} should be the frame that had this number first")
            return False
        if frame.seq != state.highest + 1:
            self._broken(node_id, time, f"ring {ring} stands at frame {state.highest}, so the next should not be {frame.seq}")
        if frame.originator != node_id:
            self._broken(node_id, time, f"frame {frame.seq} of ring {ring} is from {frame.originator}, who should send it first")
        if not frame.encapsulates:
            for member in state.members:
                if member not in state.ready and member != node_id:
                    self._broken(
                        node_id, time, f"frame {frame.seq} of ring {ring} should wait until node {member} is operational"
                    )
        state.frames[frame.seq] = raw
        state.highest = max(state.highest, frame.seq)
        return True

    def token_left(self, time: float, node_id: int, ring: Ring, token: Token, raw: bytes) -> None:
        """A token left a node, new or repeated."""
        state = self._state(ring)
        if state.last_token_of.get(node_id) == raw:
            return
        self.tokens += 1
        if token.token_seq <= state.token_seq:
            used = f"ring {ring} has used token_seq {state.token_seq}"
            expected = f"{used}; only its sender may repeat a token, not send {token.token_seq}"
            self._broken(node_id, time, expected)
        state.token_seq = max(state.token_seq, token.token_seq)
        state.last_token_of[node_id] = raw
        state.last_visit[node_id] = state.visit.get(node_id, 0)
        state.visit[node_id] = 0
        self._check_fields(time, node_id, ring, state, token)

    def _check_fields(self, time: float, node_id: int, ring: Ring, state: _RingState, token: Token) -> None:
        rotation = sum(state.last_visit.values())
        if token.fcc != rotation:
            self._broken(
                node_id, time, f"the token of ring {ring} should count the {rotation} frames of a rotation, not {token.fcc}"
            )
        if rotation > self._window_size:
            self._broken(
                node_id, time, f"a rotation of ring {ring} should have at most {self._window_size} frames, not {rotation}"
            )
        if token.seq != state.highest:
            self._broken(node_id, time, f"the token of ring {ring} should stand at frame {state.highest}, not {token.seq}")
        if token.aru != NEVER and token.aru > token.seq:
            self._broken(node_id, time, f"the token's aru {token.aru} should not be above its seq {token.seq}")
        if len(token.requests) > REQUESTS_LIMIT:
            self._broken(node_id, time, f"a token should ask for at most {REQUESTS_LIMIT} frames, not {len(token.requests)}")
        if len(set(token.requests)) != len(token.requests):
            self._broken(node_id, time, "a token should ask for each frame once")
        if any(seq not in state.frames for _, seq in token.requests):
            self._broken(node_id, time, "a token should not ask for a frame that nobody sent")

    def stepped(self, time: float, node_id: int, ring: Ring, progress: Progress) -> None:
        """A node has taken a step and stands here now."""
        p = progress
        state = self._state(ring)
        state.received[node_id] = p.received_without_gaps
        if p.alone:
            # A token of one's own takes one step a visit.
            state.visit[node_id] = 0
        if p.received_without_gaps > p.highest_received:
            self._broken(
                node_id,
                time,
                f"frames up to {p.received_without_gaps} without gaps should be at most {p.highest_received}, the highest",
            )
        if not p.operational:
            return
        state.ready.add(node_id)
        if p.delivered > p.received_without_gaps:
            self._broken(
                node_id,
                time,
                f"delivery should stop at frame {p.received_without_gaps}, where a gap follows, not reach {p.delivered}",
            )
        if p.freed > state.freed:
            state.freed = p.freed
            for member in state.members:
                if state.received.get(member, 0) < p.freed:
                    self._broken(node_id, time, f"frame {p.freed} should be kept until node {member} has it")

    def ended(self, node_id: int) -> None:
        """A life ended; the rings that it was to be in may go on without it until they notice."""
        for state in self._rings.values():
            state.ready.add(node_id)

    def installed(self, ring: Ring, members: tuple[int, ...]) -> None:
        """A regular configuration was installed somewhere."""
        self._state(ring).members = members
