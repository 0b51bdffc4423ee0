"""Where the ring sequence number survives a restart: ``<state dir>/ringid_<node id>``, eight bytes, written by a small process.

The executive never waits for a disk: it sends each number to the writer, which ends when the executive does, after the last
number it was sent. Source: reference totem section 4.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
from pathlib import Path

from corosyncd.daemon import process

_SEQUENCE = struct.Struct("=Q")
PENDING_LIMIT = 4096
"""Numbers that may wait for the disk; a ring that forms that often has other troubles."""


class StoreError(Exception):
    """The file cannot be read or written; the text names it. The daemon's exit status is 21."""


def path(state_directory: Path, node_id: int) -> Path:
    """The file of a node."""
    return state_directory / f"ringid_{node_id}"


def load(state_directory: Path, node_id: int) -> int:
    """The stored number; a missing or short file counts as 0 and is created. Raises StoreError."""
    file = path(state_directory, node_id)
    try:
        content = file.read_bytes() if file.exists() else b""
        if len(content) != _SEQUENCE.size:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, _SEQUENCE.pack(0))
            finally:
                os.close(descriptor)
            return 0
    except OSError as error:
        raise StoreError(f"cannot use the ring id file {file}: {error.strerror}") from error
    return int(_SEQUENCE.unpack(content)[0])


class RingStore:
    """The executive's end of the writer."""

    def __init__(self, state_directory: Path, node_id: int) -> None:
        """Forks the writer: call it before there is a loop or a thread. Raises StoreError when the file cannot be opened."""
        file = path(state_directory, node_id)
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot write the ring id file {file}: {error.strerror}") from error
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            os._exit(_write_all(theirs, descriptor))
        theirs.close()
        os.close(descriptor)
        ours.setblocking(False)
        self._socket = ours

    def fileno(self) -> int:
        """Readable when the writer has ended (it never writes): then the file could not be written."""
        return self._socket.fileno()

    def store(self, sequence: int) -> None:
        """Hand over one number. Raises StoreError when the writer is gone or hopelessly behind."""
        try:
            self._socket.send(_SEQUENCE.pack(sequence))
        except OSError as error:
            raise StoreError(f"the ring id cannot be stored: {error.strerror}") from error

    def close(self) -> None:
        """Let the writer finish, and wait for it."""
        self._socket.close()
        os.waitpid(self.pid, 0)


def _write_all(source: socket.socket, descriptor: int) -> int:
    """The writer: exit status 0 when the executive has ended, 1 when the file could not be written."""
    process.set_title("ring id")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        content = source.recv(_SEQUENCE.size)
        if len(content) != _SEQUENCE.size:
            return 0
        try:
            if os.pwrite(descriptor, content, 0) != len(content):
                return 1
        except OSError:
            return 1
