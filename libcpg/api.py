"""The cpg library: ``Cpg`` blocks, ``AsyncCpg`` is for asyncio; both come from the same calls and steps.

Source: cpg_overview(8), reference client-api section 3.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from coroipc.errors import NoSections
from coroipc.library import AsyncLibrary, BlockingLibrary, asynchronous, asynchronous_steps, blocking, blocking_steps
from libcpg import calls, zero_copy_buffer
from libcpg.assembly import ASSEMBLY_LIMIT
from libcpg.calls import Group
from libcpg.messages import ATOMIC_MESSAGE_LIMIT, Iteration, IterationNextResponse
from libcpg.session import FLOW_CONTROL_DISABLED, Event, Session


class Cpg(BlockingLibrary[Event]):
    """One connection to the cpg service; one connection joins one group, once."""

    _session: Session

    def __init__(
        self,
        *,
        initial_totem_configuration: bool = False,
        assembly_limit: int = ASSEMBLY_LIMIT,
        instance: str | None = None,
        socket_directory: str | None = None,
    ) -> None:
        """Connect (C: cpg_model_initialize, model v1).

        ``initial_totem_configuration`` is model v1's flag: one TotemConfiguration right after the first change of the
        group. ``assembly_limit``: bytes of the longest message that is put together from fragments. ``instance`` names
        the daemon (default: COROSYNC_INSTANCE). Raises LibraryError, TryAgain (no first synchronisation yet),
        AccessDenied.
        """
        session = Session(initial_totem_configuration=initial_totem_configuration, assembly_limit=assembly_limit)
        super().__init__("cpg", session, closing=session.finalize, instance=instance, socket_directory=socket_directory)

    join = blocking_steps(Session.join)
    leave = blocking_steps(Session.leave)
    mcast = blocking_steps(Session.mcast)
    zero_copy_allocate = blocking_steps(zero_copy_buffer.allocate)
    zero_copy_mcast = blocking_steps(zero_copy_buffer.mcast)
    zero_copy_free = blocking_steps(zero_copy_buffer.free)
    membership = blocking(calls.membership)
    local_nodeid = blocking(calls.local_nodeid)
    iteration_initialize = blocking(calls.iteration_initialize)
    iteration_next = blocking(calls.iteration_next)
    iteration_finalize = blocking(calls.iteration_finalize)

    def iterate(self, group: Group | None = None, *, names_only: bool = False) -> Iterator[IterationNextResponse]:
        """Every process of every group, of one ``group``, or every group's name once (nodeid and pid 0): a snapshot.

        C: cpg_iteration_initialize, _next, _finalize. Raises InvalidParameter, NameTooLong, LibraryError.
        """
        handle = self.iteration_initialize(*_iteration(group, names_only))
        try:
            while True:
                try:
                    yield self.iteration_next(handle)
                except NoSections:
                    return
        finally:
            if not self._closed:
                self.iteration_finalize(handle)

    @property
    def max_atomic_message_size(self) -> int:
        """Longest message in bytes that travels in one piece (C: cpg_max_atomic_msgsize_get)."""
        return ATOMIC_MESSAGE_LIMIT

    @property
    def flow_control_state(self) -> int:
        """Always 0, disabled: real back pressure is TryAgain (C: cpg_flow_control_state_get)."""
        return FLOW_CONTROL_DISABLED

    @property
    def dropped_messages(self) -> int:
        """Fragmented messages dropped because they broke their announcement or ``assembly_limit``."""
        return self._session.assembly.dropped


class AsyncCpg(AsyncLibrary[Event]):
    """One connection to the cpg service; one connection joins one group, once."""

    _session: Session

    def __init__(
        self,
        *,
        initial_totem_configuration: bool = False,
        assembly_limit: int = ASSEMBLY_LIMIT,
        instance: str | None = None,
        socket_directory: str | None = None,
    ) -> None:
        """The arguments are those of ``Cpg``; nothing happens before ``connect``."""
        session = Session(initial_totem_configuration=initial_totem_configuration, assembly_limit=assembly_limit)
        super().__init__("cpg", session, closing=session.finalize, instance=instance, socket_directory=socket_directory)

    join = asynchronous_steps(Session.join)
    leave = asynchronous_steps(Session.leave)
    mcast = asynchronous_steps(Session.mcast)
    zero_copy_allocate = asynchronous_steps(zero_copy_buffer.allocate)
    zero_copy_mcast = asynchronous_steps(zero_copy_buffer.mcast)
    zero_copy_free = asynchronous_steps(zero_copy_buffer.free)
    membership = asynchronous(calls.membership)
    local_nodeid = asynchronous(calls.local_nodeid)
    iteration_initialize = asynchronous(calls.iteration_initialize)
    iteration_next = asynchronous(calls.iteration_next)
    iteration_finalize = asynchronous(calls.iteration_finalize)

    async def iterate(self, group: Group | None = None, *, names_only: bool = False) -> AsyncIterator[IterationNextResponse]:
        """Every process of every group, of one ``group``, or every group's name once (nodeid and pid 0): a snapshot.

        C: cpg_iteration_initialize, _next, _finalize. Raises InvalidParameter, NameTooLong, LibraryError.
        """
        handle = await self.iteration_initialize(*_iteration(group, names_only))
        try:
            while True:
                try:
                    yield await self.iteration_next(handle)
                except NoSections:
                    return
        finally:
            if self._usable:
                await self.iteration_finalize(handle)

    @property
    def max_atomic_message_size(self) -> int:
        """Longest message in bytes that travels in one piece (C: cpg_max_atomic_msgsize_get)."""
        return ATOMIC_MESSAGE_LIMIT

    @property
    def flow_control_state(self) -> int:
        """Always 0, disabled: real back pressure is TryAgain (C: cpg_flow_control_state_get)."""
        return FLOW_CONTROL_DISABLED

    @property
    def dropped_messages(self) -> int:
        """Fragmented messages dropped because they broke their announcement or ``assembly_limit``."""
        return self._session.assembly.dropped


def _iteration(group: Group | None, names_only: bool) -> tuple[int, Group]:
    if group is not None:
        return Iteration.ONE_GROUP, group
    return (Iteration.NAME_ONLY if names_only else Iteration.ALL), b""
