"""One side of a link between the executive and an engine: two rings in shared memory, and a doorbell rung only for sleepers.

Each ring's user word says that its reader sleeps. The reader sets it, does a locked operation, looks again, and only then waits
for the doorbell; the writer posts its chunk (a locked operation), then reads the word. So one of the two always sees the other.
The doorbell is a socket pair, so its end also tells that the peer's process has ended.
"""

from __future__ import annotations

import ctypes
import socket
from typing import Any, Final

from coroipc.ringbuffer import HEADER_SIZE, RingBuffer, RingCorrupt
from coroipc.semaphores import Semaphore, SemaphoreOverflow
from corosyncd.link.frames import LARGEST_FRAME, Direction, Frame, decode
from corosyncd.link.outbox import Outbox
from corosyncd.link.segments import PosixSegment, Segment, SystemVSegment, attach

SMALLEST_RING: Final = 2 * LARGEST_FRAME
RING_BYTES: Final = 2304 * 1024
"""Size of each of the two rings: two of the largest frames. Locked memory makes all of them resident, five links a node."""
RECEIVE_BYTES: Final = 2 * LARGEST_FRAME
"""Bytes of frames taken in one go."""
_PAGE: Final = 4096
_HEADER_BYTES: Final = -(-HEADER_SIZE // _PAGE) * _PAGE
_NOTED_PID: Final = 2
_NOTED_UID: Final = 3
"""Words of the segment's first page; the first two belong to ``segments``."""
_DOORBELL_BYTES: Final = 256


class LinkBroken(Exception):
    """The peer has written something that no correct peer writes: the link cannot go on."""


class LinkEnd:
    """The executive's or the engine's end. ``outbox`` takes what is to be said, ``flush`` writes it.

    ``outbox.ring_id`` is the ring id that frames are stamped with.
    """

    __slots__ = ("_description", "_incoming", "_notes", "_outgoing", "_segment", "direction", "doorbell", "outbox", "peer_gone")

    def __init__(self, segment: Segment, ring_bytes: int, doorbell: socket.socket, direction: Direction, *, create: bool) -> None:
        """Use ``create`` or ``attach``. ``direction`` is that of what this end receives."""
        self._segment = segment
        self._description = {"segment": segment.description, "ring_bytes": ring_bytes}
        self.doorbell = doorbell
        self.direction = direction
        self.peer_gone = False
        doorbell.setblocking(False)
        to_engine = _ring(segment, _PAGE, ring_bytes, segment.semaphores[0], create)
        to_executive = _ring(segment, _PAGE + _HEADER_BYTES + ring_bytes, ring_bytes, segment.semaphores[1], create)
        if direction is Direction.TO_ENGINE:
            self._incoming, self._outgoing = to_engine, to_executive
            self.outbox = Outbox(Direction.TO_EXECUTIVE)
        else:
            self._incoming, self._outgoing = to_executive, to_engine
            self.outbox = Outbox(Direction.TO_ENGINE)
        if create:
            # Nobody reads yet: the first frame of either side rings.
            to_engine.user_word = to_executive.user_word = 1
        self._notes = memoryview(segment.characters).cast("B")[:_PAGE].cast("I")

    @classmethod
    def create(
        cls, purpose: str, kind: str = "posix", ring_bytes: int = RING_BYTES
    ) -> tuple[LinkEnd, dict[str, Any], socket.socket]:
        """The executive's end of a new link, its description and the doorbell socket for ``attach``.

        ``purpose`` becomes part of the segment's name; ``kind`` is "posix" or "sysv"; ``ring_bytes`` is a multiple of the
        page size and at least SMALLEST_RING. Raises OSError, ValueError.
        """
        size = _PAGE + 2 * (_HEADER_BYTES + ring_bytes)
        if kind not in ("posix", "sysv") or ring_bytes % _PAGE or ring_bytes < SMALLEST_RING:
            raise ValueError(f"no link of kind {kind!r} with rings of {ring_bytes} bytes")
        segment: Segment = PosixSegment.create(purpose, size) if kind == "posix" else SystemVSegment.create(size)
        try:
            ours, theirs = socket.socketpair()
            end = cls(segment, ring_bytes, ours, Direction.TO_EXECUTIVE, create=True)
        except BaseException:
            segment.unlink()
            raise
        return end, end.description, theirs

    @classmethod
    def attach(cls, description: dict[str, Any], doorbell: socket.socket) -> LinkEnd:
        """The engine's end. POSIX names are removed here, since both sides now hold the memory. Raises OSError, ValueError."""
        segment = attach(description["segment"])
        end = cls(segment, description["ring_bytes"], doorbell, Direction.TO_ENGINE, create=False)
        if isinstance(segment, PosixSegment):
            segment.unlink()
        return end

    @property
    def description(self) -> dict[str, Any]:
        """What ``attach`` needs: msgpack types only."""
        return self._description

    def fileno(self) -> int:
        """The doorbell's descriptor."""
        return self.doorbell.fileno()

    def flush(self) -> bool:
        """Write what the outbox holds; False when the ring was full and frames are left: call again soon.

        Raises LinkBroken.
        """
        outbox = self.outbox
        outbox.seal()
        outgoing = self._outgoing
        written = False
        try:
            while (pieces := outbox.head()) is not None:
                if not outgoing.write(pieces):
                    break
                outbox.pop()
                written = True
        except RingCorrupt as error:
            raise LinkBroken(str(error)) from error
        if written and outgoing.user_word:
            # Cleared here, so that further frames do not ring for a reader that is already being woken.
            outgoing.user_word = 0
            self._ring_doorbell()
        return outbox.head() is None

    def receive(self, maximum_frames: int) -> list[Frame]:
        """Take up to so many frames; raises LinkBroken for what no peer of ours sends."""
        try:
            chunks = self._incoming.read_many(maximum_frames, RECEIVE_BYTES)
            direction = self.direction
            return [decode(chunk, direction) for chunk in chunks]
        except (RingCorrupt, ValueError) as error:
            raise LinkBroken(str(error)) from error

    def sleep_prepare(self) -> bool:
        """True: nothing is there, and whatever comes will ring the doorbell. Doorbell bytes must have been read before.

        Raises LinkBroken.
        """
        incoming = self._incoming
        incoming.user_word = 1
        # A locked operation: without it the look below could be done before the store above is visible.
        semaphore = incoming.semaphore
        try:
            semaphore.post()
        except SemaphoreOverflow as error:
            raise LinkBroken("the semaphore is at its maximum") from error
        semaphore.take(1)
        if semaphore.value() == 0:
            return True
        incoming.user_word = 0
        return False

    def read_doorbell(self) -> None:
        """Take the doorbell's bytes; sets ``peer_gone`` at its end."""
        try:
            while True:
                received = self.doorbell.recv(_DOORBELL_BYTES)
                if not received:
                    self.peer_gone = True
                    return
                if len(received) < _DOORBELL_BYTES:
                    break
        except BlockingIOError:
            return
        except OSError:
            self.peer_gone = True
            return
        # A peer that ended without reading our bytes leaves an error behind its own last ones. uvloop reports that once only.
        if self.doorbell.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.peer_gone = True

    def _ring_doorbell(self) -> None:
        try:
            self.doorbell.send(b"\0")
        except BlockingIOError:
            pass  # Full of unread bytes: the reader is being woken anyway.
        except OSError:
            self.peer_gone = True

    def note(self, pid: int, uid: int) -> None:
        """An engine notes whose memory it is about to touch (0, 0: nobody's): a client can make that kill it."""
        notes = self._notes
        notes[_NOTED_PID] = pid
        notes[_NOTED_UID] = uid

    @property
    def noted(self) -> tuple[int, int]:
        """The (pid, uid) noted last by the engine."""
        return self._notes[_NOTED_PID], self._notes[_NOTED_UID]

    def close(self) -> None:
        """Let go of rings, memory, names and the doorbell. A second call does nothing."""
        if self.doorbell.fileno() < 0:
            return
        self.doorbell.close()
        self._notes.release()
        self._segment.unlink()
        self._incoming.close()
        self._outgoing.close()
        self._segment.close()


def _ring(segment: Segment, offset: int, size: int, semaphore: Semaphore, create: bool) -> RingBuffer:
    """The ring that lies at an offset of the segment: its header, then its data."""
    address = ctypes.addressof(segment.characters) + offset
    header = (ctypes.c_char * _HEADER_BYTES).from_address(address)
    data = (ctypes.c_char * size).from_address(address + _HEADER_BYTES)
    return RingBuffer(header, data, semaphore, initialise=create)
