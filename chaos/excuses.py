"""Known defects of the stock daemon that a trial meets: excused at stock nodes only, each by its place in the reference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from chaos.crowd import Member
from corosyncsim.checkers.violation import Violation


class Where(Enum):
    """Whose stock daemon has to be at fault."""

    OBSERVER = "the program that was told"
    SENDER = "the program that is spoken of"


@dataclass(frozen=True, slots=True)
class Excuse:
    """A defect, and the violations that it makes."""

    name: str
    properties: frozenset[int]
    where: Where
    text: re.Pattern[str]
    """What the violation says. Group "id" or "address" names the program that is spoken of."""


EXCUSES: Final = (
    Excuse(
        "services.md §2.2: a leave in mid-synchronisation overtakes what its program had sent",
        frozenset({1, 17}),
        Where.SENDER,
        re.compile(r"message (?P<id>\d+)\..* should come from one of its members|from a member, which (?P<address>\S+) is not"),
    ),
    Excuse(
        "services.md §2.2 and §3.3: a leave in mid-synchronisation is announced where nobody has heard of its program yet",
        frozenset({17}),
        Where.OBSERVER,
        re.compile(r"should not be among those who left"),
    ),
    Excuse(
        "services.md P12: join lists of an aborted round are replayed",
        frozenset({3, 4, 6, 17}),
        Where.OBSERVER,
        re.compile(r"should (not )?(be among those who joined|have installed)|should mean|should be on nodes of the ring"),
    ),
    Excuse(
        "services.md P13: a node that was on a ring of its own between aborted rounds passes for a companion",
        frozenset({6, 8}),
        Where.OBSERVER,
        re.compile(r"came to .* not from|should be among|should see the transition|should be delivered in"),
    ),
    Excuse(
        "services.md P12 and P13, seen from a companion: views of a stock node's programs have other histories than ours",
        frozenset({6}),
        Where.SENDER,
        re.compile(r"node (?P<id>\d+) came to .* not from"),
    ),
)


def find(violation: Violation, members: Sequence[Member], stock: Sequence[int]) -> str | None:
    """The known defect that explains a violation; None where none does."""
    if not 1 <= violation.node_id <= len(members):
        return None
    observer = members[violation.node_id - 1]
    for excuse in EXCUSES:
        match = excuse.text.search(violation.expected)
        if violation.number not in excuse.properties or match is None:
            continue
        node = observer.node.number if excuse.where is Where.OBSERVER else _node_of(match.groupdict(), members)
        if node in stock:
            return excuse.name
    return None


def _node_of(named: dict[str, str | None], members: Sequence[Member]) -> int | None:
    """The node of the program that a violation speaks of."""
    if (index := named.get("id")) is not None and 1 <= int(index) <= len(members):
        return members[int(index) - 1].node.number
    address = named.get("address")
    return int(address.split(":")[0]) if address is not None else None
