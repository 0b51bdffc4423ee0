"""How the processes above the ring behave in one run: delays, batches, programs and their fates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BATCHES: Final = (1, 1, 5)
"""How many messages a program sends at once, one as likely as another."""


@dataclass(frozen=True, slots=True)
class Options:
    """Times in seconds. The defaults are a calm, quick machine without programs of chance."""

    wake_delay: float = 50e-6
    """Mean time until a process that has something to read runs."""
    frames_at_once: int = 4
    """Most link frames that an engine takes in one turn."""
    start_delay: float = 0.02
    """Mean time from the wish for an engine to its first word."""
    restart_delay: float = 0.5
    """From the end of a node's daemon until its init system starts it again."""
    members: int = 0
    """Programs of each node that come and go as members of a group."""
    groups: int = 2
    """Groups that they choose from."""
    pause: float = 0.2
    """Mean time between two things that a program does."""
    largest: int = 200
    """Bytes of the longest ordinary message."""
    huge: float = 0.0
    """Share of messages that are longer than a link frame or a client's ring would like."""
    watchers: bool = False
    """Whether each node has programs that follow quorum, votes and the map."""
    wait_for_all: bool = False
    """``quorum.wait_for_all``: no quorum before all nodes were seen together once."""
