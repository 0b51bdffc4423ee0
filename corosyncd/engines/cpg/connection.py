"""One client's place in a group, and what it may ask for there.

The tables are reference client-api section 3.3 and services section 3.2, with one difference that no program can depend on: once
its leave is delivered, a connection is unjoined and may join again (the stock daemon forgets to reset it, so that a second join
never succeeds). While the leave is on its way the answer to a join is BUSY, which the C library repeats.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from coroipc.errors import Status
from corosyncd.engines.cpg.iteration import Listing
from corosyncd.engines.cpg.zero_copy import Buffers
from corosyncd.engines.engine import Client


class State(Enum):
    """Where a connection stands."""

    UNJOINED = "unjoined"
    JOIN_STARTED = "join started"
    JOINED = "joined"
    LEAVE_STARTED = "leave started"


JOIN: Final = {
    State.UNJOINED: (Status.OK, State.JOIN_STARTED),
    State.JOIN_STARTED: (Status.EXIST, State.JOIN_STARTED),
    State.JOINED: (Status.EXIST, State.JOINED),
    State.LEAVE_STARTED: (Status.BUSY, State.LEAVE_STARTED),
}
"""Answer to a join request, and the state after it."""

LEAVE: Final = {
    State.UNJOINED: (Status.NOT_EXIST, State.UNJOINED),
    State.JOIN_STARTED: (Status.BUSY, State.JOIN_STARTED),
    State.JOINED: (Status.OK, State.LEAVE_STARTED),
    State.LEAVE_STARTED: (Status.NOT_EXIST, State.LEAVE_STARTED),
}
"""Answer to a leave request, and the state after it."""

SEND: Final = {
    State.UNJOINED: Status.NOT_EXIST,
    State.JOIN_STARTED: Status.OK,
    State.JOINED: Status.OK,
    State.LEAVE_STARTED: Status.NOT_EXIST,
}
"""Answer to a message or a fragment."""

OWN_JOIN_DELIVERED: Final = {
    State.UNJOINED: State.UNJOINED,
    State.JOIN_STARTED: State.JOINED,
    State.JOINED: State.JOINED,
    # The program left (died) before its join came round: the leave is behind it and ends what this begins.
    State.LEAVE_STARTED: State.LEAVE_STARTED,
}

OWN_LEAVE_DELIVERED: Final = {
    State.UNJOINED: State.UNJOINED,
    # Not this connection's leave: a dead predecessor of this engine had sent it for the same pid and group. Ours goes on.
    State.JOIN_STARTED: State.JOIN_STARTED,
    State.JOINED: State.JOIN_STARTED,
    State.LEAVE_STARTED: State.UNJOINED,
}


class Connection:
    """A client of this engine."""

    __slots__ = (
        "buffers",
        "client",
        "group",
        "initial_owed",
        "iterations",
        "listening",
        "next_iteration",
        "pid",
        "sends",
        "state",
        "transitions",
        "transitions_at_first",
        "warned",
    )

    def __init__(self, client: Client) -> None:
        """A connection in no group."""
        self.client = client
        self.state = State.UNJOINED
        self.sends = False
        """SEND of the state, kept apart for the hot path."""
        self.group = b""
        self.pid = 0
        self.initial_owed = False
        """It asked for the totem membership with its first configuration change and has not had it yet."""
        self.listening = True
        """False once the client has finalised or gone: no more events."""
        self.transitions = 0
        """Configuration changes that it was told of."""
        self.transitions_at_first = 0
        """The same when it began its present fragmented message."""
        self.buffers = Buffers()
        self.iterations: dict[int, Listing] = {}
        self.next_iteration = 1
        self.warned = False
        """A message or a buffer of it was refused, and the log says so already."""

    def enter(self, state: State) -> None:
        """Change the state."""
        self.state = state
        self.sends = SEND[state] is Status.OK
