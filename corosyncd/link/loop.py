"""A link end in an asyncio event loop, for both sides: frames come in by callback, a little at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from corosyncd.link.frames import Frame
from corosyncd.link.link import LinkBroken, LinkEnd

TURN_SECONDS: Final = 500e-6
"""Link work done in one iteration of the loop before sockets and timers have their turn."""
RETRY_SECONDS: Final = 1e-3
"""Pause before writing again to a ring that was full: nothing tells a writer that there is room."""
FRAMES_AT_ONCE: Final = 4


class LinkLoop:
    """Reads a link end while there is something to read, sleeps otherwise, and retries what a full ring did not take."""

    __slots__ = ("_broken", "_descriptor", "_frames", "_loop", "_retry", "_scheduled", "_turn_end", "end")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        end: LinkEnd,
        frames: Callable[[list[Frame]], None],
        turn_end: Callable[[], None],
        broken: Callable[[str], None],
    ) -> None:
        """``frames`` gets what has arrived, ``turn_end`` is called once after each turn's work (to flush), and ``broken`` once,
        with the reason, when the peer has gone (after its last frames) or broke the link's protocol. The loop starts at once."""
        self.end = end
        self._loop = loop
        self._frames = frames
        self._turn_end = turn_end
        self._broken = broken
        self._retry: asyncio.TimerHandle | None = None
        self._scheduled: asyncio.Handle | None = None
        self._descriptor = end.fileno()
        loop.add_reader(self._descriptor, self._doorbell)
        self._scheduled = loop.call_soon(self._work)

    def flush(self) -> None:
        """Write what is queued; what does not fit is tried again until it does."""
        if self._descriptor < 0:
            return
        try:
            if not self.end.flush() and self._retry is None:
                self._retry = self._loop.call_later(RETRY_SECONDS, self._flush_again)
        except LinkBroken as error:
            self._loop.call_soon(self._end, str(error))

    def close(self) -> None:
        """Stop, without a callback; close the link end itself afterwards. A second call does nothing."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            self._descriptor = -1
        for handle in (self._retry, self._scheduled):
            if handle is not None:
                handle.cancel()
        self._retry = self._scheduled = None

    def _flush_again(self) -> None:
        self._retry = None
        self.flush()

    def _doorbell(self) -> None:
        self.end.read_doorbell()
        if self._scheduled is None:
            self._work()

    def _work(self) -> None:
        self._scheduled = None
        end = self.end
        deadline = time.monotonic() + TURN_SECONDS
        try:
            while True:
                frames = end.receive(FRAMES_AT_ONCE)
                if frames:
                    self._frames(frames)
                    if self._descriptor < 0:
                        return  # Closed by what a frame said.
                elif end.peer_gone:
                    self._turn_end()
                    self._end("the other side has ended")
                    return
                elif end.sleep_prepare():
                    break
                if time.monotonic() >= deadline:
                    self._scheduled = self._loop.call_soon(self._work)
                    break
        except LinkBroken as error:
            self._end(str(error))
            return
        self._turn_end()

    def _end(self, reason: str) -> None:
        if self._descriptor >= 0:
            self.close()
            self._broken(reason)
