"""Deliberate defects above the ring: for each property there one way to break it that its checker must catch.

Each puts something in the place of one engine of the struck node, or meddles with its executive, as a fault in either would. Only
tests apply them, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from corosyncd.engines.cmap.engine import CmapEngine
from corosyncd.engines.cpg.engine import CpgEngine
from corosyncd.engines.cpg.wire import Function
from corosyncd.engines.engine import Client, Engine, KeyChange
from corosyncd.engines.quorum.engine import QuorumEngine
from corosyncd.engines.votequorum.engine import VoteQuorumEngine
from corosyncd.executive.router import Router
from corosyncd.executive.supervision import Supervision
from corosyncd.keyspace.values import Value
from corosyncd.totem.events import Group, Queue, RingId
from corosyncsim.cluster import Cluster
from corosyncsim.services.population import Population
from corosyncsim.services.stack import SETTINGS_PREFIX, Port, Stack

PATIENCE: Final = 5
"""Occasions that a defect lets pass before it strikes, and then again between two strikes."""


class _Occasions:
    """True at every so manieth call."""

    def __init__(self, patience: int = PATIENCE) -> None:
        self._patience = patience
        self._count = 0

    def __call__(self) -> bool:
        self._count += 1
        return self._count % self._patience == 0


class _Behind:
    """An engine's host, but for what a defect changes."""

    def __init__(self, host: Any) -> None:
        self._host = host

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)


# Engines with a fault.


class _ForgetsLeaves(CpgEngine):
    def __init__(self, host: Any, kept: bytes | None = None) -> None:
        super().__init__(host, kept)
        self._strikes = _Occasions(2)

    def deliver(self, source: int, function: int, message: bytes) -> None:
        if function != Function.PROCESS_LEAVE or not self._strikes():
            super().deliver(source, function, message)


class _SwapsMessages(CpgEngine):
    def __init__(self, host: Any, kept: bytes | None = None) -> None:
        super().__init__(host, kept)
        self._strikes = _Occasions()
        self._kept_back: tuple[int, int, bytes] | None = None

    def deliver(self, source: int, function: int, message: bytes) -> None:
        if function == Function.MCAST and self._kept_back is None and self._strikes():
            self._kept_back = (source, function, message)
            return
        super().deliver(source, function, message)
        if self._kept_back is not None:
            late, self._kept_back = self._kept_back, None
            super().deliver(*late)


class _ClaimsQuorum(_Behind):
    def set_quorate(self, quorate: bool, members: Sequence[int], ring_id: RingId) -> None:
        self._host.set_quorate(True, members, ring_id)


class _AlwaysQuorate(VoteQuorumEngine):
    def __init__(self, host: Any, kept: bytes | None = None) -> None:
        super().__init__(_ClaimsQuorum(host), kept)


class _AnswersTwice(_Behind):
    def __init__(self, host: Any) -> None:
        super().__init__(host)
        self._strikes = _Occasions()

    def respond(self, client: Client, response: bytes) -> None:
        self._host.respond(client, response)
        if self._strikes():
            self._host.respond(client, response)


class _Stutters(CmapEngine):
    def __init__(self, host: Any, kept: bytes | None = None) -> None:
        super().__init__(_AnswersTwice(host), kept)


class _Silent(_Behind):
    def respond(self, client: Client, response: bytes) -> None:
        """Nothing is said."""


class _NeverAnswers(QuorumEngine):
    def __init__(self, host: Any, kept: bytes | None = None) -> None:
        super().__init__(_Silent(host), kept)


class _MissesChanges(CmapEngine):
    def __init__(self, host: Any, kept: bytes | None = None) -> None:
        super().__init__(host, kept)
        self._strikes = _Occasions()

    def keys_changed(self, changes: list[KeyChange]) -> None:
        programs = any(change.name.startswith("sim.") for change in changes)
        if not (programs and self._strikes()):
            super().keys_changed(changes)


# Executives with a fault.


class _Hasty(Router):
    def hold(self) -> None:
        """What is ordered behind the last barrier goes to the engines while some have still to activate."""


def _hasty(stack: Stack) -> None:
    stack.executive.router = _Hasty()


class _KeepsEverything(Port):
    """Queues sync data as if it belonged to no round."""

    def submit(
        self, group: Group, messages: Sequence[bytes], queue: Queue = Queue.NORMAL, tag: int = 0, now: float = 0.0
    ) -> None:
        super().submit(group, messages, queue, 0 if queue is Queue.SYNC else tag, now)


class _NeverForms(Port):
    def force_gather(self, now: float) -> None:
        """The ring stays as it is."""


def _half_a_reload(stack: Stack) -> None:
    apply = stack.executive.apply_configuration

    def apply_half(keys: Sequence[tuple[str, Value]], now: float) -> None:
        changing = [name for name, _ in keys if name.startswith(SETTINGS_PREFIX)]
        present = dict(stack.executive.keys.space.items(SETTINGS_PREFIX))
        stale = {name: present[name] for name in changing[:1] if name in present}
        apply([(name, stale.get(name, value)) for name, value in keys], now)

    stack.executive.apply_configuration = apply_half  # type: ignore[method-assign]


def _shared_fate(stack: Stack) -> None:
    """Whenever an engine dies, the cpg engine's programs lose their connections, too."""
    died = stack.executive.engine_died

    def engine_died(name: str, reason: str, now: float) -> None:
        died(name, reason, now)
        link = stack.links.get("cpg")
        if link is not None:
            for connection in list(link.process.connections.open.values()):
                link.process.connections.disconnect(connection.client, "another engine has died")

    stack.executive.engine_died = engine_died  # type: ignore[method-assign]


class _Blames(Supervision):
    def handle_timer(self, now: float) -> None:
        """It never sees that it is late itself."""
        self._next_check = max(self._next_check, now)
        super().handle_timer(now)


def _blame(stack: Stack) -> None:
    stack.executive.supervision = _Blames(stack.executive, stack.services.parameters.token)


def _port(make: Callable[[Stack, Any], Port]) -> Callable[[Stack], None]:
    def meddle(stack: Stack) -> None:
        stack.executive.ring = make(stack, stack.core)

    return meddle


@dataclass(frozen=True, slots=True)
class Defect:
    """A named defect, the property whose checker must catch it, and what it puts into the struck node."""

    name: str
    number: int
    engines: tuple[type[Engine], ...] = ()
    """Each takes the place of the engine that it is made from."""
    meddle: Callable[[Stack], None] | None = None

    def spoil(self, struck: int) -> Callable[[Cluster], None]:
        """What puts the defect into node ``struck`` of a cluster with services, in each of its lives."""

        def engine(node_id: int, right: type[Engine]) -> type[Engine]:
            return next((wrong for wrong in self.engines if issubclass(wrong, right)), right) if node_id == struck else right

        def prepare(cluster: Cluster) -> None:
            assert isinstance(cluster.programs, Population)
            services = cluster.programs.services
            services.engine = engine
            services.on_stack = lambda stack: self.meddle(stack) if self.meddle and stack.node.node_id == struck else None

        return prepare


DEFECTS: Final[dict[str, Defect]] = {
    defect.name: defect
    for defect in (
        Defect("hand messages over before the round is complete", 16, meddle=_hasty),
        Defect("keep the sync data of an aborted round", 16, meddle=_port(_KeepsEverything)),
        Defect("forget a leave", 17, (_ForgetsLeaves,)),
        Defect("swap two messages of a group", 17, (_SwapsMessages,)),
        Defect("claim quorum always", 18, (_AlwaysQuorate,)),
        Defect("answer a request twice", 19, (_Stutters,)),
        Defect("never answer", 19, (_NeverAnswers,)),
        Defect("miss a change of the map", 20, (_MissesChanges,)),
        Defect("apply half of a reload", 20, meddle=_half_a_reload),
        Defect("form no new ring for a successor", 21, meddle=_port(_NeverForms)),
        Defect("blame engines for its own absence", 21, meddle=_blame),
        Defect("let the programs of another engine share its fate", 21, meddle=_shared_fate),
    )
}
"""Every defect above the ring by its name."""
