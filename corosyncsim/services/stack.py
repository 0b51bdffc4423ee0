"""One life of a node above its ring: the executive, its engines behind links, and the driver between them.

The driver is the daemon's in small: outputs of the ring go to the executive, its actions are carried out in their order, what it
says to an engine goes out as frames, and the death of an engine is told when its link was read dry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from corosyncd.engines.cfg.engine import CfgEngine
from corosyncd.engines.cmap.engine import CmapEngine
from corosyncd.engines.cpg.engine import CpgEngine
from corosyncd.engines.engine import Engine
from corosyncd.engines.quorum.engine import QuorumEngine
from corosyncd.engines.votequorum.engine import VoteQuorumEngine
from corosyncd.executive.actions import (
    Exit,
    KillEngine,
    Log,
    Ready,
    ReloadConfiguration,
    ReopenLogs,
    SettingsChanged,
    SpawnEngine,
    StartRing,
)
from corosyncd.executive.executive import Executive
from corosyncd.executive.record import EngineRecord
from corosyncd.keyspace import runtime_keys
from corosyncd.keyspace.key_space import KeySpace
from corosyncd.keyspace.rules import VOTEQUORUM_READ_ONLY_KEYS
from corosyncd.link.frames import Direction, decode
from corosyncd.link.outbox import Outbox
from corosyncd.link.vocabulary import ToEngine
from corosyncd.totem.events import NO_RING, Configuration, ConfigurationKind, Group, Queue, RingId
from corosyncd.totem.packing import GROUP_HEADERS
from corosyncd.totem.ring import Ring
from corosyncsim.history import Process
from corosyncsim.node import Core, Power, SimulatedNode
from corosyncsim.services.connections import Peer
from corosyncsim.services.engine_process import EngineProcess
from corosyncsim.services.journal import Death, Decided, Departed, GivenUp, Keyed, Reloaded, Synchronised

if TYPE_CHECKING:
    from corosyncsim.services.services import Services

ENGINES: Final[tuple[type[Engine], ...]] = (CmapEngine, CfgEngine, CpgEngine, VoteQuorumEngine, QuorumEngine)
"""In the order of loading."""
STATUS_OK: Final = 1
PROGRAM_KEYS: Final = "sim."
"""What the keys of simulated programs begin with."""
SETTINGS_PREFIX: Final = "nodelist.sim."
"""What those keys of the configuration file begin with that change between two readings: one that a reload may delete."""


class _Link:
    """The executive's end of one engine's link."""

    __slots__ = ("outbox", "process")

    def __init__(self, process: EngineProcess) -> None:
        self.process = process
        self.outbox = Outbox(Direction.TO_ENGINE)


def _unfinished(core: Core) -> list[bytes]:
    """The messages of engines that a ring has sent a part of, at most one a queue, without their group header."""
    lines = core._core.packer._lines if isinstance(core, Ring) else ()
    return [line.open[len(GROUP_HEADERS[Group.ENGINES]) :] for line in lines if line.fragment]


class Port:
    """The ring as the executive sees it, watched."""

    __slots__ = ("_core", "_stack")

    def __init__(self, stack: Stack, core: Core) -> None:
        self._stack = stack
        self._core = core

    @property
    def token_delay(self) -> float:
        return self._core.token_delay

    @token_delay.setter
    def token_delay(self, seconds: float) -> None:
        self._core.token_delay = seconds

    def submit(
        self, group: Group, messages: Sequence[bytes], queue: Queue = Queue.NORMAL, tag: int = 0, now: float = 0.0
    ) -> None:
        stack = self._stack
        stack.services.rounds.sent(stack.node.node_id, stack.executive.ring_id, queue, messages)
        self._core.submit(group, messages, queue, tag, now)

    def withdraw(self, tag: int) -> int:
        return self._core.withdraw(tag)

    def queued_bytes(self, tag: int) -> int:
        return self._core.queued_bytes(tag)

    def synchronization_complete(self, now: float) -> None:
        self._core.synchronization_complete(now)

    def force_gather(self, now: float) -> None:
        self._core.force_gather(now)

    def leave(self, now: float) -> None:
        self._core.leave(now)


class Stack:
    """What uses the ring in one life of a node (``corosyncsim.node.Upper``)."""

    def __init__(self, services: Services, node: SimulatedNode, core: Core) -> None:
        """Nothing runs before ``start``."""
        self.synchronising = True
        self.node = node
        self.process: Process = node.process
        self.backlogs: dict[str, deque[Peer]] = {engine.description.name: deque() for engine in ENGINES}
        self.links: dict[str, _Link] = {}
        self.alive = True
        self.services = services
        self.core = core
        self._heard: deque[tuple[EngineProcess, bytes | None]] = deque()
        """Frames that engines have written, in order; None: the process has ended and this was its last."""
        self._serials = 0
        parameters = services.parameters
        space = KeySpace(VOTEQUORUM_READ_ONLY_KEYS)
        for name, value in services.keys(node.node_id):
            space.set(name, value, client=False)
        for name, value in runtime_keys.triggers():
            space.set(name, value, client=False)
        self._synchronised = NO_RING
        self._open: list[bytes] = []
        """What was partly sent when the last step ended: the ring may come to a configuration and send the rest in one step."""
        self.executive = Executive(
            node.node_id,
            Port(self, core),
            space,
            [EngineRecord(engine.description.name) for engine in ENGINES],
            services.addresses,
            dict,
            parameters.token_retransmit / 4,
            parameters.token,
        )

    # What the node's driver calls: see corosyncsim.node.Upper.

    def start(self, now: float) -> None:
        """Ask for every engine; the ring starts when all are ready."""
        self.executive.start(now)
        self.advance(now)

    def deliver(self, messages: Sequence[tuple[int, Group, bytes]], now: float) -> bool:
        """The executive itself says when the round is over."""
        executive = self.executive
        in_process = executive.sync.in_process and executive.sync.ring_id != NO_RING
        self.services.rounds.delivered(
            self.services.kernel.now, self.node.node_id, executive.ring_id, messages, in_process=in_process
        )
        executive.deliver(messages, now)
        return False

    def install(self, configuration: Configuration, now: float) -> bool:
        """A round begins with a regular configuration."""
        if configuration.kind is ConfigurationKind.REGULAR:
            self.synchronising = True
        else:
            self.services.rounds.departed(self.node.node_id, self._open)
            self.services.happened(self.process, Departed(self.services.kernel.now, self.executive.ring_id))
        self.executive.configuration(configuration, now)
        return False

    def advance(self, now: float) -> None:
        """Carry out what the executive wants, and write what it says."""
        executive = self.executive
        self._open = _unfinished(self.core)
        executive.ring_advanced(now)
        if not executive.sync.in_process and self._synchronised != executive.ring_id:
            self._synchronised = executive.ring_id
            self.services.happened(self.process, Synchronised(self.services.kernel.now, executive.ring_id))
        while self.alive:
            actions = executive.actions()
            for action in actions:
                self._carry_out(action)
            for engine in executive.engines.values():
                if engine.outbox:
                    entries, engine.outbox = engine.outbox, []
                    link = self.links.get(engine.name)
                    if link is not None:
                        self._say(link, entries)
            if not actions:
                break

    def next_timer(self) -> float | None:
        """The executive's."""
        return self.executive.next_timer()

    def handle_timer(self, now: float) -> None:
        """The executive's."""
        self.executive.handle_timer(now)

    def has_work(self) -> bool:
        """Whether an engine has written something."""
        return bool(self._heard)

    def work(self, now: float) -> None:
        """Read one frame, or learn that an engine has ended."""
        process, chunk = self._heard.popleft()
        if chunk is None:
            del self.links[process.name]
            self.executive.engine_died(process.name, "killed", now)
            return
        frame = decode(chunk, Direction.TO_EXECUTIVE)
        self.executive.receive(process.name, frame.ring_id, frame.entries, frame.bodies, now)

    def end(self, *, machine: bool) -> None:
        """The daemon has ended, and its engines with it; programs find their connections broken, or went with the machine."""
        self.alive = False
        for link in self.links.values():
            link.process.alive = False
            link.process.connections.die("the daemon has ended")
        for backlog in self.backlogs.values():
            for peer in backlog:
                peer.refused()
            backlog.clear()
        self.services.ended(self, machine=machine)

    def leave(self, now: float) -> None:
        """Stop in order: the engines, their last words, the ring."""
        self.executive.shutdown("SIGTERM", now)

    # What engines' processes call: see engine_process.Executive.

    def hear(self, process: EngineProcess, chunk: bytes | None) -> None:
        """It lies in shared memory at once; the executive looks when it wakes."""
        if self.alive:
            self._heard.append((process, chunk))
            self.services.kernel.after(self.services.delay(), self._wake)

    def clock(self) -> float:
        """The node's."""
        return self.node.now()

    def clock_ahead(self) -> float:
        """The node's."""
        return self.node.clock_ahead

    def note(self, who: str, what: str) -> None:
        """A line of the trace."""
        self.services.trace.write(f"{self.process}/{who}", what)

    # Faults.

    def kill(self, name: str, reason: str) -> None:
        """End an engine's process at once; the executive learns of it when the process was reaped."""
        link = self.links.get(name)
        if link is not None and link.process.alive:
            link.process.die(reason)

    def reload(self) -> None:
        """The configuration file is read again, as after a request of cfg's."""
        self.services.kernel.after(self.services.start_delay(), self._apply_settings)

    # The driver.

    def _wake(self) -> None:
        if self.alive:
            self.node.wake()

    def _say(self, link: _Link, entries: Sequence[tuple[RingId, list[Any], list[bytes]]]) -> None:
        """Nobody reads what is said to a dead engine."""
        outbox = link.outbox
        for ring_id, entry, bodies in entries:
            if entry[0] in (ToEngine.QUORUM, ToEngine.KEYS, ToEngine.STOP):
                self._note_entry(link.process.name, ring_id, entry)
            outbox.ring_id = ring_id
            outbox.queue(entry, bodies)
        outbox.seal()
        while (pieces := outbox.head()) is not None:
            outbox.pop()
            if link.process.alive:
                link.process.hear(b"".join(pieces))

    def _note_entry(self, engine: str, ring_id: RingId, entry: list[Any]) -> None:
        """Decisions as the quorum engine is told them, and changes of the programs' keys as the cmap engine is."""
        services = self.services
        now = services.kernel.now
        if entry[0] == ToEngine.STOP:
            services.journal.stops.append((now, self.node.node_id))
        elif entry[0] == ToEngine.QUORUM and engine == "quorum":
            services.happened(self.process, Decided(now, bool(entry[1]), ring_id, tuple(entry[2])))
        elif entry[0] == ToEngine.KEYS and engine == "cmap" and self.executive.engines[engine].running:
            for _, name, kind, data, old_kind, old_data in entry[2]:
                if name.startswith(PROGRAM_KEYS):
                    new, old = (kind, data) if kind else None, (old_kind, old_data) if old_kind else None
                    services.happened(self.process, Keyed(now, name, new, old))

    def _carry_out(self, action: object) -> None:
        services = self.services
        match action:
            case Log(subsystem=subsystem, level=level, text=text):
                if services.trace.wanted:
                    services.trace.write(str(self.process), f"{subsystem} {level}: {text}")
            case SpawnEngine(name=name):
                services.kernel.after(services.start_delay(), self._spawn, action)
            case KillEngine(name=name, reason=reason):
                self._give_up(name, reason)
            case StartRing():
                self.node.start_ring()
            case Ready():
                services.trace.write(str(self.process), f"serves programs on ring {self.executive.ring_id}")
            case ReloadConfiguration(token=token):
                services.kernel.after(services.start_delay(), self._apply_settings, token)
            case Exit(status=status, reason=reason):
                services.kernel.after(0.0, self._exit, status, reason)
            case ReopenLogs() | SettingsChanged():
                pass

    def _give_up(self, name: str, reason: str) -> None:
        link = self.links.get(name)
        if link is not None:
            self.services.happened(self.process, GivenUp(self.services.kernel.now, name, link.process.ran_at, reason))
            self.kill(name, reason)

    def _spawn(self, action: SpawnEngine) -> None:
        if not self.alive:
            return
        services = self.services
        self._serials += 1
        engine = next(engine for engine in ENGINES if engine.description.name == action.name)
        process = EngineProcess(
            services.kernel,
            self,
            services.engine(self.node.node_id, engine),
            self.node.node_id,
            action.kept,
            self.process.life << 16 | self._serials,
            self.backlogs[action.name],
            services.delay,
            services.options.frames_at_once,
            lambda: self._reap(process),
            serves_later=action.serves_later,
        )
        self.links[action.name] = _Link(process)

    def _reap(self, process: EngineProcess) -> None:
        """Its end is seen behind its last frame."""
        services = self.services
        services.happened(self.process, Death(services.kernel.now, process.name, "killed"))
        services.kernel.after(services.start_delay() / 4, self.hear, process, None)

    def _apply_settings(self, token: int | None = None) -> None:
        if self.alive and self.node.power is Power.UP:
            now = self.clock()
            services, executive = self.services, self.executive
            executive.apply_configuration(services.keys(self.node.node_id), now)
            keys = tuple((name, value.python()) for name, value in executive.keys.space.items(SETTINGS_PREFIX))
            services.happened(self.process, Reloaded(services.kernel.now, keys))
            if token is not None:
                self.executive.configuration_read(token, STATUS_OK, now)
            self.node.step()

    def _exit(self, status: int, reason: str) -> None:
        """What the ring still had to say (the leave) was sent by the step that led here, or is sent now."""
        if self.alive:
            self.node.step()
            self.services.exits(self, status, reason)
            self.node.stop(f"exits with status {status}: {reason}")
