"""A quorum device played by a thread: registered with a node's daemon, it answers every membership with the vote it was told."""

from __future__ import annotations

import contextlib
import threading

from coroipc.errors import CorosyncError, InvalidParameter, MessageError, NotExist
from libvotequorum import NodeListNotification, Track, Votequorum

PERIOD = 0.05
"""Seconds between polls."""


class QuorumDevice:
    """One device on one node. Its connection is its own; commands may be called from any thread."""

    def __init__(self, connection: Votequorum, name: str) -> None:
        """Register. Raises what the daemon answers."""
        self.name = name
        self.casts_vote: bool | None = None
        """None: it is silent, and does not poll."""
        self.connection = connection
        self._ended = threading.Event()
        connection.qdevice_register(name)
        connection.trackstart(flags=Track.CHANGES)
        self._thread = threading.Thread(target=self._run, name=f"device {name}")
        self._thread.start()

    def rename(self, name: str) -> None:
        """Give the device another name in the whole cluster."""
        self.connection.qdevice_update(self.name, name)
        self.name = name

    def close(self) -> None:
        """End the program; the registration stays."""
        self._ended.set()
        self._thread.join()
        self.connection.close()

    def _run(self) -> None:
        ring: NodeListNotification | None = None
        with contextlib.suppress(CorosyncError):  # The daemon has ended, in a scenario that ends it.
            while not self._ended.is_set():
                event = self.connection.next_event(PERIOD)
                if isinstance(event, NodeListNotification):
                    ring = event
                vote = self.casts_vote
                if vote is None or ring is None:
                    continue
                # The ring, the name or the registration may have changed since.
                with contextlib.suppress(MessageError, InvalidParameter, NotExist):
                    self.connection.qdevice_poll(self.name, vote, ring.ring_nodeid, ring.ring_sequence)
