"""Votequorum scenarios as text: a configuration, then steps, each with the votes, quorum and flags that its nodes then show.

    # What it shows.
    nodes 1 2 3=2                  the nodelist, and quorum_votes where they are not 1
    wait_for_all 1                 options below ``quorum.``
    rings ours                     where not all three kinds of ring play it

    start 1 2                      a step: a command ...
      1 2: 2 of 4, quorum 3; wait_for_all waiting
                                   ... and the rings that there are then: the members of each, with the votes present, the votes
                                   expected, the quorum, and the flags of getinfo by name (``waiting``: the wait_for_all status)
    device register Disk at 1 -> Exist
      1 at 1: ...                  where the nodes of a ring differ, ``at`` says whose view it is

A command that is refused names the error behind ``->``. What commands there are: ``vote_rings``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from libvotequorum import InfoFlag

FOLDER = Path(__file__).resolve().parent.parent / "data" / "votequorum"
WAITING = "waiting"
_FLAGS = frozenset(str(flag.name).lower() for flag in InfoFlag) | {WAITING}
_VIEW = re.compile(r"([\d ]+?)(?: at ([\d ]+))?: (\d+) of (\d+), quorum (\d+)(?:; (.+))?")


@dataclass(frozen=True)
class View:
    """What a node shows of itself and its ring."""

    members: frozenset[int]
    total_votes: int
    expected_votes: int
    quorum: int
    flags: frozenset[str]


@dataclass(frozen=True)
class Step:
    """A command and what follows from it."""

    command: tuple[str, ...]
    refusal: str
    """The name of the error that the command meets; empty where it succeeds."""
    views: dict[int, View]
    """By live node."""

    def __str__(self) -> str:
        """For failures."""
        return " ".join(self.command)


@dataclass(frozen=True)
class Scenario:
    """One file."""

    nodes: tuple[int, ...]
    votes: dict[int, int]
    kinds: tuple[str, ...]
    options: dict[str, str]
    steps: tuple[Step, ...]


def read(name: str) -> Scenario:
    """The scenario of that name. Raises ValueError with the line that makes no sense."""
    text = (FOLDER / f"{name}.txt").read_text()
    lines = [line.rstrip() for line in text.splitlines() if not line.startswith("#")]
    end = lines.index("")
    options = dict(line.split(" ", 1) for line in lines[:end])
    entries = [word.partition("=") for word in options.pop("nodes").split()]
    return Scenario(
        nodes=tuple(int(node) for node, _, _ in entries),
        votes={int(node): int(votes) for node, _, votes in entries if votes},
        kinds=tuple(options.pop("rings", "stock ours mixed").split()),
        options=options,
        steps=tuple(_steps([line for line in lines[end:] if line])),
    )


def names() -> list[str]:
    """Every scenario."""
    return sorted(path.stem for path in FOLDER.glob("*.txt"))


def _steps(lines: list[str]) -> Iterator[Step]:
    starts = [index for index, line in enumerate(lines) if not line.startswith(" ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        command, _, refusal = lines[start].partition(" -> ")
        views: dict[int, View] = {}
        for line in lines[start + 1 : end]:
            views |= _views(line.strip())
        yield Step(tuple(command.split()), refusal, views)


def _views(line: str) -> dict[int, View]:
    found = _VIEW.fullmatch(line)
    if found is None:
        raise ValueError(f"no view of a ring: {line!r}")
    ring, at, total, expected, quorum, words = found.groups()
    flags = frozenset((words or "").split())
    if not flags <= _FLAGS:
        raise ValueError(f"no flags: {sorted(flags - _FLAGS)} in {line!r}")
    members = frozenset(map(int, ring.split()))
    view = View(members, int(total), int(expected), int(quorum), flags)
    return dict.fromkeys(map(int, at.split() if at else ring.split()), view)
