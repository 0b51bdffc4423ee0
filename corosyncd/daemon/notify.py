"""Readiness for the init system: the sd_notify datagram (Type=notify)."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Send one state such as ``READY=1`` to NOTIFY_SOCKET; without that variable, or with a dead socket, nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            pass  # the init system does not listen: nothing depends on it here
