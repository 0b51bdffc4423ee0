"""Property 17, process groups, as one program sees them: what it is told follows from what it was told before.

In each change ``joined`` and ``left`` are exactly the difference to the members told before; the first change of a membership is
the program's own join; nobody is heard who is not a member, and nothing between one's own leave and one's next join; members are
on nodes of the ring. Source: cpg_overview(3); reference services.md §3.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.group_lives import Address, Changed, Moved, Program, Spoken
from corosyncsim.groups import processes

PROPERTY = Property(17, "process groups")


def check(programs: Sequence[Program]) -> Iterator[Violation]:
    """The faults of programs whose addresses differ, at the nodes that ``corosyncsim.groups`` makes of them."""
    names = processes(programs)
    for program in programs:
        for time, expected in faults(program):
            yield PROPERTY.broken(names[program.address].node_id, time, expected)


def faults(program: Program) -> Iterator[tuple[float, str]]:
    """When a program was told what does not follow, and what should have been; linear in what it was told."""
    own, members = program.address, None
    for told in program.told:
        match told:
            case Changed():
                for expected in _change(own, members, told):
                    yield told.time, expected
                members = told.members if own in told.members else None
            case Spoken() if members is None or told.sender not in members:
                yield told.time, f"message {told.number} should come from a member, which {_named(told.sender)} is not"
            case Moved():
                elsewhere = [_named(each) for each in sorted(members or ()) if each.node_id not in told.nodes]
                if elsewhere:
                    yield told.time, f"members {', '.join(elsewhere)} should be on nodes of the ring: {sorted(told.nodes)}"


def _change(own: Address, before: frozenset[Address] | None, told: Changed) -> Iterator[str]:
    """What is wrong with a change of the members that the program knew; None: it was none of them."""
    if before is None:
        if own not in told.joined:
            yield f"{_named(own)} should be told of its own join first"
        before = told.members - told.joined | told.left
    for what, said, meant in (
        ("joined", told.joined, told.members - before),
        ("left", told.left, before - told.members),
    ):
        for address in sorted(said ^ meant):
            yield f"{_named(address)} should {'' if address in meant else 'not '}be among those who {what}"


def _named(address: Address) -> str:
    return f"{address.node_id}:{address.pid}"
