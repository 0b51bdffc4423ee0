"""The listening socket of a service, made before the engine's process exists so that connects queue instead of failing.

Source: reference ipc sections 1.1 and 1.2.
"""

from __future__ import annotations

import os
import socket

from coroipc.handshake import socket_address, socket_directory

BACKLOG = 512
"""Connects that may queue while an engine is restarted (stock: 128)."""


def listen(service: str, *, instance: str | None = None, directory: str | None = None) -> socket.socket:
    """Bind and listen, non-blocking; abstract, or in ``directory`` where given or where libqb's marker file asks for it.

    Raises OSError: EADDRINUSE where a daemon, ours or a stock one, has the abstract name; ENOENT without the directory. A stale
    path is replaced: the daemon's pid lock has shown that nobody uses it.
    """
    address = socket_address(service, instance, socket_directory(directory))
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        # Accepted sockets inherit it: credentials come with data that was sent before accept().
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        if isinstance(address, str):
            _remove_path(address)
        listening.bind(address)
        if isinstance(address, str):
            # Anybody may connect; who may stay is decided by credentials.
            os.chmod(address, 0o777)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def close_listener(listening: socket.socket) -> None:
    """Close a listening socket, and remove its path if it has one."""
    try:
        address = listening.getsockname()
        if isinstance(address, str) and address:
            _remove_path(address)
    except OSError:
        pass
    listening.close()


def _remove_path(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
