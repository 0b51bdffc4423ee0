"""A host that records what its engine says, and a cluster of such hosts in memory with one total order.

``FakeHost`` stands alone: nothing that the engine multicasts goes anywhere unless the test says so. ``Cluster`` carries the
multicasts of several nodes' engines (one service) in one order and runs synchronisation rounds as the executive does.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence

from coroipc.errors import InvalidParameter, NotExist
from corosyncd.engines import wire
from corosyncd.engines.engine import Buffer, Client, Engine, KeyChange, KeyOperation, MulticastClass
from corosyncd.engines.machine import Machine, NoMachine
from corosyncd.keyspace.key_space import KeySpace
from corosyncd.keyspace.values import Value
from corosyncd.totem.events import RingId


class FakeFile:
    """A file that a program shares: the test cuts it by cutting ``content``."""

    def __init__(self, content: bytearray, size: int) -> None:
        self.content = content
        self.size = size
        self.closed = 0

    def read(self, offset: int, length: int) -> bytes:
        if offset + length > min(self.size, len(self.content)):
            raise InvalidParameter("beyond the end")
        return bytes(self.content[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        if offset + len(data) > min(self.size, len(self.content)):
            raise InvalidParameter("beyond the end")
        self.content[offset : offset + len(data)] = data

    def close(self) -> None:
        self.closed += 1


class FakeHost:
    """Everything that ``Host`` promises, recorded in lists and kept in dictionaries."""

    def __init__(self, node_id: int = 1, keys: Mapping[str, Value] | None = None) -> None:
        self.node_id = node_id
        self.in_sync = True
        self.machine: Machine = NoMachine()
        self.service_id = 0
        self.clock = 0.0
        self.free_room = 1 << 22
        self.multicasts: list[tuple[MulticastClass, bytes]] = []
        self.responses: list[tuple[Client, bytes]] = []
        self.events: list[tuple[Client, bytes]] = []
        self.disconnected: list[tuple[Client, str]] = []
        self.flow_control: dict[int, int] = {}
        self.key_requests: list[tuple[Hashable, list[KeyOperation]]] = []
        self.timers: dict[Hashable, float] = {}
        self.quorate: list[tuple[bool, tuple[int, ...], RingId]] = []
        self.said: list[str] = []
        """Parameterless calls, by name: sync_step_done, sync_activated, reopen_logs."""
        self.kept: bytes | None = None
        self.statistics_requests: list[Hashable] = []
        self.cleared: list[str] = []
        self.reloads: list[Hashable] = []
        self.shutdowns: list[str] = []
        self.fatals: list[tuple[int, str]] = []
        self.lines: list[tuple[str, str]] = []
        self.shared: dict[bytes, bytearray] = {}
        """What programs have put into files, by path."""
        self.taken: list[FakeFile] = []
        self.map = KeySpace()
        for name, value in (keys or {}).items():
            self.map.set(name, value, client=False)

    # The Host protocol.

    def now(self) -> float:
        return self.clock

    def multicast(self, function: int, pieces: Sequence[Buffer], kind: MulticastClass = MulticastClass.NORMAL) -> None:
        body = b"".join(pieces)
        self.multicasts.append((kind, wire.header(self.service_id, function, wire.HEADER_SIZE + len(body)) + body))

    def multicast_raw(self, message: bytes, kind: MulticastClass = MulticastClass.NORMAL) -> None:
        self.multicasts.append((kind, bytes(message)))

    def room(self) -> int:
        return self.free_room

    def respond(self, client: Client, response: bytes) -> None:
        self.responses.append((client, response))

    def notify(self, client: Client, event: bytes) -> None:
        self.events.append((client, event))

    def disconnect(self, client: Client, reason: str) -> None:
        self.disconnected.append((client, reason))

    def take_file(self, client: Client, path: bytes, prefix: str, size: int) -> FakeFile:
        content = self.shared.pop(path, None)
        if content is None:
            raise NotExist(repr(path))
        self.taken.append(FakeFile(content, size))
        return self.taken[-1]

    def set_flow_control(self, client: Client, value: int) -> None:
        self.flow_control[client.identifier] = value

    def key(self, name: str) -> Value | None:
        return self.map.get(name)

    def keys(self, prefix: str = "") -> Iterator[tuple[str, Value]]:
        return self.map.items(prefix)

    def change_keys(self, operations: Sequence[KeyOperation], token: Hashable = None) -> None:
        self.key_requests.append((token, list(operations)))

    def after(self, seconds: float, token: Hashable) -> None:
        self.timers[token] = self.clock + seconds

    def cancel(self, token: Hashable) -> None:
        self.timers.pop(token, None)

    def set_quorate(self, quorate: bool, members: Sequence[int], ring_id: RingId) -> None:
        self.quorate.append((quorate, tuple(members), ring_id))

    def sync_step_done(self) -> None:
        self.said.append("sync_step_done")

    def sync_activated(self) -> None:
        self.said.append("sync_activated")

    def keep(self, blob: bytes) -> None:
        self.kept = blob

    def request_statistics(self, token: Hashable) -> None:
        self.statistics_requests.append(token)

    def clear_statistics(self, what: str) -> None:
        self.cleared.append(what)

    def reload_configuration(self, token: Hashable) -> None:
        self.reloads.append(token)

    def reopen_logs(self) -> None:
        self.said.append("reopen_logs")

    def shutdown_request(self, reason: str) -> None:
        self.shutdowns.append(reason)

    def fatal(self, status: int, reason: str) -> None:
        self.fatals.append((status, reason))

    def log(self, level: str, message: str) -> None:
        self.lines.append((level, message))

    # What a test does with the records.

    def take_responses(self, client: Client) -> list[bytes]:
        """The answers to one client since the last look."""
        taken = [response for to, response in self.responses if to is client]
        self.responses = [(to, response) for to, response in self.responses if to is not client]
        return taken

    def take_events(self, client: Client) -> list[bytes]:
        """The events of one client since the last look."""
        taken = [event for to, event in self.events if to is client]
        self.events = [(to, event) for to, event in self.events if to is not client]
        return taken

    def take_multicasts(self) -> list[tuple[MulticastClass, bytes]]:
        """The ring messages since the last look."""
        taken, self.multicasts = self.multicasts, []
        return taken

    def apply_key_requests(self, engine: Engine) -> None:
        """Play the executive: change the map, announce the changes, then answer."""
        while self.key_requests:
            token, operations = self.key_requests.pop(0)
            statuses, changes = [], []
            for operation in operations:
                if operation.kind == "set":
                    status, change = self.map.set(operation.name, operation.value, client=operation.permission)
                elif operation.kind == "delete":
                    status, change = self.map.delete(operation.name, client=operation.permission)
                else:
                    status, change = self.map.adjust(operation.name, operation.step, client=operation.permission)
                statuses.append(status)
                if change is not None:
                    changes.append(KeyChange(*change))
            if changes:
                engine.keys_changed(changes)
            if token is not None:
                engine.keys_changed_result(token, statuses)

    def expire(self, engine: Engine, token: Hashable) -> None:
        """Let the timer of that token, which must be armed, expire now."""
        self.clock = max(self.clock, self.timers.pop(token))
        engine.timer(token)


class Node:
    """One node of a ``Cluster``: an engine and its host; clients get identifiers from 1 up."""

    def __init__(
        self, engine_class: type[Engine], node_id: int, keys: Mapping[str, Value] | None = None, kept: bytes | None = None
    ) -> None:
        self.host = FakeHost(node_id, keys)
        self.host.service_id = engine_class.description.service_id
        self.engine = engine_class(self.host, kept)
        self.engine.start()
        self.node_id = node_id
        self.previous: tuple[int, ...] = ()
        """Members of the last ring, for the transitional configuration; empty before the first one."""
        self._clients = 0

    def connect(self, pid: int = 1000, uid: int = 0, gid: int = 0) -> Client:
        """A program attaches."""
        self._clients += 1
        client = Client(self._clients, pid, uid, gid)
        self.engine.client_connected(client)
        return client

    def request(self, client: Client, body: bytes) -> list[bytes]:
        """One library request; the answers that it got at once."""
        (request_id,) = struct.unpack_from("<i", body)
        self.engine.request(client, request_id, body)
        return self.host.take_responses(client)

    def disconnect(self, client: Client) -> None:
        """The program's connection ends."""
        self.engine.client_gone(client)


class Ring:
    """Nodes that hear each other: one queue in total order."""

    def __init__(self, nodes: Sequence[Node], ring_id: RingId) -> None:
        self.nodes = list(nodes)
        self.ring_id = ring_id

    @property
    def members(self) -> tuple[int, ...]:
        return tuple(sorted(node.node_id for node in self.nodes))


class Cluster:
    """Several nodes' engines of one service, on one ring or split over several."""

    def __init__(
        self, engine_class: type[Engine], node_ids: Sequence[int], keys: Mapping[int, Mapping[str, Value]] | None = None
    ) -> None:
        """Every node of ``node_ids`` starts and they form their first ring together (none: the test starts and forms)."""
        self.engine_class = engine_class
        self.keys = dict(keys or {})
        self.nodes: dict[int, Node] = {}
        self.rings: list[Ring] = []
        self.sequence = 0
        self.delivered: list[tuple[int, bytes]] = []
        """Every message that went over a ring: (source, message), in order."""
        for node_id in node_ids:
            self.start(node_id)
        if node_ids:
            self.form(node_ids)

    def start(self, node_id: int) -> Node:
        """A (new) node with its engine; it belongs to no ring until ``form``."""
        node = Node(self.engine_class, node_id, self.keys.get(node_id))
        self.nodes[node_id] = node
        for ring in self.rings:
            ring.nodes = [member for member in ring.nodes if member.node_id != node_id]
        return node

    def replace_engine(self, node_id: int) -> Node:
        """The node's engine process died and a successor starts; the node itself stays on its ring."""
        old = self.nodes[node_id]
        node = Node(self.engine_class, node_id, self.keys.get(node_id), old.host.kept)
        node.previous = old.previous
        self.nodes[node_id] = node
        for ring in self.rings:
            ring.nodes = [node if member.node_id == node_id else member for member in ring.nodes]
        return node

    def __getitem__(self, node_id: int) -> Node:
        return self.nodes[node_id]

    def install(self, node_ids: Sequence[int]) -> Ring:
        """Install a ring of these nodes (they leave their old ones); the round is left for the caller."""
        self.sequence += 4
        members = tuple(sorted(node_ids))
        ring = Ring([self.nodes[node_id] for node_id in members], RingId(members[0], self.sequence))
        for other in self.rings:
            other.nodes = [node for node in other.nodes if node.node_id not in members]
        self.rings = [other for other in self.rings if other.nodes] + [ring]
        for node in ring.nodes:
            came_along = tuple(
                other.node_id for other in ring.nodes if other.node_id in node.previous and other.previous == node.previous
            )
            node.host.in_sync = True
            node.engine.configuration_changed(came_along, members, ring.ring_id)
        return ring

    def form(self, node_ids: Sequence[int]) -> Ring:
        """Install a ring of these nodes and complete its synchronisation round."""
        ring = self.install(node_ids)
        self.synchronise(ring)
        return ring

    def synchronise(self, ring: Ring) -> None:
        """One complete round, then whatever had to wait for its end."""
        self.sync_steps(ring)
        for node in ring.nodes:
            assert node.engine.sync_activate()
        for node in ring.nodes:
            node.host.in_sync = False
            node.previous = ring.members
            node.engine.sync_complete()
        self.run(ring)

    def sync_steps(self, ring: Ring, until: int | None = None) -> None:
        """All nodes send their data and it is delivered; with ``until`` only the data of the first nodes."""
        for node in ring.nodes[:until]:
            assert node.engine.sync_step()
        for node in ring.nodes:
            waiting = []
            for kind, message in node.host.take_multicasts():
                if kind is MulticastClass.NORMAL:
                    waiting.append((kind, message))
                else:
                    self._deliver(ring, node.node_id, message)
            node.host.multicasts[:0] = waiting

    def abort(self, ring: Ring) -> None:
        """The round is void on every node of the ring."""
        for node in ring.nodes:
            node.engine.sync_abort()
            node.previous = ring.members

    def run(self, ring: Ring | None = None) -> None:
        """Deliver until no engine has anything more to say (all rings unless one is named)."""
        for each in [ring] if ring is not None else list(self.rings):
            queue: deque[tuple[int, bytes]] = deque()
            while True:
                for node in each.nodes:
                    queue.extend((node.node_id, message) for _, message in node.host.take_multicasts())
                if not queue:
                    break
                self._deliver(each, *queue.popleft())

    def _deliver(self, ring: Ring, source: int, message: bytes) -> None:
        """Hand one message to every node of the ring, as the executive routes it."""
        self.delivered.append((source, message))
        function = wire.HEADER.unpack_from(message)[0] & 0xFFFF
        for node in ring.nodes:
            node.engine.deliver(source, function, message)
            node.host.apply_key_requests(node.engine)
