"""Who accuses whom by timeout: what the joins of one gather tell an observer about two other nodes.

On the wire an accusation is a node id in the failed list of a join, whatever its reason. A timeout shows in what came before:
the accuser had told sets with that node in them, waited, and told others. If the accused told those very sets meanwhile, and
this node heard it, then the accuser did not hear what this node heard. An ordinary death looks different (nobody hears the
dead), so does an accusation out of an operational ring (no sets were told before), and so does one in answer to another (the
accused had other sets by then). Source: reference totem.md §3.4.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from corosyncd.totem.timeouts import Parameters
from corosyncd.totem.wire import MAXIMUM_NODES, MembJoin

FULL_WAIT: Final = 0.9
"""Of the consensus timeout: what the accused told earlier may belong to a wait that began anew."""


@dataclass(slots=True)
class _Told:
    """The sets of a node's latest joins, and the ring sequence they came with."""

    proc: frozenset[int]
    failed: frozenset[int]
    ring_seq: int
    since: float
    """When these sets were heard first."""
    waits_since: float
    """When they were heard first with this ring sequence: a ring that failed to form begins the wait anew."""
    last: float

    def same(self, other: _Told) -> bool:
        """Whether these are the same sets."""
        return self.proc == other.proc and self.failed == other.failed


class Accusations:
    """The joins heard since the last installed configuration."""

    __slots__ = ("_answered", "_node_id", "_seen", "_told")

    def __init__(self, node_id: int) -> None:
        self._node_id = node_id
        self._told: dict[int, _Told] = {}
        self._seen: set[int] = set()
        self._answered: set[int] = set()

    def forget(self) -> None:
        """A configuration was installed: the gather is over."""
        self._told.clear()
        self._seen.clear()
        self._answered.clear()

    def heard(self, node: int) -> None:
        """A frame of another ring came from this node."""
        if len(self._seen) < MAXIMUM_NODES:
            self._seen.add(node)

    def observe(self, join: MembJoin, parameters: Parameters, now: float) -> list[int]:
        """Note a join; whom its sender accuses by timeout with it, although this node heard them.

        Who accuses a node later than somebody else believes him, as members do: ``victims`` sees to it that he is later. Who
        accuses me as well hears nobody.
        """
        sender = join.system_from
        if not join.nodeid or sender == self._node_id or (sender not in self._told and len(self._told) >= MAXIMUM_NODES):
            return []
        self.heard(sender)
        proc, failed = frozenset(join.proc), frozenset(join.failed)
        if self._node_id in proc and self._node_id not in failed:
            self._answered.add(sender)
        before = self._told.get(sender)
        if before is not None and before.proc == proc and before.failed == failed:
            before.last = now
            if before.ring_seq != join.ring_seq:
                before.ring_seq, before.waits_since = join.ring_seq, now
            return []
        heard: list[int] = []
        if before is not None and self._node_id not in failed:
            accused = (failed & before.proc) - before.failed - {sender}
            heard = [node for node in accused if self._heard_meanwhile(node, before, parameters, now)]
        self._told[sender] = _Told(proc, failed, join.ring_seq, now, now, now)
        return sorted(node for node in heard if self._nobody_accused(node, now - parameters.join / 2))

    def _heard_meanwhile(self, node: int, before: _Told, parameters: Parameters, now: float) -> bool:
        """Whether ``node`` told the accuser's sets while the accuser waited: at least twice, or as one of all.

        Who sees that all agree waits for the commit token and does not repeat its join. The network may lose one join, but not
        the token as well that is sent again and again: the accuser has neither.
        """
        told = self._told.get(node)
        if told is None or not told.same(before):
            return False
        since = max(told.since, before.waits_since)
        if not self._all_told(before):
            since += parameters.join / 2
        return told.last >= max(since, now - FULL_WAIT * parameters.consensus)

    def _all_told(self, sets: _Told) -> bool:
        others = sets.proc - sets.failed - {self._node_id}
        return all((told := self._told.get(node)) is not None and told.same(sets) for node in others)

    def _nobody_accused(self, node: int, until: float) -> bool:
        return all(node not in told.failed or told.since >= until for told in self._told.values())

    def never_heard(self, silent: Collection[int]) -> list[int]:
        """Those of the nodes that did not agree of whom only others spoke."""
        return sorted(node for node in silent if node not in self._seen)

    def unanswered(self, silent: Collection[int]) -> list[int]:
        """Those of the nodes that did not agree that this node heard, but whose joins never named it."""
        return sorted(node for node in silent if node in self._seen and node not in self._answered)
