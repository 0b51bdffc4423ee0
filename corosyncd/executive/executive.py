"""The main process's decisions, without I/O: what the ring, the engines and the clock bring in; what they are told comes out.

The driver feeds ring outputs (``configuration``, ``deliver``), link entries (``receive``) and the time; after each step it takes
``actions()`` and every engine's ``outbox``. Design: "The boundary between executive and engine" and "What happens when something
dies".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from corosyncd.executive import reload, service_keys
from corosyncd.executive.actions import (
    Action,
    Exit,
    Log,
    Ready,
    ReloadConfiguration,
    ReopenLogs,
    SettingsChanged,
    StartRing,
    StoreExpectedVotes,
)
from corosyncd.executive.key_keeper import KeyKeeper
from corosyncd.executive.members import Members
from corosyncd.executive.quorum_step import QuorumStep
from corosyncd.executive.record import (
    BARRIER_TAG,
    CREDIT_LIMIT,
    CREDIT_QUANTUM,
    OUTSTANDING_HIGH_MARK,
    SYNC_TAG,
    EngineRecord,
    Phase,
)
from corosyncd.executive.ring_port import RingPort
from corosyncd.executive.router import Router
from corosyncd.executive.statistics import Connections, Snapshots, Values
from corosyncd.executive.supervision import Supervision
from corosyncd.executive.sync import Sync
from corosyncd.keyspace import runtime_keys
from corosyncd.keyspace.changes import Change
from corosyncd.keyspace.key_space import KeySpace
from corosyncd.keyspace.rules import EXPECTED_VOTES_BARRIER
from corosyncd.keyspace.values import Value, int32, text
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import NO_RING, Configuration, ConfigurationKind, Group, Queue, RingId

NORMAL, SYNC, CURRENT = 0, 1, 2
SETTINGS = ("totem.", "logging.")
"""Keys that this process goes by from the moment that a program changes them."""
_NONSENSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What arguments of the wrong type, number or size raise."""


class Executive:
    """One node's executive. ``throttle_delay`` is the longest delay of a token in seconds (a quarter of token_retransmit)."""

    def __init__(
        self,
        node_id: int,
        ring: RingPort,
        space: KeySpace,
        engines: Iterable[EngineRecord],
        addresses: Mapping[int, str],
        totem_statistics: Callable[[], Values],
        throttle_delay: float,
        token_timeout: float,
    ) -> None:
        """``addresses``: how ``runtime.members.<id>.ip`` shows each configured node; ``engines`` in the order of loading."""
        self.node_id = node_id
        self.ring = ring
        self.engines = {engine.name: engine for engine in engines}
        self.router = Router()
        self.members = Members(addresses)
        self.keys = KeyKeeper(space, self._listening, self._keys_changed)
        self.snapshots = Snapshots(self._running, lambda: {**totem_statistics(), **self.router.statistics()})
        self.connections = Connections(lambda: self.engines.get("cmap"))
        self.sync = Sync(self)
        self.supervision = Supervision(self, token_timeout)
        self.ring_id: RingId = NO_RING
        self.throttle_delay = throttle_delay
        self.now = 0.0
        self._actions: list[Action] = []
        self.quorum_step = QuorumStep()
        self._next_counters = 0.0
        self._reloads: dict[int, tuple[EngineRecord, Any]] = {}
        self._next_reload = 1
        self._ring_started = False
        self.has_served = False
        """Whether a round was ever completed: since then programs connect."""
        self.opening: set[str] = set()
        """Engines that have not yet said that their gates are open."""
        self._credit_out = False
        """Some engine has less credit than it may have: worth a look whenever the ring has worked."""
        self._clear: dict[str, Callable[[], None]] = {}
        self._words: dict[int, Callable[[EngineRecord, RingId, list[Any]], None]] = {
            ToExecutive.HELLO: self._hello,
            ToExecutive.READY: self._ready,
            ToExecutive.GATE_CLOSED: self._gate_closed,
            ToExecutive.GATE_OPENED: self._gate_opened,
            ToExecutive.SYNC_STEP_DONE: self._sync_step_done,
            ToExecutive.SYNC_ACTIVATED: self._sync_activated,
            ToExecutive.CONSUMED: self._consumed,
            ToExecutive.KEYS_CHANGE: self._keys_change,
            ToExecutive.KEYS_CONFIRM: self._keys_confirm,
            ToExecutive.SET_QUORATE: self._set_quorate,
            ToExecutive.QUORUM_CONFIRM: self._quorum_confirm,
            ToExecutive.KEEP: self._keep,
            ToExecutive.STATISTICS_REQUEST: self._statistics_request,
            ToExecutive.STATISTICS: self._statistics,
            ToExecutive.CONNECTION: self.connections.changed,
            ToExecutive.CLEAR_STATISTICS: self._clear_statistics,
            ToExecutive.RELOAD: self._reload,
            ToExecutive.REOPEN_LOGS: self._reopen_logs,
            ToExecutive.SHUTDOWN_REQUEST: self._shutdown_request,
            ToExecutive.FATAL: self._fatal,
            ToExecutive.REFUSED: self._refused,
            ToExecutive.STOPPED: self._stopped,
            ToExecutive.ALIVE: lambda engine, _ring_id, _entry: self.supervision.alive(engine),
        }

    # What goes in.

    def start(self, now: float) -> None:
        """Ask for every engine's process."""
        self.now = now
        self._next_counters = now + service_keys.COUNTER_PERIOD
        self.supervision.start(now)

    def configuration(self, change: Configuration, now: float) -> None:
        """A configuration was installed by the ring."""
        self.now = now
        self.router.release(now)
        if change.kind is ConfigurationKind.TRANSITIONAL:
            self.members.left(change.left)
            self._withdraw_round()
            self.sync.abandon()
            self.sync.transitional = change.members
            self.keys.publish(self.members.take_keys())
            return
        transitional = self.sync.transitional
        self.ring_id = change.ring_id
        for engine in self.engines.values():
            engine.ring_id = change.ring_id
            engine.sync_data_sent = False
        self.members.joined(change.joined)
        self.keys.publish(self.members.take_keys())
        local = [engine.service_id for engine in self.engines.values() if engine.synchronised]
        self.sync.start(transitional, change.members, change.ring_id, local)

    def _withdraw_round(self) -> None:
        """What the round that ends here has not sent is of no use to the next one.

        The ring has dropped what it had when the configuration was made; the last messages before it may have brought about more.
        """
        self.ring.withdraw(BARRIER_TAG)
        for service in self.router.services:
            self.ring.withdraw(SYNC_TAG + service)

    def deliver(self, messages: Sequence[tuple[int, Group, bytes]], now: float) -> None:
        """Messages in total order."""
        self.now = now
        add = self.router.add
        for source, group, body in messages:
            if group is Group.ENGINES:
                add(source, body)
                continue
            self.router.flush(now)
            try:
                self.sync.deliver(source, body)
            except ValueError as error:
                self.router.dropped["malformed_sync"] += 1
                self.log("SYNC", "warning", f"dropped a malformed message of node {source}: {error}")
        self.router.flush(now)
        self._throttle()

    def receive(self, name: str, ring_id: RingId, entries: list[list[Any]], bodies: list[bytes], now: float) -> None:
        """One frame of an engine's link. Raises ValueError when the engine speaks nonsense: the driver then kills it."""
        self.now = now
        engine = self.engines[name]
        position = 0
        try:
            for entry in entries:
                if entry[0] == ToExecutive.MULTICAST:
                    count = len(entry[2])
                    self._multicast(engine, ring_id, entry[1], bodies[position : position + count])
                    position += count
                else:
                    self._words[entry[0]](engine, ring_id, entry)
        except _NONSENSE as error:
            raise ValueError(f"engine {name} sent an entry that cannot be read: {error!r}") from error

    def ring_advanced(self, now: float) -> None:
        """The ring has worked: hand out credit for what has left the queue."""
        self.now = now
        if self._credit_out:
            self._credit_out = False
            for engine in self.engines.values():
                if engine.credit_taken and engine.running:
                    self._grant(engine)
                    self._credit_out |= engine.credit_granted - engine.credit_taken < CREDIT_LIMIT - CREDIT_QUANTUM
        self.supervision.words_delivered()

    def next_timer(self) -> float:
        """When ``handle_timer`` wants to be called."""
        return min(self._next_counters, self.supervision.next_timer())

    def handle_timer(self, now: float) -> None:
        """The time has come for counters, or for a decision about a silent engine."""
        self.now = now
        if now >= self._next_counters:
            self._next_counters = now + service_keys.COUNTER_PERIOD
            if pairs := service_keys.changed_counters(self.engines.values()):
                self.keys.publish(pairs)
        self.supervision.handle_timer(now)

    def engine_died(self, name: str, reason: str, now: float) -> None:
        """An engine's process has ended or its link is broken."""
        self.now = now
        self.router.flush(now)
        self.supervision.died(self.engines[name], reason)

    def shutdown(self, reason: str, now: float, status: int = 0) -> None:
        """Stop in order: the engines, their last words, the ring."""
        self.now = now
        self.supervision.shutdown(reason, status)

    def actions(self) -> list[Action]:
        """What the driver has to do, in order; taken once."""
        actions, self._actions = self._actions, []
        return actions

    # What the parts of the executive say.

    def act(self, action: Action) -> None:
        """Queue one action for the driver."""
        self._actions.append(action)

    def log(self, subsystem: str, level: str, message: str) -> None:
        """One line for the log."""
        self._actions.append(Log(subsystem, level, message))

    def _running(self) -> Iterable[EngineRecord]:
        return [engine for engine in self.engines.values() if engine.running]

    def _listening(self) -> Iterable[EngineRecord]:
        """Engines that follow the map: also those that have said HELLO and are not ready."""
        return [engine for engine in self.engines.values() if engine.listening]

    # The round (sync.Port).

    def send_sync(self, message: bytes) -> None:
        """Multicast for the barrier protocol."""
        self.ring.submit(Group.SYNC, [message], Queue.SYNC, tag=BARRIER_TAG, now=self.now)

    def close_gates(self) -> bool:
        """Tell every engine the configuration; GATE_CLOSED comes back from each, and those with a gate are waited for."""
        waiting = False
        for engine in self._running():
            self.tell_configuration(engine)
            waiting |= engine.gated
        return not waiting and not self.supervision.missing()

    def tell_configuration(self, engine: EngineRecord) -> None:
        """The configuration of the present round; an engine with a gate owes GATE_CLOSED."""
        engine.put(ToEngine.CONFIGURATION, list(self.sync.transitional), list(self.sync.members))
        if engine.gated:
            self.supervision.owes(engine)

    def step(self, service: int) -> bool:
        """The local engine's turn."""
        engine = self.router.services.get(service)
        if engine is None or not engine.synchronised:
            return False
        if engine.running:
            engine.put(ToEngine.SYNC_STEP)
        return True

    def activate(self, service: int) -> bool:
        """All data of the step is delivered."""
        engine = self.router.services.get(service)
        if engine is None or not engine.synchronised or not engine.running:
            return False
        self.router.flush(self.now)
        engine.put(ToEngine.SYNC_ACTIVATE)
        self.supervision.owes(engine)
        return True

    def abort(self) -> None:
        """The round is void."""
        for engine in self._running():
            if engine.synchronised:
                engine.put(ToEngine.SYNC_ABORT)

    def round_ended(self) -> None:
        """The ring's queues go back to normal at this very place of the order.

        What comes behind it waits until this node's engines have activated: no program is told a message of the new ring by one
        engine while another still tells of the old one.
        """
        self.router.hold()
        self.ring.synchronization_complete(self.now)

    def complete(self) -> None:
        """Gates open, in one broadcast."""
        self.opening = {engine.name for engine in self._running() if engine.gated}
        for engine in self._running():
            engine.put(ToEngine.SYNC_COMPLETE)
        self.router.release(self.now)
        self.has_served = True
        self.log("MAIN", "notice", "Completed service synchronization, ready to provide service.")
        self.supervision.round_complete()

    def gate_is_open(self, engine: EngineRecord) -> None:
        """An engine serves programs, or is gone: behind the last one the init system may know."""
        if engine.name in self.opening:
            self.opening.discard(engine.name)
            if not self.opening:
                self.act(Ready())

    # Words of the engines.

    def _hello(self, engine: EngineRecord, _ring_id: RingId, entry: list[Any]) -> None:
        engine.describe(entry[1])
        other = self.router.services.get(engine.service_id)
        if other is not None and other is not engine:
            raise ValueError(f"engines {engine.name} and {other.name} both want service id {engine.service_id}")
        self.router.services[engine.service_id] = engine
        engine.phase = Phase.GREETED
        self.keys.snapshot(engine)

    def _ready(self, engine: EngineRecord, _ring_id: RingId, _entry: list[Any]) -> None:
        self.keys.publish(service_keys.of_loaded(engine))
        engine.phase = Phase.RUNNING
        self.log("SERV", "notice", f"Service engine loaded: {engine.title} [{engine.service_id}]")
        self._grant(engine)
        self.supervision.ready(engine)
        if not self._ring_started and all(other.running for other in self.engines.values()):
            self._ring_started = True
            self.act(StartRing())

    def _gate_closed(self, engine: EngineRecord, ring_id: RingId, _entry: list[Any]) -> None:
        if ring_id != self.ring_id:
            return
        engine.gate_ring = ring_id
        self.supervision.owes_nothing(engine)
        waited_for = (other for other in self._running() if other.gated)
        if not self.supervision.missing() and all(other.gate_ring == ring_id for other in waited_for):
            self.sync.gates_closed(ring_id)

    def _gate_opened(self, engine: EngineRecord, ring_id: RingId, _entry: list[Any]) -> None:
        if ring_id == self.ring_id:
            self.gate_is_open(engine)

    def _sync_step_done(self, engine: EngineRecord, ring_id: RingId, _entry: list[Any]) -> None:
        if not self.supervision.missing():
            self.sync.step_done(engine.service_id, ring_id)

    def _sync_activated(self, engine: EngineRecord, ring_id: RingId, _entry: list[Any]) -> None:
        if ring_id == self.ring_id:
            self.supervision.owes_nothing(engine)
        self.sync.activated(engine.service_id, ring_id)

    def _multicast(self, engine: EngineRecord, ring_id: RingId, kind: int, bodies: list[bytes]) -> None:
        queue, tag = Queue.NORMAL, engine.service_id
        if kind == SYNC:
            if ring_id != self.ring_id or self.sync.service != engine.service_id:
                return
            engine.sync_data_sent = True
            queue, tag = Queue.SYNC, SYNC_TAG + engine.service_id
        elif kind == CURRENT and self.sync.queue_open:
            queue = Queue.SYNC
        if queue is Queue.NORMAL:
            engine.credit_taken += sum(map(len, bodies))
            self._credit_out = True
        self.router.outgoing(
            engine,
            bodies,
            lambda good: self.ring.submit(Group.ENGINES, good, queue, tag=tag, now=self.now),
        )

    def _consumed(self, engine: EngineRecord, _ring_id: RingId, entry: list[Any]) -> None:
        size = entry[1]
        if type(size) is not int or size < 0:
            raise ValueError(f"{size!r} bytes consumed")
        engine.consumed(size, self.now)
        self._throttle()

    def _keys_change(self, engine: EngineRecord, _ring_id: RingId, entry: list[Any]) -> None:
        self.keys.change(engine, entry[1], entry[2])
        if any(str(operation[1]).startswith(SETTINGS) for operation in entry[2]):
            self.act(SettingsChanged(tuple(self.keys.space.items())))

    def _keys_confirm(self, engine: EngineRecord, _ring_id: RingId, entry: list[Any]) -> None:
        self.keys.confirmed(engine, entry[1])

    def _set_quorate(self, engine: EngineRecord, ring_id: RingId, entry: list[Any]) -> None:
        members = list(entry[2])
        if any(type(member) is not int for member in members):
            raise ValueError("members that are no node ids")
        if ring_id != self.ring_id:
            return
        # From here on the wait is the quorum engine's, until it has confirmed.
        self.supervision.owes_nothing(engine)
        self.quorum_step.decided(engine, ring_id, bool(entry[1]), members, self._running())

    def _quorum_confirm(self, _engine: EngineRecord, ring_id: RingId, _entry: list[Any]) -> None:
        self.quorum_step.confirmed(ring_id)

    def _keep(self, engine: EngineRecord, _ring_id: RingId, entry: list[Any]) -> None:
        if type(entry[1]) is not bytes:
            raise ValueError("what a successor starts with is bytes")
        engine.kept = entry[1]

    def _statistics_request(self, engine: EngineRecord, _ring_id: RingId, entry: list[Any]) -> None:
        self.snapshots.request(engine, entry[1], self.now)

    def _statistics(self, engine: EngineRecord, _ring_id: RingId, entry: list[Any]) -> None:
        self.snapshots.answer(engine, entry[1], entry[2], self.now)

    def _clear_statistics(self, _engine: EngineRecord, _ring_id: RingId, entry: list[Any]) -> None:
        what = entry[1]
        self.snapshots.forget()
        if what in ("ipc", "all"):
            for engine in self._running():
                engine.put(ToEngine.CLEAR_STATISTICS, what)
        for group, clear in self._clear.items():
            if what in (group, "all"):
                clear()

    def on_clear(self, group: str, clear: Callable[[], None]) -> None:
        """What resets the counters of a group: totem, knet (the transport's) or schedmiss."""
        self._clear[group] = clear

    def _reload(self, engine: EngineRecord, _ring_id: RingId, entry: list[Any]) -> None:
        token = self._next_reload
        self._next_reload += 1
        self._reloads[token] = (engine, entry[1])
        self.act(ReloadConfiguration(token))

    def configuration_read(self, token: int, status: int, now: float) -> None:
        """The answer to a ReloadConfiguration action."""
        self.now = now
        engine, answer = self._reloads.pop(token)
        if engine.running:
            engine.put(ToEngine.RELOADED, answer, status)

    def apply_configuration(self, keys: Sequence[tuple[str, Value]], now: float) -> None:
        """A configuration file was read again, without an error: take it over whole."""
        self.now = now
        plan = reload.plan(dict(self.keys.space.items()), dict(keys))
        for name in plan.refused:
            self.log("CFG", "notice", f"Modified entry '{name}' in corosync.yaml cannot be changed at run-time")
        self.keys.publish(runtime_keys.reload_progress(True, True))
        self.keys.remove(plan.removed)
        self.keys.publish(plan.changed)
        self.act(SettingsChanged(tuple(keys)))
        self.keys.publish([("config.reload_status", int32(1)), *runtime_keys.reload_progress(False, False)])

    def _reopen_logs(self, _engine: EngineRecord, _ring_id: RingId, _entry: list[Any]) -> None:
        self.act(ReopenLogs())

    def _shutdown_request(self, engine: EngineRecord, _ring_id: RingId, entry: list[Any]) -> None:
        self.supervision.shutdown(f"{engine.name}: {entry[1]}", 0)

    def _fatal(self, engine: EngineRecord, _ring_id: RingId, entry: list[Any]) -> None:
        self.log(engine.name.upper(), "crit", str(entry[2]))
        self.act(Exit(int(entry[1]), str(entry[2])))

    def _refused(self, engine: EngineRecord, _ring_id: RingId, entry: list[Any]) -> None:
        reason = f"Service engine '{engine.load_name}' failed to load for reason '{entry[1]}'"
        self.log("SERV", "error", reason)
        self.act(Exit(20, reason))

    def _stopped(self, engine: EngineRecord, _ring_id: RingId, _entry: list[Any]) -> None:
        self.supervision.stopped(engine)

    # Credits, throttle, counters, keys.

    def _grant(self, engine: EngineRecord) -> None:
        unspent = engine.credit_granted - engine.credit_taken
        free = CREDIT_LIMIT - self.ring.queued_bytes(engine.service_id) - unspent
        if free >= CREDIT_QUANTUM:
            engine.credit_granted += free
            engine.put(ToEngine.CREDIT, free)

    def _throttle(self) -> None:
        behind = max((engine.outstanding_bytes for engine in self.engines.values()), default=0) + self.router.held_bytes
        self.ring.token_delay = self.throttle_delay if behind > OUTSTANDING_HIGH_MARK else 0.0

    def _keys_changed(self, changes: list[Change]) -> None:
        for change in changes:
            if change.name == "runtime.force_gather" and change.new.python() not in ("no", b""):
                self.ring.force_gather(self.now)
                self.keys.publish([("runtime.force_gather", text("no"))])
            elif change.name == EXPECTED_VOTES_BARRIER and isinstance(number := change.new.python(), int):
                self.act(StoreExpectedVotes(number))
