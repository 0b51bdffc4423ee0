"""Numbers that survive a restart: the ring sequence number and, with expected_votes_tracking, the highest expected votes.

Each is a file of a few bytes in the state directory, laid out as stock's, written by a small process: the executive never waits
for a disk. It sends each number to the writer, which ends when the executive does, after the last number it was sent.
Source: reference totem section 4, votequorum(5).
"""

from __future__ import annotations

import os
import signal
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from corosyncd.daemon import process
from corosyncd.totem.membership import BELIEVED_SEQUENCE, LONGEST_LEAP


class StoreError(Exception):
    """The file cannot be read or written; the text names it. For the ring id, the daemon's exit status is 21."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A number with its file."""

    title: str
    """In messages, and of the writer's process."""
    path: Path
    layout: struct.Struct
    largest: int

    def load(self) -> int:
        """What is stored; a missing or short file counts as 0 and is created. Raises StoreError."""
        try:
            content = self.path.read_bytes() if self.path.exists() else b""
            if len(content) == self.layout.size:
                return self._checked(int(self.layout.unpack(content)[0]))
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, self.layout.pack(0))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreError(f"cannot use the {self.title} file {self.path}: {error.strerror}") from error
        return 0

    def _checked(self, number: int) -> int:
        if number > self.largest:
            text = (
                f"the {self.title} file {self.path} holds {number}, and no more than {self.largest} is possible: remove the file"
            )
            raise StoreError(text)
        return number


def ring_sequence(state_directory: Path, node_id: int) -> Stored:
    """The sequence number of the node's last ring."""
    path = state_directory / f"ringid_{node_id}"
    # With a higher one no other node's ring would be in this one's reach.
    return Stored("ring id", path, struct.Struct("=Q"), BELIEVED_SEQUENCE + LONGEST_LEAP)


def highest_expected_votes(state_directory: Path) -> Stored:
    """The most votes that this node ever expected."""
    return Stored("expected votes", state_directory / "ev_tracking", struct.Struct("=I"), (1 << 32) - 1)


class NumberStore:
    """The executive's end of a writer."""

    def __init__(self, stored: Stored) -> None:
        """Forks the writer: call it before there is a loop or a thread. Raises StoreError when the file cannot be opened."""
        self._stored = stored
        try:
            descriptor = os.open(stored.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot write the {stored.title} file {stored.path}: {error.strerror}") from error
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            os._exit(_write_all(stored, theirs, descriptor))
        theirs.close()
        os.close(descriptor)
        ours.setblocking(False)
        self._socket = ours

    def fileno(self) -> int:
        """Readable when the writer has ended (it never writes): then the file could not be written."""
        return self._socket.fileno()

    def store(self, number: int) -> None:
        """Hand over one number. Raises StoreError when the writer is gone, or so far behind that the socket's buffer is full."""
        try:
            self._socket.send(self._stored.layout.pack(number))
        except OSError as error:
            raise StoreError(f"the {self._stored.title} cannot be stored: {error.strerror}") from error

    def close(self) -> None:
        """Let the writer finish, and wait for it."""
        self._socket.close()
        os.waitpid(self.pid, 0)


def _write_all(stored: Stored, source: socket.socket, descriptor: int) -> int:
    """The writer: exit status 0 when the executive has ended, 1 when the file could not be written."""
    process.set_title(stored.title)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        content = source.recv(stored.layout.size)
        if len(content) != stored.layout.size:
            return 0
        try:
            if os.pwrite(descriptor, content, 0) != len(content):
                return 1
        except OSError:
            return 1
