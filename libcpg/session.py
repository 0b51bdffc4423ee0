"""A cpg connection without I/O: its events, and the operations of more than one request.

Source: cpg_join(3), cpg_leave(3), cpg_mcast_joined(3), reference client-api sections 3.3 and 3.5.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from typing import Final

from coroipc.errors import Busy, InvalidParameter, Status, TryAgain, check
from coroipc.layouts import Buffer, response_status
from coroipc.library import Ask, Pause, Send, Steps, ask
from libcpg import messages
from libcpg.assembly import ASSEMBLY_LIMIT, Assembly
from libcpg.calls import Group, group_name
from libcpg.messages import ConfigurationChange, Deliver, Fragment, Guarantee, JoinFlag, TotemConfiguration

BUSY_RETRIES: Final = 1000
"""How often join and leave are repeated while an earlier one is under way (the C library: for ever)."""
NO_ROOM_RETRIES: Final = 100
"""How often a fragment or the finalize is repeated while the daemon has no room."""
RETRY_SECONDS: Final = 0.01
"""Between two repetitions."""
MCAST_FLOW_LIMIT: Final = 2
"""Multicasts are stopped by either value of the flow-control word, other requests by 1 alone."""

Event = ConfigurationChange | Deliver | TotemConfiguration
"""What a program sees: fragments are put together before."""

FLOW_CONTROL_DISABLED: Final = 0
"""The only state that cpg_flow_control_state_get knows."""


class Session:
    """State of one connection: the flags of its join, and large messages that are not complete."""

    def __init__(
        self, *, initial_totem_configuration: bool = False, assembly_limit: int = ASSEMBLY_LIMIT, pid: int | None = None
    ) -> None:
        """``initial_totem_configuration``: one TotemConfiguration right after the first ConfigurationChange.

        ``pid`` is what groups know this program by, where that is not the process that runs here (a simulated program).
        """
        self._pid = pid
        self.flags = JoinFlag.INITIAL_TOTEM_CONFIGURATION if initial_totem_configuration else 0
        self.assembly = Assembly(assembly_limit)
        # Receivers know the fragments of a message by their sender alone: only one message of a connection may be under way.
        self._fragmenting = threading.Lock()

    def event(self, message: bytes) -> Event | None:
        """None for a fragment that does not complete its message. Raises MessageError."""
        event = messages.decode_event(message)
        if isinstance(event, messages.PartialDeliver):
            return self.assembly.add(event)
        if isinstance(event, ConfigurationChange):
            for address in event.left:
                self.assembly.discard(address.nodeid, address.pid)
        return event

    def join(self, group: Group) -> Steps[None]:
        """Join a group. The effect is the ConfigurationChange that lists this process as joined; wait for it.

        One connection joins one group once: to join again after leaving, close it and open another. C: cpg_join. Raises
        NameTooLong, Exist (already a member), TryAgain (synchronising, or an earlier leave of this process is not through),
        Busy, LibraryError.
        """
        request = messages.JoinRequest(group_name(group), self._pid or os.getpid(), self.flags)
        yield from _repeat_while_busy(request.encode(), f"cpg_join({group!r})")

    def leave(self, group: Group) -> Steps[None]:
        """Leave the group. The effect is the ConfigurationChange that lists this process as left.

        C: cpg_leave. Raises NotExist (no member), NameTooLong, TryAgain, Busy, LibraryError.
        """
        request = messages.LeaveRequest(group_name(group), self._pid or os.getpid())
        yield from _repeat_while_busy(request.encode(), f"cpg_leave({group!r})")

    def mcast(self, data: Buffer | Sequence[Buffer], guarantee: int = Guarantee.AGREED) -> Steps[None]:
        """Send a message, or its pieces as one, to the joined group; it is delivered here too.

        Up to ``ATOMIC_MESSAGE_LIMIT`` bytes nothing confirms it. Longer ones go as fragments, each confirmed; a
        membership change in between raises Interrupted: nobody gets the message, send it again. Those of several threads
        or tasks go one after the other. The guarantee is accepted for the interface's sake: everything is sent agreed.

        C: cpg_mcast_joined. Raises TryAgain (flow control: repeat after a pause), InvalidParameter, Interrupted and
        NotExist (not a member) for long messages, LibraryError.
        """
        if guarantee not in tuple(Guarantee):
            raise InvalidParameter(f"cpg_mcast_joined: guarantee {guarantee}")
        pieces = [data] if isinstance(data, (bytes, bytearray, memoryview)) else list(data)
        total = sum(map(_length, pieces))
        if total <= messages.ATOMIC_MESSAGE_LIMIT:
            yield Send(messages.McastRequest(b"".join(pieces), guarantee).encode(), MCAST_FLOW_LIMIT)
            return
        if total > 0xFFFFFFFF:
            raise InvalidParameter(f"cpg_mcast_joined: {total} bytes")
        while not self._fragmenting.acquire(blocking=False):
            yield Pause(RETRY_SECONDS)
        try:
            yield from _mcast_fragments(pieces, total, guarantee)
        finally:
            self._fragmenting.release()

    def finalize(self) -> Steps[None]:
        """The last step: no more events, and everything multicast before is on its way when it is answered.

        C: cpg_finalize. Raises TryAgain, LibraryError.
        """
        yield from _repeat_while_no_room(messages.FINALIZE_REQUEST.pack(), "cpg_finalize", flow_limit=1)


def _length(piece: Buffer) -> int:
    return piece.nbytes if isinstance(piece, memoryview) else len(piece)


def _repeat_while_busy(request: bytes, what: str) -> Steps[None]:
    for _ in range(BUSY_RETRIES):
        status = response_status((yield Ask(request)))
        if status != Status.BUSY:
            check(status, what)
            return
        yield Pause(RETRY_SECONDS)
    raise Busy(what)


def _cut(pieces: list[Buffer]) -> Iterator[memoryview]:
    """Fragments of at most the limit, none of which spans two pieces, as the C library sends them."""
    for piece in pieces:
        view = memoryview(piece).cast("B")
        for start in range(0, len(view), messages.ATOMIC_MESSAGE_LIMIT):
            yield view[start : start + messages.ATOMIC_MESSAGE_LIMIT]


def _mcast_fragments(pieces: list[Buffer], total: int, guarantee: int) -> Steps[None]:
    sent = 0
    for part in _cut(pieces):
        kind = Fragment.FIRST if sent == 0 else Fragment.LAST if sent + len(part) == total else Fragment.CONTINUED
        request = messages.PartialMcastRequest(bytes(part), total, kind, guarantee).encode()
        yield from _repeat_while_no_room(request, f"cpg_mcast_joined({total} bytes) at byte {sent}")
        sent += len(part)


def _repeat_while_no_room(request: bytes, what: str, flow_limit: int = MCAST_FLOW_LIMIT) -> Steps[None]:
    for _ in range(NO_ROOM_RETRIES):
        try:
            yield from ask(request, what, flow_limit)
            return
        except TryAgain:
            yield Pause(RETRY_SECONDS)
    yield from ask(request, what, flow_limit)
