"""The cpg service engine: what clients ask, what the ring says, and what each client is told, in that order.

Sources: cpg_overview(8); reference services section 3, client-api section 3. Who is in which group is ``membership``'s matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from coroipc.errors import CorosyncError, MessageError, NameTooLong, Status
from coroipc.layouts import status_response
from corosyncd.engines.cpg import wire
from corosyncd.engines.cpg.connection import Connection
from corosyncd.engines.cpg.iteration import ITERATIONS_OF_ONE_CLIENT, listing
from corosyncd.engines.cpg.membership import Membership
from corosyncd.engines.cpg.wire import Function
from corosyncd.engines.engine import Client, Description, Engine, Host
from corosyncd.engines.wire import CPG_NAME_MAX
from corosyncd.totem.events import RingId
from libcpg import messages
from libcpg.messages import (
    ATOMIC_MESSAGE_LIMIT,
    DELIVER_EVENT,
    MCAST_REQUEST,
    Fragment,
    IterationNextResponse,
    IterationResponse,
    JoinRequest,
    LeaveRequest,
    LocalResponse,
    MembershipRequest,
    MembershipResponse,
    PartialDeliver,
    PartialMcastRequest,
    Request,
    Response,
)
from libcpg.zero_copy import FILE_PREFIX, AllocateRequest, ExecuteRequest, FreeRequest

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
        self._membership = Membership(host)
        self._groups = self._membership.processes.groups
        self._hears_ring = False
        self._requests: dict[int, Callable[[Connection, bytes], bytes]] = {
            Request.JOIN: self._join,
            Request.LEAVE: self._leave,
            Request.MEMBERSHIP_GET: self._membership_get,
            Request.LOCAL_GET: self._local_get,
            Request.ITERATION_INITIALIZE: self._iteration_initialize,
            Request.ITERATION_NEXT: self._iteration_next,
            Request.ITERATION_FINALIZE: self._iteration_finalize,
            Request.FINALIZE: self._finalize,
            Request.ZERO_COPY_ALLOCATE: self._zero_copy_allocate,
            Request.ZERO_COPY_FREE: self._zero_copy_free,
            Request.ZERO_COPY_EXECUTE: self._zero_copy_mcast,
            Request.PARTIAL_MCAST: self._partial_mcast,
        }

    # Clients.

    def client_connected(self, client: Client) -> None:
        """A connection in no group."""
        client.state = connection = Connection(client)
        self._membership.listen(connection)

    def client_gone(self, client: Client) -> None:
        """Its process leaves the group, and its buffers are freed."""
        connection: Connection = client.state
        connection.buffers.close()
        self._membership.gone(connection)

    def request(self, client: Client, request_id: int, body: bytes) -> None:
        """Answer at once; a message (MCAST) has no answer."""
        connection: Connection = client.state
        if request_id == _MCAST:
            self._mcast(connection, body)
            return
        try:
            response = self._requests[request_id](connection, body)
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
        """The call has no answer."""
        self._warn(connection, f"cpg message of client {connection.client.pid} dropped: {why}")

    def _warn(self, connection: Connection, text: str) -> None:
        """The log has the first one of each client."""
        if not connection.warned:
            connection.warned = True
            self.host.log("warning", text)

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

    def _zero_copy_allocate(self, connection: Connection, body: bytes) -> bytes:
        """A program that was refused its buffer finds no address in it; C programs do not look at the status."""
        request = AllocateRequest.decode(body)
        try:
            connection.buffers.refuse_too_many()
            file = self.host.take_file(connection.client, request.path, FILE_PREFIX, request.size)
            connection.buffers.add(file)
        except CorosyncError as error:
            self._warn(connection, f"zero-copy buffer of process {connection.client.pid} refused: {error}")
            return status_response(Response.JOIN, error.status)
        return status_response(Response.JOIN)

    def _zero_copy_free(self, connection: Connection, body: bytes) -> bytes:
        known = connection.buffers.free(FreeRequest.decode(body).address)
        return status_response(Response.JOIN, Status.OK if known else Status.NOT_EXIST)

    def _zero_copy_mcast(self, connection: Connection, body: bytes) -> bytes:
        """The gate has seen a request of a few bytes: whether there is room for the message is judged here."""
        address = ExecuteRequest.decode(body).address
        try:
            mcast = connection.buffers.mcast(address)
        except CorosyncError as error:
            return status_response(Response.MCAST, error.status)
        if not connection.sends:
            return status_response(Response.MCAST, Status.NOT_EXIST)
        if _RING_MCAST_DATA + len(mcast) > self.host.room():
            return status_response(Response.MCAST, Status.TRY_AGAIN)
        self._mcast(connection, mcast)
        return status_response(Response.MCAST)

    def _join(self, connection: Connection, body: bytes) -> bytes:
        """The answer comes before the join has come round."""
        return status_response(Response.JOIN, self._membership.start_join(connection, JoinRequest.decode(body)))

    def _leave(self, connection: Connection, body: bytes) -> bytes:
        """The answer comes before the leave has come round."""
        group = LeaveRequest.decode(body).group
        return status_response(Response.LEAVE, self._membership.start_leave(connection, group))

    def _finalize(self, connection: Connection, body: bytes) -> bytes:
        """No more events; the group is left when the connection ends."""
        self._membership.stop_listening(connection)
        return status_response(Response.FINALIZE)

    def _membership_get(self, connection: Connection, body: bytes) -> bytes:
        name = MembershipRequest.decode(body).group
        members = self._membership.processes.members(name)
        return MembershipResponse(tuple(messages.Address(*place) for place in members)).encode()

    def _local_get(self, connection: Connection, body: bytes) -> bytes:
        return LocalResponse(self.host.node_id).encode()

    def _iteration_initialize(self, connection: Connection, body: bytes) -> bytes:
        request = messages.IterationRequest.decode(body)
        if len(connection.iterations) >= ITERATIONS_OF_ONE_CLIENT:
            return IterationResponse().encode(Status.NO_RESOURCES)
        try:
            opened = listing(self._membership.processes, request.kind, request.group)
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
            self._membership.joined(source, wire.decode_process(message))
        elif function == Function.PROCESS_LEAVE:
            self._membership.left(source, wire.decode_process(message))
        elif function == Function.JOIN_LIST:
            self._membership.join_list(source, wire.decode_join_list(message))
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

    # Synchronisation.

    def configuration_changed(self, transitional: tuple[int, ...], members: tuple[int, ...], ring_id: RingId) -> None:
        """A round begins; from the first one on, what the ring says can be followed."""
        self._hears_ring = True
        self._membership.begin_round(transitional, members, ring_id)

    def sync_step(self) -> bool:
        """Say which nodes left and which local processes there are."""
        self._membership.send_round()
        return True

    def sync_abort(self) -> None:
        """The round's data are void."""
        self._membership.abort_round()

    def sync_activate(self) -> bool:
        """Clients are told what the round has brought."""
        self._membership.activate_round()
        return True
