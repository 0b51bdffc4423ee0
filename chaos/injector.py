"""Does to real nodes what the plan says, undoes it in time, and knows which ends of daemons are its own doing."""

from __future__ import annotations

import heapq
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from chaos.crowd import Crowd, Member
from chaos.plan import Fault, Kind
from tests.daemon_processes import family
from tests.lab import DEADLINE, Lab

"""What the command lines of our daemon's processes begin with."""
GAVE_UP: Final = 15
"""Exit status of a node that an engine's deaths have ended."""
DEATHS_SECONDS: Final = 75.0
"""An engine that we struck so often within that time may end its node: a third death in a minute does, and the supervisor may add
deaths of its own where a loaded machine keeps a successor from being ready in time."""
READY_SECONDS: Final = 20.0
"""A daemon that is told to end before it listens to signals ends by the signal, having done nothing yet."""
RESTART_AFTER_END_SECONDS: Final = 1.0


class Injector:
    """The faults of a round, and the daemons' lives under them. ``notes`` tells what happened when, for people."""

    def __init__(self, lab: Lab, ours: Sequence[int], crowd: Crowd, origin: float) -> None:
        """``origin``: the time of the monotonic clock from which the plan counts."""
        self._lab, self._ours, self._crowd, self._origin = lab, frozenset(ours), crowd, origin
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._down: set[int] = set()
        self._stopping: dict[int, float] = {}
        """Nodes on their way to an orderly end, and since when."""
        self._started: dict[int, float] = {}
        self._paused: set[int] = set()
        self._rules: dict[int, dict[int, Callable[[], None]]] = {}
        self._parted = False
        self._unplugged: set[int] = set()
        self._struck: dict[int, float] = {}
        """When an engine of a node was last struck."""
        self.done: Counter[Kind] = Counter()
        self.left_out: Counter[Kind] = Counter()
        self.gave_up = 0
        self.notes: list[str] = []
        self.complaints: list[str] = []
        self.servers: set[int] = set()
        """Processes of ours that were about to be killed."""

    def schedule(self, faults: Sequence[Fault]) -> None:
        """Take a round's plan."""
        for fault in faults:
            self._at(fault.at, lambda fault=fault: self._strike(fault))  # type: ignore[misc]

    def _at(self, at: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (at, next(self._count), action))

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._at(self.now + seconds, action)

    @property
    def now(self) -> float:
        """Seconds since the round began."""
        return time.monotonic() - self._origin

    def note(self, text: str) -> None:
        """One line of what happened."""
        self.notes.append(f"{self.now:9.3f} {text}")

    def step(self) -> None:
        """Do what is due, and see to daemons that have ended."""
        while self._due and self._due[0][0] <= self.now:
            heapq.heappop(self._due)[2]()
        for number, node in self._lab.nodes.items():
            if node.process is not None and node.process.poll() is not None:
                self._ended(number)
            elif self._stopping.get(number, self.now) + DEADLINE < self.now:
                self.complaints.append(f"node {number} does not stop in order")
                self._stopping.pop(number)

    def recover(self) -> None:
        """Undo everything now; daemons that are down are started."""
        self._due.clear()
        for number in list(self._rules):
            self._rules[number].clear()
            self._apply_rules(number)
        self._heal()
        for number in list(self._unplugged):
            self._plug(number)
        for number in list(self._paused):
            self._resume(number)
        for member in self._crowd.live():
            member.signal(signal.SIGCONT)
        for pids in (self._engines_of(number) for number in self._ours if self._runs(number)):
            for pid in pids:
                _signal(pid, signal.SIGCONT)
        for number in list(self._down - self._stopping.keys()):
            self._start(number)

    def all_run(self) -> bool:
        """Whether every node's daemon runs, as far as can be seen from outside."""
        return not self._down and not self._stopping

    # Daemons

    def _runs(self, number: int) -> bool:
        process = self._lab.node(number).process
        return process is not None and process.poll() is None and number not in self._stopping and number not in self._paused

    def _engines_of(self, number: int) -> list[int]:
        return list(family(self._lab.node(number)))

    def _start(self, number: int) -> None:
        node = self._lab.node(number)
        if node.process is None:
            self._down.discard(number)
            node.start()
            self._started[number] = self.now
            self.note(f"node {number} starts (pid {node.process.pid if node.process else 0})")

    def _ended(self, number: int) -> None:
        """A daemon has ended: as it was asked to, because its engines died by our hand, or against the rules."""
        status = self._lab.node(number).wait_end()
        self._down.add(number)
        asked = self._stopping.pop(number, None) is not None
        self.note(f"node {number} has ended with status {status}")
        unready = self.now - self._started.get(number, -READY_SECONDS) < READY_SECONDS
        if asked and (status == 0 or (status == -signal.SIGTERM and unready)):
            return  # Its start is scheduled.
        if number in self._ours and self.now - self._struck.get(number, -DEATHS_SECONDS) < DEATHS_SECONDS and status == GAVE_UP:
            self.gave_up += 1
        else:
            self.complaints.append(f"node {number} ended by itself with status {status}")
        self._later(RESTART_AFTER_END_SECONDS, lambda: self._start(number))

    def _resume(self, number: int) -> None:
        process = self._lab.node(number).process
        if number in self._paused and process is not None:
            process.send_signal(signal.SIGCONT)
        self._paused.discard(number)

    # Faults

    def _strike(self, fault: Fault) -> None:
        action = self._ACTIONS[fault.kind]
        if action(self, fault):
            self.done[fault.kind] += 1
            self.note(str(fault))
        else:
            self.left_out[fault.kind] += 1

    def _kill_node(self, fault: Fault) -> bool:
        (number,) = fault.nodes
        process = self._lab.node(number).process
        if process is None or process.poll() is not None or number in self._stopping:
            return False
        self._paused.discard(number)
        self.servers |= family(self._lab.node(number)).keys()
        self._lab.node(number).kill()
        self._down.add(number)
        self._later(fault.seconds, lambda: self._start(number))
        return True

    def _restart_node(self, fault: Fault) -> bool:
        (number,) = fault.nodes
        process = self._lab.node(number).process
        if process is None or not self._runs(number):
            return False
        process.send_signal(signal.SIGTERM)
        self._stopping[number] = self.now
        self._await_end(number, fault.seconds)
        return True

    def _await_end(self, number: int, seconds: float) -> None:
        """Start the node again ``seconds`` after it has ended."""

        def look() -> None:
            if number in self._stopping:
                self._later(0.05, look)
            elif number in self._down:
                self._later(seconds, lambda: self._start(number))

        look()

    def _pause_node(self, fault: Fault) -> bool:
        (number,) = fault.nodes
        process = self._lab.node(number).process
        if process is None or not self._runs(number):
            return False
        process.send_signal(signal.SIGSTOP)
        self._paused.add(number)
        self._later(fault.seconds, lambda: self._resume(number))
        return True

    def _process(self, fault: Fault, name: str) -> int | None:
        """The pid of one of a node's processes, while the node runs."""
        (number,) = fault.nodes
        if not self._runs(number):
            return None
        titles = family(self._lab.node(number))
        self.servers |= titles.keys()
        return next((pid for pid, title in titles.items() if title == name), None)

    def _kill_engine(self, fault: Fault) -> bool:
        pid = self._process(fault, str(fault.detail))
        if pid is None:
            return False
        self._struck[fault.nodes[0]] = self.now
        return _signal(pid, signal.SIGKILL)

    def _pause_engine(self, fault: Fault) -> bool:
        pid = self._process(fault, str(fault.detail))
        if pid is None:
            return False
        self._struck[fault.nodes[0]] = self.now
        self._later(fault.seconds, lambda: self._continue(pid))
        return _signal(pid, signal.SIGSTOP)

    def _continue(self, pid: int) -> None:
        _signal(pid, signal.SIGCONT)

    def _kill_fork_server(self, fault: Fault) -> bool:
        pid = self._process(fault, "fork server")
        if pid is None:
            return False
        self._struck[fault.nodes[0]] = self.now
        return _signal(pid, signal.SIGKILL)

    def _partition(self, fault: Fault) -> bool:
        if self._parted:
            return False
        self._parted = True
        self._lab.partition([number for number in self._lab.nodes if number not in fault.nodes], fault.nodes)
        self._later(fault.seconds, self._heal)
        return True

    def _heal(self) -> None:
        if self._parted:
            self._lab.heal()
            self._parted = False
            self.note("healed")

    def _unplug(self, fault: Fault) -> bool:
        (number,) = fault.nodes
        if number in self._unplugged:
            return False
        self._unplugged.add(number)
        self._lab.node(number).link(False)
        self._later(fault.seconds, lambda: self._plug(number))
        return True

    def _plug(self, number: int) -> None:
        if number in self._unplugged:
            self._unplugged.discard(number)
            self._lab.node(number).link(True)
            self.note(f"node {number} plugged in")

    def _one_way(self, fault: Fault) -> bool:
        deaf, unheard = fault.nodes
        self._rule(deaf, fault.seconds, lambda: self._lab.node(deaf).block(unheard))
        return True

    def _not_transitive(self, fault: Fault) -> bool:
        for deaf, unheard in (fault.nodes, fault.nodes[::-1]):
            self._rule(deaf, fault.seconds, lambda deaf=deaf, unheard=unheard: self._lab.node(deaf).block(unheard))  # type: ignore[misc]
        return True

    def _reject(self, fault: Fault) -> bool:
        deaf, unheard = fault.nodes
        self._rule(deaf, fault.seconds, lambda: self._lab.node(deaf).block(unheard, reject=True))
        return True

    def _lose(self, fault: Fault) -> bool:
        for number in fault.nodes:
            self._rule(number, fault.seconds, lambda number=number: self._lab.node(number).drop(int(fault.detail)))  # type: ignore[misc]
        return True

    def _rule(self, number: int, seconds: float, rule: Callable[[], None]) -> None:
        """A firewall rule of a node, for that long."""
        key = next(self._count)
        self._rules.setdefault(number, {})[key] = rule
        rule()

        def undo() -> None:
            if self._rules[number].pop(key, None):
                self._apply_rules(number)
                self.note(f"a rule of node {number} is gone")

        self._later(seconds, undo)

    def _apply_rules(self, number: int) -> None:
        self._lab.node(number).clear_rules()
        for rule in self._rules[number].values():
            rule()

    # Programs

    def _member(self, fault: Fault) -> Member | None:
        member = self._crowd.current.get((fault.nodes[0], str(fault.detail)))
        return member if member is not None and member.ended_at is None and not member.expected_end else None

    def _kill_program(self, fault: Fault) -> bool:
        member = self._member(fault)
        if member is not None:
            self._crowd.kill(member, orderly=False)
        return member is not None

    def _end_program(self, fault: Fault) -> bool:
        member = self._member(fault)
        if member is not None:
            self._crowd.kill(member, orderly=True)
        return member is not None

    def _pause_program(self, fault: Fault) -> bool:
        member = self._member(fault)
        if member is not None:
            member.signal(signal.SIGSTOP)
            self._later(fault.seconds, lambda: member.signal(signal.SIGCONT))
        return member is not None

    _ACTIONS: Final[dict[Kind, Callable[[Injector, Fault], bool]]] = {
        Kind.KILL_NODE: _kill_node,
        Kind.RESTART_NODE: _restart_node,
        Kind.PAUSE_NODE: _pause_node,
        Kind.KILL_ENGINE: _kill_engine,
        Kind.PAUSE_ENGINE: _pause_engine,
        Kind.KILL_FORK_SERVER: _kill_fork_server,
        Kind.PARTITION: _partition,
        Kind.UNPLUG: _unplug,
        Kind.ONE_WAY: _one_way,
        Kind.NOT_TRANSITIVE: _not_transitive,
        Kind.REJECT: _reject,
        Kind.LOSS: _lose,
        Kind.KILL_PROGRAM: _kill_program,
        Kind.PAUSE_PROGRAM: _pause_program,
        Kind.END_PROGRAM: _end_program,
    }


def _signal(pid: int, number: int) -> bool:
    """Send a signal to a process that may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
