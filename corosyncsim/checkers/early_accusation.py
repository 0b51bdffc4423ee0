"""Property 23: nobody is accused before the token is lost but by the rule of fast failover, nor for the accuser's own absence.

A node whose first join behind a configuration accuses a member, without having heard of that from others, has accused it early.
Then the member's own host has refused several sends within a short while, nothing was heard from it since the first of them, and
this node had not accused it within twice the token timeout. And who was not scheduled for more than a fifth of the token timeout
accuses nobody, unless it has heard of that from others, before these had a token retransmit time to be heard.

Once a node gathers, refusals prove nothing: a member whose host refuses, whom nobody else accuses, and who accuses nobody (or it
may be the end of a broken pair that is left out, and have died just then), is accused no sooner than a consensus timeout after
the node has told new sets.

Judged by what the network brought and what left, never by the core's word. Times are those of the node's own clock. Source:
docs/failover.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Final

from corosyncd.totem.timeouts import Parameters
from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.wiretap import Join

PROPERTY = Property(23, "early accusation")
REFUSALS: Final = 3
WINDOW: Final = 0.4
"""Seconds in which they come: the rule's 0.3 s between sends, and what chance adds on the way."""
SPREAD: Final = 0.05
"""Seconds between the first and the last: twice the rule's 0.04 s, less what chance takes away."""
TRUCE_TOKENS: Final = 2
LATE: Final = 0.06
"""Seconds by which a join may leave later than the gather that it opens: one join time, where an accusation is heard of; and one
more for each other member that is heard to accuse meanwhile."""
INSTANT: Final = 1e-6
"""Seconds: what two sums of the same times may differ by."""
REMEMBERED: Final = 16


@dataclass(frozen=True, slots=True)
class Accusation:
    """``accuser`` declared ``accused`` gone before the token was lost; ``members`` is their configuration."""

    time: float
    accuser: int
    accused: int
    members: tuple[int, ...]


@dataclass(slots=True)
class _Life:
    """What one node has sent and heard since it installed its configuration."""

    members: tuple[int, ...] = ()
    has_joined: bool = False
    told: set[int] = field(default_factory=set)
    """Whom others have accused, or who has accused this node."""
    accusers: set[int] = field(default_factory=set)
    """Who has accused anybody: it may be the one to be left out of a pair."""
    left: set[int] = field(default_factory=set)
    refusals: dict[int, list[float]] = field(default_factory=dict)
    """Of each member since it was heard last."""
    proc: frozenset[int] = frozenset()
    accused: frozenset[int] = frozenset()
    changed: float = -inf
    """When it told other sets than before."""
    declared: dict[int, float] = field(default_factory=dict)
    patient_until: float = -inf
    """After it was away."""


class EarlyAccusations:
    """Sees refusals, received and sent joins, and who is heard; collects ``violations`` and the early accusations."""

    def __init__(self, parameters: Parameters) -> None:
        self.violations: list[Violation] = []
        self.accusations: list[Accusation] = []
        self._token_timeout = parameters.token
        self._consensus_timeout = parameters.consensus
        self._patience = parameters.token_retransmit
        self._lives: dict[int, _Life] = {}

    def started(self, node_id: int) -> None:
        """A node begins a life."""
        self._lives[node_id] = _Life()

    def installed(self, node_id: int, members: tuple[int, ...]) -> None:
        """A regular configuration."""
        before = self._lives[node_id]
        self._lives[node_id] = _Life(members, declared=before.declared, patient_until=before.patient_until)

    def awoken(self, node_id: int, clock: float) -> None:
        """The node runs again after a long absence."""
        life = self._lives[node_id]
        life.patient_until = clock + self._patience
        life.refusals.clear()

    def heard(self, node_id: int, sender: int) -> None:
        """A frame of that sender was read."""
        self._lives[node_id].refusals.pop(sender, None)

    def refused(self, node_id: int, peer: int, offender: int, clock: float) -> None:
        """The node was told that ``offender`` refuses for ``peer``."""
        if peer == offender:
            times = self._lives[node_id].refusals.setdefault(peer, [])
            times.append(clock)
            del times[:-REMEMBERED]

    def join_read(self, node_id: int, join: Join) -> None:
        """The node reads another's join."""
        life = self._lives[node_id]
        life.told.update(join.failed)
        if node_id in join.failed:
            life.told.add(join.sender)
        if join.failed:
            life.accusers.add(join.sender)
        if join.leaves:
            life.left.add(join.sender)

    def join_sent(self, node_id: int, join: Join, now: float, clock: float) -> None:
        """The node sends a join: the one that opens its round is judged by refusals, those that follow by the time since."""
        life = self._lives[node_id]
        proc, failed = frozenset(join.proc), frozenset(join.failed)
        if join.leaves:
            return
        if not life.has_joined:
            for accused in sorted(failed & frozenset(life.members) - life.told - {node_id}):
                self.accusations.append(Accusation(now, node_id, accused, life.members))
                self._judge(life, node_id, accused, now, clock)
        else:
            for accused in sorted(failed - life.accused - life.told - life.left - {node_id}):
                self._judge_gathering(life, node_id, accused, now, clock)
        for accused in failed - life.accused - life.left:
            life.declared[accused] = clock
        if (proc, failed) != (life.proc, life.accused):
            life.changed = clock
        life.proc, life.accused, life.has_joined = proc, failed, True

    def _judge(self, life: _Life, node_id: int, accused: int, now: float, clock: float) -> None:
        recent = [time for time in life.refusals.get(accused, ()) if clock - time <= WINDOW]
        if len(recent) < REFUSALS or recent[-1] - recent[0] < SPREAD:
            times = ", ".join(f"{clock - time:.3f}" for time in recent)
            expected = f"node {accused} should be accused only when refused {REFUSALS} times, unheard; refused [{times}] s ago"
            self.violations.append(PROPERTY.broken(node_id, now, expected))
        truce = TRUCE_TOKENS * self._token_timeout - LATE
        before = life.declared.get(accused)
        if before is not None and clock - before < truce:
            expected = f"node {accused}, declared gone {clock - before:.3f} s ago, should be left alone for {truce:.3f} s"
            self.violations.append(PROPERTY.broken(node_id, now, expected))

    def _judge_gathering(self, life: _Life, node_id: int, accused: int, now: float, clock: float) -> None:
        if clock < life.patient_until - INSTANT and accused not in life.accusers:
            expected = f"node {accused} should have {self._patience:.3f} s to be heard: this node was away until just now"
            self.violations.append(PROPERTY.broken(node_id, now, expected))
        waited = clock - life.changed
        if (
            accused in life.members
            and accused in life.refusals
            and accused not in life.accusers
            and waited < self._consensus_timeout - LATE * (len(life.members) - 1)
        ):
            expected = f"node {accused} should have {self._consensus_timeout:.3f} s to agree; it had {waited:.3f} s"
            self.violations.append(PROPERTY.broken(node_id, now, expected))
