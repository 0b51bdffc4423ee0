"""A trial: rounds of faults under load, each followed by quiet in which the cluster must become one, and judged then."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from chaos import excuses, judgement
from chaos.crowd import KINDS, Crowd, Member
from chaos.injector import Injector
from chaos.leaks import Ledger, left_in_shared_memory
from chaos.plan import Kind, draw
from chaos.transcripts import Transcript, beliefs
from corosyncd.totem.events import RingId
from corosyncsim.checkers.quorum import Belief
from corosyncsim.checkers.violation import Violation
from corosyncsim.history import Quiet
from corosyncsim.overlap import longest_overlap
from tests.daemon_processes import family
from tests.interop.transcripts import compile_participant
from tests.lab import CHECKOUT, Lab, Node

TOTEM: Final[dict[str, object]] = {"token": 1000, "token_coefficient": 0}
ROUND_SECONDS: Final = 60.0
"""With faults; the quiet phase comes on top."""
WARM_UP_SECONDS: Final = 5.0
"""A first round without faults: what it leaves is what leaks are measured against."""
QUIET_SECONDS: Final = 120.0
"""Within that the cluster must be one after the last fault, and again as long to deliver everything. Generous: the machine's load
is not our matter; what never happens shows all the same."""
CLEAN_UP_SECONDS: Final = 30.0
"""For engines to remove the files of programs that have ended."""
STEP_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: a seed, how long, on how many nodes of each kind."""

    seed: int
    minutes: float
    ours: int
    stock: int


@dataclass(slots=True)
class Outcome:
    """What a trial did and found."""

    rounds: int = 0
    faults: Counter[Kind] = field(default_factory=Counter)
    left_out: Counter[Kind] = field(default_factory=Counter)
    programs: int = 0
    sent: int = 0
    delivered: int = 0
    changes: int = 0
    rings: int = 0
    gave_up: int = 0
    overlap_seconds: float = 0.0
    excused: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    growth: str = ""


class Watcher:
    """What one node's quorum service said, from the beginning of the trial on."""

    def __init__(self, node: Node, path: Path) -> None:
        """Starts it; it waits for the daemon itself."""
        self.node = node
        self._transcript = Transcript(path)
        self._lines: list[list[str]] = []
        with path.open("w") as output:
            command = ("env", f"PYTHONPATH={CHECKOUT}", sys.executable, "-m", "chaos.watcher")
            self.process = node.popen(*command, stdout=output, stderr=subprocess.STDOUT)

    def beliefs(self, origin: float, now: float) -> list[Belief]:
        """Everything that it was told."""
        self._lines += self._transcript.more()
        return beliefs(self.node.number, self._lines, origin, now)


class Trial:
    """One lab, from its building to its end."""

    def __init__(self, plan: Plan, results: Path, say: Callable[[str], None]) -> None:
        """``results``: the folder that is made for histories and logs where something was violated."""
        self._plan, self._results, self._say = plan, results, say
        self._ours = tuple(range(1, plan.ours + 1))
        self._stock = tuple(range(plan.ours + 1, plan.ours + plan.stock + 1))
        self.outcome = Outcome()
        self._ledger = Ledger()
        self._servers: set[int] = set()

    def run(self) -> Outcome:
        """Raises LabError where the lab cannot be built."""
        ends = time.monotonic() + self._plan.minutes * 60
        with Lab(self._plan.ours + self._plan.stock) as lab:
            self._start(lab)
            participant = compile_participant(lab.folder)
            watchers = [Watcher(node, lab.folder / f"watcher-{node.number}") for node in lab.nodes.values()]
            self._origin = time.monotonic()
            while not self.outcome.violations and (self.outcome.rounds < 2 or time.monotonic() < ends):
                number = self.outcome.rounds
                seconds = WARM_UP_SECONDS if number == 0 else min(ROUND_SECONDS, max(WARM_UP_SECONDS, ends - time.monotonic()))
                self._round(lab, number, seconds, participant, watchers)
                self.outcome.rounds += 1
            if not self.outcome.violations:
                self._stop(lab)
            self.outcome.growth = self._ledger.largest_growth()
            if self.outcome.violations:
                shutil.copytree(lab.folder, self._results, ignore=shutil.ignore_patterns("run"), dirs_exist_ok=True)
        return self.outcome

    def _start(self, lab: Lab) -> None:
        for number in self._ours:
            lab.our_node(number, totem=TOTEM)
        for number in self._stock:
            lab.stock_node(number, "totem {\n" + "".join(f"  {key}: {value}\n" for key, value in TOTEM.items()) + "}\n")
        lab.wait_ring(lab.nodes, QUIET_SECONDS)

    def _round(self, lab: Lab, number: int, seconds: float, participant: Path, watchers: Sequence[Watcher]) -> None:
        folder = lab.folder / f"round-{number}"
        folder.mkdir()
        origin = time.monotonic()
        random = Random(f"{self._plan.seed}/{number}/load")
        crowd = Crowd(list(lab.nodes.values()), f"chaos-{number}", participant, folder, random, origin)
        injector = Injector(lab, self._ours, crowd, origin)
        if number > 0:
            injector.schedule(draw(self._plan.seed, number, self._ours, self._stock, seconds))
        while injector.now < seconds:
            injector.step()
            crowd.attend(time.monotonic(), sending=True)
            time.sleep(STEP_SECONDS)
        injector.note("quiet")
        injector.recover()
        quiet = self._quiet(crowd, injector, watchers)
        self._judge(number, crowd, injector, watchers, quiet)
        crowd.end()
        self._servers |= injector.servers
        if not self.outcome.violations:
            self._look_for_leaks(lab)
        (folder / "faults").write_text("\n".join(injector.notes) + "\n")
        self._account(crowd, injector)
        self._say(f"round {number}: {self._summary(crowd, injector)}")
        if not self.outcome.violations:
            shutil.rmtree(folder)

    # Quiet

    def _quiet(self, crowd: Crowd, injector: Injector, watchers: Sequence[Watcher]) -> Quiet:
        """Faults have ended: wait for one ring with all nodes and one view with all programs, then for all messages."""
        began = injector.now

        def wait(probe: Callable[[], bool], sending: bool) -> float | None:
            deadline = injector.now + QUIET_SECONDS
            while injector.now < deadline:
                injector.step()
                crowd.attend(time.monotonic(), sending)
                if probe():
                    return injector.now
                time.sleep(STEP_SECONDS)
            return None

        one_at = wait(lambda: not self._apart(crowd, injector, watchers), sending=False)
        apart = tuple(self._apart(crowd, injector, watchers)) if one_at is None else ()
        spoken_on: dict[Member, RingId | None] = {}

        def heard() -> bool:
            """Whether all have heard the last words of all.

            The ring that all believe in may have lost its token to the last faults, and end with what is said on it before it is
            noticed that somebody has to be left out. So who is told another ring says a last word there, too, behind all that it
            had to say before: what began on an earlier ring need not reach everybody.
            """
            for member in crowd.live():
                said = member in spoken_on and spoken_on[member] == member.ring_id
                if member.own_delivered and not member.expected_end and not said:
                    spoken_on[member] = member.ring_id
                    member.send(1, 100)
            return not judgement.undelivered(crowd.all)

        drained_at = wait(heard, sending=False) if one_at is not None else None
        missing = judgement.undelivered(crowd.all) if one_at is not None and drained_at is None else ()
        return Quiet(began, began + QUIET_SECONDS, one_at, injector.now, drained_at, missing, apart)

    def _apart(self, crowd: Crowd, injector: Injector, watchers: Sequence[Watcher]) -> list[str]:
        """What is still missing to one cluster with everybody in it."""
        apart = [] if injector.all_run() else ["not all daemons run"]
        views = {}
        for watcher in watchers:
            told = watcher.beliefs(0.0, time.monotonic())
            current = told[-1] if told else None
            if current is None or current.ends < time.monotonic() - 1 or not current.quorate:
                apart.append(f"node {watcher.node.number} has no quorum")
            else:
                views[current.ring_id, current.members] = watcher.node.number
        if len(views) > 1 or any(len(members) != len(watchers) for _, members in views):
            apart.append(f"rings {sorted((number, tuple(sorted(members))) for (_, members), number in views.items())}")
        live = crowd.live()
        everybody = frozenset(member.program.address for member in live)
        if len(live) != len(watchers) * len(KINDS):
            apart.append(f"{len(live)} programs live")
        for member in live:
            if member.members != everybody:
                apart.append(f"{member} sees the members {sorted(map(tuple, member.members))}")
        return apart

    # Judgement

    def _judge(self, number: int, crowd: Crowd, injector: Injector, watchers: Sequence[Watcher], quiet: Quiet) -> None:
        now = time.monotonic()
        told = [belief for watcher in watchers for belief in watcher.beliefs(self._origin, now - self._origin)]
        self.outcome.overlap_seconds = longest_overlap(told)
        self.outcome.rings = len({belief.ring_id for belief in told})
        found = [*injector.complaints, *crowd.complaints()]
        for violation in judgement.of_programs(crowd.all, quiet):
            self._enter(number, violation, crowd.all)
        for violation in judgement.of_nodes(told, self._plan.ours + self._plan.stock):
            self.outcome.violations.append(f"round {number}: {violation}")
        self.outcome.violations += [f"round {number}: {complaint}" for complaint in found]
        for node_number in self._ours:
            log = watchers[node_number - 1].node.folder / "log"
            for path in sorted(log.iterdir()):
                if "Traceback" in path.read_text(errors="replace"):
                    self.outcome.violations.append(f"round {number}: an exception in {path.name} of node {node_number}")

    def _enter(self, number: int, violation: Violation, members: Sequence[Member]) -> None:
        excuse = excuses.find(violation, members, self._stock)
        if excuse is not None:
            self.outcome.excused[excuse] += 1
            return
        at = f" [{members[violation.node_id - 1]}]" if 1 <= violation.node_id <= len(members) else ""
        self.outcome.violations.append(f"round {number}: {violation}{at}")

    def _look_for_leaks(self, lab: Lab) -> None:
        for number in self._ours:
            self.outcome.violations += self._ledger.look(lab.node(number))
        self._servers |= {life.pid for life in self._ledger.first}
        living = {pid for number in self._ours for pid in family(lab.node(number))}
        self._complain_of_shared_memory(living, self._servers - living)

    def _complain_of_shared_memory(self, living: set[int], ended: set[int]) -> None:
        deadline = time.monotonic() + CLEAN_UP_SECONDS
        while (left := left_in_shared_memory(living, ended)) and time.monotonic() < deadline:
            time.sleep(STEP_SECONDS)
        self.outcome.violations += [f"left in /dev/shm: {name}" for name in left]

    def _stop(self, lab: Lab) -> None:
        """Everything in order, and then nothing of ours is left."""
        for number in self._ours:
            if (status := lab.node(number).stop()) != 0:
                self.outcome.violations.append(f"node {number} ended with status {status} when it was stopped")
        self._complain_of_shared_memory(set(), self._servers)

    # Account

    def _account(self, crowd: Crowd, injector: Injector) -> None:
        outcome = self.outcome
        outcome.faults += injector.done
        outcome.left_out += injector.left_out
        outcome.gave_up += injector.gave_up
        outcome.programs += len(crowd.all)
        outcome.sent += sum(len(member.program.sizes) for member in crowd.all)
        outcome.delivered += sum(type(told).__name__ == "Spoken" for member in crowd.all for told in member.program.told)
        outcome.changes += sum(type(told).__name__ == "Changed" for member in crowd.all for told in member.program.told)

    def _summary(self, crowd: Crowd, injector: Injector) -> str:
        sent = sum(len(member.program.sizes) for member in crowd.all)
        faults = injector.done.total()
        verdict = f"{len(self.outcome.violations)} violations" if self.outcome.violations else "good"
        return f"{injector.now:.0f} s, {faults} faults, {len(crowd.all)} programs, {sent} messages sent, {verdict}"
