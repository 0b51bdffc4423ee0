"""What programs wrote down (tests/interop/participant.c and .py, chaos/watcher.py), read as it grows."""

from __future__ import annotations

from pathlib import Path

from corosyncd.totem.events import RingId
from corosyncsim.checkers.quorum import Belief
from corosyncsim.group_lives import Address, Changed, Moved, Spoken, Told

ROUND_REASONS = frozenset({3, 4, 5})
"""Of cpg: node down, node up, process down. A join (1) and a leave (2) never come from a synchronisation."""


class Transcript:
    """A file that a program is writing; ``more`` returns the lines that were completed since the last call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0

    def more(self) -> list[list[str]]:
        """The words of each new line, the time first."""
        with self.path.open("rb") as file:
            file.seek(self._position)
            text = file.read()
        end = text.rfind(b"\n") + 1
        self._position += end
        return [line.decode(errors="replace").split(" ") for line in text[:end].splitlines()]


def told(words: list[str], origin: float) -> Told | None:
    """What a participant's line says; None for "lost", which says nothing of the group. Raises ValueError for no such line.

    Times are counted from ``origin``, a time of the monotonic clock.
    """
    match words:
        case [time, "message", sender, number, size]:
            return Spoken(float(time) - origin, address(sender), int(number), int(size))
        case [time, "members", *rest]:
            left_at, joined_at = rest.index("left"), rest.index("joined")
            parts = rest[: left_at - 1], rest[left_at + 1 : joined_at - 1], rest[joined_at + 1 :]
            reasons = {int(entry.split(":")[2]) for part in parts[1:] for entry in part}
            members, left, joined = (frozenset(map(address, part)) for part in parts)
            return Changed(float(time) - origin, members, left, joined, reasons <= ROUND_REASONS)
        case [time, "ring", name, *nodes]:
            return Moved(float(time) - origin, ring_id(name), frozenset(map(int, nodes)))
        case [_, "lost", _]:
            return None
    raise ValueError(f"no participant's line: {' '.join(words)}")


def address(text: str) -> Address:
    """NODE:PID, and :REASON where the list has reasons."""
    node, pid = text.split(":")[:2]
    return Address(int(node), int(pid))


def ring_id(text: str) -> RingId:
    """NODE.SEQUENCE."""
    node, sequence = text.split(".")
    return RingId(int(node), int(sequence))


def beliefs(node_id: int, lines: list[list[str]], origin: float, end: float) -> list[Belief]:
    """What a node's watcher was told, each with the time until which it was the last word; times are counted from ``origin``."""
    found: list[Belief] = []
    times = [float(words[0]) - origin for words in lines]
    for words, begins, ends in zip(lines, times, [*times[1:], end], strict=False):
        if words[1] == "quorum":
            members = frozenset(map(int, words[4:]))
            found.append(Belief(node_id, begins, ends, words[2] == "yes", ring_id(words[3]), members))
    return found
