"""The cfg library: ``Cfg`` blocks, ``AsyncCfg`` is for asyncio; both come from the same calls.

Source: corosync/cfg.h, reference client-api section 6.
"""

from __future__ import annotations

from coroipc.library import AsyncLibrary, BlockingLibrary, asynchronous, blocking
from libcfg import calls, messages
from libcfg.messages import ShutdownRequested


class Session:
    """A cfg connection without I/O."""

    def event(self, message: bytes) -> ShutdownRequested:
        """Raises MessageError."""
        return messages.decode_event(message)


class Cfg(BlockingLibrary[ShutdownRequested]):
    """One connection to the cfg service."""

    def __init__(self, *, instance: str | None = None, socket_directory: str | None = None) -> None:
        """Connect (C: corosync_cfg_initialize).

        ``instance`` names the daemon (default: COROSYNC_INSTANCE). Raises LibraryError, TryAgain (no first
        synchronisation yet), AccessDenied.
        """
        super().__init__("cfg", Session(), instance=instance, socket_directory=socket_directory)

    ring_status = blocking(calls.ring_status)
    ring_reenable = blocking(calls.ring_reenable)
    kill_node = blocking(calls.kill_node)
    try_shutdown = blocking(calls.try_shutdown)
    replyto_shutdown = blocking(calls.replyto_shutdown)
    node_addresses = blocking(calls.node_addresses)
    local_nodeid = blocking(calls.local_nodeid)
    reload_configuration = blocking(calls.reload_configuration)
    reopen_log_files = blocking(calls.reopen_log_files)
    node_status = blocking(calls.node_status)
    trackstart = blocking(calls.trackstart)
    trackstop = blocking(calls.trackstop)


class AsyncCfg(AsyncLibrary[ShutdownRequested]):
    """One connection to the cfg service."""

    def __init__(self, *, instance: str | None = None, socket_directory: str | None = None) -> None:
        """The arguments are those of ``Cfg``; nothing happens before ``connect``."""
        super().__init__("cfg", Session(), instance=instance, socket_directory=socket_directory)

    ring_status = asynchronous(calls.ring_status)
    ring_reenable = asynchronous(calls.ring_reenable)
    kill_node = asynchronous(calls.kill_node)
    try_shutdown = asynchronous(calls.try_shutdown)
    replyto_shutdown = asynchronous(calls.replyto_shutdown)
    node_addresses = asynchronous(calls.node_addresses)
    local_nodeid = asynchronous(calls.local_nodeid)
    reload_configuration = asynchronous(calls.reload_configuration)
    reopen_log_files = asynchronous(calls.reopen_log_files)
    node_status = asynchronous(calls.node_status)
    trackstart = asynchronous(calls.trackstart)
    trackstop = asynchronous(calls.trackstop)
