"""Shrinks a run that violated a property to a short scenario that still violates it.

The run becomes a scenario of explicit steps: every start, every fault, and every message with its time; of whole nodes what the
members of groups did. Then whatever can go goes: the time after the violation, nodes, steps (by delta debugging, Zeller and
Hildebrandt 2002), the network's misfortunes, what is odd about processes, sizes and times. A candidate is taken when the same
property still fails in it; so what comes out need not be the same fault, but it is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import count, groupby, pairwise
from typing import Final

from corosyncsim import faults
from corosyncsim.cluster import Cluster
from corosyncsim.faults import Plan
from corosyncsim.injector import Injector
from corosyncsim.load import Programs
from corosyncsim.network import Conditions
from corosyncsim.player import USUAL_SIZE, Player
from corosyncsim.run import starts
from corosyncsim.scenario import KIND_OF_VERB, Block, Command, cluster_of, duration, seconds, strike_of, text_of
from corosyncsim.scenario_programs import of_their_programs, steps_of
from corosyncsim.services.options import Options
from corosyncsim.spoiling import Spoilt, changes

RUNS_LIMIT: Final = 400
"""Candidates that are tried before the smallest so far is good enough."""
ACTIONS_LIMIT: Final = 20_000_000
"""The same in actions of the simulated worlds, all candidates together: some minutes."""
CALM_CONDITIONS: Final = Conditions()
USUAL_OPTIONS: Final = Options()
LONG_WAIT: Final = 0.1
"""Seconds between two steps that are worth shortening."""
_OF_MANY: Final = (faults.PARTITION, faults.ROLLING)
_ROUND_TO: Final = (1, 2, 3)
"""Decimal places of seconds that a time may be rounded to, the roundest first."""


@dataclass(frozen=True, slots=True)
class Script:
    """A scenario of timed steps with a check at ``end`` seconds."""

    plan: Plan
    defect: Spoilt | None
    steps: tuple[Command, ...]
    end: float

    def commands(self) -> list[Command]:
        """All of it, in order."""
        return [cluster_of(self.plan, self.defect), *self.steps, Command("check", at=self.end)]

    def without(self, node_id: int) -> Script:
        """The same in a cluster that lacks one node, and what is said about it."""
        plan = replace(self.plan, node_ids=tuple(other for other in self.plan.node_ids if other != node_id))
        steps = (_without(step, str(node_id)) for step in self.steps)
        return replace(self, plan=plan).of(step for step in steps if step)

    def of(self, steps: Iterable[Command]) -> Script:
        """The same with other steps: those of programs that start in it, if they are a program's."""
        return replace(self, steps=tuple(of_their_programs(steps)))

    def together(self) -> list[Command]:
        """The commands with messages of one node at one moment in one line."""
        commands = []
        for command, alike in groupby(self.commands()):
            times = len(list(alike))
            if times > 1 and command.verb == "send":
                commands.append(replace(command, options={**command.options, "times": str(times)}))
            else:
                commands += [command] * times
        return commands


def _without(step: Command, node_id: str) -> Command | None:
    """The step in a cluster without the node, if it has a sense there."""
    if node_id not in step.words:
        return step
    words = tuple(word for word in step.words if word != node_id)
    return replace(step, words=words) if words and KIND_OF_VERB.get(step.verb) in _OF_MANY else None


def shrink(plan: Plan, number: int, defect: Spoilt | None = None, runs_limit: int = RUNS_LIMIT) -> str | None:
    """The text of a short scenario that violates property ``number`` as the run of ``plan`` did.

    None where the run's explicit form does not violate it (chance that the steps do not carry). ``defect`` is the deliberate
    one and the node that has it.
    """
    search = _Search(number, runs_limit)
    for script in _explicit(plan, defect):
        violated_at = search.violated_at(script)
        if violated_at is not None:
            break
    else:
        return None
    script = search.smallest(script, violated_at)
    commands = script.together()
    played = Player().play(commands)
    about = f"# Property {number}, found by seed {plan.seed} and shrunk in {search.runs} runs."
    return text_of([Block([about, *map(str, commands)], played)])


def _explicit(plan: Plan, defect: Spoilt | None) -> Iterator[Script]:
    """The plan's run, once more, with everything that its programs did written down.

    Of whole nodes: with what members of groups did written down, and without any other program; then with all programs, whose
    deeds are left to chance.
    """
    adapt, prepare = changes(defect)
    cluster = Cluster(plan, adapt=adapt)
    prepare(cluster)
    injector = Injector(cluster)
    began = starts(plan)
    for node_id, time in began.items():
        cluster.kernel.at(time, cluster.nodes[node_id].start)
    cluster.programs.start()
    injector.start()
    try:
        cluster.kernel.run_until(plan.duration)
    except Exception:
        end = cluster.kernel.now  # what it raises is what is looked for: everything up to it is needed
    else:
        end = plan.duration
    steps = [Command("start", (str(node_id),), at=time) for node_id, time in began.items()]
    steps += [strike_of(fault, plan.conditions) for fault in plan.faults]
    script = Script(plan, defect, (), end)
    programs = cluster.programs
    if isinstance(programs, Programs):
        sent = [
            Command("send", (str(node_id),), {} if size == USUAL_SIZE else {"size": str(size)}, time)
            for time, node_id, size in programs.handed_over
        ]
        yield script.of(sorted(steps + sent, key=_moment))
    else:
        yield script.of(sorted([*steps, *steps_of(programs.services.journal.clients)], key=_moment))
        yield script.of(sorted([*steps, Command("load", at=0.0)], key=_moment))


def _moment(step: Command) -> float:
    return step.at or 0.0


class _Search:
    """Tries candidates and counts them."""

    def __init__(self, number: int, runs_limit: int) -> None:
        self.runs = 0
        self._number = number
        self._limit = runs_limit
        self._actions = 0

    def _over(self) -> bool:
        return self.runs >= self._limit or self._actions >= ACTIONS_LIMIT

    def violated_at(self, script: Script) -> float | None:
        """When the property is violated first; None if it is not, or if no more runs are allowed."""
        if self._over():
            return None
        self.runs += 1
        player = Player()
        player.play(script.commands())
        self._actions += player.report.actions if player.report else 0
        violations = player.report.violations if player.report else ()
        return min((violation.time for violation in violations if violation.number == self._number), default=None)

    def smallest(self, script: Script, violated_at: float) -> Script:
        """The smallest script found."""
        early = script.of(step for step in script.steps if _moment(step) <= violated_at)
        script = self._first([replace(early, end=min(script.end, violated_at))], script)
        script = self._fewer_nodes(script)
        script = self._fewest(script)
        script = self._first([replace(script, plan=replace(script.plan, conditions=CALM_CONDITIONS))], script)
        if script.plan.services:
            script = self._first([replace(script, plan=replace(script.plan, services=USUAL_OPTIONS))], script)
        for candidate in _calmer(script):
            script = self._first([replace(script, plan=candidate(script.plan))], script)
        script = self._fewer_nodes(script)
        script = self._sooner(script)
        for index in count():
            if index >= len(script.steps):
                break
            script = self._first(_plainer(script, index), script)
        script = self._first((replace(script, end=round(script.end + 0.5 * 10**-places, places)) for places in _ROUND_TO), script)
        return self._fewest(script)

    def _fewer_nodes(self, script: Script) -> Script:
        for node_id in script.plan.node_ids:
            if len(script.plan.node_ids) > 1:
                script = self._first([script.without(node_id)], script)
        return script

    def _sooner(self, script: Script) -> Script:
        """Takes out time in which nothing is done, step by step and then before the check."""
        moments = sorted({_moment(step) for step in script.steps} | {script.end})
        for before, moment in reversed(list(pairwise([0.0, *moments]))):
            wait = moment - before
            if wait > LONG_WAIT:
                script = self._first((_shifted(script, moment, wait - gap) for gap in (LONG_WAIT, wait / 2)), script)
        return script

    def _first(self, candidates: Iterator[Script] | Sequence[Script], otherwise: Script) -> Script:
        """The first candidate that still violates the property."""
        return next((candidate for candidate in candidates if self.violated_at(candidate) is not None), otherwise)

    def _fewest(self, script: Script) -> Script:
        """Delta debugging: leaves out ever smaller parts of the steps."""
        parts = 2
        while len(script.steps) > 1:
            steps = script.steps
            length = -(-len(steps) // parts)
            for start in range(0, len(steps), length):
                fewer = script.of([*steps[:start], *steps[start + length :]])
                if self.violated_at(fewer) is not None:
                    script, parts = fewer, max(parts - 1, 2)
                    break
            else:
                if length == 1 or self._over():
                    break
                parts = min(2 * parts, len(steps))
        return script


def _shifted(script: Script, since: float, by: float) -> Script:
    """Everything from ``since`` on ``by`` seconds sooner."""
    steps = tuple(replace(step, at=_moment(step) - by) if _moment(step) >= since else step for step in script.steps)
    return replace(script, steps=steps, end=script.end - by)


def _calmer(script: Script) -> Iterator[Callable[[Plan], Plan]]:
    """Each way to make the plan's world a little simpler."""
    yield lambda plan: replace(plan, barrier=False)
    for each in fields(Conditions):
        usual = getattr(CALM_CONDITIONS, each.name)
        if getattr(script.plan.conditions, each.name) != usual:
            yield lambda plan, name=each.name, usual=usual: replace(  # type: ignore[misc]
                plan, conditions=replace(plan.conditions, **{name: usual})
            )
    for each in fields(Options) if script.plan.services else ():
        usual = getattr(USUAL_OPTIONS, each.name)
        if getattr(script.plan.services, each.name) != usual:
            yield lambda plan, name=each.name, usual=usual: replace(  # type: ignore[misc]
                plan, services=replace(plan.services, **{name: usual})
            )


def _plainer(script: Script, index: int) -> Iterator[Script]:
    """The script with one step's numbers rounded: all of them, or its moment alone."""
    step = script.steps[index]

    def with_step(other: Command) -> Script:
        steps = (*script.steps[:index], other, *script.steps[index + 1 :])
        return script.of(sorted(steps, key=_moment))

    for places in _ROUND_TO:
        options = {name: value for name, value in step.options.items() if name != "size"}
        if "for" in options:
            options["for"] = duration(round(seconds(options["for"]), places) or 10**-places)
        moment = round(_moment(step), places)
        yield with_step(replace(step, at=moment, options=options))
        yield with_step(replace(step, at=moment))
