"""The engine's end of the link, without I/O: words of the executive become calls of the engine, its wishes become words.

The engine host (a process) and the simulator drive it: frames, requests, connections and the time come in; what the engine says
goes to the link's outbox and to whoever serves the programs. Design: "The boundary between executive and engine".
"""

from __future__ import annotations

import struct
import traceback
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Protocol

from coroipc.errors import Status
from coroipc.layouts import status_response
from coroipc.map_values import ValueType
from corosyncd.engines.engine import (
    Buffer,
    Client,
    ConfigurationError,
    Engine,
    KeyChange,
    KeyOperation,
    MulticastClass,
    SharedFile,
)
from corosyncd.engines.gate import Gate, Verdict
from corosyncd.engines.machine import Machine, NoMachine
from corosyncd.engines.replica import Replica
from corosyncd.engines.timers import Timers
from corosyncd.engines.undecodable import Undecodable
from corosyncd.engines.wire import header
from corosyncd.keyspace.values import Value, uint64
from corosyncd.link.frames import Frame
from corosyncd.link.outbox import Outbox
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import NO_RING, RingId

MORE_OF_SNAPSHOT: Final = -1
"""The confirm number of a KEYS entry that is not the snapshot's last."""
_REQUEST = struct.Struct("=i4xi4x")
_HEADER_SIZE: Final = 16
_ACCESS_KEYS: Final = "uidgid."


class Programs(Protocol):
    """Whoever serves the connections of client programs; nothing here calls back."""

    def respond(self, client: Client, response: bytes) -> None:
        """Write the response to the client's outstanding request."""

    def count_refusal(self, client: Client, status: int) -> None:
        """Count a request that the engine does not see: TRY_AGAIN is overload, everything else an invalid request."""

    def notify(self, client: Client, event: bytes) -> None:
        """Queue an event for the client."""

    def disconnect(self, client: Client, reason: str) -> None:
        """Close the connection soon; ``EngineHost.gone`` follows."""

    def take_file(self, client: Client, path: bytes, prefix: str, size: int) -> SharedFile:
        """See Host."""

    def set_flow_control(self, client: Client, value: int) -> None:
        """The engine's own wish for the flow-control word of one connection."""

    def set_gate(self, flow: int) -> None:
        """Store the flow-control word of all present connections; 0: requests that waited are looked at again."""

    def accept(self, accepting: bool) -> None:
        """Whether programs may connect (else they are told to try again)."""

    def close_all(self) -> list[Client]:
        """Close every connection and the door, at once; the clients that were connected."""

    def statistics(self) -> dict[str, list[Any]]:
        """Counters as {key of the stats map: [type, data]}."""

    def clear_statistics(self) -> None:
        """Counters begin at zero."""


class EngineHost:
    """One engine and what it may say (``corosyncd.engines.engine.Host``); the driver calls the rest.

    Driver: ``hello`` once; ``receive`` for each frame, ``serve``/``connected``/``gone`` for clients, ``handle_timer`` at
    ``next_timer``; each with ``at(now)`` before. After each turn it writes client events first, then the outbox.
    """

    def __init__(
        self,
        engine: type[Engine],
        node_id: int,
        kept: bytes | None,
        outbox: Outbox,
        programs: Programs,
        log: Callable[[str, str], None],
        machine: Machine | None = None,
    ) -> None:
        """``log`` takes a stock priority word and one line; without a ``machine`` readings and devices fail."""
        self.node_id = node_id
        self.machine = NoMachine() if machine is None else machine
        self.in_sync = True
        self.description = engine.description
        self.stopped = False
        self.undecodable = Undecodable(engine.description.name, log)
        self.out_of_step = 0
        """Sync multicasts dropped because they came outside the engine's step."""
        self._outbox = outbox
        self._programs = programs
        self._log = log
        self._gate = Gate(self.description)
        self._replica = Replica()
        self._timers = Timers()
        self._now = 0.0
        self._ring_id = NO_RING
        self._frame_ring = NO_RING
        self._tracked = self.description.tracked
        self._started = False
        self._step_open = False
        self._activation_open = False
        self._answers: dict[int, Hashable] = {}
        self._next_answer = 1
        self._flow = 0
        self._words: dict[int, Callable[[Sequence[Any]], None]] = {
            ToEngine.CONFIGURATION: self._configuration,
            ToEngine.SYNC_STEP: self._sync_step,
            ToEngine.SYNC_ACTIVATE: self._sync_activate,
            ToEngine.SYNC_ABORT: self._sync_abort,
            ToEngine.SYNC_COMPLETE: self._sync_complete,
            ToEngine.CREDIT: self._credit,
            ToEngine.KEYS: self._keys,
            ToEngine.KEYS_RESULT: self._keys_result,
            ToEngine.QUORUM: self._quorum,
            ToEngine.QUORATE_CONFIRMED: self._quorate_confirmed,
            ToEngine.STATISTICS_REQUEST: self._statistics_request,
            ToEngine.STATISTICS: self._statistics,
            ToEngine.RELOADED: self._reloaded,
            ToEngine.STOP: self._stop,
            ToEngine.CLEAR_STATISTICS: self._clear_statistics,
            ToEngine.CONNECTION: self._connection,
            ToEngine.ALIVE: lambda _entry: self._say(ToExecutive.ALIVE),
        }
        self._engine = engine(self, kept)

    # What the driver calls.

    def at(self, now: float) -> None:
        """The time (monotonic seconds) of what is called next."""
        self._now = now

    def hello(self) -> None:
        """Introduce the engine; the executive answers with the snapshot of its keys."""
        description = self.description
        self._say(
            ToExecutive.HELLO,
            {
                "name": description.name,
                "service_id": description.service_id,
                "load_name": description.load_name,
                "title": description.title,
                "functions": description.functions,
                "requests": description.requests,
                "flow_controlled": sorted(description.flow_controlled),
                "unanswered": sorted(description.unanswered),
                "synchronised": description.synchronised,
                "priority": description.priority,
                "tracked": [*self._tracked, *self._tracked_for_host()],
                "open_during_sync": description.open_during_sync,
            },
        )

    def receive(self, frame: Frame) -> None:
        """Do what a frame says, in order. Only the engine's own failure raises: the process must then end."""
        self._frame_ring = frame.ring_id
        bodies = iter(frame.bodies)
        for entry in frame.entries:
            if entry[0] == ToEngine.DELIVER:
                self._deliver(entry[1], bodies)
            else:
                self._words[entry[0]](entry)
        self._apply_flow()

    def connected(self, client: Client) -> None:
        """A program has connected."""
        self._engine.client_connected(client)

    def gone(self, client: Client) -> None:
        """A program's connection has ended; for each ``connected`` exactly once."""
        self._engine.client_gone(client)

    def connection_changed(self, added: bool, values: Mapping[str, list[Any]]) -> None:
        """What the stats map has of a connection now, or had: a program may live shorter than a snapshot."""
        self._say(ToExecutive.CONNECTION, added, values)

    def serve(self, client: Client, message: bytes) -> bool:
        """One request. False: it must wait, with all that follows from this client, until the gate is set again."""
        if len(message) < _HEADER_SIZE:
            self._programs.disconnect(client, f"a request of {len(message)} bytes")
            return True
        request: int = _REQUEST.unpack_from(message)[0]
        verdict = self._gate.judge(request, len(message))
        if verdict is Verdict.SERVE:
            try:
                self._engine.request(client, request, message)
            except Exception:
                self._log("error", f"request {request} of process {client.pid} failed:\n{traceback.format_exc()}")
                self._programs.disconnect(client, f"request {request} failed")
            self._apply_flow()
        elif verdict is Verdict.WAIT:
            return False
        elif verdict is Verdict.DROP:
            self._programs.count_refusal(client, Status.INVALID_PARAM)
            self._log("warning", f"request {request} of process {client.pid} is too long ({len(message)} bytes): dropped")
        else:
            status = Status.TRY_AGAIN if verdict is Verdict.TRY_AGAIN else Status.INVALID_PARAM
            self._programs.count_refusal(client, status)
            self._programs.respond(client, status_response(0, status))
        return True

    def next_timer(self) -> float | None:
        """When ``handle_timer`` is wanted."""
        return self._timers.next()

    def handle_timer(self) -> None:
        """Tell the engine which timers have expired."""
        for token in self._timers.expired(self._now):
            self._engine.timer(token)
        self._apply_flow()

    def allowed(self, uid: int, gid: int) -> bool:
        """Whether the map's ``uidgid`` keys let a program of that user or group in (it tracks the prefix for this)."""
        for name in (f"uid.{uid}", f"config.uid.{uid}", f"gid.{gid}", f"config.gid.{gid}"):
            value = self._replica.get(_ACCESS_KEYS + name)
            if value is not None and value.type == ValueType.UINT8 and value.data == b"\x01":
                return True
        return False

    def _tracked_for_host(self) -> tuple[str, ...]:
        """What ``allowed`` needs, where the engine does not track it anyway."""
        needed = self.description.requests and not _ACCESS_KEYS.startswith(self._tracked)
        return (_ACCESS_KEYS,) if needed else ()

    # Words of the executive.

    def _deliver(self, words: Sequence[int], bodies: Iterator[bytes]) -> None:
        deliver = self._engine.deliver
        functions = self.description.functions
        for source, function, body in zip(words[0::3], words[1::3], islice(bodies, len(words) // 3), strict=True):
            if function >= functions:
                self.undecodable.unknown_function(source, function)
                continue
            try:
                deliver(source, function, body)
            except (ValueError, struct.error) as error:
                self.undecodable.refused(source, function, error)
        self._say(ToExecutive.CONSUMED, sum(words[2::3]))

    def _configuration(self, entry: Sequence[Any]) -> None:
        self._ring_id = self._outbox.ring_id = self._frame_ring
        self._step_open = self._activation_open = False
        self._gate.close()
        self.in_sync = True
        self._engine.configuration_changed(tuple(entry[1]), tuple(entry[2]), self._ring_id)
        self._say(ToExecutive.GATE_CLOSED)

    def _sync_step(self, _entry: Sequence[Any]) -> None:
        self._step_open = True
        if self._engine.sync_step():
            self.sync_step_done()

    def _sync_activate(self, _entry: Sequence[Any]) -> None:
        self._activation_open = True
        if self._engine.sync_activate():
            self.sync_activated()

    def _sync_abort(self, _entry: Sequence[Any]) -> None:
        self._step_open = self._activation_open = False
        self._engine.sync_abort()

    def _sync_complete(self, _entry: Sequence[Any]) -> None:
        self._gate.open()
        self.in_sync = False
        self._engine.sync_complete()
        self._programs.accept(not self.stopped)
        self._say(ToExecutive.GATE_OPENED)
        self._set_gate()

    def _credit(self, entry: Sequence[Any]) -> None:
        self._gate.grant(entry[1])
        self._set_gate()

    def _keys(self, entry: Sequence[Any]) -> None:
        confirm = entry[1]
        changes = [
            KeyChange(event, name, Value(kind, data), Value(old_kind, old_data))
            for event, name, kind, data, old_kind, old_data in entry[2]
        ]
        self._replica.apply(changes)
        if self._started:
            mine = [change for change in changes if change.name.startswith(self._tracked)]
            if mine:
                self._engine.keys_changed(mine)
            if confirm:
                self._say(ToExecutive.KEYS_CONFIRM, confirm)
        elif confirm != MORE_OF_SNAPSHOT:
            self._start()

    def _start(self) -> None:
        self._started = True
        try:
            self._engine.start()
        except ConfigurationError as error:
            self._say(ToExecutive.REFUSED, str(error))
        else:
            self._say(ToExecutive.READY)

    def _keys_result(self, entry: Sequence[Any]) -> None:
        self._engine.keys_changed_result(self._answers.pop(entry[1]), entry[2])

    def _quorum(self, entry: Sequence[Any]) -> None:
        self._engine.quorum_changed(bool(entry[1]), tuple(entry[2]), self._frame_ring)
        if entry[3]:
            self._say(ToExecutive.QUORUM_CONFIRM, entry[3])

    def _quorate_confirmed(self, _entry: Sequence[Any]) -> None:
        self._engine.quorate_confirmed()

    def _statistics_request(self, entry: Sequence[Any]) -> None:
        own = {f"stats.services.{self.description.name}.out_of_step": self.out_of_step} | self.undecodable.keys()
        keys = {name: list(uint64(count)) for name, count in own.items()}
        self._say(ToExecutive.STATISTICS, entry[1], self._programs.statistics() | keys)

    def _statistics(self, entry: Sequence[Any]) -> None:
        self._engine.statistics(self._answers.pop(entry[1]), _values(entry[2]))

    def _connection(self, entry: Sequence[Any]) -> None:
        self._engine.connection_changed(bool(entry[1]), _values(entry[2]))

    def _reloaded(self, entry: Sequence[Any]) -> None:
        self._engine.reloaded(self._answers.pop(entry[1]), entry[2])

    def _stop(self, _entry: Sequence[Any]) -> None:
        self.stopped = True
        for client in self._programs.close_all():
            self.gone(client)
        self._engine.stop()
        self._say(ToExecutive.STOPPED)

    def _clear_statistics(self, entry: Sequence[Any]) -> None:
        if entry[1] in ("ipc", "all"):
            self._programs.clear_statistics()
            self.undecodable.clear()
            self.out_of_step = 0

    def _say(self, kind: ToExecutive, *arguments: Any) -> None:
        self._outbox.queue([int(kind), *arguments])

    def _apply_flow(self) -> None:
        if self._gate.flow != self._flow:
            self._set_gate()

    def _set_gate(self) -> None:
        """Also where the word stays the same: a request may wait for less room than the word reports."""
        self._flow = self._gate.flow
        self._programs.set_gate(self._flow)

    def _expect(self, token: Hashable) -> int:
        """A number that stands for the engine's token on the link: tokens may be anything hashable."""
        number = self._next_answer
        self._next_answer += 1
        self._answers[number] = token
        return number

    # What the engine may say: see Host.

    def now(self) -> float:
        """See Host."""
        return self._now

    def multicast(self, function: int, pieces: Sequence[Buffer], kind: MulticastClass = MulticastClass.NORMAL) -> None:
        """See Host."""
        size = _HEADER_SIZE + sum(map(len, pieces))
        self._multicast((header(self.description.service_id, function, size), *pieces), size, kind)

    def multicast_raw(self, message: bytes, kind: MulticastClass = MulticastClass.NORMAL) -> None:
        """See Host."""
        self._multicast((message,), len(message), kind)

    def _multicast(self, pieces: Sequence[Buffer], size: int, kind: MulticastClass) -> None:
        if kind == MulticastClass.NORMAL:
            self._gate.spend(size)
        elif kind == MulticastClass.SYNC and not self._step_open:
            self.out_of_step += 1
            return
        self._outbox.multicast(int(kind), pieces, size)

    def room(self) -> int:
        """See Host."""
        return self._gate.room

    def respond(self, client: Client, response: bytes) -> None:
        """See Host."""
        self._programs.respond(client, response)

    def notify(self, client: Client, event: bytes) -> None:
        """See Host."""
        self._programs.notify(client, event)

    def disconnect(self, client: Client, reason: str) -> None:
        """See Host."""
        self._programs.disconnect(client, reason)

    def take_file(self, client: Client, path: bytes, prefix: str, size: int) -> SharedFile:
        """See Host."""
        return self._programs.take_file(client, path, prefix, size)

    def set_flow_control(self, client: Client, value: int) -> None:
        """See Host."""
        self._programs.set_flow_control(client, value)

    def key(self, name: str) -> Value | None:
        """See Host."""
        return self._replica.get(name)

    def keys(self, prefix: str = "") -> Iterator[tuple[str, Value]]:
        """See Host."""
        return self._replica.items(prefix)

    def change_keys(self, operations: Sequence[KeyOperation], token: Hashable = None) -> None:
        """See Host."""
        wire = [
            [operation.kind, operation.name, operation.value.type, operation.value.data, operation.step, operation.permission]
            for operation in operations
        ]
        self._say(ToExecutive.KEYS_CHANGE, None if token is None else self._expect(token), wire)

    def after(self, seconds: float, token: Hashable) -> None:
        """See Host."""
        self._timers.arm(self._now + seconds, token)

    def cancel(self, token: Hashable) -> None:
        """See Host."""
        self._timers.cancel(token)

    def set_quorate(self, quorate: bool, members: Sequence[int], ring_id: RingId) -> None:
        """See Host. The decision's frame bears the ring id that it was made for."""
        self._outbox.ring_id = ring_id
        self._say(ToExecutive.SET_QUORATE, quorate, list(members))
        self._outbox.ring_id = self._ring_id

    def sync_step_done(self) -> None:
        """See Host. Ignored when no step is open: an abort overtook it."""
        if self._step_open:
            self._step_open = False
            self._say(ToExecutive.SYNC_STEP_DONE)

    def sync_activated(self) -> None:
        """See Host. Ignored when no activation is open: an abort overtook it."""
        if self._activation_open:
            self._activation_open = False
            self._say(ToExecutive.SYNC_ACTIVATED)

    def keep(self, blob: bytes) -> None:
        """See Host."""
        self._say(ToExecutive.KEEP, blob)

    def request_statistics(self, token: Hashable) -> None:
        """See Host."""
        self._say(ToExecutive.STATISTICS_REQUEST, self._expect(token))

    def clear_statistics(self, what: str) -> None:
        """See Host."""
        self._say(ToExecutive.CLEAR_STATISTICS, what)

    def reload_configuration(self, token: Hashable) -> None:
        """See Host."""
        self._say(ToExecutive.RELOAD, self._expect(token))

    def reopen_logs(self) -> None:
        """See Host."""
        self._say(ToExecutive.REOPEN_LOGS)

    def shutdown_request(self, reason: str) -> None:
        """See Host."""
        self._say(ToExecutive.SHUTDOWN_REQUEST, reason)

    def fatal(self, status: int, reason: str) -> None:
        """See Host."""
        self._say(ToExecutive.FATAL, status, reason)

    def log(self, level: str, message: str) -> None:
        """See Host."""
        self._log(level, message)


def _values(wire: Mapping[str, Sequence[Any]]) -> dict[str, Value]:
    return {name: Value(kind, data) for name, (kind, data) in wire.items()}
