"""The cmap service engine: clients read, change, walk and track the map, or look at the statistics.

The executive owns the map. Reads are served from the host's replica; a change goes to the executive and is answered when every
engine that tracks the key has confirmed it. Statistics are asked for.

Sources: cmap_overview(8); reference client-api section 2, services section 6.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Mapping
from itertools import count
from typing import ClassVar

from coroipc.errors import MessageError, Status
from coroipc.layouts import status_response
from coroipc.map_values import ValueType
from corosyncd.engines.cmap import wire
from corosyncd.engines.cmap.connection import ITERATIONS_OF_ONE_CLIENT, REQUESTS_WAITING, Connection
from corosyncd.engines.cmap.iteration import KeyIteration, Snapshot
from corosyncd.engines.cmap.tracking import Tracking, statistics_changes
from corosyncd.engines.cmap.version import VersionCheck
from corosyncd.engines.cmap.wire import CONFIG_VERSION, Function, MulticastReason
from corosyncd.engines.engine import Client, Description, Engine, Host, KeyChange, KeyOperation, MulticastClass
from corosyncd.keyspace import statistics as rules
from corosyncd.keyspace.changes import Track
from corosyncd.keyspace.values import NO_VALUE, Value, uint64
from corosyncd.totem.events import RingId
from libcmap.messages import (
    RESPONSE_IDS,
    AdjustRequest,
    DeleteRequest,
    GetRequest,
    GetResponse,
    HandleRequest,
    IterationNextResponse,
    IterationRequest,
    IterationResponse,
    Map,
    Request,
    Response,
    SetCurrentMapRequest,
    SetRequest,
    TrackAddRequest,
    TrackAddResponse,
    TrackDeleteResponse,
)

GET_ROOM_MAX = 1048576 - 40
"""The largest buffer whose answer, filled up to it, still fits a client's ring."""

_REFRESH = "refresh statistics"
"""Token of the statistics that trackers are compared with, and of the timer that asks for them."""

WithStatistics = Callable[[Mapping[str, Value]], bytes]
"""Makes a client's answer when the statistics are there."""


class CmapEngine(Engine):
    """The configuration map's service."""

    description: ClassVar[Description] = Description(
        name="cmap",
        service_id=wire.SERVICE_ID,
        load_name="corosync_cmap",
        title="corosync configuration map access",
        functions=len(Function),
        requests=len(Request),
        synchronised=True,
        tracked=("",),
    )

    def __init__(self, host: Host, kept: bytes | None = None) -> None:
        """``kept``: whether the one check of the configuration version was made."""
        super().__init__(host, kept)
        self._names: list[str] = []
        self._version_check = VersionCheck(done=kept is not None)
        self._tracking = Tracking()
        self._statistics_tracking = Tracking()
        # What the trackers of statistics were told last; None until the first snapshot.
        self._statistics: Mapping[str, Value] | None = None
        self._handles = count(1)
        self._tokens = count(1)
        # Open changes of the map and open wishes for statistics, by token.
        self._changing: dict[Hashable, tuple[Connection, int]] = {}
        self._asking: dict[Hashable, tuple[Connection, WithStatistics]] = {}
        self._requests: dict[int, Callable[[Connection, bytes], bytes | None]] = {
            Request.SET: self._set,
            Request.DELETE: self._delete,
            Request.GET: self._get,
            Request.ADJUST: self._adjust,
            Request.ITERATION_INITIALIZE: self._iteration_initialize,
            Request.ITERATION_NEXT: self._iteration_next,
            Request.ITERATION_FINALIZE: self._iteration_finalize,
            Request.TRACK_ADD: self._track_add,
            Request.TRACK_DELETE: self._track_delete,
            Request.SET_CURRENT_MAP: self._set_current_map,
        }

    def start(self) -> None:
        """Iterations walk the names of the replica."""
        self._names = [name for name, _ in self.host.keys("")]

    # Clients.

    def client_connected(self, client: Client) -> None:
        """A connection to the icmap."""
        client.state = Connection(client)

    def client_gone(self, client: Client) -> None:
        """Trackers and iterations end with their connection."""
        connection: Connection = client.state
        connection.gone = True
        connection.waiting.clear()
        for handle in list(connection.trackers):
            self._tracking_of(connection).remove(connection, handle)
        connection.iterations.clear()

    def request(self, client: Client, request_id: int, body: bytes) -> None:
        """Answer now, or when the executive has; requests of one client are answered in their order."""
        connection: Connection = client.state
        if not connection.outstanding:
            self._serve(connection, request_id, body)
        elif len(connection.waiting) < REQUESTS_WAITING:
            connection.waiting.append((request_id, body))
        else:
            self.host.disconnect(client, f"more than {REQUESTS_WAITING} cmap requests ahead of an answer")

    def _serve(self, connection: Connection, request_id: int, body: bytes) -> None:
        try:
            response = self._requests[request_id](connection, body)
        except MessageError:
            response = status_response(0, Status.INVALID_PARAM)
        if response is None:
            connection.outstanding = True
        else:
            self.host.respond(connection.client, response)

    def _answer(self, connection: Connection, response: bytes) -> None:
        """Answer the request that was open, then serve those that waited behind it."""
        connection.outstanding = False
        if connection.gone:
            return
        self.host.respond(connection.client, response)
        while connection.waiting and not connection.outstanding:
            self._serve(connection, *connection.waiting.popleft())

    def _change(self, connection: Connection, request: Request, operation: KeyOperation) -> None:
        token = next(self._tokens)
        self._changing[token] = (connection, RESPONSE_IDS[request])
        self.host.change_keys([operation], token)

    def keys_changed_result(self, token: Hashable, statuses: list[int]) -> None:
        """The executive has decided on a client's change, and everyone who tracks the key knows."""
        connection, response_id = self._changing.pop(token)
        self._answer(connection, status_response(response_id, statuses[0]))

    def _ask_statistics(self, connection: Connection, answer: WithStatistics) -> None:
        token = next(self._tokens)
        self._asking[token] = (connection, answer)
        self.host.request_statistics(token)

    # Keys.

    def _set(self, connection: Connection, body: bytes) -> bytes | None:
        request = SetRequest.decode(body)
        if connection.map is Map.STATS:
            status, what = rules.cleared_by_set(request.key)
            if status == Status.OK:
                self.host.clear_statistics(what)
            return status_response(Response.SET, status)
        self._change(connection, Request.SET, KeyOperation("set", request.key, Value(request.kind, request.value)))
        return None

    def _delete(self, connection: Connection, body: bytes) -> bytes | None:
        key = DeleteRequest.decode(body).key
        if connection.map is Map.STATS:
            return status_response(Response.DELETE, rules.status_of_other_change(key))
        self._change(connection, Request.DELETE, KeyOperation("delete", key, NO_VALUE))
        return None

    def _adjust(self, connection: Connection, body: bytes) -> bytes | None:
        request = AdjustRequest.decode(body)
        if connection.map is Map.STATS:
            return status_response(Response.ADJUST, rules.status_of_other_change(request.key))
        self._change(connection, Request.ADJUST, KeyOperation("adjust", request.key, NO_VALUE, request.step))
        return None

    def _get(self, connection: Connection, body: bytes) -> bytes | None:
        request = GetRequest.decode(body)
        if connection.map is Map.STATS:
            self._ask_statistics(connection, lambda values: _get_response(values.get(request.key), request.room))
            return None
        return _get_response(self.host.key(request.key), request.room)

    # Iterations.

    def _iteration_initialize(self, connection: Connection, body: bytes) -> bytes | None:
        prefix = IterationRequest.decode(body).prefix
        if len(connection.iterations) >= ITERATIONS_OF_ONE_CLIENT:
            return IterationResponse().encode(Status.NO_RESOURCES)
        handle = next(self._handles)

        def opened(iteration: KeyIteration | Snapshot) -> bytes:
            connection.iterations[handle] = iteration
            return IterationResponse(handle).encode()

        if connection.map is Map.STATS:
            self._ask_statistics(connection, lambda values: opened(Snapshot(values, prefix)))
            return None
        return opened(KeyIteration(self._names, self.host.key, prefix))

    def _iteration_next(self, connection: Connection, body: bytes) -> bytes:
        iteration = connection.iterations.get(HandleRequest.decode(body).handle)
        if iteration is None:
            return IterationNextResponse().encode(Status.BAD_HANDLE)
        found = iteration.next()
        if found is None:
            return IterationNextResponse().encode(Status.NO_SECTIONS)
        name, value = found
        return IterationNextResponse(name, len(value.data), value.type).encode()

    def _iteration_finalize(self, connection: Connection, body: bytes) -> bytes:
        known = connection.iterations.pop(HandleRequest.decode(body).handle, None) is not None
        return status_response(Response.ITERATION_FINALIZE, Status.OK if known else Status.BAD_HANDLE)

    # Trackers.

    def _tracking_of(self, connection: Connection) -> Tracking:
        return self._statistics_tracking if connection.map is Map.STATS else self._tracking

    def _track_add(self, connection: Connection, body: bytes) -> bytes:
        request = TrackAddRequest.decode(body)
        flags = request.kind
        if connection.map is Map.STATS:
            status = rules.status_of_tracker(flags)
            if status != Status.OK:
                return TrackAddResponse().encode(status)
            if flags & Track.PREFIX:
                # Prefixes tell of keys that come and go; values are compared for single keys only.
                flags &= ~int(Track.MODIFY)
        handle = next(self._handles)
        status = self._tracking_of(connection).add(connection, handle, request.key, flags, request.instance)
        if status != Status.OK:
            return TrackAddResponse().encode(status)
        if connection.map is Map.STATS and len(self._statistics_tracking) == 1:
            self._statistics = None
            self.host.request_statistics(_REFRESH)
        return TrackAddResponse(handle).encode()

    def _track_delete(self, connection: Connection, body: bytes) -> bytes:
        instance = self._tracking_of(connection).remove(connection, HandleRequest.decode(body).handle)
        if instance is None:
            return TrackDeleteResponse().encode(Status.BAD_HANDLE)
        return TrackDeleteResponse(instance).encode()

    def _set_current_map(self, connection: Connection, body: bytes) -> bytes:
        chosen = SetCurrentMapRequest.decode(body).map_id
        if connection.iterations or connection.trackers:
            return status_response(Response.SET_CURRENT_MAP, Status.BUSY)
        if chosen not in (Map.ICMAP, Map.STATS):
            return status_response(Response.SET_CURRENT_MAP, Status.NOT_EXIST)
        connection.map = Map(chosen)
        return status_response(Response.SET_CURRENT_MAP)

    def keys_changed(self, changes: list[KeyChange]) -> None:
        """Tell the trackers, change by change; a new configuration version goes round the ring."""
        for change in changes:
            self._follow(change)
            for client, event in self._tracking.notifications(change):
                self.host.notify(client, event)
            if change.name == CONFIG_VERSION:
                self._send_version(MulticastReason.NEW_CONFIG_VERSION, MulticastClass.NORMAL)

    def _follow(self, change: KeyChange) -> None:
        """Keep the sorted names that iterations walk."""
        position = bisect_left(self._names, change.name)
        known = self._names[position : position + 1] == [change.name]
        if change.event == Track.DELETE:
            if known:
                del self._names[position]
        elif not known:
            insort(self._names, change.name)

    # Statistics.

    def statistics(self, token: Hashable, values: Mapping[str, Value]) -> None:
        """A snapshot has come: for one client's request, or for the trackers."""
        if token == _REFRESH:
            self._compare_statistics(values)
            return
        connection, answer = self._asking.pop(token)
        if connection.gone:
            connection.outstanding = False
        else:
            self._answer(connection, answer(values))

    def connection_changed(self, added: bool, values: Mapping[str, Value]) -> None:
        """Trackers are told at once: a program may come and go between two comparisons."""
        if self._statistics_tracking:
            for name, value in values.items():
                sides = (value, NO_VALUE) if added else (NO_VALUE, value)
                change = KeyChange(Track.ADD if added else Track.DELETE, name, *sides)
                for client, event in self._statistics_tracking.notifications(change):
                    self.host.notify(client, event)

    def _compare_statistics(self, values: Mapping[str, Value]) -> None:
        if not self._statistics_tracking:
            self._statistics = None
            return
        if self._statistics is not None:
            for change in statistics_changes(self._statistics, values):
                for client, event in self._statistics_tracking.notifications(change):
                    self.host.notify(client, event)
        self._statistics = values
        self.host.after(rules.REFRESH_SECONDS, _REFRESH)

    def timer(self, token: Hashable) -> None:
        """Time to compare the statistics again."""
        self.host.request_statistics(_REFRESH)

    # The ring.

    def configuration_changed(self, transitional: tuple[int, ...], members: tuple[int, ...], ring_id: RingId) -> None:
        """The own version is the one that the peers' are compared with."""
        self._version_check.begin(_number(self.host.key(CONFIG_VERSION)), bool(transitional))

    def sync_step(self) -> bool:
        """Every node says its version."""
        self._send_version(MulticastReason.SYNC, MulticastClass.SYNC)
        return True

    def _send_version(self, reason: int, kind: MulticastClass) -> None:
        value = self.host.key(CONFIG_VERSION)
        item = value if value is not None and value.type == ValueType.UINT64 else NO_VALUE
        self.host.multicast(Function.MCAST, (wire.encode(reason, {CONFIG_VERSION: item}),), kind)

    def deliver(self, source: int, function: int, message: bytes) -> None:
        """A node's configuration version."""
        item = wire.decode(message).get(CONFIG_VERSION)
        if item is None:
            return
        version = _number(item)
        if source != self.host.node_id:
            self._version_check.seen(version)
        name = f"runtime.members.{source}.config_version"
        self.host.change_keys([KeyOperation("set", name, uint64(version), permission=False)])

    def sync_activate(self) -> bool:
        """A node with an older configuration than the cluster's stops."""
        complaint = self._version_check.conclude()
        if complaint is not None:
            self.host.log("error", complaint)
            self.host.shutdown_request(complaint)
        if self._version_check.done:
            self.host.keep(b"version checked")
        return True


def _get_response(value: Value | None, room: int) -> bytes:
    """Room 0 asks for type and length alone."""
    if value is None:
        return GetResponse().encode(Status.NOT_EXIST)
    length = len(value.data)
    if room and not length <= room <= GET_ROOM_MAX:
        return GetResponse().encode(Status.INVALID_PARAM)
    return GetResponse(value.type, length, value.data).encode(room=room)


def _number(value: Value | None) -> int:
    """A u64 key's number; 0 for a missing key or one of another type."""
    if value is None or value.type != ValueType.UINT64:
        return 0
    return int(value.python())
