"""The cpg service engine: what clients ask, what the ring says, and what each client is told, in that order.

Sources: cpg_overview(8); reference services section 3, client-api section 3. Membership over a change of the ring is in ``sync``.

Zero-copy buffers are refused, as Corosync's development branch does: libcpg sends the messages the ordinary way then. The
buffer's file stays with the client, because an engine touches no files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from coroipc.errors import MessageError, NameTooLong, Status
from coroipc.layouts import status_response
from corosyncd.engines.cpg import connection as states
from corosyncd.engines.cpg import wire
from corosyncd.engines.cpg.announcement import configuration_changes
from corosyncd.engines.cpg.connection import Connection, State
from corosyncd.engines.cpg.iteration import ITERATIONS_OF_ONE_CLIENT, listing
from corosyncd.engines.cpg.processes import Place, ProcessList
from corosyncd.engines.cpg.sync import Round
from corosyncd.engines.cpg.wire import Function
from corosyncd.engines.engine import Client, Description, Engine, Host, MulticastClass
from corosyncd.engines.wire import CPG_NAME_MAX
from corosyncd.totem.events import NO_RING, RingId
from libcpg import messages
from libcpg.messages import (
    ATOMIC_MESSAGE_LIMIT,
    DELIVER_EVENT,
    MCAST_REQUEST,
    RESPONSE_IDS,
    Fragment,
    IterationNextResponse,
    IterationResponse,
    JoinFlag,
    JoinRequest,
    LeaveRequest,
    LocalResponse,
    MembershipRequest,
    MembershipResponse,
    PartialDeliver,
    PartialMcastRequest,
    Reason,
    Request,
    Response,
    TotemConfiguration,
)

_MCAST: Final = int(Request.MCAST)
_MCAST_REQUEST: Final = MCAST_REQUEST.head
_MCAST_REQUEST_DATA: Final = MCAST_REQUEST.size
_RING_MCAST: Final = int(Function.MCAST)
_RING_MCAST_HEAD: Final = wire.MCAST
_RING_MCAST_VIEW: Final = wire.MCAST_VIEW
_RING_MCAST_DATA: Final = wire.MCAST_DATA
_NAME_VALUE: Final = wire.NAME_VALUE
_DELIVER: Final = int(Response.DELIVER)
_DELIVER_HEAD: Final = DELIVER_EVENT.head
_DELIVER_SIZE: Final = DELIVER_EVENT.size
_OK: Final = int(Status.OK)
_NAME_MAX: Final = CPG_NAME_MAX
_LIMIT: Final = ATOMIC_MESSAGE_LIMIT
_FRAGMENTS: Final = frozenset(Fragment)

_COPIED_ONCE: Final = 4096
"""From this many bytes on, a view costs less than the copy that a slice makes."""

# Whole structures also on errors: C libraries read the other fields without looking at the error first.
_REFUSED_NAME: Final[dict[int, bytes]] = {
    Request.JOIN: status_response(Response.JOIN, Status.NAME_TOO_LONG),
    Request.LEAVE: status_response(Response.LEAVE, Status.NAME_TOO_LONG),
    Request.MEMBERSHIP_GET: MembershipResponse().encode(Status.NAME_TOO_LONG),
    Request.ITERATION_INITIALIZE: IterationResponse().encode(Status.NAME_TOO_LONG),
}


class CpgEngine(Engine):
    """Closed process groups."""

    description: ClassVar[Description] = Description(
        name="cpg",
        service_id=wire.SERVICE_ID,
        load_name="corosync_cpg",
        title="corosync cluster closed process group service v1.01",
        functions=len(Function),
        requests=len(Request),
        flow_controlled=frozenset(
            set(Request)
            - {Request.MEMBERSHIP_GET, Request.LOCAL_GET}
            - {Request.ITERATION_INITIALIZE, Request.ITERATION_NEXT, Request.ITERATION_FINALIZE}
        ),
        unanswered=frozenset({Request.MCAST}),
        synchronised=True,
    )

    def __init__(self, host: Host, kept: bytes | None = None) -> None:
        """A successor starts like the first engine: empty, and deaf to the ring until its first round tells who is there."""
        super().__init__(host, kept)
        self._processes = ProcessList()
        self._groups = self._processes.groups
        self._connections: dict[int, Connection] = {}
        # Local processes from the answered join until their leave has come round; the program may be gone by then.
        self._claims: dict[tuple[int, bytes], Connection] = {}
        self._hears_ring = False
        self._round: Round | None = None
        self._members: tuple[int, ...] = ()
        self._ring_id: RingId = NO_RING
        self._requests: dict[int, Callable[[Connection, bytes], bytes]] = {
            Request.JOIN: self._join,
            Request.LEAVE: self._leave,
            Request.MEMBERSHIP_GET: self._membership_get,
            Request.LOCAL_GET: self._local_get,
            Request.ITERATION_INITIALIZE: self._iteration_initialize,
            Request.ITERATION_NEXT: self._iteration_next,
            Request.ITERATION_FINALIZE: self._iteration_finalize,
            Request.FINALIZE: self._finalize,
            Request.PARTIAL_MCAST: self._partial_mcast,
        }

    # Clients.

    def client_connected(self, client: Client) -> None:
        """A connection in no group."""
        client.state = self._connections[client.identifier] = Connection(client)

    def client_gone(self, client: Client) -> None:
        """The cluster is told that the process is down, unless its leave is on the ring already."""
        connection: Connection = client.state
        self._stop_listening(connection)
        if connection.sends:
            self._send_leave(connection.group, connection.pid, Reason.PROCESS_DOWN)
            connection.enter(State.LEAVE_STARTED)

    def request(self, client: Client, request_id: int, body: bytes) -> None:
        """Answer at once; a message (MCAST) has no answer."""
        connection: Connection = client.state
        if request_id == _MCAST:
            self._mcast(connection, body)
            return
        handler = self._requests.get(request_id)
        if handler is None:
            self.host.respond(client, status_response(RESPONSE_IDS[request_id], Status.NOT_SUPPORTED))
            return
        try:
            response = handler(connection, body)
        except NameTooLong:
            response = _REFUSED_NAME[request_id]
        except MessageError:
            response = status_response(0, Status.INVALID_PARAM)
        self.host.respond(client, response)

    def _mcast(self, connection: Connection, body: bytes) -> None:
        size = len(body)
        if size < _MCAST_REQUEST_DATA:
            self._dropped(connection, "shorter than its header")
            return
        _, _, _, length = _MCAST_REQUEST.unpack_from(body)
        if not connection.sends:
            self._dropped(connection, "its sender is in no group")
            return
        if length > size - _MCAST_REQUEST_DATA or length > _LIMIT:
            self._dropped(connection, f"length {length} of {size} bytes")
            return
        host = self.host
        name = connection.group
        head = _RING_MCAST_HEAD.pack(len(name), name, length, connection.pid, host.node_id, connection.client.identifier)
        if length < _COPIED_ONCE:
            host.multicast(_RING_MCAST, (head, body[_MCAST_REQUEST_DATA : _MCAST_REQUEST_DATA + length]))
        else:
            host.multicast(_RING_MCAST, (head, memoryview(body)[_MCAST_REQUEST_DATA : _MCAST_REQUEST_DATA + length]))

    def _dropped(self, connection: Connection, why: str) -> None:
        """The call has no answer: the log has the first one of each client."""
        if not connection.warned:
            connection.warned = True
            self.host.log("warning", f"cpg message of client {connection.client.pid} dropped: {why}")

    def _partial_mcast(self, connection: Connection, body: bytes) -> bytes:
        return status_response(Response.PARTIAL_MCAST, self._send_fragment(connection, PartialMcastRequest.decode(body)))

    def _send_fragment(self, connection: Connection, request: PartialMcastRequest) -> int:
        """A change of the group after the first fragment ends the message: receivers that came or went would not agree on it."""
        if not connection.sends:
            return Status.NOT_EXIST
        if request.fragment not in _FRAGMENTS or len(request.data) > min(request.total, ATOMIC_MESSAGE_LIMIT):
            return Status.INVALID_PARAM
        if request.fragment == Fragment.FIRST:
            connection.transitions_at_first = connection.transitions
        elif connection.transitions_at_first != connection.transitions:
            return Status.INTERRUPT
        name = connection.group
        sizes = (request.total, len(request.data), connection.pid, request.fragment)
        head = wire.PARTIAL_MCAST.pack(len(name), name, *sizes, self.host.node_id, connection.client.identifier)
        self.host.multicast(Function.PARTIAL_MCAST, (head, request.data))
        return Status.OK

    def _join(self, connection: Connection, body: bytes) -> bytes:
        return status_response(Response.JOIN, self._start_join(connection, JoinRequest.decode(body)))

    def _start_join(self, connection: Connection, request: JoinRequest) -> int:
        claim = self._claims.get((request.pid, request.group))
        if claim is not None and claim is not connection:
            # A claim without a listener is a leave on its way.
            return Status.EXIST if claim.listening else Status.TRY_AGAIN
        if claim is None and (self.host.node_id, request.pid, request.group) in self._processes:
            return Status.TRY_AGAIN
        status, state = states.JOIN[connection.state]
        if status != Status.OK:
            return status
        if len(self._claims) >= wire.MEMBERS_IN_JOIN_LIST:
            return Status.NO_RESOURCES
        connection.group, connection.pid = request.group, request.pid
        connection.initial_owed = bool(request.flags & JoinFlag.INITIAL_TOTEM_CONFIGURATION)
        self._claims[request.pid, request.group] = connection
        connection.enter(state)
        process = wire.encode_process(request.group, request.pid, Reason.JOIN)
        self.host.multicast(Function.PROCESS_JOIN, (process,))
        return Status.OK

    def _leave(self, connection: Connection, body: bytes) -> bytes:
        """Only the group that the connection is in can be left; the stock daemon multicasts a leave for any (services P8)."""
        request = LeaveRequest.decode(body)
        status, state = states.LEAVE[connection.state]
        if status == Status.OK and request.group != connection.group:
            status = Status.NOT_EXIST
        if status == Status.OK:
            self._send_leave(connection.group, connection.pid, Reason.LEAVE)
            connection.enter(state)
        return status_response(Response.LEAVE, status)

    def _send_leave(self, name: bytes, pid: int, reason: int) -> None:
        """Always NORMAL: a leave that overtook the round would make a ghost of the process in the join list just sent."""
        self.host.multicast(Function.PROCESS_LEAVE, (wire.encode_process(name, pid, reason),), MulticastClass.NORMAL)

    def _finalize(self, connection: Connection, body: bytes) -> bytes:
        """No more events; the group is left when the connection ends."""
        self._stop_listening(connection)
        return status_response(Response.FINALIZE)

    def _stop_listening(self, connection: Connection) -> None:
        client = connection.client
        connection.listening = False
        self._connections.pop(client.identifier, None)
        group = self._groups.get(connection.group)
        if group is not None and client in group.receivers:
            group.receivers.remove(client)

    def _membership_get(self, connection: Connection, body: bytes) -> bytes:
        name = MembershipRequest.decode(body).group
        return MembershipResponse(tuple(messages.Address(*place) for place in self._processes.members(name))).encode()

    def _local_get(self, connection: Connection, body: bytes) -> bytes:
        return LocalResponse(self.host.node_id).encode()

    def _iteration_initialize(self, connection: Connection, body: bytes) -> bytes:
        request = messages.IterationRequest.decode(body)
        if len(connection.iterations) >= ITERATIONS_OF_ONE_CLIENT:
            return IterationResponse().encode(Status.NO_RESOURCES)
        try:
            opened = listing(self._processes, request.kind, request.group)
        except ValueError:
            return IterationResponse().encode(Status.INVALID_PARAM)
        handle = connection.next_iteration
        connection.next_iteration += 1
        connection.iterations[handle] = opened
        return IterationResponse(handle).encode()

    def _iteration_next(self, connection: Connection, body: bytes) -> bytes:
        (handle,) = messages.ITERATION_NEXT_REQUEST.unpack(body)
        opened = connection.iterations.get(handle)
        if opened is None:
            return IterationNextResponse().encode(Status.LIBRARY)
        entry = opened.next()
        return entry.encode() if entry is not None else IterationNextResponse().encode(Status.NO_SECTIONS)

    def _iteration_finalize(self, connection: Connection, body: bytes) -> bytes:
        (handle,) = messages.ITERATION_FINALIZE_REQUEST.unpack(body)
        known = connection.iterations.pop(handle, None) is not None
        return status_response(Response.ITERATION_FINALIZE, Status.OK if known else Status.LIBRARY)

    # The ring.

    def deliver(self, source: int, function: int, message: bytes) -> None:
        """One ring message, in total order."""
        if not self._hears_ring:
            return
        if function == _RING_MCAST:
            self._deliver_mcast(source, message)
        elif function == Function.PARTIAL_MCAST:
            self._deliver_partial(source, message)
        elif function == Function.PROCESS_JOIN:
            self._process_join(source, wire.decode_process(message))
        elif function == Function.PROCESS_LEAVE:
            self._process_leave(source, wire.decode_process(message))
        elif function == Function.JOIN_LIST:
            entries = wire.decode_join_list(message)
            if self._round is not None:
                self._round.store(source, entries)
        elif function == Function.DOWN_LIST:
            # Every node trusts its own list of who left; the others' are only checked.
            wire.decode_down_list(message)
        elif function == Function.DOWN_LIST_OLD:
            wire.decode_down_list_old(message)
        else:
            raise ValueError(f"unknown cpg function {function}")

    def _deliver_mcast(self, source: int, message: bytes) -> None:
        name_length, length, pid = _RING_MCAST_VIEW.unpack_from(message)
        end = _RING_MCAST_DATA + length
        if name_length > _NAME_MAX or end > len(message) or length > _LIMIT:
            raise ValueError(f"cpg message: name of {name_length}, data of {length} in {len(message)} bytes")
        name = message[_NAME_VALUE : _NAME_VALUE + name_length]
        group = self._groups.get(name)
        if group is None or not group.receivers or source not in group.nodes:
            return
        head = _DELIVER_HEAD.pack(_DELIVER, _DELIVER_SIZE + length, _OK, name_length, name, length, source, pid)
        if length < _COPIED_ONCE:
            event = head + message[_RING_MCAST_DATA:end]
        else:
            event = b"".join((head, memoryview(message)[_RING_MCAST_DATA:end]))
        notify = self.host.notify
        for client in group.receivers:
            notify(client, event)

    def _deliver_partial(self, source: int, message: bytes) -> None:
        partial = wire.decode_partial(message)
        if partial.fragment not in _FRAGMENTS or len(partial.data) > ATOMIC_MESSAGE_LIMIT:
            raise ValueError(f"cpg fragment of type {partial.fragment}, {len(partial.data)} bytes")
        group = self._groups.get(partial.name)
        if group is None or source not in group.nodes:
            return
        event = PartialDeliver(partial.name, source, partial.pid, partial.total, partial.fragment, partial.data).encode()
        for client in group.receivers:
            self.host.notify(client, event)

    def _process_join(self, source: int, process: wire.Process) -> None:
        name, pid, _ = process
        orphaned = source == self.host.node_id and (pid, name) not in self._claims
        if self._processes.add(source, pid, name):
            self._announce(name, joined=[(source, pid)], reason=Reason.JOIN)
            if orphaned:
                # A predecessor of this engine sent it and died, and its client's connection with it.
                self._send_leave(name, pid, Reason.PROCESS_DOWN)

    def _process_leave(self, source: int, process: wire.Process) -> None:
        """A leave of a process that nobody knows is not announced (the stock daemon's clients see it, services P8)."""
        name, pid, reason = process
        if (source, pid, name) in self._processes:
            self._announce(name, left=[(source, pid)], reason=reason)
            if source == self.host.node_id:
                self._own_leave_delivered(name, pid)
            self._processes.remove(source, pid, name)
        elif source == self.host.node_id:
            self._own_leave_delivered(name, pid)

    def _own_leave_delivered(self, name: bytes, pid: int) -> None:
        connection = self._claims.get((pid, name))
        if connection is None:
            return
        group = self._groups.get(name)
        if group is not None and connection.client in group.receivers:
            group.receivers.remove(connection.client)
        if connection.state is State.LEAVE_STARTED:
            del self._claims[pid, name]
        connection.enter(states.OWN_LEAVE_DELIVERED[connection.state])

    # Telling clients.

    def _announce(self, name: bytes, joined: Sequence[Place] = (), left: Sequence[Place] = (), reason: int = 0) -> None:
        """One change of a group to its local clients, then the totem membership to those who asked for it at their join.

        ``joined`` are in the process list already, ``left`` may be there still.
        """
        group = self._groups.get(name)
        for node_id, pid in joined:
            if node_id == self.host.node_id:
                self._own_join_delivered(name, pid)
        if group is not None and group.receivers:
            gone = set(left)
            members = [place for place in group.members if place not in gone]
            for change in configuration_changes(name, members, joined, left, reason):
                self._tell_group(group.receivers, change.encode())
        owed = [connection for connection in reversed(self._connections.values()) if connection.initial_owed]
        for connection in owed:
            connection.initial_owed = False
            self.host.notify(connection.client, self._totem_event())

    def _own_join_delivered(self, name: bytes, pid: int) -> None:
        connection = self._claims.get((pid, name))
        if connection is None:
            return
        connection.enter(states.OWN_JOIN_DELIVERED[connection.state])
        group = self._groups[name]
        if connection.listening and connection.client not in group.receivers:
            group.receivers.insert(0, connection.client)

    def _tell_group(self, receivers: Sequence[Client], event: bytes) -> None:
        for client in receivers:
            client.state.transitions += 1
            self.host.notify(client, event)

    def _totem_event(self) -> bytes:
        return TotemConfiguration(self._ring_id.representative, self._ring_id.sequence, self._members).encode()

    # Synchronisation.

    def configuration_changed(self, transitional: tuple[int, ...], members: tuple[int, ...], ring_id: RingId) -> None:
        """Who of the last activated members did not come along has left."""
        self._hears_ring = True
        left = tuple(node for node in self._members if node not in transitional and node != self.host.node_id)
        self._round = Round(ring_id, members, left)

    def sync_step(self) -> bool:
        """The down list, as stock nodes send it, then the local processes, if there are any."""
        if self._round is None:
            return True
        down_list = wire.encode_down_list(len(self._members), self._round.left)
        self.host.multicast(Function.DOWN_LIST, (down_list,), MulticastClass.SYNC)
        own = self._processes.of_node(self.host.node_id)
        if own:
            self.host.multicast_raw(wire.encode_join_list(own), MulticastClass.SYNC)
        return True

    def sync_abort(self) -> None:
        """Join lists of a void round are forgotten; a stock 3.1 node replays them, which makes ghosts (services P12)."""
        self._round = None

    def sync_activate(self) -> bool:
        """Processes of the nodes that left, processes learned from other nodes, processes that are gone; then the ring itself."""
        completed, self._round = self._round, None
        if completed is None:
            return True
        self._members, self._ring_id = completed.members, completed.ring_id
        for name, left in completed.downs(self._processes):
            self._announce(name, left=left, reason=Reason.NODE_DOWN)
            for node_id, pid in left:
                self._processes.remove(node_id, pid, name)
        for name, joined in completed.ups(self._processes, self.host.node_id):
            self._announce(name, joined=joined, reason=Reason.NODE_UP)
        for node_id, pid, name in completed.zombies(self._processes, self.host.node_id):
            self._process_leave(node_id, wire.Process(name, pid, Reason.PROCESS_DOWN))
        event = self._totem_event()
        for connection in reversed(self._connections.values()):
            self.host.notify(connection.client, event)
        return True
