"""Receiving: ordered frames become messages again.

Source: reference totem.md §2.4. Two sets of records exist because a synchronisation runs in between the two halves of messages
that a configuration change cut; which set takes a frame must be decided at the same place of the total order on every node.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from corosyncd.totem.events import Group
from corosyncd.totem.outbox import Outbox
from corosyncd.totem.packing import GROUP_HEADERS, MAXIMUM_MESSAGE, lengths_layout
from corosyncd.totem.statistics import Statistics
from corosyncd.totem.wire import MAXIMUM_NODES, MCAST, ORDINARY_MCAST, MalformedFrame, Reason, decode_packed

ASSEMBLY_LIMIT: Final = MAXIMUM_MESSAGE + (64 << 10)
"""Bytes of one unfinished message; the size of stock's buffer."""
NORMAL_SET: Final = 0
SYNC_SET: Final = 1

_ENGINES: Final = GROUP_HEADERS[Group.ENGINES]
_SYNC: Final = GROUP_HEADERS[Group.SYNC]
_ENGINES_SIZE: Final = len(_ENGINES)
_SYNC_SIZE: Final = len(_SYNC)
_LENGTHS_AT: Final = ORDINARY_MCAST.size
_KEY: Final = ORDINARY_MCAST.partial("system_from", "packed_fragmented", "packed_continuation", "packed_msg_count")
_NATIVE_MAGIC: Final = 0x70
_SYSTEM_FROM_AT: Final = MCAST.offsets["system_from"]


class _Record:
    """The unfinished message of one originator."""

    __slots__ = ("last", "parts", "size", "throwing")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.last = 0
        """The ``fragmented`` number of the last frame taken; the next frame must continue it."""
        self.throwing = False
        """The beginning of the open message was missed: the message is thrown away up to its end."""


class Assembly:
    """Takes frames in their total order and puts the messages in them into the outbox."""

    __slots__ = ("_outbox", "_records", "_sets", "_statistics", "barrier_seen", "in_use")

    def __init__(self, outbox: Outbox, statistics: Statistics) -> None:
        self._outbox = outbox
        self._statistics = statistics
        self._sets: tuple[dict[int, _Record], dict[int, _Record]] = ({}, {})
        self.in_use = SYNC_SET
        self._records = self._sets[SYNC_SET]
        self.barrier_seen = False
        """A message of the sync group came out while the second set is in use: it may be the barrier that ends the round."""

    def use(self, which: int) -> None:
        """Frames from here on belong to this set of records."""
        self.in_use = which
        self._records = self._sets[which]
        self.barrier_seen = False

    def forget(self, nodes: Iterable[int]) -> None:
        """Drop what nodes that left had begun, in both sets."""
        for node in nodes:
            for records in self._sets:
                records.pop(node, None)

    def accept(self, frame: bytes) -> None:
        """The next frame of the order, as it came: an mcast that holds packed messages."""
        size = len(frame)
        if size < _LENGTHS_AT:
            self._statistics.drop(Reason.PACKING)
            return
        originator, fragmented, continuation, count = _KEY.unpack_from(frame)
        if frame[0] != _NATIVE_MAGIC:
            self._accept_swapped(frame)
            return
        position = _LENGTHS_AT + 2 * count
        if position > size:
            self._statistics.drop(Reason.PACKING)
            return
        lengths = lengths_layout(count).unpack_from(frame, _LENGTHS_AT)
        if position + sum(lengths) != size:
            self._statistics.drop(Reason.PACKING)
            return
        if fragmented or continuation or originator in self._records:
            self._assemble(originator, fragmented, continuation, frame, lengths, position)
        else:
            self._deliver(originator, frame, lengths, position)

    def _deliver(self, originator: int, frame: bytes, lengths: tuple[int, ...], position: int) -> None:
        """Whole messages, from ``position`` on."""
        append, group, header, startswith = self._outbox.messages.append, Group.ENGINES, _ENGINES, frame.startswith
        for length in lengths:
            end = position + length
            if startswith(header, position, end):
                append((originator, group, frame[position + _ENGINES_SIZE : end]))
            else:
                self._deliver_other(originator, frame[position:end])
            position = end

    def _deliver_other(self, originator: int, message: bytes) -> None:
        """A message whose header is not that of the engines' group at a known place."""
        if message.startswith(_SYNC):
            self._outbox.messages.append((originator, Group.SYNC, message[_SYNC_SIZE:]))
            self.barrier_seen = self.in_use == SYNC_SET
        elif message.startswith(_ENGINES):
            self._outbox.messages.append((originator, Group.ENGINES, message[_ENGINES_SIZE:]))
        else:
            self._statistics.drop(Reason.GROUP)

    def _accept_swapped(self, frame: bytes) -> None:
        """A frame of an originator with the other byte order: its messages are not ours to read."""
        originator = int.from_bytes(frame[_SYSTEM_FROM_AT : _SYSTEM_FROM_AT + 4], "big")
        try:
            packed = decode_packed(frame[MCAST.size :], swapped=True)
        except MalformedFrame as fault:
            self._statistics.drop(fault.reason)
            return
        for _ in range(len(packed.chunks) - bool(packed.fragmented)):
            self._statistics.drop(Reason.FOREIGN_BYTE_ORDER)
        self._records.pop(originator, None)

    def _assemble(
        self, originator: int, fragmented: int, continuation: int, frame: bytes, lengths: tuple[int, ...], position: int
    ) -> None:
        """The rules of §2.4, for a frame that begins or ends within a message.

        A message whose beginning was not seen here, because this node came to the ring in the middle of it, is thrown away, and
        nothing else: what begins in its frames is whole. Stock throws those frames away, too, and so does not hear a busy sender
        until one of its frames happens to end with a message; whoever joins or leaves a group meanwhile haunts the newcomer.
        """
        record = self._records.get(originator)
        if record is None:
            if len(self._records) >= MAXIMUM_NODES:
                self._statistics.drop(Reason.ASSEMBLY_LIMIT)
                return
            record = self._records[originator] = _Record()
        if record.throwing or continuation != record.last:
            self._statistics.drop(Reason.THROWN_AWAY)
            record.parts.clear()
            record.size = 0
            if continuation and lengths:
                position += lengths[0]
                lengths = lengths[1:]
            record.throwing = bool(continuation and fragmented and not lengths)
        record.last = fragmented
        if lengths:
            self._extend(originator, record, frame, lengths, position)
        if not fragmented:
            del self._records[originator]

    def _extend(self, originator: int, record: _Record, frame: bytes, lengths: tuple[int, ...], position: int) -> None:
        """Complete the message that was open, deliver the whole ones behind it, keep the start of the one that goes on."""
        parts, first, count = record.parts, 0, len(lengths)
        if record.last:
            count -= 1
        if parts and count > 0:
            end = position + lengths[0]
            parts.append(frame[position:end])
            position, first = end, 1
            self._deliver_other(originator, b"".join(parts))
            parts.clear()
            record.size = 0
        if first < count:
            self._deliver(originator, frame, lengths[first:count], position)
        if not record.last or count < 0:
            return
        size = lengths[count]
        record.size += size
        if record.size > ASSEMBLY_LIMIT:
            self._statistics.drop(Reason.ASSEMBLY_LIMIT)
            record.throwing = True
            parts.clear()
        else:
            parts.append(frame[len(frame) - size :])
