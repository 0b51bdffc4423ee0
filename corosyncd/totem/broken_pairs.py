"""Links that are not transitive: A and B talk, B and C talk, A and C do not. Who is left out, and for how long.

Totem has no answer to such a network: the node in the middle brings the two together again and again, and each time they accuse
each other. Here the node in the middle decides, by what ``accusations`` observed:

- Twice in a row one accused the other by timeout while this node heard both: the two are a *broken pair*.
- The *victim* is the end with more broken pairs; of two with as many, the one with the higher node id. So all nodes in the
  middle, who hear the same joins, leave out the same node.
- A victim that is brought back soon, three times in a row, and in vain, is needed by a node that misses nobody behind it: by one
  that does not reach the other end either, although that broke no ring. Then the other end is the victim. Nodes in the middle
  that chose differently bring back each other's victims; who has changed his mind waits twice as long before he does so again.
- The victim is ignored for ``FIRST_BACKOFF`` seconds, then there is one trial; each trial that fails doubles the time, up to
  ``LONGEST_BACKOFF``. A pair that has been in one configuration is forgotten.
- A node that is heard but never answers, because it ignores this one or cannot hear it, is ignored in the same way.

Being ignored costs a node its place in the ring, so it ends early with its cause: when a node that is not ignored asks for the
victim in a later gather (who could not hear it now does, or somebody else begins the trial), when the other end stays away from
the ring, and when the silent node answers. No frame changes: to a stock node it looks as if the victim were not heard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple

FIRST_BACKOFF: Final = 30.0
LONGEST_BACKOFF: Final = 600.0
"""Seconds; also how long a pair is remembered after its last back-off."""
IN_A_ROW: Final = 2
"""Accusations that make a broken pair; of a pair that was one already, one does."""
SOON: Final = 0.25
"""Of a back-off: a victim that came back so soon was not tried, but needed by somebody."""
RETURNS: Final = 3
"""Times in a row that a victim comes back so soon, until the other end is left out: a node that is new brings it back twice."""
MAXIMUM_RECORDS: Final = 256
"""Pairs, and silent nodes, that are remembered; the oldest is forgotten first."""


class Ends(NamedTuple):
    """The two nodes of a pair, the lower id first."""

    low: int
    high: int

    @classmethod
    def of(cls, one: int, other: int) -> Ends:
        """In whatever order they are given."""
        return cls(min(one, other), max(one, other))


@dataclass(slots=True)
class Record:
    """What is known of a pair, or of a silent node."""

    seen: int = 0
    """Accusations in a row."""
    seen_at: float = -inf
    gather: int = -1
    """The gather in which it was seen last."""
    backoff: float = 0.0
    """Seconds of the last back-off; 0 if it was never broken."""
    since: float = -inf
    """When the back-off began."""
    until: float = -inf
    """When the back-off ends."""
    victim: int = 0
    """Who is ignored; 0 where this node is an end itself and leaves the decision to others."""
    apart_since: float = inf
    """When the victim's other end was missing from a configuration first."""
    returns: int = 0
    """Times in a row that the victim came back soon, in vain."""
    patience: int = RETURNS
    """Returns after which the other end is left out; twice as many after each change, so that nodes that differ come to agree."""
    spared: int = 0
    """The end that kept coming back; 0: neither."""

    def see(self, gather: int, row: float, now: float) -> bool:
        """One more accusation; whether it is one too many. Within one gather, or during the back-off, it says nothing new."""
        if gather == self.gather or now < self.until:
            return False
        self.seen = self.seen + 1 if now - self.seen_at <= row or self.backoff else 1
        self.seen_at, self.gather = now, gather
        return self.seen >= IN_A_ROW or self.backoff > 0.0

    def back_off(self, now: float) -> None:
        """Ignore the victim, twice as long as the last time; the other end if this one keeps coming back."""
        self.returns = self.returns + 1 if self.until < self.since + SOON * self.backoff else 0
        if self.returns == self.patience:
            self.spared, self.returns, self.patience = self.victim, 0, 2 * self.patience
        self.backoff = min(self.backoff * 2 or FIRST_BACKOFF, LONGEST_BACKOFF)
        self.since, self.until = now, now + self.backoff

    def end(self, now: float) -> None:
        """Ignore the victim no longer."""
        self.until = min(self.until, now)

    def stale(self, row: float, now: float) -> bool:
        """Whether nobody has to remember it any more."""
        return now - self.seen_at > row if not self.backoff else now - max(self.until, self.seen_at) > LONGEST_BACKOFF


class Broken(NamedTuple):
    """A pair that has just been found broken, or once more; seconds for which its victim is ignored."""

    ends: Ends
    victim: int
    seconds: float


class Standing(NamedTuple):
    """A broken pair, or a silent node and this one, as an operator wants to see it."""

    ends: Ends
    victim: int
    """Who is left out for it; 0 where this node is an end and others decide."""
    silent: bool
    """Whether the victim is heard but does not answer, and nothing else is known of the two."""
    backoff: int
    """Seconds of the last back-off."""
    left: int
    """Seconds that it still lasts."""


class BrokenPairs:
    """The broken pairs that one node knows of, and whom it ignores for them."""

    __slots__ = ("_gather", "_node_id", "pairs", "silent")

    def __init__(self, node_id: int) -> None:
        self._node_id = node_id
        self._gather = 0
        self.pairs: dict[Ends, Record] = {}
        self.silent: dict[int, Record] = {}
        """Nodes that are heard but never answer."""

    def accused(self, accuser: int, nodes: Iterable[int], row: float, now: float) -> list[Broken]:
        """By timeout, while this node heard all of them. What has become broken by that; ``row``: seconds in a row."""
        _prune(self.pairs, row, now)
        fresh = []
        for node in nodes:
            ends = Ends.of(accuser, node)
            if self.pairs.setdefault(ends, Record()).see(self._gather, row, now):
                fresh.append(ends)
        if fresh:
            self._choose(fresh, now)
        return [Broken(ends, self.pairs[ends].victim, self.pairs[ends].backoff) for ends in fresh]

    def _choose(self, fresh: list[Ends], now: float) -> None:
        """Choose the victims anew: what was seen once already counts, for the others see it in another order."""
        count = Counter(end for ends, record in self.pairs.items() if self._node_id not in ends for end in ends)
        for ends in fresh:
            self.pairs[ends].back_off(now)
        for ends, record in self.pairs.items():
            if record.backoff and self._node_id not in ends:
                record.victim = max(ends, key=lambda end: (end != record.spared, count[end], end))

    def out_of_reach(self, nodes: Iterable[int], row: float, now: float) -> list[Broken]:
        """This node waited in vain for nodes of which only others spoke: a broken pair that it is an end of."""
        return self.accused(self._node_id, nodes, row, now)

    def unanswered(self, nodes: Iterable[int], row: float, now: float) -> list[Broken]:
        """This node waited in vain for nodes that it hears. Those that are ignored from now on."""
        _prune(self.silent, row, now)
        found = []
        for node in nodes:
            record = self.silent.setdefault(node, Record(victim=node))
            if record.see(self._gather, row, now):
                record.back_off(now)
                found.append(Broken(Ends.of(self._node_id, node), node, record.backoff))
        return found

    def release(self, patience: float, now: float) -> list[int]:
        """Who is ignored for the sake of a node that has not been in the ring for ``patience`` seconds comes back."""
        free = [record for record in self._records() if record.until > now >= record.apart_since + patience]
        for record in free:
            record.end(now)
        return sorted({record.victim for record in free if record.victim})

    def ignores(self, node: int, now: float) -> bool:
        """Whether what this node sends is dropped, unless it is of my own ring."""
        return any(record.until > now for record in self._records() if record.victim == node)

    def ignored(self, now: float) -> set[int]:
        """Everybody who is ignored."""
        return {record.victim for record in self._records() if record.until > now and record.victim}

    def _records(self) -> list[Record]:
        return [*self.pairs.values(), *self.silent.values()]

    def standing(self, now: float) -> list[Standing]:
        """What has been found broken and not been seen whole since."""
        known = [(ends, record, False) for ends, record in self.pairs.items()]
        known += [(Ends.of(self._node_id, node), record, True) for node, record in self.silent.items()]
        return [
            Standing(ends, record.victim, silent, int(record.backoff), max(0, int(record.until - now)))
            for ends, record, silent in known
            if record.backoff
        ]

    def named(self, nodes: Collection[int], now: float) -> list[int]:
        """A node that is not ignored asks for these: the trial of those who were ignored in an earlier gather. Who they are."""
        tried = []
        for record in self._records():
            if record.until > now and record.victim in nodes and record.gather != self._gather:
                record.end(now)
                tried.append(record.victim)
        return sorted(set(tried))

    def answered(self, node: int, now: float) -> None:
        """A node's join asks for me: it hears me, and does not ignore me."""
        if node in self.silent:
            self.silent[node].end(now)

    def installed(self, members: Collection[int], now: float) -> None:
        """A configuration: who is in it together can talk."""
        self._gather += 1
        for ends in [ends for ends in self.pairs if ends.low in members and ends.high in members]:
            del self.pairs[ends]
        for ends, record in self.pairs.items():
            other = ends.low if record.victim == ends.high else ends.high
            record.apart_since = inf if other in members else min(record.apart_since, now)
        for node in [node for node in self.silent if node in members]:
            del self.silent[node]


def _prune(records: dict[Ends, Record] | dict[int, Record], row: float, now: float) -> None:
    for key in [key for key, record in records.items() if record.stale(row, now)]:
        del records[key]  # type: ignore[arg-type]
    while len(records) >= MAXIMUM_RECORDS:
        del records[next(iter(records))]  # type: ignore[arg-type]
