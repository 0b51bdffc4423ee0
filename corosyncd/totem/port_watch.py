"""Fast failover: the rule by which refused sends show that a member's process is gone.

When a process ends, however it ends, the kernel of its host answers what is still sent to its port with "port unreachable": the
network tells within a round trip what the token timeout tells after seconds. One answer proves little: a live node may rebuild
its socket, a firewall may reject, an answer may be about a former life. So a member counts as gone only when several sends, some
time apart, were refused in a short while, nothing was heard from it meanwhile, and it was not declared gone a moment ago: a pair
that a firewall keeps apart re-forms the ring early once, and not again and again. ``failover`` sends and accuses.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from struct import Struct
from typing import Final

REFUSED_SENDS: Final = 3
SPACING: Final = 0.04
"""Seconds between two sends that count; what leaves together is refused together."""
WINDOW: Final = 0.3
"""Seconds from the first of these sends to the last."""
FRESH: Final = 0.4
"""Seconds from the first of these sends to the verdict: the window, and the way back of the last answer. What was refused before
a truce ended proves nothing once it has.
"""
TRUCE_TOKENS: Final = 2
"""Token timeouts for which a member that was declared gone, and is back, is left to the token timer."""
DECLARED_LIMIT: Final = 384
"""Nodes remembered as declared gone, as many as a ring may have; the one longest ago is forgotten first."""
TOLERANCE: Final = 1e-6
"""Sums of times round."""

_SENDER: Final = {b"\x70": Struct("<I"), b"\xc0": Struct(">I")}
"""The node id of the common header, by the frame's first byte (reference totem.md §1.1)."""
_SENDER_OFFSET: Final = 5
_SHORTEST: Final = 9


class PortWatch:
    """What this node sent to each member last, whom it suspects, and who was declared gone. Times are the caller's seconds."""

    __slots__ = ("declared", "multicast_at", "suspects", "token_at", "unicast_at")

    def __init__(self) -> None:
        self.multicast_at = 0.0
        """The last multicast of a token visit; what else goes to everybody is rare and left out."""
        self.token_at = 0.0
        """The last token that went to my target."""
        self.unicast_at: dict[int, float] = {}
        """The last probe of each member."""
        self.suspects: dict[int, list[float]] = {}
        """Member to the times of its refused sends; empty nearly always, and only then is nobody's frame looked at."""
        self.declared: dict[int, float] = {}
        """When a node was last declared gone by this node, or declared this node gone."""

    def restart(self, now: float) -> None:
        """A ring was installed: all its members were there a moment ago."""
        self.multicast_at = self.token_at = now
        self.unicast_at.clear()
        self.suspects.clear()

    def sent_at(self, node: int, target: int) -> float:
        """When something was last sent to a member; ``target`` is the one that gets the token."""
        sent = max(self.multicast_at, self.unicast_at.get(node, 0.0))
        return max(sent, self.token_at) if node == target else sent

    def gather(self, accused: Iterable[int], now: float) -> None:
        """The ring breaks up, and these are held to have failed."""
        self.suspects.clear()
        self.declare(accused, now)

    def declare(self, nodes: Iterable[int], now: float) -> None:
        """These were declared gone, or declared this node gone."""
        declared = self.declared
        for node in nodes:
            declared.pop(node, None)
            declared[node] = now
        while len(declared) > DECLARED_LIMIT:
            del declared[next(iter(declared))]

    def heard(self, train: bytes, segment_size: int) -> None:
        """Whoever sent these frames lives. A repeated frame names its originator, which at worst delays a verdict."""
        for start in range(0, len(train), segment_size or len(train) or 1):
            layout = _SENDER.get(train[start : start + 1])
            if layout is not None and len(train) >= start + _SHORTEST:
                self.suspects.pop(layout.unpack_from(train, start + _SENDER_OFFSET)[0], None)

    def refused(self, node: int, sent_at: float) -> None:
        """A send to a member, not later than ``sent_at``, was refused."""
        sends = self.suspects.setdefault(node, [])
        while sends and sent_at - sends[0] > WINDOW + TOLERANCE:
            del sends[0]
        if not sends or sent_at - sends[-1] >= SPACING - TOLERANCE:
            sends.append(sent_at)

    def gone(self, now: float, token: float) -> list[int]:
        """The members that are proved to be gone, but for those that were declared gone lately: there the token timer decides."""
        return [
            node
            for node, sends in self.suspects.items()
            if len(sends) >= REFUSED_SENDS
            and now - sends[0] <= FRESH
            and now - self.declared.get(node, -inf) >= TRUCE_TOKENS * token
        ]
