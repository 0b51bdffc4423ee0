"""A program in a closed process group, as a test or an application's replica sees it: join, send, hear, leave.

It is libcpg's own session on virtual time. What is asked for is done in order; where libcpg would say TRY_AGAIN, it is repeated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from corosyncsim.services.journal import ClientJournal, Place
from corosyncsim.services.program import Park, Program, Script, patiently
from libcpg.messages import ConfigurationChange, Deliver
from libcpg.session import Event, Session

if TYPE_CHECKING:
    from corosyncsim.services.services import Services

AGAIN: Final = 0.01
"""Seconds before a call that was told to try again is repeated."""


class Member:
    """One program with one cpg connection on one node.

    ``events`` has everything it was told, in order; ``on_event`` is called with each event as it comes, and may call any method.
    """

    def __init__(self, services: Services, node_id: int, on_event: Callable[[Event], None] | None = None) -> None:
        """It connects at once, or as soon as the node's daemon serves programs."""
        self.events: list[Event] = []
        self.members: tuple[Place, ...] = ()
        """(node id, pid) of the group's members, as it was told last."""
        self._on_event = on_event
        self._session: Session
        self._operations: deque[Callable[[], Script]] = deque()
        self._program: Program = services.program(node_id, "cpg", self._make, self._told)

    @property
    def node_id(self) -> int:
        """Where it runs."""
        return self._program.node_id

    @property
    def place(self) -> Place:
        """(node id, pid): how the others know it."""
        return self._program.node_id, self._program.pid

    @property
    def joined(self) -> bool:
        """Whether it is in its own last view of the group."""
        return self.place in self.members

    @property
    def lost(self) -> bool:
        """Whether its connection has broken: its daemon or the cpg engine has gone. A new member may be started."""
        return self._program.broken

    @property
    def deliveries(self) -> list[bytes]:
        """The messages that it has heard, in order."""
        return [event.data for event in self.events if isinstance(event, Deliver)]

    @property
    def group(self) -> bytes | None:
        """The group that it was told to join."""
        return self._program.journal.group

    @property
    def last_word(self) -> int:
        """Checksum of the message that it has sent last, 0 before the first."""
        sent = self._program.journal.sent
        return sent[-1].digest if sent else 0

    def join(self, group: str | bytes) -> None:
        """Join; the effect is the first ConfigurationChange."""
        self._program.journal.group = group.encode() if isinstance(group, str) else group
        self._do(lambda: self._session.join(group))

    def mcast(self, data: bytes) -> None:
        """Send to the group."""
        self._program.journal.sends(data)
        self._do(lambda: self._session.mcast(data))

    def leave(self) -> None:
        """Leave the group; the effect is the ConfigurationChange that lists this member as left."""
        self._program.journal.leaves()
        self._do(lambda: self._session.leave(self._program.journal.group or b""))

    def die(self) -> None:
        """End without a word."""
        self._program.die()

    def _do(self, steps: Callable[[], Script]) -> None:
        self._operations.append(steps)
        self._program.prod()

    def _make(self, journal: ClientJournal) -> tuple[Session, Script]:
        self._session = Session(initial_totem_configuration=True, pid=journal.pid)
        return self._session, self._life()

    def _life(self) -> Script:
        while True:
            while self._operations:
                yield from patiently(self._operations[0], AGAIN)
                self._operations.popleft()
            yield Park()

    def _told(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, ConfigurationChange):
            self.members = tuple((address.nodeid, address.pid) for address in event.members)
        if self._on_event is not None:
            self._on_event(event)
