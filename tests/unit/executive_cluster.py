"""Several executives in one total order, with engines that are scripts: for the executive's tests."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from corosyncd.executive.actions import Action, Exit, KillEngine, SpawnEngine
from corosyncd.executive.executive import Executive
from corosyncd.executive.record import EngineRecord
from corosyncd.executive.sync import Phase
from corosyncd.keyspace.key_space import KeySpace
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import Configuration, ConfigurationKind, Group, Queue, RingId


class ScriptedRing:
    """What an executive sends, in order; the cluster delivers it."""

    def __init__(self, node_id: int, order: deque[tuple[int, Group, bytes]]) -> None:
        self.node_id = node_id
        self.order = order
        self.token_delay = 0.0
        self.waiting: list[tuple[int, Group, bytes]] = []
        self.in_sync = True
        self.gathers = 0
        self.left = False
        self.hold_normal = False
        self.hold_sync = False

    def submit(
        self, group: Group, messages: Sequence[bytes], queue: Queue = Queue.NORMAL, tag: int = 0, now: float = 0.0
    ) -> None:
        for message in messages:
            if (queue is Queue.SYNC and not self.hold_sync) or not (self.in_sync or self.hold_normal):
                self.order.append((self.node_id, group, message))
            else:
                self.waiting.append((tag, group, message))

    def withdraw(self, tag: int) -> int:
        before = len(self.waiting)
        self.waiting = [entry for entry in self.waiting if entry[0] != tag]
        return before - len(self.waiting)

    def queued_bytes(self, tag: int) -> int:
        return sum(len(message) for other, _group, message in self.waiting if other == tag)

    def synchronization_complete(self, now: float) -> None:
        self.in_sync = False
        waiting, self.waiting = self.waiting, []
        for _tag, group, message in waiting:
            self.order.append((self.node_id, group, message))

    def force_gather(self, now: float) -> None:
        self.gathers += 1

    def leave(self, now: float) -> None:
        self.left = True


class ScriptedEngine:
    """Answers every word at once, unless told to keep silent about some."""

    def __init__(self, name: str, service_id: int, *, synchronised: bool = True, priority: int = 1, tracked: Sequence[str] = ()):
        self.hello = {
            "service_id": service_id,
            "load_name": f"corosync_{name}",
            "title": f"the {name} engine",
            "functions": 4,
            "requests": 4,
            "synchronised": synchronised,
            "priority": priority,
            "tracked": list(tracked),
        }
        self.name = name
        self.service_id = service_id
        self.heard: list[tuple[int, list[Any]]] = []
        self.delivered: list[tuple[int, int, bytes]] = []
        self.silent: set[int] = set()
        self.sync_data: list[bytes] = []
        self.slow_start = False
        self.alive = True
        self.hangs = False
        """It stands still: nothing is answered, until its successor comes."""

    def message(self, function: int, text: bytes) -> bytes:
        body = text.ljust(16, b".")
        return ((self.service_id << 16) | function).to_bytes(8, "little") + (16 + len(body)).to_bytes(8, "little") + body


class ScriptedNode:
    """One executive with its engines."""

    def __init__(self, node_id: int, order: deque[tuple[int, Group, bytes]], engines: Sequence[ScriptedEngine]) -> None:
        self.ring = ScriptedRing(node_id, order)
        self.space = KeySpace()
        self.engines = {engine.name: engine for engine in engines}
        records = [EngineRecord(engine.name) for engine in engines]
        self.executive = Executive(node_id, self.ring, self.space, records, {1: "10.0.0.1", 2: "10.0.0.2"}, dict, 0.2, 3.65)
        self.actions: list[Action] = []
        self.now = 0.0

    def say(self, engine: ScriptedEngine, *entry: Any, bodies: Sequence[bytes] = (), ring_id: RingId | None = None) -> None:
        ring = self.executive.ring_id if ring_id is None else ring_id
        self.executive.receive(engine.name, ring, [list(entry)], list(bodies), self.now)

    def settle(self) -> bool:
        """Carry out actions and let engines answer; True when something happened."""
        busy = False
        for action in self.executive.actions():
            busy = True
            self.actions.append(action)
            if isinstance(action, SpawnEngine):
                engine = self.engines[action.name]
                engine.alive = True
                engine.hangs = False
                self.say(engine, ToExecutive.HELLO, engine.hello)
                if not engine.slow_start:
                    self.say(engine, ToExecutive.READY)
            elif isinstance(action, KillEngine):
                self.kill(self.engines[action.name])
        for record in self.executive.engines.values():
            entries, record.outbox = record.outbox, []
            for ring_id, entry, bodies in entries:
                busy = True
                self.hear(self.engines[record.name], ring_id, entry, bodies)
        return busy

    def kill(self, engine: ScriptedEngine) -> None:
        engine.alive = False
        self.executive.engine_died(engine.name, "killed", self.now)

    def hear(self, engine: ScriptedEngine, ring_id: RingId, entry: list[Any], bodies: list[bytes]) -> None:
        word = entry[0]
        engine.heard.append((word, entry[1:]))
        if word == ToEngine.DELIVER:
            triples = entry[1]
            engine.delivered += zip(triples[0::3], triples[1::3], bodies, strict=True)
        if engine.hangs or word in engine.silent:
            return
        if word == ToEngine.ALIVE:
            self.say(engine, ToExecutive.ALIVE)
        elif word == ToEngine.CONFIGURATION:
            self.say(engine, ToExecutive.GATE_CLOSED, ring_id=ring_id)
        elif word == ToEngine.SYNC_COMPLETE:
            self.say(engine, ToExecutive.GATE_OPENED, ring_id=ring_id)
        elif word == ToEngine.SYNC_STEP:
            if engine.sync_data:
                self.say(
                    engine,
                    ToExecutive.MULTICAST,
                    1,
                    [len(body) for body in engine.sync_data],
                    bodies=engine.sync_data,
                    ring_id=ring_id,
                )
            self.say(engine, ToExecutive.SYNC_STEP_DONE, ring_id=ring_id)
        elif word == ToEngine.SYNC_ACTIVATE:
            self.say(engine, ToExecutive.SYNC_ACTIVATED, ring_id=ring_id)
        elif word == ToEngine.KEYS and entry[1]:
            self.say(engine, ToExecutive.KEYS_CONFIRM, entry[1])
        elif word == ToEngine.QUORUM and entry[3]:
            self.say(engine, ToExecutive.QUORUM_CONFIRM, entry[3])
        elif word == ToEngine.DELIVER:
            self.say(engine, ToExecutive.CONSUMED, sum(map(len, bodies)))
        elif word == ToEngine.STATISTICS_REQUEST:
            self.say(engine, ToExecutive.STATISTICS, entry[1], {})
        elif word == ToEngine.STOP:
            self.say(engine, ToExecutive.STOPPED)

    def exits(self) -> list[Exit]:
        return [action for action in self.actions if isinstance(action, Exit)]


class ScriptedCluster:
    """Nodes that share one order of messages."""

    def __init__(self, nodes: int = 1, **extra: Any) -> None:
        self.order: deque[tuple[int, Group, bytes]] = deque()
        self.nodes = [
            ScriptedNode(
                number,
                self.order,
                [
                    ScriptedEngine("cmap", 0, tracked=[""]),
                    ScriptedEngine("cfg", 1, synchronised=False),
                    ScriptedEngine("cpg", 2),
                    ScriptedEngine("quorum", 3),
                    ScriptedEngine("votequorum", 5, priority=2, tracked=["quorum."]),
                ],
            )
            for number in range(1, nodes + 1)
        ]
        self.sequence = 1
        for node in self.nodes:
            node.executive.start(0.0)
        self.settle()

    def settle(self, messages: int = 10_000) -> None:
        """Run until nothing moves, delivering at most so many messages."""
        while True:
            busy = False
            for node in self.nodes:
                while node.settle():
                    busy = True
            if self.order and messages > 0:
                messages -= 1
                message = self.order.popleft()
                for node in self.nodes:
                    node.executive.deliver([message], node.now)
                busy = True
            if not busy:
                return

    def configure(self, transitional: Sequence[int] = ()) -> RingId:
        """Install a configuration of all nodes at all nodes."""
        members = tuple(node.executive.node_id for node in self.nodes)
        self.sequence += 4
        ring_id = RingId(members[0], self.sequence)
        joined = tuple(member for member in members if member not in transitional)
        for node in self.nodes:
            node.ring.in_sync = True
            executive = node.executive
            executive.configuration(Configuration(ConfigurationKind.TRANSITIONAL, ring_id, tuple(transitional), (), ()), node.now)
            executive.configuration(Configuration(ConfigurationKind.REGULAR, ring_id, members, joined, ()), node.now)
        return ring_id


def idle_node() -> tuple[ScriptedCluster, ScriptedNode]:
    """A node alone that has synchronised."""
    cluster = ScriptedCluster()
    cluster.configure()
    cluster.settle()
    return cluster, cluster.nodes[0]


def at_the_end_of_a_round() -> tuple[ScriptedCluster, ScriptedNode, RingId]:
    """All barriers are delivered; votequorum has still to activate."""
    cluster = ScriptedCluster()
    node = cluster.nodes[0]
    node.engines["votequorum"].silent = {ToEngine.SYNC_ACTIVATE}
    ring_id = cluster.configure()
    cluster.settle()
    assert node.executive.sync.phase is Phase.ACTIVATING
    return cluster, node, ring_id


def let_time_pass(node: ScriptedNode, seconds: float) -> None:
    """The executive's timers come when it wants them."""
    end = node.now + seconds
    while (due := node.executive.next_timer()) <= end:
        node.now = due
        node.executive.handle_timer(due)
    node.now = end


def words(engine: ScriptedEngine) -> list[int]:
    """What an engine heard of the round, keys and deliveries left out."""
    ignored = (ToEngine.KEYS, ToEngine.DELIVER, ToEngine.CREDIT, ToEngine.KEYS_RESULT)
    return [word for word, _arguments in engine.heard if word not in ignored]
