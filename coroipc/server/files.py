"""The directory of a connection in /dev/shm with its six files, and what dead daemons leave there.

Source: reference ipc section 2.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
from collections.abc import Callable

from coroipc.ringbuffer import RingBuffer

DEFAULT_DIRECTORY = "/dev/shm"

SPARE_DESCRIPTORS = 50
"""Descriptors that are kept for the process itself."""

_libc = ctypes.CDLL(None, use_errno=True)
_LEFTOVER = re.compile(r"qb-(\d+)-\d+-\d+-.{6}")
_RING_FILE = re.compile(r"qb-(request|response|event)-[^/]+-(header|data)|qb-control-[^/]+")


class ConnectionFiles:
    """The three rings of one connection and where they lie."""

    __slots__ = ("_identity", "_names", "directory", "events", "prefixes", "requests", "responses")

    def __init__(
        self, service: str, client: tuple[int, int, int], descriptor: int, max_message_size: int, base: str = DEFAULT_DIRECTORY
    ) -> None:
        """Make everything for a client (pid, uid, gid), or raise OSError and leave nothing.

        The directory is handed to the client last: until then nobody else can put anything into it.
        """
        pid, uid, gid = client
        self.directory = _make_directory(os.path.join(base, f"qb-{os.getpid()}-{pid}-{descriptor}-XXXXXX"))
        rings: list[RingBuffer] = []
        prefixes = [f"{self.directory}/qb-{kind}-{service}" for kind in ("request", "response", "event")]
        self._names = [os.path.basename(prefix) + suffix for prefix in prefixes for suffix in ("-data", "-header")]
        try:
            status = os.stat(self.directory)
            self._identity = (status.st_dev, status.st_ino)
            for prefix in prefixes:
                rings.append(RingBuffer.create(prefix, max_message_size, uid, gid))
            os.chmod(self.directory, 0o770)
            try:
                os.chown(self.directory, uid, gid)
            except PermissionError:
                pass  # Not root: the peer is our own user, or its open fails.
        except BaseException:
            for ring in rings:
                ring.close(destroy=True)
            for name in os.listdir(self.directory):
                os.unlink(os.path.join(self.directory, name))
            os.rmdir(self.directory)
            raise
        self.requests, self.responses, self.events = rings
        self.prefixes = (os.fsencode(prefixes[0]), os.fsencode(prefixes[1]), os.fsencode(prefixes[2]))

    def remove(self) -> None:
        """Close the rings and remove the files. The client owns the directory, so nothing but itself is followed."""
        for ring in (self.responses, self.events, self.requests):
            ring.close(destroy=True)
        try:
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return
        try:
            status = os.fstat(descriptor)
            if (status.st_dev, status.st_ino) != self._identity:
                return
            for name in self._names:
                _unlink_at(name, descriptor)
        finally:
            os.close(descriptor)
        try:
            os.rmdir(self.directory)
        except OSError:
            pass  # The client has put something of its own there.


def sweep(pid_is_dead: Callable[[int], bool], base: str = DEFAULT_DIRECTORY) -> list[str]:
    """Remove the connection directories of servers that ``pid_is_dead`` says are no more; returns what was removed.

    Only what has the names of connection files is touched, and no links are followed.
    """
    removed = []
    for entry in os.listdir(base):
        match = _LEFTOVER.fullmatch(entry)
        if match is None or not pid_is_dead(int(match[1])):
            continue
        path = os.path.join(base, entry)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            for name in os.listdir(descriptor):
                if _RING_FILE.fullmatch(name):
                    _unlink_at(name, descriptor)
        finally:
            os.close(descriptor)
        try:
            os.rmdir(path)
        except OSError:
            continue
        removed.append(path)
    return removed


def is_spare(descriptor: int) -> bool:
    """Whether a descriptor is one of those that no client may take. They are handed out from the lowest: the number says how many
    are in use."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit != resource.RLIM_INFINITY and descriptor >= limit - SPARE_DESCRIPTORS


def _make_directory(template: str) -> str:
    buffer = ctypes.create_string_buffer(os.fsencode(template))
    if not _libc.mkdtemp(buffer):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), template)
    return os.fsdecode(buffer.value)


def _unlink_at(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except OSError:
        pass
