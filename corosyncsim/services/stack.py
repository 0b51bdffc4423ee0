"""One life of a node above its ring: the executive, its engines behind links, and the driver between them.

The driver is the daemon's in small: outputs of the ring go to the executive, its actions are carried out in their order, what it
says to an engine goes out as frames, and the death of an engine is told when its link was read dry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

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
from corosyncd.totem.events import Configuration, ConfigurationKind, Group
from corosyncsim.history import Process
from corosyncsim.node import Core, Power, SimulatedNode
from corosyncsim.services.connections import Peer
from corosyncsim.services.engine_process import EngineProcess
from corosyncsim.services.journal import Death, Round

if TYPE_CHECKING:
    from corosyncsim.services.services import Services

ENGINES: Final[tuple[type[Engine], ...]] = (CmapEngine, CfgEngine, CpgEngine, VoteQuorumEngine, QuorumEngine)
"""In the order of loading."""
STATUS_OK: Final = 1


class _Link:
    """The executive's end of one engine's link."""

    __slots__ = ("outbox", "process")

    def __init__(self, process: EngineProcess) -> None:
        self.process = process
        self.outbox = Outbox(Direction.TO_ENGINE)


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
        self._services = services
        self._core = core
        self._heard: deque[tuple[EngineProcess, bytes | None]] = deque()
        """Frames that engines have written, in order; None: the process has ended and this was its last."""
        self._serials = 0
        parameters = services.parameters
        space = KeySpace(VOTEQUORUM_READ_ONLY_KEYS)
        for name, value in services.keys(node.node_id):
            space.set(name, value, client=False)
        for name, value in runtime_keys.triggers():
            space.set(name, value, client=False)
        self.executive = Executive(
            node.node_id,
            core,
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
        self.executive.deliver(messages, now)
        return False

    def install(self, configuration: Configuration, now: float) -> bool:
        """A round begins with a regular configuration."""
        if configuration.kind is ConfigurationKind.REGULAR:
            self.synchronising = True
        self.executive.configuration(configuration, now)
        return False

    def advance(self, now: float) -> None:
        """Carry out what the executive wants, and write what it says."""
        executive = self.executive
        executive.ring_advanced(now)
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
        self._services.ended(self, machine=machine)

    def leave(self, now: float) -> None:
        """Stop in order: the engines, their last words, the ring."""
        self.executive.shutdown("SIGTERM", now)

    # What engines' processes call: see engine_process.Executive.

    def hear(self, process: EngineProcess, chunk: bytes | None) -> None:
        """It lies in shared memory at once; the executive looks when it wakes."""
        if self.alive:
            self._heard.append((process, chunk))
            self._services.kernel.after(self._services.delay(), self._wake)

    def clock(self) -> float:
        """The node's."""
        return self.node.now()

    def clock_ahead(self) -> float:
        """The node's."""
        return self.node.clock_ahead

    def note(self, who: str, what: str) -> None:
        """A line of the trace."""
        self._services.trace.write(f"{self.process}/{who}", what)

    # Faults.

    def kill(self, name: str, reason: str) -> None:
        """End an engine's process at once; the executive learns of it when the process was reaped."""
        link = self.links.get(name)
        if link is not None and link.process.alive:
            link.process.die(reason)

    def reload(self) -> None:
        """The configuration file is read again, as after a request of cfg's."""
        self._services.kernel.after(self._services.start_delay(), self._apply_settings)

    # The driver.

    def _wake(self) -> None:
        if self.alive:
            self.node.wake()

    def _say(self, link: _Link, entries: Sequence[tuple[object, list[object], list[bytes]]]) -> None:
        """Nobody reads what is said to a dead engine."""
        outbox = link.outbox
        for ring_id, entry, bodies in entries:
            outbox.ring_id = ring_id  # type: ignore[assignment]
            outbox.queue(entry, bodies)
        outbox.seal()
        while (pieces := outbox.head()) is not None:
            outbox.pop()
            if link.process.alive:
                link.process.hear(b"".join(pieces))

    def _carry_out(self, action: object) -> None:
        services = self._services
        match action:
            case Log(subsystem=subsystem, level=level, text=text):
                if services.trace.wanted:
                    services.trace.write(str(self.process), f"{subsystem} {level}: {text}")
            case SpawnEngine(name=name):
                services.kernel.after(services.start_delay(), self._spawn, action)
            case KillEngine(name=name, reason=reason):
                self.kill(name, reason)
            case StartRing():
                self.node.start_ring()
            case Ready():
                services.completed(self, Round(services.kernel.now, self.executive.ring_id))
            case ReloadConfiguration(token=token):
                services.kernel.after(services.start_delay(), self._apply_settings, token)
            case Exit(status=status, reason=reason):
                services.kernel.after(0.0, self._exit, status, reason)
            case ReopenLogs() | SettingsChanged():
                pass

    def _spawn(self, action: SpawnEngine) -> None:
        if not self.alive:
            return
        services = self._services
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
        services = self._services
        services.happened(self.process, Death(services.kernel.now, process.name, "killed"))
        services.kernel.after(services.start_delay() / 4, self.hear, process, None)

    def _apply_settings(self, token: int | None = None) -> None:
        if self.alive and self.node.power is Power.UP:
            now = self.clock()
            self.executive.apply_configuration(self._services.keys(self.node.node_id), now)
            if token is not None:
                self.executive.configuration_read(token, STATUS_OK, now)
            self.node.step()

    def _exit(self, status: int, reason: str) -> None:
        """What the ring still had to say (the leave) was sent by the step that led here, or is sent now."""
        if self.alive:
            self.node.step()
            self._services.exits(self, status, reason)
            self.node.stop(f"exits with status {status}: {reason}")
