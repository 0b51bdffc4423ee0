"""What one cmap client has open, and the request of it that is being worked on."""

from __future__ import annotations

from collections import deque

from corosyncd.engines.cmap.iteration import KeyIteration, Snapshot
from corosyncd.engines.engine import Client
from libcmap.messages import Map

ITERATIONS_OF_ONE_CLIENT = 256
TRACKERS_OF_ONE_CLIENT = 1024
REQUESTS_WAITING = 32
"""Requests sent ahead of an answer that is still open; libcmap never does that, and a client past this limit is disconnected."""


class Connection:
    """A client of the cmap engine."""

    __slots__ = ("client", "gone", "iterations", "map", "outstanding", "trackers", "waiting")

    def __init__(self, client: Client) -> None:
        """A connection that looks at the icmap and has nothing open."""
        self.client = client
        self.map = Map.ICMAP
        self.iterations: dict[int, KeyIteration | Snapshot] = {}
        self.trackers: dict[int, int] = {}
        """Our handle -> the client's."""
        self.outstanding = False
        """Its request waits for the executive."""
        self.waiting: deque[tuple[int, bytes]] = deque()
        self.gone = False
