"""The votequorum library: ``Votequorum`` blocks, ``AsyncVotequorum`` is for asyncio; both come from the same calls.

Source: votequorum_overview(3), reference client-api section 5.
"""

from __future__ import annotations

from coroipc.library import AsyncLibrary, BlockingLibrary, asynchronous, blocking
from libvotequorum import calls, messages
from libvotequorum.messages import Event


class Session:
    """A votequorum connection without I/O."""

    def event(self, message: bytes) -> Event:
        """Raises MessageError."""
        return messages.decode_event(message)


class Votequorum(BlockingLibrary[Event]):
    """One connection to the votequorum service, which is there when ``quorum.provider`` is corosync_votequorum."""

    def __init__(self, *, instance: str | None = None, socket_directory: str | None = None) -> None:
        """Connect (C: votequorum_initialize).

        ``instance`` names the daemon (default: COROSYNC_INSTANCE). Raises LibraryError (also: the daemon has another
        quorum provider), TryAgain (no first synchronisation yet), AccessDenied.
        """
        super().__init__("votequorum", Session(), instance=instance, socket_directory=socket_directory)

    getinfo = blocking(calls.getinfo)
    setexpected = blocking(calls.setexpected)
    setvotes = blocking(calls.setvotes)
    trackstart = blocking(calls.trackstart)
    trackstop = blocking(calls.trackstop)
    qdevice_register = blocking(calls.qdevice_register)
    qdevice_unregister = blocking(calls.qdevice_unregister)
    qdevice_update = blocking(calls.qdevice_update)
    qdevice_poll = blocking(calls.qdevice_poll)
    qdevice_master_wins = blocking(calls.qdevice_master_wins)


class AsyncVotequorum(AsyncLibrary[Event]):
    """One connection to the votequorum service, which is there when ``quorum.provider`` is corosync_votequorum."""

    def __init__(self, *, instance: str | None = None, socket_directory: str | None = None) -> None:
        """The arguments are those of ``Votequorum``; nothing happens before ``connect``."""
        super().__init__("votequorum", Session(), instance=instance, socket_directory=socket_directory)

    getinfo = asynchronous(calls.getinfo)
    setexpected = asynchronous(calls.setexpected)
    setvotes = asynchronous(calls.setvotes)
    trackstart = asynchronous(calls.trackstart)
    trackstop = asynchronous(calls.trackstop)
    qdevice_register = asynchronous(calls.qdevice_register)
    qdevice_unregister = asynchronous(calls.qdevice_unregister)
    qdevice_update = asynchronous(calls.qdevice_update)
    qdevice_poll = asynchronous(calls.qdevice_poll)
    qdevice_master_wins = asynchronous(calls.qdevice_master_wins)
