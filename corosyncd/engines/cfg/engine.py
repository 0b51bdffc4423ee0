"""The cfg service engine: the state of links and nodes, kills, orderly shutdown, reload.

Sources: corosync/cfg.h; reference client-api section 6, services section 6.4.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from itertools import count
from typing import ClassVar

from coroipc.errors import MessageError, Status
from coroipc.layouts import status_response
from corosyncd.engines.cfg import nodes, wire
from corosyncd.engines.cfg.shutdown import DEFAULT_TIMEOUT_MS, Vote
from corosyncd.engines.cfg.wire import Function
from corosyncd.engines.engine import Client, Description, Engine, Host, KeyChange
from corosyncd.engines.wire import Source
from corosyncd.keyspace.runtime_keys import engine_deaths
from corosyncd.keyspace.values import Value
from libcfg.messages import (
    NODE_STATUS_VERSION,
    GetNodeAddrsRequest,
    GetNodeAddrsResponse,
    Interface,
    KillNodeRequest,
    LocalGetResponse,
    NodeStatus,
    NodeStatusRequest,
    ReplytoShutdownRequest,
    Request,
    Response,
    RingStatusResponse,
    ShutdownFlag,
    ShutdownRequested,
    TryShutdownRequest,
)

KILLED_STATUS = 255
"""Exit status of a node that another one has killed."""

REQUESTS_OPEN = 32
"""Requests of one client that wait for an answer; libcfg never has more than one, and a client past this is disconnected."""

_VOTE_TIMER = "shutdown vote"
CPG_DEATHS = engine_deaths("cpg")


class Connection:
    """A client of the cfg engine."""

    __slots__ = ("client", "gone", "open_reloads", "open_requests", "tracks")

    def __init__(self, client: Client) -> None:
        """A connection that does not track shutdown."""
        self.client = client
        self.tracks = False
        self.gone = False
        self.open_requests = 0
        self.open_reloads = 0


class CfgEngine(Engine):
    """The configuration service."""

    description: ClassVar[Description] = Description(
        name="cfg",
        service_id=wire.SERVICE_ID,
        load_name="corosync_cfg",
        title="corosync configuration service",
        functions=len(Function),
        requests=len(Request),
        flow_controlled=frozenset(
            set(Request) - {Request.GET_NODE_ADDRS, Request.LOCAL_GET, Request.REOPEN_LOG_FILES, Request.NODE_STATUS_GET}
        ),
        tracked=("cfg.", "nodelist.", "runtime.members.", "totem.", CPG_DEATHS),
    )

    def __init__(self, host: Host, kept: bytes | None = None) -> None:
        """A successor has nothing to take over: a vote ends with its clients' connections."""
        super().__init__(host, kept)
        self._connections: dict[int, Connection] = {}
        self._vote: Vote | None = None
        self._tokens = count(1)
        self._reloading: dict[Hashable, Connection | None] = {}
        self._asking: dict[Hashable, tuple[Connection, Callable[[Mapping[str, Value]], bytes]]] = {}
        self._requests: dict[int, Callable[[Connection, bytes], bytes | None]] = {
            Request.RING_STATUS_GET: self._ring_status_get,
            Request.RING_REENABLE: self._ring_reenable,
            Request.KILL_NODE: self._kill_node,
            Request.TRY_SHUTDOWN: self._try_shutdown,
            Request.REPLYTO_SHUTDOWN: self._replyto_shutdown,
            Request.GET_NODE_ADDRS: self._get_node_addrs,
            Request.LOCAL_GET: self._local_get,
            Request.RELOAD_CONFIG: self._reload_config,
            Request.REOPEN_LOG_FILES: self._reopen_log_files,
            Request.NODE_STATUS_GET: self._node_status_get,
            Request.TRACKSTART: self._trackstart,
            Request.TRACKSTOP: self._trackstop,
        }

    # Clients.

    def client_connected(self, client: Client) -> None:
        """A connection that does not track shutdown."""
        client.state = self._connections[client.identifier] = Connection(client)

    def client_gone(self, client: Client) -> None:
        """A vote that it asked for is off; one that it had to answer goes on without it."""
        connection: Connection = client.state
        connection.gone = True
        del self._connections[client.identifier]
        if self._vote is not None and self._vote.requester == client.identifier:
            self._end_vote()
        self._stop_tracking(connection)

    def keys_changed(self, changes: list[KeyChange]) -> None:
        """The death of the cpg engine ends the connections that track shutdown.

        Pacemaker's master has no other sign that its daemons, which end for want of cpg, can be started again: where a signal
        interrupts its one attempt to connect to cpg, it waits for this connection to end and come back, as with stock daemons.
        """
        if any(change.name == CPG_DEATHS for change in changes):
            for connection in list(self._connections.values()):
                if connection.tracks:
                    self.host.disconnect(connection.client, "the cpg engine has died")

    def request(self, client: Client, request_id: int, body: bytes) -> None:
        """Answer now, or when the vote, the reload or the statistics are there."""
        connection: Connection = client.state
        if connection.open_requests >= REQUESTS_OPEN:
            self.host.disconnect(client, f"more than {REQUESTS_OPEN} cfg requests without waiting for an answer")
            return
        connection.open_requests += 1
        try:
            response = self._requests[request_id](connection, body)
        except MessageError:
            response = status_response(0, Status.INVALID_PARAM)
        if response is not None:
            self._answer(connection, response)

    def _answer(self, connection: Connection, response: bytes) -> None:
        connection.open_requests -= 1
        if not connection.gone:
            self.host.respond(connection.client, response)

    # Nodes and links.

    def _with_link_states(self, connection: Connection, answer: Callable[[Mapping[str, Value]], bytes]) -> bytes | None:
        """knet's links have states, which are statistics; on the other transports there is nothing to ask for."""
        if not nodes.uses_knet(self.host):
            return answer({})
        token = next(self._tokens)
        self._asking[token] = (connection, answer)
        self.host.request_statistics(token)
        return None

    def statistics(self, token: Hashable, values: Mapping[str, Value]) -> None:
        """The link states that a client's answer waits for."""
        connection, answer = self._asking.pop(token)
        self._answer(connection, answer(values))

    def _ring_status_get(self, connection: Connection, body: bytes) -> bytes | None:
        def answer(statistics: Mapping[str, Value]) -> bytes:
            interfaces = []
            for link, address in nodes.link_addresses(self.host, self.host.node_id).items():
                knet = nodes.uses_knet(self.host)
                state = nodes.knet_link_flags(self.host, link, statistics) if knet else "OK"
                interfaces.append(Interface(f"{link} {address}", state))
            return RingStatusResponse(tuple(interfaces)).encode()

        return self._with_link_states(connection, answer)

    def _ring_reenable(self, connection: Connection, body: bytes) -> bytes:
        return status_response(Response.RING_REENABLE, Status.NOT_SUPPORTED)

    def _get_node_addrs(self, connection: Connection, body: bytes) -> bytes:
        node_id = GetNodeAddrsRequest.decode(body).nodeid or self.host.node_id
        addresses = list(nodes.link_addresses(self.host, node_id).values())
        if not addresses:
            return GetNodeAddrsResponse().encode(Status.NOT_EXIST)
        # The answer has one address family for all.
        same_family = tuple(address for address in addresses if (":" in address) == (":" in addresses[0]))
        return GetNodeAddrsResponse(same_family).encode()

    def _local_get(self, connection: Connection, body: bytes) -> bytes:
        return LocalGetResponse(self.host.node_id).encode()

    def _node_status_get(self, connection: Connection, body: bytes) -> bytes | None:
        request = NodeStatusRequest.decode(body)
        if request.version != NODE_STATUS_VERSION:
            return NodeStatus().encode(Status.NOT_SUPPORTED)
        if request.nodeid not in nodes.positions(self.host):
            return NodeStatus().encode(Status.FAILED_OPERATION)

        def answer(statistics: Mapping[str, Value]) -> bytes:
            if nodes.uses_knet(self.host):
                return nodes.knet_node_status(self.host, request.nodeid, statistics).encode()
            return nodes.udp_node_status(self.host, request.nodeid).encode()

        return self._with_link_states(connection, answer)

    def _kill_node(self, connection: Connection, body: bytes) -> bytes:
        request = KillNodeRequest.decode(body)
        if not nodes.joined(self.host, request.nodeid):
            return status_response(Response.KILL_NODE, Status.NOT_EXIST)
        self.host.multicast(Function.KILL_NODE, (wire.encode_kill_node(request.nodeid, request.reason),))
        return status_response(Response.KILL_NODE)

    # Reload and logs.

    def _reload_config(self, connection: Connection, body: bytes) -> None:
        """Every node reloads when the message comes round; this one's result is the answer."""
        connection.open_reloads += 1
        source = Source(self.host.node_id, connection.client.identifier)
        self.host.multicast(Function.RELOAD_CONFIG, (wire.encode_reload(source),))

    def _reload_delivered(self, source: int, asked_by: Source) -> None:
        connection = self._connections.get(asked_by.connection) if source == self.host.node_id else None
        if connection is not None and connection.open_reloads:
            connection.open_reloads -= 1
        else:
            # Another node's, or that of a client which has gone; perhaps with a predecessor of this engine, whose clients'
            # identifiers begin anew.
            connection = None
        token = next(self._tokens)
        self._reloading[token] = connection
        self.host.reload_configuration(token)

    def reloaded(self, token: Hashable, status: int) -> None:
        """This node has read its configuration again."""
        connection = self._reloading.pop(token)
        if connection is not None:
            self._answer(connection, status_response(Response.RELOAD_CONFIG, status))

    def _reopen_log_files(self, connection: Connection, body: bytes) -> bytes:
        self.host.reopen_logs()
        return status_response(Response.REOPEN_LOG_FILES)

    # Shutdown.

    def _try_shutdown(self, connection: Connection, body: bytes) -> bytes | None:
        flags = TryShutdownRequest.decode(body).flags
        if flags not in set(ShutdownFlag):
            return status_response(Response.TRY_SHUTDOWN, Status.INVALID_PARAM)
        if flags == ShutdownFlag.IMMEDIATE:
            self._announce_shutdown()
            return status_response(Response.TRY_SHUTDOWN)
        if self._vote is not None:
            return status_response(Response.TRY_SHUTDOWN, Status.EXIST)
        voters = [other for other in self._connections.values() if other.tracks and other is not connection]
        if not voters:
            self._announce_shutdown()
            return status_response(Response.TRY_SHUTDOWN)
        self._vote = Vote(connection.client.identifier, flags)
        timeout_ms = nodes.unsigned(self.host.key("cfg.shutdown_timeout"), DEFAULT_TIMEOUT_MS)
        self.host.after(timeout_ms / 1000, _VOTE_TIMER)
        for voter in voters:
            self._ask(self._vote, voter)
        return None

    def _ask(self, vote: Vote, voter: Connection) -> None:
        vote.ask(voter.client.identifier)
        self.host.notify(voter.client, ShutdownRequested(vote.flags).encode())

    def _replyto_shutdown(self, connection: Connection, body: bytes) -> bytes:
        agrees = ReplytoShutdownRequest.decode(body).agree
        if self._vote is None or not self._vote.answer(connection.client.identifier, agrees):
            return status_response(Response.REPLYTO_SHUTDOWN, Status.ACCESS)
        self._count_votes()
        return status_response(Response.REPLYTO_SHUTDOWN)

    def _trackstart(self, connection: Connection, body: bytes) -> bytes:
        """A program that begins to track during a vote is asked too."""
        if not connection.tracks:
            connection.tracks = True
            if self._vote is not None and self._vote.requester != connection.client.identifier:
                self._ask(self._vote, connection)
        return status_response(Response.TRACKSTART)

    def _trackstop(self, connection: Connection, body: bytes) -> bytes:
        self._stop_tracking(connection)
        return status_response(Response.TRACKSTOP)

    def _stop_tracking(self, connection: Connection) -> None:
        connection.tracks = False
        if self._vote is not None:
            self._vote.withdraw(connection.client.identifier)
            self._count_votes()

    def timer(self, token: Hashable) -> None:
        """Who has not answered the vote by now refuses.

        The stock daemon also means to tell them so, but its event reaches nobody; programs cannot expect it.
        """
        if self._vote is not None:
            self._vote.expire()
            self._count_votes()

    def _count_votes(self) -> None:
        vote = self._vote
        outcome = vote.outcome() if vote is not None else None
        if vote is None or outcome is None:
            return
        self._end_vote()
        if outcome:
            self._announce_shutdown()
        status = Status.OK if outcome else Status.BUSY
        self._answer(self._connections[vote.requester], status_response(Response.TRY_SHUTDOWN, status))

    def _end_vote(self) -> None:
        self._vote = None
        self.host.cancel(_VOTE_TIMER)

    def _announce_shutdown(self) -> None:
        """The node stops when its own message comes round, behind everything that it sent before."""
        self.host.multicast(Function.SHUTDOWN, ())

    # The ring.

    def deliver(self, source: int, function: int, message: bytes) -> None:
        """A node is killed, stops, or asks all to reload."""
        if function == Function.KILL_NODE:
            kill = wire.decode_kill_node(message)
            if kill.node_id == self.host.node_id:
                self.host.fatal(KILLED_STATUS, f"Killed by node {source} : {kill.reason}")
        elif function == Function.SHUTDOWN:
            self.host.log("notice", f"Node {source} was shut down by sysadmin")
            if source == self.host.node_id:
                self.host.shutdown_request("shut down by sysadmin")
        elif function == Function.RELOAD_CONFIG:
            self._reload_delivered(source, wire.decode_reload(message))
        elif function == Function.CRYPTO_RECONFIG:
            # A node acts on its own phases alone. This engine sends none, so every phase is another node's.
            wire.decode_crypto_phase(message)
        elif function != Function.RING_REENABLE:
            raise ValueError(f"unknown cfg function {function}")
