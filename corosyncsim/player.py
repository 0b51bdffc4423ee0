"""Plays scenarios: carries out their commands on a simulated cluster and tells what every node saw.

What is told are the events of extended virtual synchrony, each process's in its own order: configurations, deliveries, starts and
ends. Processes that saw the same share their lines. Times and frames are left out: they change with every constant and prove
nothing about the protocol.

| command | what it does |
|---|---|
| ``cluster`` | the cluster, before anything else: ``nodes=1,2,3``, timeouts, the network's conditions |
| ``start 1 2`` | starts these nodes, all of them without a word |
| ``form`` | starts all nodes and settles, without telling how they came together |
| ``send 1 a`` | a message from node 1, called ``a`` in what is told; ``size=`` bytes, ``times=`` for several (``a1``, ``a2`` …) |
| ``load`` | programs at every node send by chance until ``check`` |
| ``run 2s`` | lets time pass |
| ``settle`` | lets time pass until the live nodes are one configuration, or the bound of property 14 is over |
| ``heal`` | takes every fault back |
| ``check`` | heals, lets the cluster become one and quiet, and judges every property |

``corosyncsim.scenario_programs`` has the commands for programs, in a cluster with ``services=yes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from corosyncsim.checkers.violation import Violation
from corosyncsim.cluster import Cluster
from corosyncsim.history import Delivered, Event, Failed, Installed, Message, Process
from corosyncsim.injector import Injector
from corosyncsim.load import Programs
from corosyncsim.payload import LARGEST, SMALLEST
from corosyncsim.run import Report, judge, merge_bound, quiet_phase, raised_by
from corosyncsim.scenario import KIND_OF_VERB, BadScenario, Block, Command, blocks, fault_of, load, plan_of, seconds, text_of
from corosyncsim.scenario_programs import NamedPrograms
from corosyncsim.spoiling import NAMES, changes, needs_services

NOTHING = "nothing"
USUAL_SIZE = 16
SETTLE_STEP = 0.02
VIOLATIONS_LIMIT = 5
"""Violations that are told; the report has them all."""


class Player:
    """One scenario; ``report`` is there once it was checked."""

    def __init__(self, sink: Callable[[str], object] | None = None, *, frames: bool = False) -> None:
        """``sink`` gets the full trace, see ``corosyncsim.trace``."""
        self.report: Report | None = None
        self.cluster: Cluster | None = None
        self._injector: Injector | None = None
        self._sink = sink
        self._frames = frames
        self._labels: dict[Message, str] = {}
        self._told: dict[Process, int] = {}
        self._programs = NamedPrograms()
        self._verbs: dict[str, Callable[[Cluster, Command], list[str]]] = {
            "start": self._start,
            "form": self._form,
            "send": self._send,
            "load": self._load,
            "run": self._run,
            "settle": self._settle,
            "heal": self._heal,
            "check": self._check,
            **self._programs.verbs,
        }

    def play(self, commands: Sequence[Command]) -> list[str]:
        """Carry out commands; what the nodes saw since the last time, then what the commands have to say. Raises BadScenario."""
        said: list[str] = []
        try:
            for command in commands:
                said += self._carry_out(command)
        except BadScenario:
            raise
        except Exception as error:
            said += self._end((raised_by(self._made(), error),))
        return [*self._news(), *said] or [NOTHING]

    def _carry_out(self, command: Command) -> list[str]:
        if command.verb == "cluster":
            self._make(command)
            return []
        cluster = self._made()
        if command.at is not None:
            cluster.kernel.run_until(command.at)
        if command.verb in KIND_OF_VERB:
            self._struck().strike(fault_of(command, cluster.kernel.now, cluster.plan))
            return []
        if command.verb not in self._verbs:
            raise BadScenario(f"{command}: no such command; there are cluster, {', '.join([*self._verbs, *KIND_OF_VERB])}")
        return self._verbs[command.verb](cluster, command)

    def _made(self) -> Cluster:
        if self.cluster is None:
            raise BadScenario("a scenario begins with a cluster command")
        return self.cluster

    def _struck(self) -> Injector:
        self._made()
        assert self._injector is not None
        return self._injector

    def _make(self, command: Command) -> None:
        plan, defect = plan_of(command)
        if defect and defect[0] not in NAMES:
            raise BadScenario(f"{command}: no such defect; there are {', '.join(NAMES)}")
        if defect and needs_services(defect[0]) and plan.services is None:
            raise BadScenario(f"{command}: this defect is above the ring; cluster wants services=yes")
        adapt, prepare = changes(defect)
        self.cluster = Cluster(plan, self._sink, adapt, frames=self._frames)
        prepare(self.cluster)
        self._injector = Injector(self.cluster)

    def _node_ids(self, cluster: Cluster, command: Command) -> tuple[int, ...]:
        node_ids = command.nodes() or tuple(cluster.nodes)
        for node_id in node_ids:
            if node_id not in cluster.nodes:
                raise BadScenario(f"{command}: no node {node_id} in the cluster of {list(cluster.nodes)}")
        return node_ids

    def _start(self, cluster: Cluster, command: Command) -> list[str]:
        command.allow(())
        for node_id in self._node_ids(cluster, command):
            cluster.nodes[node_id].start()
        return []

    def _form(self, cluster: Cluster, command: Command) -> list[str]:
        said = [*self._start(cluster, command), *self._settle(cluster, command)]
        tuple(self._news())
        rings = {node.configuration.ring_id: node.configuration.members for node in cluster.nodes.values() if node.configuration}
        return [f"regular {ring_id} of {' '.join(map(str, members))}" for ring_id, members in rings.items()] + said

    def _send(self, cluster: Cluster, command: Command) -> list[str]:
        command.allow(("size", "times"))
        if not command.words:
            raise BadScenario(f"{command}: send takes a node, and a name for the message where it has one")
        node_id, *label = command.words
        self._node_ids(cluster, replace(command, words=(node_id,)))
        if not isinstance(cluster.programs, Programs):
            raise BadScenario(f"{command}: in a cluster with services programs send: program, join, say")
        size, times = command.option("size", int, USUAL_SIZE), command.option("times", int, 1)
        if not SMALLEST <= size <= LARGEST:
            raise BadScenario(f"{command}: a message has {SMALLEST} to {LARGEST} bytes")
        for count in range(1, times + 1):
            cluster.kernel.run_until(cluster.kernel.now)  # as between two commands: what is due goes first
            message = cluster.programs.submit(int(node_id), size)
            if message is None:
                return [f"node {node_id} is not there to send"]
            name = label[0] if label else f"m{len(self._labels) + 1}"
            self._labels[message] = f"{name}{count}" if label and times > 1 else name
        return []

    def _load(self, cluster: Cluster, command: Command) -> list[str]:
        if isinstance(cluster.programs, Programs):
            cluster.programs.start(load(command))
        else:
            cluster.programs.start()  # what they do was drawn with the cluster
        return []

    def _run(self, cluster: Cluster, command: Command) -> list[str]:
        command.allow(())
        if len(command.words) != 1:
            raise BadScenario(f"{command}: run takes one time, as in run 2s")
        try:
            length = seconds(command.words[0])
        except ValueError as error:
            raise BadScenario(f"{command}: {error}") from error
        cluster.kernel.run_until(cluster.kernel.now + length)
        return []

    def _settle(self, cluster: Cluster, command: Command) -> list[str]:
        command.allow(())
        end = cluster.kernel.now + merge_bound(cluster.parameters)
        while cluster.still_apart() and cluster.kernel.now < end:
            cluster.kernel.run_until(cluster.kernel.now + SETTLE_STEP)
        # The representative is operational a rotation before the last node, and messages on the way should arrive as well.
        cluster.kernel.run_until(cluster.kernel.now + cluster.parameters.token_retransmit)
        return [f"still apart: {reason}" for reason in cluster.still_apart()]

    def _heal(self, cluster: Cluster, command: Command) -> list[str]:
        command.allow(())
        self._struck().heal()
        return []

    def _check(self, cluster: Cluster, command: Command) -> list[str]:
        command.allow(())
        cluster.programs.stop()
        self._struck().end()
        cluster.recorder.note("phase", "quiet")
        cluster.recorder.history.quiet = quiet_phase(cluster)
        return self._end()

    def _end(self, raised: tuple[Violation, ...] = ()) -> list[str]:
        self.report = judge(self._made(), self._struck(), raised)
        return told(self.report.violations) or ["no violation"]

    # What the nodes saw.

    def _news(self) -> Iterator[str]:
        """What each process saw since the last time, those that saw the same together."""
        if self.cluster is None:
            return
        seen: dict[tuple[str, ...], list[str]] = {}
        for process, events in self.cluster.recorder.history.events.items():
            told = self._told.get(process)
            lines = (*(["starts"] if told is None else []), *self._lines(events[told or 0 :]))
            self._told[process] = len(events)
            if lines:
                seen.setdefault(lines, []).append(str(process.node_id))
        rows = [(sorted(node_ids, key=int), lines) for lines, node_ids in seen.items()]
        for node_ids, lines in sorted(rows, key=lambda item: int(item[0][0])):
            yield f"{' '.join(node_ids)}:"
            yield from (f"  {line}" for line in lines)
        heard: dict[tuple[str, ...], list[str]] = {}
        for name, lines in self._programs.news():
            heard.setdefault(lines, []).append(name)
        for lines, names in heard.items():
            yield f"{' '.join(names)}:"
            yield from (f"  {line}" for line in lines)

    def _lines(self, events: Sequence[Event]) -> Iterator[str]:
        delivered: list[str] = []
        for event in events:
            if isinstance(event, Delivered) and event.message in self._labels:
                delivered.append(self._labels[event.message])
            line = _configuration_or_end(event)
            if line and delivered:
                yield f"delivers {' '.join(delivered)}"
                delivered = []
            if line:
                yield line
        if delivered:
            yield f"delivers {' '.join(delivered)}"


def told(violations: Sequence[Violation]) -> list[str]:
    """The first few violations, a line each, and how many more there are."""
    lines = [str(violation) for violation in violations[:VIOLATIONS_LIMIT]]
    more = len(violations) - VIOLATIONS_LIMIT
    return [*lines, f"and {more} more violations"] if more > 0 else lines


def _configuration_or_end(event: Event) -> str:
    match event:
        case Installed(kind=kind, ring=ring, members=members) if members:
            return f"{kind.value} {ring} of {' '.join(map(str, members))}"
        case Failed(how=how):
            return how
    return ""


def perform(text: str, sink: Callable[[str], object] | None = None, *, frames: bool = False) -> tuple[str, Player]:
    """Play a whole scenario: the same text with what really happened behind its commands. Raises BadScenario."""
    player = Player(sink, frames=frames)
    played = []
    for block in blocks(text):
        commands = block.commands()
        played.append(Block(block.lines, player.play(commands) if commands else []))
    return text_of(played), player
