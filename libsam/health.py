"""Event-driven health checking: a thread that sends the heartbeats as long as a callback says that the program is well.

Source: sam_hc_callback_register(3), reference client-api section 7.2.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from coroipc.errors import BadHandle, LibraryError

HealthCheck = Callable[[], bool]
"""True while the program is well (in C: 0). False, or an exception, ends the heartbeats for good."""

HEARTBEATS_PER_INTERVAL: Final = 4
"""The callback is asked once in so many heartbeats, that is, once an interval."""


class HeartbeatThread:
    """Sends heartbeats while it is told to, and asks the callback."""

    def __init__(self, interval: float, send: Callable[[], object], check: HealthCheck) -> None:
        """``interval``: seconds of the longest silence; ``send``: one heartbeat. Nothing is sent before ``resume``."""
        self._pause_seconds = interval / HEARTBEATS_PER_INTERVAL
        self._send = send
        self._check = check
        self._changed = threading.Condition()
        self._sending = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="libsam-heartbeats", daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """Health is checked from now on."""
        self._become(sending=True)

    def pause(self) -> None:
        """Health is not checked any more."""
        self._become(sending=False)

    def end(self) -> None:
        """No more heartbeats, ever. Does not wait for the thread, which may be in the callback that called this."""
        self._become(sending=False, ended=True)

    def _become(self, *, sending: bool, ended: bool = False) -> None:
        with self._changed:
            self._sending = sending
            self._ended |= ended
            self._changed.notify()

    def _run(self) -> None:
        sent = 0
        while self._next():
            try:
                self._send()
            except BadHandle:
                continue  # Stopped in this very moment.
            except LibraryError:
                return  # The supervisor has gone: nobody listens.
            sent += 1
            if sent % HEARTBEATS_PER_INTERVAL == 0 and not self._check():
                return

    def _next(self) -> bool:
        """Sleep until the next heartbeat is due; False: there will be none."""
        with self._changed:
            while not self._ended:
                if not self._sending:
                    self._changed.wait()
                elif not self._changed.wait_for(lambda: self._ended or not self._sending, self._pause_seconds):
                    return True
        return False
