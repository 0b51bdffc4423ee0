"""Starts the log process and makes the socket that leads to it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

SEND_BUFFER = 1 << 20
"""Bytes of records that may wait for the log process (the kernel's limit may be lower)."""


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """The producing end and the log process's end."""
    producer, sink = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    producer.setblocking(False)
    producer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    return producer, sink


def start() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start ``python -m corosyncd.log``; the process ends when the socket (and every copy of it) is closed."""
    producer, sink = channel_pair()
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH", "")])]
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "corosyncd.log", str(sink.fileno())],
            pass_fds=[sink.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )
    except OSError:
        producer.close()
        raise
    finally:
        sink.close()
    return process, producer
