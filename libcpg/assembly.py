"""Putting the fragments of large messages together again, a sender at a time.

Source: reference client-api section 3.5.
"""

from __future__ import annotations

from libcpg.messages import Deliver, Fragment, PartialDeliver

ASSEMBLY_LIMIT = 256 * 1024 * 1024
"""Bytes of the longest message put together, unless a connection is told otherwise."""


class Assembly:
    """Unfinished messages of a connection, keyed by (nodeid, pid).

    Memory grows with what has arrived, never with what a sender announces. A message that breaks its own announcement
    or the limit is dropped and counted.
    """

    __slots__ = ("_limit", "_parts", "dropped")

    def __init__(self, limit: int = ASSEMBLY_LIMIT) -> None:
        """``limit`` in bytes of one message."""
        self._limit = limit
        self._parts: dict[tuple[int, int], bytearray] = {}
        self.dropped = 0

    def add(self, part: PartialDeliver) -> Deliver | None:
        """The whole message when ``part`` completes it. A continuation without a beginning is ignored."""
        sender = (part.nodeid, part.pid)
        if part.fragment == Fragment.FIRST:
            self._parts[sender] = bytearray()
        data = self._parts.get(sender)
        if data is None:
            return None
        whole = len(data) + len(part.data)
        if whole > min(part.total, self._limit) or (part.fragment == Fragment.LAST and whole != part.total):
            del self._parts[sender]
            self.dropped += 1
            return None
        data += part.data
        if part.fragment != Fragment.LAST:
            return None
        del self._parts[sender]
        return Deliver(part.group, part.nodeid, part.pid, bytes(data))

    def discard(self, nodeid: int, pid: int) -> None:
        """The sender has left: what it began will not be finished."""
        self._parts.pop((nodeid, pid), None)
