"""Property 17, membership of groups: a change is exactly the difference between two member lists, and only members speak.

In each change that a program is told, ``joined`` and ``left`` are exactly the difference to the members told before; its first
change is its own join; nobody is heard who is not a member, and nothing comes after one's own leave. That all members of a view
are told the same changes and messages is judged by the properties of the ring, with views for rings (see ``corosyncsim.groups``).
Source: cpg_overview(3); reference services.md §3.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.group_lives import Changed, Program, Spoken
from corosyncsim.groups import processes

PROPERTY = Property(17, "membership of groups")


def check(programs: Sequence[Program]) -> Iterator[Violation]:
    """Every change and message that does not follow from what the program was told before; linear in what was told."""
    names = processes(programs)
    for program in programs:
        for time, expected in _faults(program):
            yield PROPERTY.broken(names[program.address].node_id, time, expected)


def _faults(program: Program) -> Iterator[tuple[float, str]]:
    own, members = program.address, None
    for told in program.told:
        if isinstance(told, Changed):
            if members is None:
                if own not in told.joined:
                    yield told.time, f"the first change should bring {_named(own)} in"
                members = told.members - told.joined | told.left
            if own not in members and own not in told.joined:
                yield told.time, f"{_named(own)} has left and should be told nothing more"
            for what, said, meant in (
                ("joined", told.joined, told.members - members),
                ("left", told.left, members - told.members),
            ):
                for address in sorted(said ^ meant):
                    yield told.time, f"{_named(address)} should {'' if address in meant else 'not '}be among those who {what}"
            members = told.members
        elif isinstance(told, Spoken) and (members is None or told.sender not in members):
            yield told.time, f"message {told.number} should come from a member, which {_named(told.sender)} is not"


def _named(address: tuple[int, int]) -> str:
    return f"{address[0]}:{address[1]}"
