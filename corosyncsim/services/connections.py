"""One engine's client connections on virtual time: what the IPC server and the engine host's process do in a daemon.

Requests that cannot be served yet are kept in order, and nothing more is read from their client; events are gathered for a turn
and become visible together. Source: reference ipc sections 4.6 to 4.9, design "Limits".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from coroipc.errors import LibraryError, NotSupported, TryAgain
from corosyncd.engines.engine import Client, SharedFile
from corosyncd.engines.host import EngineHost

BATCH: Final = 64
"""Requests taken from one client before others have their turn."""
REQUEST_RING_BYTES: Final = 1_048_576 + 4096
"""What a client may have committed and the engine has not read; it is told to try again above it."""


class Peer(Protocol):
    """The program at the other end of a connection."""

    pid: int

    def connected(self, connection: Connection) -> None:
        """The engine has accepted it."""

    def refused(self) -> None:
        """The engine serves nobody yet: try again."""

    def receive(self, kind: str, message: bytes) -> None:
        """A "response" or an "event" is visible to it."""

    def lost(self, reason: str) -> None:
        """The connection has ended at the engine's side."""


class Connection:
    """One connection; both ends use it, as both use the shared memory of a real one."""

    __slots__ = ("_wake", "client", "closed", "engine_flow", "events", "gate_flow", "left", "peer", "unread", "waiting")

    def __init__(self, client: Client, peer: Peer, wake: Callable[[], None]) -> None:
        """``wake`` makes the engine look at the requests."""
        self.client = client
        self.peer = peer
        self.closed = False
        self.left = False
        """The program has gone; what it had committed is still served."""
        self.unread: deque[bytes] = deque()
        self.waiting: deque[bytes] = deque()
        self.events: list[bytes] = []
        # A connection made while the gate is closed starts open, as in the daemon: what needs no ring is served at once.
        self.gate_flow = 0
        self.engine_flow = 0
        self._wake = wake

    # The program's end.

    def put(self, request: bytes, flow_limit: int) -> None:
        """Commit a request. Raises LibraryError, TryAgain."""
        if self.closed:
            raise LibraryError("the engine has gone")
        if 0 < max(self.gate_flow, self.engine_flow) <= flow_limit or sum(map(len, self.unread)) > REQUEST_RING_BYTES:
            raise TryAgain("flow control")
        self.unread.append(request)
        self._wake()

    def leave(self) -> None:
        """The program closes the connection, or has died."""
        if not (self.left or self.closed):
            self.left = True
            self._wake()

    # The engine's end.

    @property
    def held(self) -> bool:
        """Whether nothing may be read from it now."""
        return bool(self.waiting or self.gate_flow or self.engine_flow == 1)


class Connections:
    """The ``Programs`` of one engine's host; ``backlog`` outlives the engine, as the listening socket does."""

    def __init__(self, backlog: deque[Peer], identifier_base: int, wake: Callable[[], None], *, serves_later: bool) -> None:
        """``identifier_base`` is unique among all engine processes; ``serves_later``: see SpawnEngine."""
        self.open: dict[int, Connection] = {}
        self.host: EngineHost
        self._backlog = backlog
        self._identifier = identifier_base
        self._wake = wake
        self._accepting = False
        self._started = not serves_later
        self._with_events: list[Connection] = []
        self._resuming = False
        self._closed_all: list[Client] | None = None

    # What the engine's process does in a turn.

    def serve(self) -> bool:
        """Accept, read and serve a batch of each client; whether more is there."""
        self._accept()
        more = False
        for connection in list(self.open.values()):
            if self._resuming and connection.waiting and not connection.gate_flow:
                self._serve(connection)
            if connection.unread and not connection.held and not connection.closed:
                for _ in range(min(BATCH, len(connection.unread))):
                    connection.waiting.append(connection.unread.popleft())
                self._serve(connection)
            if connection.left and not connection.unread and not connection.waiting:
                self.disconnect(connection.client, "the client has gone")
            elif connection.unread and not connection.held:
                more = True
        self._resuming = False
        self._end_closed()
        return more

    def flush(self) -> None:
        """Make the events of this turn visible."""
        for connection in self._with_events:
            self._write_events(connection)
        self._with_events.clear()

    def die(self, reason: str) -> None:
        """The process has ended: every program finds its connection broken."""
        for connection in self.open.values():
            connection.closed = True
            connection.peer.lost(reason)
        self.open.clear()

    def _accept(self) -> None:
        while self._started and self._closed_all is None and self._backlog:
            peer = self._backlog.popleft()
            if not self._accepting:
                peer.refused()
                continue
            self._identifier += 1
            client = Client(self._identifier, peer.pid, 0, 0)
            connection = Connection(client, peer, self._wake)
            self.open[client.identifier] = connection
            self.host.connected(client)
            peer.connected(connection)

    def _serve(self, connection: Connection) -> None:
        waiting = connection.waiting
        while waiting and not connection.closed:
            if not self.host.serve(connection.client, waiting[0]):
                return
            waiting.popleft()

    def _end_closed(self) -> None:
        for identifier, connection in list(self.open.items()):
            if connection.closed:
                del self.open[identifier]
                self.host.gone(connection.client)

    def _write_events(self, connection: Connection) -> None:
        events, connection.events = connection.events, []
        for event in events:
            connection.peer.receive("event", event)

    # What the engine's host says: see corosyncd.engines.host.Programs.

    def respond(self, client: Client, response: bytes) -> None:
        """Events that the engine sent before its answer are visible before it."""
        connection = self.open.get(client.identifier)
        if connection is not None and not connection.closed:
            self._write_events(connection)
            connection.peer.receive("response", response)

    def count_refusal(self, client: Client, status: int) -> None:
        """Nobody asks how often."""

    def notify(self, client: Client, event: bytes) -> None:
        """Visible at the turn's end."""
        connection = self.open.get(client.identifier)
        if connection is not None and not connection.closed:
            if not connection.events:
                self._with_events.append(connection)
            connection.events.append(event)

    def disconnect(self, client: Client, reason: str) -> None:
        """The engine is told at the end of the next look at the connections."""
        connection = self.open.get(client.identifier)
        if connection is not None and not connection.closed:
            connection.closed = True
            connection.events.clear()
            connection.waiting.clear()
            connection.peer.lost(reason)
            self._wake()

    def take_file(self, client: Client, path: bytes, prefix: str, size: int) -> SharedFile:
        """Simulated programs have no files."""
        raise NotSupported("a shared file")

    def set_flow_control(self, client: Client, value: int) -> None:
        """The engine's own wish."""
        connection = self.open.get(client.identifier)
        if connection is not None:
            connection.engine_flow = value
            self._resume()

    def set_gate(self, flow: int) -> None:
        """All connections alike; requests that waited are looked at again."""
        for connection in self.open.values():
            connection.gate_flow = flow
        if not flow:
            self._resume()

    def _resume(self) -> None:
        self._resuming = True
        self._wake()

    def accept(self, accepting: bool) -> None:
        """Programs that queue are served from now on, or told to try again."""
        self._accepting = accepting
        self._started = self._started or accepting
        self._wake()

    def close_all(self) -> list[Client]:
        """The service ends."""
        self._closed_all = [connection.client for connection in self.open.values() if not connection.closed]
        self.die("the service ends")
        return self._closed_all

    def statistics(self) -> dict[str, list[Any]]:
        """Nothing is counted here."""
        return {}

    def clear_statistics(self) -> None:
        """Nothing is counted here."""
