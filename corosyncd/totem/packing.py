"""Sending: two queues of messages, cut and joined into frames of the net MTU when the token is here.

Source: reference totem.md §2.1-2.4. Stock packs as messages come; packing at the token instead lets a queued message be
withdrawn, and lets one join build a whole frame. Any frames that obey §2.1 are accepted by stock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from struct import Struct
from typing import Final

from corosyncd.totem.events import Group, Queue, RingId
from corosyncd.totem.wire import MAGIC, ORDINARY, ORDINARY_MCAST, PACKED, VERSION, FrameType

MAXIMUM_MESSAGE: Final = 1 << 20
"""Bytes of group header and body: the assembly buffers of stock peers hold little more, and they abort on an overrun."""
QUEUE_LIMIT: Final = 128 << 20
"""Bytes in one queue. The executive's credits stop senders long before; this bounds what a defect there can do."""
ROUND_TAG: Final = 64
"""Messages with this tag or a higher one belong to the synchronisation in which they were queued."""
MESSAGES_A_RUN: Final = 512
"""A run is released as a whole, so this bounds how many sent messages it keeps alive."""
SPLIT_FRACTION: Final = 8
"""A frame with less than 1/8 of its room left may stay so rather than take the start of a message, for a split costs both ends
time; but only while frames of one visit are equally long, or they could not leave in one call (segmentation offload)."""
LENGTH_SIZE: Final = 2
LAST_FRAGMENT_NUMBER: Final = 255

GROUP_HEADERS: Final[dict[Group, bytes]] = {
    Group.ENGINES: b"\x01\x00\x01\x00a",
    Group.SYNC: b"\x01\x00\x04\x00sync",
}
"""Number of groups, length of the name, name: what stands before every body (§2.1)."""


@lru_cache(maxsize=1024)
def lengths_layout(count: int, swapped: bool = False) -> Struct:
    """The ``count`` u16 chunk lengths of a frame."""
    return Struct(f"{'>' if swapped else '<'}{count}H")


class QueueFull(ValueError):
    """The send queue holds ``QUEUE_LIMIT`` bytes: wait until ``queued_bytes`` has fallen."""


class _Run:
    """Consecutive messages of one tag and group."""

    __slots__ = ("costs", "header", "index", "lengths", "messages", "tag")

    def __init__(self, header: bytes, tag: int) -> None:
        self.header = header
        self.tag = tag
        self.messages: list[bytes] = []
        self.lengths: list[int] = []
        """Of header and body."""
        self.costs: list[int] = []
        """Bytes of frame room up to and with each message, lengths included: bisecting it tells how many fit."""
        self.index = 0

    def extend(self, messages: Sequence[bytes]) -> None:
        size = len(self.header)
        lengths = [len(message) + size for message in messages]
        start = self.costs[-1] if self.costs else 0
        self.messages += messages
        self.lengths += lengths
        costs = accumulate([length + LENGTH_SIZE for length in lengths], initial=start)
        next(costs)
        self.costs += costs

    def cost_before(self, index: int) -> int:
        return self.costs[index - 1] if index else 0

    def body_bytes(self, start: int, end: int) -> int:
        """Bytes of the bodies of messages ``start`` to ``end``."""
        overhead = (len(self.header) + LENGTH_SIZE) * (end - start)
        return self.cost_before(end) - self.cost_before(start) - overhead


class _Line:
    """One send queue, with the message that is only partly sent."""

    __slots__ = ("cost", "fragment", "offset", "open", "runs", "split_by_ring", "waiting")

    def __init__(self) -> None:
        self.runs: deque[_Run] = deque()
        self.cost = 0
        """Frame room that everything here will take."""
        self.open = b""
        """Header and body of the message that goes on, from byte ``offset``; the first of the first run."""
        self.offset = 0
        self.fragment = 0
        """The ``fragmented`` number of the last frame: 0 when no message is open, else 1..255."""
        self.split_by_ring = False
        """The open message began on an earlier ring: whoever was not there throws away frames up to one that ends it."""
        self.waiting: dict[int, int] = {}
        """Tag → bytes of bodies of which not everything has left."""


class Packer:
    """The two send queues of a node, and what makes frames of them."""

    __slots__ = ("_line", "_lines", "_node_id", "_room", "in_use")

    def __init__(self, node_id: int, net_mtu: int) -> None:
        self._node_id = node_id
        self._room = net_mtu - PACKED.size
        self._lines = (_Line(), _Line())
        self.in_use = Queue.SYNC
        self._line = self._lines[Queue.SYNC]

    def use(self, queue: Queue) -> None:
        """From now on frames are made of this queue's messages; the other one waits."""
        self.in_use = queue
        self._line = self._lines[queue]
        if queue is Queue.SYNC:
            for line in self._lines:
                line.split_by_ring = line.fragment > 0

    def submit(self, group: Group, messages: Sequence[bytes], queue: Queue, tag: int) -> None:
        """Queue bodies. Raises ValueError, having queued none, for one above the limit, and QueueFull."""
        header = GROUP_HEADERS[group]
        if not messages:
            return
        if max(map(len, messages)) + len(header) > MAXIMUM_MESSAGE:
            raise ValueError(f"a message may have {MAXIMUM_MESSAGE - len(header)} bytes at most")
        line = self._lines[queue]
        if line.cost > QUEUE_LIMIT:
            raise QueueFull(f"{line.cost} bytes wait in the {queue.name.lower()} queue already")
        run = line.runs[-1] if line.runs else None
        if run is None or run.tag != tag or run.header is not header or len(run.messages) >= MESSAGES_A_RUN:
            run = _Run(header, tag)
            line.runs.append(run)
        first = len(run.messages)
        run.extend(messages)
        line.cost += run.costs[-1] - run.cost_before(first)
        line.waiting[tag] = line.waiting.get(tag, 0) + run.body_bytes(first, len(run.messages))

    def withdraw(self, tag: int) -> int:
        """Drop the messages of a tag, in both queues, of which no fragment has left; returns how many."""
        return sum(self._withdraw(line, tag) for line in self._lines)

    def end_round(self) -> None:
        """A configuration ends the open synchronisation: what is queued for it, and has not begun to leave, is of no use."""
        line = self._lines[Queue.SYNC]
        for tag in {run.tag for run in line.runs if run.tag >= ROUND_TAG}:
            self._withdraw(line, tag)

    def _withdraw(self, line: _Line, tag: int) -> int:
        kept: deque[_Run] = deque()
        dropped = 0
        for run in line.runs:
            first = run.index + (1 if line.fragment and run is line.runs[0] else 0)
            if run.tag == tag and first < len(run.messages):
                dropped += len(run.messages) - first
                line.cost -= run.costs[-1] - run.cost_before(first)
                self._sent(line, run, first, len(run.messages))
                del run.messages[first:], run.lengths[first:], run.costs[first:]
            if run.index < len(run.messages):
                kept.append(run)
        line.runs = kept
        return dropped

    def queued_bytes(self, tag: int, queue: Queue = Queue.NORMAL) -> int:
        """Bytes of bodies of that tag that wait, a partly sent one counted whole."""
        return self._lines[queue].waiting.get(tag, 0)

    def backlog(self) -> int:
        """Frames that the queue in use will fill."""
        return -(-self._line.cost // self._room)

    def take(self, limit: int, seq: int, this_seqno: int, ring: RingId) -> list[bytes]:
        """At most ``limit`` frames with the places ``seq``, ``seq`` + 1, … in the order of ``ring``."""
        line = self._line
        frames: list[bytes] = []
        node, (representative, sequence) = self._node_id, ring
        pack, mcast = ORDINARY_MCAST.little.pack, FrameType.MCAST
        usual = -1
        whole = self._room - LENGTH_SIZE
        only = lengths_layout(1).pack(whole)
        while line.runs and len(frames) < limit:
            continuation = line.fragment
            pieces: tuple[bytes, ...]
            if continuation and len(line.open) - line.offset > whole:
                # Most frames are this, where messages are large.
                count, usual = 1, 0
                pieces = (only, self._middle(line, whole))
            else:
                lengths, parts, usual = self._fill(line, usual)
                count = len(lengths)
                pieces = (lengths_layout(count).pack(*lengths), *parts)
            # fmt: off
            head = pack(MAGIC, VERSION, mcast, ORDINARY, node, 0, node, seq, this_seqno, representative, sequence, 0, 0,
                        0, 0, line.fragment, continuation, count)
            # fmt: on
            frames.append(b"".join((head, *pieces)))
            seq = (seq + 1) & 0xFFFFFFFF
            this_seqno = (this_seqno + 1) & 0xFFFFFFFF
        return frames

    def _fill(self, line: _Line, usual: int) -> tuple[list[int], list[bytes], int]:
        """The chunks of one frame: the end of an open message that fits, whole messages, the start of one that goes on.

        ``usual`` is the room that the frame before left, or -1; the room that this one leaves is the last value returned.
        """
        room = self._room
        lengths: list[int] = []
        parts: list[bytes] = []
        if line.fragment:
            room = self._end_open(line, room, lengths, parts)
            if line.split_by_ring:
                # Nothing else is in this frame, so that nothing but this message is lost to those who come from elsewhere.
                line.split_by_ring = False
                return lengths, parts, -1
        runs = line.runs
        while runs:
            run = runs[0]
            index = run.index
            start = run.cost_before(index)
            end = bisect_right(run.costs, start + room, index)
            if end > index:
                header = run.header
                taken = run.costs[end - 1] - start
                parts.append(header + header.join(run.messages[index:end]))
                lengths += run.lengths[index:end]
                room -= taken
                line.cost -= taken
                self._sent(line, run, index, end)
                run.index = end
            if end == len(run.messages):
                runs.popleft()
                continue
            if not lengths or (room > LENGTH_SIZE and not self._may_close(room, usual)):
                self._open(line, run, room, lengths, parts)
                room = 0
            break
        return lengths, parts, room

    def _may_close(self, room: int, usual: int) -> bool:
        return room < self._room // SPLIT_FRACTION and usual in (-1, room)

    def _open(self, line: _Line, run: _Run, room: int, lengths: list[int], parts: list[bytes]) -> None:
        """Fill the frame with the first fragment of the next message."""
        line.open = run.header + run.messages[run.index]
        line.offset = size = room - LENGTH_SIZE
        line.fragment = 1
        line.cost -= room
        parts.append(line.open[:size])
        lengths.append(size)

    @staticmethod
    def _middle(line: _Line, size: int) -> bytes:
        """The next ``size`` bytes of the open message, which goes on behind them."""
        offset = line.offset
        line.offset = offset + size
        line.cost -= size
        line.fragment = line.fragment % LAST_FRAGMENT_NUMBER + 1
        return line.open[offset : line.offset]

    def _end_open(self, line: _Line, room: int, lengths: list[int], parts: list[bytes]) -> int:
        """The last fragment of the open message; returns the room that is left behind it."""
        end = line.open[line.offset :]
        parts.append(end)
        lengths.append(len(end))
        line.cost -= len(end)
        line.open = b""
        line.fragment = line.offset = 0
        run = line.runs[0]
        self._sent(line, run, run.index, run.index + 1)
        run.index += 1
        if run.index == len(run.messages):
            line.runs.popleft()
        return room - LENGTH_SIZE - len(end)

    @staticmethod
    def _sent(line: _Line, run: _Run, start: int, end: int) -> None:
        """Messages ``start`` to ``end`` no longer wait."""
        left = line.waiting.get(run.tag, 0) - run.body_bytes(start, end)
        if left:
            line.waiting[run.tag] = left
        else:
            line.waiting.pop(run.tag, None)
