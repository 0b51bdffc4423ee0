"""What one side of a link has to say and has not written yet: entries joined into frames, in order.

Consecutive messages become one DELIVER or MULTICAST entry, consecutive entries one frame; a frame ends where the ring id
changes or a limit of ``frames`` is reached.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from corosyncd.link.frames import FRAME_BYTES, FRAME_MESSAGES, LARGEST_FRAME, Buffer, Direction, pack_entry, pack_head
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import NO_RING, RingId

BACKLOG_HIGH: Final = 8 * 1024 * 1024
"""From here on a sender should slow down what feeds the link (``congested``)."""
BACKLOG_LIMIT: Final = 128 * 1024 * 1024
"""More than this is never kept for a peer that does not read."""

_DELIVER: Final = int(ToEngine.DELIVER)
_MULTICAST: Final = int(ToExecutive.MULTICAST)
_MESSAGE_OVERHEAD: Final = 15
"""Most head bytes that one more message can cost: three msgpack integers of up to 32 bits."""
_HEAD_OVERHEAD: Final = 32
"""Most bytes of a frame's head around its entries: the length word, two array headers and the ring id."""


class BacklogFull(Exception):
    """The peer reads too slowly: nothing was queued, and it should be treated as dead."""


class Outbox:
    """Frames in the making and frames waiting; ``head`` and ``pop`` hand them to the ring.

    Bodies are kept by reference until their frame is written: their owner must not change them.
    """

    __slots__ = (
        "_bodies",
        "_bytes",
        "_kind",
        "_message_kind",
        "_messages",
        "_open",
        "_open_bytes",
        "_packed",
        "_ring_id",
        "_sealed",
    )

    def __init__(self, direction: Direction) -> None:
        """``direction`` is that of the frames made here."""
        self._message_kind = _DELIVER if direction is Direction.TO_ENGINE else _MULTICAST
        self._ring_id = NO_RING
        self._sealed: deque[tuple[list[Buffer], int]] = deque()
        self._bytes = 0
        self._begin()

    def _begin(self) -> None:
        self._packed: list[bytes] = []
        self._open: list[Any] = []
        self._kind = -1
        self._bodies: list[Buffer] = []
        self._messages = 0
        self._open_bytes = 0

    @property
    def ring_id(self) -> RingId:
        """The ring id that entries queued from now on are stamped with."""
        return self._ring_id

    @ring_id.setter
    def ring_id(self, ring_id: RingId) -> None:
        if ring_id != self._ring_id:
            self.seal()
            self._ring_id = ring_id

    @property
    def backlog_bytes(self) -> int:
        """Bytes queued and not yet written to the ring."""
        return self._bytes + self._open_bytes

    @property
    def congested(self) -> bool:
        """Whether the backlog has reached its high mark."""
        return self._bytes + self._open_bytes >= BACKLOG_HIGH

    def queue(self, entry: Sequence[Any], bodies: Sequence[Buffer] = ()) -> None:
        """Queue one entry with the bodies that it names, however many messages it holds.

        Raises ValueError where it does not fit a frame, BacklogFull where the backlog has reached its limit.
        """
        if entry[0] == self._message_kind:
            self._queue_messages(entry, bodies)
            return
        packed = pack_entry(entry)
        size = len(packed)
        if size > LARGEST_FRAME - _HEAD_OVERHEAD:
            raise ValueError(f"an entry of {size} bytes does not fit a frame of at most {LARGEST_FRAME}")
        self._make_room(size, 0)
        self._close_entry()
        self._packed.append(packed)
        self._open_bytes += size

    def deliver(self, source: int, function: int, body: Buffer) -> None:
        """Queue one ring message for an engine."""
        size = len(body) + _MESSAGE_OVERHEAD
        if self._open_bytes + size > FRAME_BYTES or self._messages >= FRAME_MESSAGES or self._bytes > BACKLOG_HIGH:
            self._make_room(size, 1)
        if self._kind != 0:
            self._close_entry()
            self._open = [_DELIVER, []]
            self._kind = 0
        self._open[1] += (source, function, len(body))
        self._bodies.append(body)
        self._messages += 1
        self._open_bytes += size

    def multicast(self, kind: int, pieces: Sequence[Buffer], length: int) -> None:
        """Queue one ring message for the executive: ``pieces`` make up its ``length`` bytes."""
        size = length + _MESSAGE_OVERHEAD
        if self._open_bytes + size > FRAME_BYTES or self._messages >= FRAME_MESSAGES or self._bytes > BACKLOG_HIGH:
            self._make_room(size, 1)
        if self._kind != kind:
            self._close_entry()
            self._open = [_MULTICAST, kind, []]
            self._kind = kind
        self._open[2].append(length)
        self._bodies += pieces
        self._messages += 1
        self._open_bytes += size

    def _queue_messages(self, entry: Sequence[Any], bodies: Sequence[Buffer]) -> None:
        """A batch that fits the frame in the making is taken as it is; any other message by message."""
        kind = 0 if self._message_kind == _DELIVER else entry[1]
        words = entry[-1]
        lengths = list(map(len, bodies))
        if (words[2::3] if self._message_kind == _DELIVER else words) != lengths:
            raise ValueError("the bodies given are not those that the entry names")
        size = sum(lengths) + len(lengths) * _MESSAGE_OVERHEAD
        messages = self._messages + len(lengths)
        if self._open_bytes + size <= FRAME_BYTES and messages <= FRAME_MESSAGES and self._bytes <= BACKLOG_HIGH:
            if self._kind != kind:
                self._close_entry()
                self._open = [*entry[:-1], []]
                self._kind = kind
            self._open[-1] += words
            self._bodies += bodies
            self._messages = messages
            self._open_bytes += size
        elif self._message_kind == _DELIVER:
            for source, function, body in zip(words[0::3], words[1::3], bodies, strict=True):
                self.deliver(source, function, body)
        else:
            for body in bodies:
                self.multicast(kind, (body,), len(body))

    def _make_room(self, size: int, messages: int) -> None:
        """See that ``size`` more bytes and so many messages fit: end the frame in the making where they would not."""
        if size + _HEAD_OVERHEAD > LARGEST_FRAME:
            raise ValueError(f"a message of {size} bytes does not fit a frame of at most {LARGEST_FRAME}")
        if self._bytes + self._open_bytes + size > BACKLOG_LIMIT:
            raise BacklogFull(f"{self.backlog_bytes} bytes wait for the other side of the link")
        if self._open_bytes + size > FRAME_BYTES or self._messages + messages > FRAME_MESSAGES:
            self.seal()

    def _close_entry(self) -> None:
        if self._open:
            self._packed.append(pack_entry(self._open))
            self._open = []
        self._kind = -1

    def seal(self) -> None:
        """End the frame in the making: what is queued later goes into the next one."""
        self._close_entry()
        if self._packed:
            pieces: list[Buffer] = [pack_head(self._ring_id, self._packed), *self._bodies]
            if self._open_bytes <= FRAME_BYTES:
                # Copying once into one piece costs less than copying many pieces into the ring.
                pieces = [b"".join(pieces)]
            self._sealed.append((pieces, self._open_bytes))
            self._bytes += self._open_bytes
        self._begin()

    def head(self) -> list[Buffer] | None:
        """The pieces of the oldest finished frame, or None."""
        return self._sealed[0][0] if self._sealed else None

    def pop(self) -> None:
        """Forget the oldest finished frame: it was written."""
        self._bytes -= self._sealed.popleft()[1]
