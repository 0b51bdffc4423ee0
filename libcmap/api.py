"""The cmap library: ``Cmap`` blocks, ``AsyncCmap`` is for asyncio; both come from the same calls and steps.

Source: cmap_overview(8), reference client-api section 2.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from coroipc.errors import NoSections, NotExist
from coroipc.library import AsyncLibrary, BlockingLibrary, asynchronous, asynchronous_steps, blocking, blocking_steps
from libcmap import calls
from libcmap.messages import IterationNextResponse, Map
from libcmap.session import KeyChange, Session
from libcmap.values import Value


class Cmap(BlockingLibrary[KeyChange]):
    """One connection to the configuration map or, with ``Map.STATS``, to the statistics."""

    def __init__(self, map_id: int = Map.ICMAP, *, instance: str | None = None, socket_directory: str | None = None) -> None:
        """Connect (C: cmap_initialize, cmap_initialize_map).

        ``instance`` names the daemon (default: COROSYNC_INSTANCE). Raises LibraryError, TryAgain (no first
        synchronisation yet), AccessDenied, NotExist (unknown map).
        """
        session = Session(map_id)
        super().__init__("cmap", session, session.choose_map, instance=instance, socket_directory=socket_directory)

    get = blocking_steps(Session.get)
    get_typed = blocking_steps(Session.get_typed)
    set = blocking(calls.set_value)
    delete = blocking(calls.delete)
    adjust = blocking(calls.adjust)
    increment = blocking(calls.increment)
    decrement = blocking(calls.decrement)
    iteration_initialize = blocking(calls.iteration_initialize)
    iteration_next = blocking(calls.iteration_next)
    iteration_finalize = blocking(calls.iteration_finalize)
    set_current_map = blocking(calls.set_current_map)
    track = blocking_steps(Session.track)
    untrack = blocking_steps(Session.untrack)

    def iterate(self, prefix: str = "") -> Iterator[IterationNextResponse]:
        """Keys that start with ``prefix``, in byte order, each with its value's length and type.

        C: cmap_iter_init, _next, _finalize. Raises NameTooLong, LibraryError.
        """
        handle = self.iteration_initialize(prefix)
        try:
            while True:
                try:
                    yield self.iteration_next(handle)
                except NoSections:
                    return
        finally:
            if not self._closed:
                self.iteration_finalize(handle)

    def items(self, prefix: str = "") -> Iterator[tuple[str, Value]]:
        """Keys that start with ``prefix`` with their values; a key deleted meanwhile is left out.

        C: cmap_iter_next and cmap_get. Raises NameTooLong, LibraryError.
        """
        for entry in self.iterate(prefix):
            try:
                value = self.get_typed(entry.key)
            except NotExist:
                continue
            yield entry.key, value


class AsyncCmap(AsyncLibrary[KeyChange]):
    """One connection to the configuration map or, with ``Map.STATS``, to the statistics."""

    def __init__(self, map_id: int = Map.ICMAP, *, instance: str | None = None, socket_directory: str | None = None) -> None:
        """The arguments are those of ``Cmap``; nothing happens before ``connect``."""
        session = Session(map_id)
        super().__init__("cmap", session, session.choose_map, instance=instance, socket_directory=socket_directory)

    get = asynchronous_steps(Session.get)
    get_typed = asynchronous_steps(Session.get_typed)
    set = asynchronous(calls.set_value)
    delete = asynchronous(calls.delete)
    adjust = asynchronous(calls.adjust)
    increment = asynchronous(calls.increment)
    decrement = asynchronous(calls.decrement)
    iteration_initialize = asynchronous(calls.iteration_initialize)
    iteration_next = asynchronous(calls.iteration_next)
    iteration_finalize = asynchronous(calls.iteration_finalize)
    set_current_map = asynchronous(calls.set_current_map)
    track = asynchronous_steps(Session.track)
    untrack = asynchronous_steps(Session.untrack)

    async def iterate(self, prefix: str = "") -> AsyncIterator[IterationNextResponse]:
        """Keys that start with ``prefix``, in byte order, each with its value's length and type.

        C: cmap_iter_init, _next, _finalize. Raises NameTooLong, LibraryError.
        """
        handle = await self.iteration_initialize(prefix)
        try:
            while True:
                try:
                    yield await self.iteration_next(handle)
                except NoSections:
                    return
        finally:
            if self._usable:
                await self.iteration_finalize(handle)

    async def items(self, prefix: str = "") -> AsyncIterator[tuple[str, Value]]:
        """Keys that start with ``prefix`` with their values; a key deleted meanwhile is left out.

        C: cmap_iter_next and cmap_get. Raises NameTooLong, LibraryError.
        """
        async for entry in self.iterate(prefix):
            try:
                value = await self.get_typed(entry.key)
            except NotExist:
                continue
            yield entry.key, value
