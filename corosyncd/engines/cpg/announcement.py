"""Configuration changes of a group as events that a client can hold: at most 128 entries a list.

C clients copy each list into an array of 128 addresses without looking (reference services P9, client-api section 3.4). A change
of more processes at once becomes several events, each of which lists the members as they are after its own part of the change;
of a group with more members, the first 128 are listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from corosyncd.engines.cpg.processes import Place
from libcpg.messages import LIST_LIMIT, Address, ConfigurationChange


def configuration_changes(
    name: bytes, members: Sequence[Place], joined: Sequence[Place], left: Sequence[Place], reason: int
) -> Iterator[ConfigurationChange]:
    """The events for one change: ``members`` are those after it; ``joined`` or ``left`` are those it is about, in their order."""
    if len(joined) <= LIST_LIMIT and len(left) <= LIST_LIMIT:
        yield ConfigurationChange(name, _addresses(members), _addresses(left, reason), _addresses(joined, reason))
        return
    present = set(members).difference(joined).union(left)
    for batch in _batches(left):
        present.difference_update(batch)
        yield ConfigurationChange(name, _addresses(sorted(present)), _addresses(batch, reason), ())
    for batch in _batches(joined):
        present.update(batch)
        yield ConfigurationChange(name, _addresses(sorted(present)), (), _addresses(batch, reason))


def _addresses(places: Iterable[Place], reason: int = 0) -> tuple[Address, ...]:
    return tuple(Address(node_id, pid, reason) for node_id, pid in places)[:LIST_LIMIT]


def _batches(places: Sequence[Place]) -> Iterator[Sequence[Place]]:
    for start in range(0, len(places), LIST_LIMIT):
        yield places[start : start + LIST_LIMIT]
