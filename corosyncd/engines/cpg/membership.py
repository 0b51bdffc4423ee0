"""Who is in which group, and which client is told when that changes.

Joins and leaves take effect when they come round the ring, in the order of all messages; a change of the ring takes effect when
its synchronisation is complete. Source: reference services section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

from coroipc.errors import Status
from corosyncd.engines.cpg import connection as states
from corosyncd.engines.cpg import wire
from corosyncd.engines.cpg.announcement import configuration_changes
from corosyncd.engines.cpg.connection import Connection, State
from corosyncd.engines.cpg.processes import Place, ProcessList
from corosyncd.engines.cpg.sync import Round
from corosyncd.engines.cpg.wire import Function
from corosyncd.engines.engine import Client, Host, MulticastClass
from corosyncd.totem.events import NO_RING, RingId
from libcpg.messages import JoinFlag, JoinRequest, Reason, TotemConfiguration


class Membership:
    """The groups of the whole ring, as this node's clients see them."""

    def __init__(self, host: Host) -> None:
        """Nobody is known, and nobody listens."""
        self._host = host
        self.processes = ProcessList()
        # Connections that get events, in order of arrival.
        self._connections: dict[int, Connection] = {}
        # Local processes from the answered join until their leave has come round; the program may be gone by then.
        self._claims: dict[tuple[int, bytes], Connection] = {}
        self._round: Round | None = None
        self._members: tuple[int, ...] = ()
        # Which of them came along in every change since then: rounds that were begun and not completed count too.
        self._companions: frozenset[int] = frozenset()
        self._ring_id: RingId = NO_RING

    # What clients do.

    def listen(self, connection: Connection) -> None:
        """A connection from which events are expected."""
        self._connections[connection.client.identifier] = connection

    def stop_listening(self, connection: Connection) -> None:
        """No more events for this one; its process stays in the group."""
        connection.listening = False
        self._connections.pop(connection.client.identifier, None)
        self._withdraw(connection)

    def start_join(self, connection: Connection, request: JoinRequest) -> int:
        """A status; the join itself takes effect when it comes round."""
        claim = self._claims.get((request.pid, request.group))
        if claim is not None and claim is not connection:
            # A claim without a listener is a leave on its way.
            return Status.EXIST if claim.listening else Status.TRY_AGAIN
        if claim is None and (self._host.node_id, request.pid, request.group) in self.processes:
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
        self._host.multicast(Function.PROCESS_JOIN, (process,))
        return Status.OK

    def start_leave(self, connection: Connection, group: bytes) -> int:
        """A status. Only the group that the connection is in can be left; the stock daemon multicasts a leave for any
        (services P8)."""
        status, state = states.LEAVE[connection.state]
        if status != Status.OK:
            return status
        if group != connection.group:
            return Status.NOT_EXIST
        self._send_leave(connection.group, connection.pid, Reason.LEAVE)
        connection.enter(state)
        return Status.OK

    def gone(self, connection: Connection) -> None:
        """The cluster is told that the process is down, unless its leave is on the ring already."""
        self.stop_listening(connection)
        if connection.sends:
            self._send_leave(connection.group, connection.pid, Reason.PROCESS_DOWN)
            connection.enter(State.LEAVE_STARTED)

    def _send_leave(self, name: bytes, pid: int, reason: int) -> None:
        """Always NORMAL: a leave that overtook the round would make a ghost of the process in the join list just sent."""
        self._host.multicast(Function.PROCESS_LEAVE, (wire.encode_process(name, pid, reason),), MulticastClass.NORMAL)

    # What the ring says.

    def joined(self, source: int, process: wire.Process) -> None:
        """A process of that node has joined."""
        name, pid, _ = process
        if not self.processes.add(source, pid, name):
            return
        self._announce(name, joined=[(source, pid)], reason=Reason.JOIN)
        if source == self._host.node_id and (pid, name) not in self._claims:
            # A predecessor of this engine sent it and died, and its client's connection with it.
            self._send_leave(name, pid, Reason.PROCESS_DOWN)

    def left(self, source: int, process: wire.Process) -> None:
        """A process of that node has left. One that nobody knows is not announced (the stock daemon's clients see it, services
        P8)."""
        name, pid, reason = process
        known = (source, pid, name) in self.processes
        if known:
            self._announce(name, left=[(source, pid)], reason=reason)
        if source == self._host.node_id:
            self._own_leave_delivered(name, pid)
        if known:
            self.processes.remove(source, pid, name)

    def join_list(self, source: int, entries: list[tuple[int, bytes]]) -> None:
        """A node's processes, for the round that runs; outside of one it is nobody's data."""
        if self._round is not None:
            self._round.store(source, entries)

    def _own_join_delivered(self, name: bytes, pid: int) -> None:
        connection = self._claims.get((pid, name))
        if connection is None:
            return
        connection.enter(states.OWN_JOIN_DELIVERED[connection.state])
        receivers = self.processes.groups[name].receivers
        if connection.listening and connection.client not in receivers:
            receivers.insert(0, connection.client)

    def _own_leave_delivered(self, name: bytes, pid: int) -> None:
        connection = self._claims.get((pid, name))
        if connection is None:
            return
        self._withdraw(connection)
        if connection.state is State.LEAVE_STARTED:
            del self._claims[pid, name]
        connection.enter(states.OWN_LEAVE_DELIVERED[connection.state])

    def _withdraw(self, connection: Connection) -> None:
        """Its group's messages are not for it any more."""
        group = self.processes.groups.get(connection.group)
        if group is not None and connection.client in group.receivers:
            group.receivers.remove(connection.client)

    # What clients are told.

    def _announce(self, name: bytes, joined: Sequence[Place] = (), left: Sequence[Place] = (), reason: int = 0) -> None:
        """One change of a group to its local clients, then the totem membership to those who asked for it at their join.

        ``joined`` are in the process list already, ``left`` are there still. The stock daemon sends the totem membership behind a
        change of whatever group comes next, which may be in front of the first one that the client sees.
        """
        for node_id, pid in joined:
            if node_id == self._host.node_id:
                self._own_join_delivered(name, pid)
        group = self.processes.groups[name]
        if group.receivers:
            gone = set(left)
            members = [place for place in group.members if place not in gone]
            for change in configuration_changes(name, members, joined, left, reason):
                self._tell(group.receivers, change.encode())
        for client in group.receivers:
            if client.state.initial_owed:
                client.state.initial_owed = False
                self._host.notify(client, self._totem_event())

    def _tell(self, receivers: Sequence[Client], event: bytes) -> None:
        for client in receivers:
            client.state.transitions += 1
            self._host.notify(client, event)

    def _totem_event(self) -> bytes:
        return TotemConfiguration(self._ring_id.representative, self._ring_id.sequence, self._members).encode()

    # Synchronisation.

    def begin_round(self, transitional: tuple[int, ...], members: tuple[int, ...], ring_id: RingId) -> None:
        """Who of the last activated members did not come along, then or in a round that was not completed since, has left.

        It may have completed a round on the way, and delivered messages that were not delivered here; a stock node forgets the
        rounds in between and shows its programs as companions (services P13).
        """
        self._companions &= frozenset(transitional)
        left = tuple(node for node in self._members if node not in self._companions and node != self._host.node_id)
        self._round = Round(ring_id, members, left)

    def send_round(self) -> None:
        """The down list, as stock nodes send it, then the local processes, if there are any."""
        if self._round is None:
            return
        down_list = wire.encode_down_list(len(self._members), self._round.left)
        self._host.multicast(Function.DOWN_LIST, (down_list,), MulticastClass.SYNC)
        own = self.processes.of_node(self._host.node_id)
        if own:
            self._host.multicast_raw(wire.encode_join_list(own), MulticastClass.SYNC)

    def abort_round(self) -> None:
        """Join lists of a void round are forgotten; a stock 3.1 node replays them, which makes ghosts (services P12)."""
        self._round = None

    def activate_round(self) -> None:
        """Processes of the nodes that left, processes learned from other nodes, processes that are gone; then the ring itself."""
        completed, self._round = self._round, None
        if completed is None:
            return
        own_node = self._host.node_id
        self._members, self._ring_id = completed.members, completed.ring_id
        self._companions = frozenset(completed.members)
        for name, left in completed.downs(self.processes):
            self._announce(name, left=left, reason=Reason.NODE_DOWN)
            for node_id, pid in left:
                self.processes.remove(node_id, pid, name)
        for name, joined in completed.ups(self.processes, own_node):
            self._announce(name, joined=joined, reason=Reason.NODE_UP)
        for node_id, pid, name in completed.zombies(self.processes, own_node):
            self.left(node_id, wire.Process(name, pid, Reason.PROCESS_DOWN))
        event = self._totem_event()
        for connection in reversed(self._connections.values()):
            self._host.notify(connection.client, event)
