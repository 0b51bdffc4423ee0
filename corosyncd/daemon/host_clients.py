"""An engine's client programs: between the IPC server's connections and the engine's host.

Requests that cannot be served yet are kept in order, and nothing more is read from their client. Events are gathered for a turn
of the loop and written together, one batch and one wake-up a client.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from coroipc.errors import NotSupported, Status
from coroipc.map_values import ValueType
from coroipc.server.connection import Connection
from coroipc.server.outbox import OVERFLOW_LIMIT
from coroipc.server.server import USER_CONNECTION_LIMIT, Server
from coroipc.server.shared_file import SharedFile
from corosyncd.daemon.engine_options import EngineOptions
from corosyncd.engines.engine import Client, Description
from corosyncd.engines.host import EngineHost
from corosyncd.keyspace.values import number, text

_STATISTIC_TYPES: Final = {
    "queueing": ValueType.INT32,
    "queued": ValueType.UINT32,
    "sent": ValueType.UINT32,
    "flow_control": ValueType.UINT32,
    "procname": ValueType.STRING,
}
"""Types of the counters in the stats map (reference services section 6.3); all others are u64."""


_ORDERLY_ENDS: Final = frozenset({"the client has gone", "it has disconnected", "the service ends"})
"""Ends of connections that nobody wants to read about."""


class Turns(Protocol):
    """Whoever ends a turn: writes the events, then the link."""

    def begin_turn(self) -> EngineHost:
        """The host at the present time; the turn will be finished."""


class _Program:
    """One connection, and what waits in either direction."""

    __slots__ = ("client", "connection", "engine_flow", "events", "gate_flow", "waiting")

    def __init__(self, client: Client, connection: Connection) -> None:
        self.client = client
        self.connection = connection
        self.events: list[bytes] = []
        self.waiting: deque[bytes] = deque()
        # A connection made while the gate is closed starts open, as in stock: what needs no ring is served at once.
        self.gate_flow = 0
        self.engine_flow = 0

    def apply_flow(self) -> None:
        self.connection.set_flow_control(max(self.gate_flow, self.engine_flow))


class IpcPrograms:
    """The handler of the IPC server and the ``Programs`` of the engine's host."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        description: Description,
        options: EngineOptions,
        note: Callable[[int, int], None],
        turns: Turns,
    ) -> None:
        """Programs are told to try again until ``accept``; those of a successor wait unanswered in the socket's queue.

        ``note`` is told (pid, uid) of the client whose memory is touched.
        """
        self._loop = loop
        self._description = description
        self._daemon_uid = options.daemon_uid
        self._refused_users = frozenset(options.refused_users)
        self._note = note
        self._turns = turns
        self._accepting = False
        self._closed: list[Client] | None = None
        self._programs: dict[int, _Program] = {}
        self._with_events: list[_Program] = []
        self._resume_due = False
        # Unique among all processes that this engine will have: identifiers travel on the ring.
        self._identifier_base = os.getpid() << 32
        self._closed_before = 0
        self._server = Server(
            options.socket_name or description.name,
            listener,
            loop,
            self,
            overflow_limit=options.client_queue_limit or OVERFLOW_LIMIT,
            user_connection_limit=options.user_connection_limit or USER_CONNECTION_LIMIT,
        )
        self._started = not options.serves_later
        if self._started:
            self._server.start()

    # What the IPC server tells.

    def authorize(self, pid: int, uid: int, gid: int) -> int:
        """0, -EAGAIN before the first synchronisation, or -EACCES (reference ipc section 1.6)."""
        if not self._accepting:
            return -errno.EAGAIN
        if uid in (0, self._daemon_uid) or (gid == 0 and uid not in self._refused_users):
            return 0
        host = self._turns.begin_turn()
        if uid not in self._refused_users and host.allowed(uid, gid):
            return 0
        host.log("error", f"Denied connection attempt from {uid}:{gid}")
        return -errno.EACCES

    def connected(self, connection: Connection) -> None:
        """See coroipc's Handler."""
        client = Client(self._identifier_base + connection.identifier, connection.pid, connection.uid, connection.gid)
        program = _Program(client, connection)
        connection.state = program
        self._programs[client.identifier] = program
        host = self._turns.begin_turn()
        host.connection_changed(True, self._statistics_of(program))
        host.connected(client)

    def budget(self, connection: Connection) -> int:
        """See coroipc's Handler. Room on the ring is judged request by request: what has none waits here."""
        program = self._program_of(connection)
        held = program.waiting or program.gate_flow or program.engine_flow == 1
        return 0 if held else connection.max_message_size

    def requests(self, connection: Connection, requests: list[bytes]) -> None:
        """See coroipc's Handler."""
        program = self._program_of(connection)
        program.waiting.extend(requests)
        self._serve(program)

    def touches(self, connection: Connection) -> None:
        """See coroipc's Handler."""
        self._note(connection.pid, connection.uid)

    def slow(self, connection: Connection, queued_bytes: int) -> None:
        """See coroipc's Handler."""
        who = f"process {connection.pid} ({connection.procname})"
        self._turns.begin_turn().log("warning", f"{who} does not read its events: {queued_bytes} bytes wait for it")

    def gone(self, connection: Connection, reason: str) -> None:
        """See coroipc's Handler."""
        program = self._program_of(connection)
        program.events.clear()
        program.waiting.clear()
        del self._programs[program.client.identifier]
        host = self._turns.begin_turn()
        who = f"process {connection.pid} ({connection.procname}) of user {connection.uid}"
        host.log("debug" if reason in _ORDERLY_ENDS else "notice", f"the connection of {who} has ended: {reason}")
        host.connection_changed(False, self._statistics_of(program))
        if self._closed is None:
            host.gone(program.client)
        else:
            self._closed.append(program.client)

    def _program_of(self, connection: Connection) -> _Program:
        program = connection.state
        assert isinstance(program, _Program)
        return program

    def _serve(self, program: _Program) -> None:
        """Hand what waits to the engine, as far as its gate lets it."""
        waiting = program.waiting
        host = self._turns.begin_turn()
        client = program.client
        connection = program.connection
        while waiting and not connection.closed:
            if not host.serve(client, waiting[0]):
                return
            waiting.popleft()

    def _resume(self) -> None:
        self._resume_due = False
        for program in list(self._programs.values()):
            if program.gate_flow or program.connection.closed:
                continue
            if program.waiting:
                self._serve(program)
            if not program.waiting:
                program.connection.resume()

    # What the engine's host says.

    def respond(self, client: Client, response: bytes) -> None:
        """See Programs. Events that the engine sent before its answer are visible before it."""
        program = self._programs.get(client.identifier)
        if program is not None:
            if program.events:
                self._write_events(program)
            program.connection.respond(response)

    def count_refusal(self, client: Client, status: int) -> None:
        """See Programs."""
        program = self._programs.get(client.identifier)
        if program is not None:
            if status == Status.TRY_AGAIN:
                program.connection.overload += 1
            else:
                program.connection.invalid_request += 1

    def notify(self, client: Client, event: bytes) -> None:
        """See Programs."""
        program = self._programs.get(client.identifier)
        if program is not None:
            if not program.events:
                self._with_events.append(program)
            program.events.append(event)

    def disconnect(self, client: Client, reason: str) -> None:
        """See Programs."""
        program = self._programs.get(client.identifier)
        if program is not None:
            program.connection.close(reason)

    def take_file(self, client: Client, path: bytes, prefix: str, size: int) -> SharedFile:
        """See Programs."""
        return SharedFile.take(path, prefix, size, client.uid)

    def set_flow_control(self, client: Client, value: int) -> None:
        """See Programs."""
        program = self._programs.get(client.identifier)
        if program is not None:
            program.engine_flow = value
            program.apply_flow()
            self._schedule_resume()

    def set_gate(self, flow: int) -> None:
        """See Programs."""
        for program in self._programs.values():
            if program.gate_flow != flow:
                program.gate_flow = flow
                program.apply_flow()
        if not flow:
            self._schedule_resume()

    def accept(self, accepting: bool) -> None:
        """See Programs."""
        self._accepting = accepting
        if accepting and not self._started:
            self._started = True
            self._server.start()

    def close_all(self) -> list[Client]:
        """See Programs."""
        self._closed = []
        self._server.close("the service ends")
        return self._closed

    def flush(self) -> None:
        """Write the events of this turn."""
        for program in self._with_events:
            if program.events:
                self._write_events(program)
        self._with_events.clear()

    def abandon(self) -> None:
        """The engine has failed: close the connections without telling it. The door is left to its successor."""
        self._closed = []
        for program in list(self._programs.values()):
            program.connection.close("the engine has failed")

    def statistics(self) -> dict[str, list[Any]]:
        """See Programs; the closed connections under the service's own name, since only the executive can add them up."""
        closed = number(ValueType.UINT64, self._server.closed_count - self._closed_before)
        values: dict[str, list[Any]] = {f"stats.ipcs.{self._description.name}\0closed": list(closed)}
        for program in self._programs.values():
            values |= self._statistics_of(program)
        return values

    def _statistics_of(self, program: _Program) -> dict[str, list[Any]]:
        connection = program.connection
        prefix = f"stats.ipcs.service{self._description.service_id}.{connection.pid}.{program.client.identifier:#x}"
        values: dict[str, list[Any]] = {}
        for name, counter in connection.statistics().items():
            kind = _STATISTIC_TYPES.get(name, ValueType.UINT64)
            value = text(str(counter)) if isinstance(counter, str) else number(kind, counter)
            values[f"{prefix}.{name}"] = [int(value.type), value.data]
        return values

    def clear_statistics(self) -> None:
        """See Programs."""
        self._closed_before = self._server.closed_count
        for program in self._programs.values():
            program.connection.clear_statistics()

    def _write_events(self, program: _Program) -> None:
        events, program.events = program.events, []
        program.connection.notify_many(events)

    def _schedule_resume(self) -> None:
        if not self._resume_due:
            self._resume_due = True
            self._loop.call_soon(self._resume)


class NoPrograms:
    """The ``Programs`` of an engine without requests: nobody connects."""

    def respond(self, client: Client, response: bytes) -> None:
        """There is no client."""

    def count_refusal(self, client: Client, status: int) -> None:
        """There is no client."""

    def notify(self, client: Client, event: bytes) -> None:
        """There is no client."""

    def disconnect(self, client: Client, reason: str) -> None:
        """There is no client."""

    def take_file(self, client: Client, path: bytes, prefix: str, size: int) -> SharedFile:
        """There is no client whose file it could be."""
        raise NotSupported("a shared file")

    def set_flow_control(self, client: Client, value: int) -> None:
        """There is no client."""

    def set_gate(self, flow: int) -> None:
        """There is no connection to gate."""

    def accept(self, accepting: bool) -> None:
        """There is no door."""

    def close_all(self) -> list[Client]:
        """Nobody was connected."""
        return []

    def flush(self) -> None:
        """There are no events."""

    def abandon(self) -> None:
        """Nothing is open."""

    def statistics(self) -> dict[str, list[Any]]:
        """There is nothing to count."""
        return {}

    def clear_statistics(self) -> None:
        """There is nothing to count."""
