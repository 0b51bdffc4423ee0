"""Scenarios as text: commands, ``----``, and what they show; the manner is that of etcd raft's datadriven tests.

A file is blocks with an empty line between them. A block is comment lines (``#``), command lines, and, behind ``----``, the
expected trace. A command is a verb, words and ``option=value`` pairs; ``@800ms`` in front of it first lets time come to that
moment. Times carry their unit, ``ms`` or ``s``.

Every kind of fault in ``corosyncsim.faults`` is a verb: its name with dashes, the nodes that it strikes, ``for=`` how long (until
``heal`` where it is missing) and what else the kind wants. ``corosyncsim.player`` knows the other verbs.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from corosyncsim import faults
from corosyncsim.faults import Fault, Load, Plan
from corosyncsim.network import Conditions
from corosyncsim.services import swarm
from corosyncsim.services.options import Options
from corosyncsim.wiretap import TYPE_NAMES

SEPARATOR: Final = "----"
KIND_OF_VERB: Final[Mapping[str, str]] = {kind.replace(" ", "-"): kind for kind in (*faults.KINDS, *swarm.KINDS)}
_NUMBERS: Final = {
    faults.CRASH_IN_STEP: "outputs",
    faults.SLOW: "tenths",
    faults.BLACK_HOLE: "bytes",
    faults.MUTE: "frames",
    faults.REJECT: "on_the_way",
}
"""What the number of a fault is called, by its kind."""
_TIMES: Final = frozenset({"delay", "pause", "wake_delay", "start_delay", "restart_delay"})
_TIMEOUTS: Final = ("token", "join", "consensus", "merge")
_COUNTS: Final = ("fail_recv_const", "window_size", "max_messages")
"""Keys of the configuration's totem section that a cluster command takes, too."""
_USUAL: Final = {"token": 1.0, "join": 0.05, "merge": 0.2}
CONSENSUS_FACTOR: Final = 1.2
IDLE: Final = Load(pause=1.0, burst=1, large=0.0, largest=20_000, answers=0.0)


class BadScenario(ValueError):
    """A scenario that says what cannot be done: which line, what is wrong, what is allowed."""


@dataclass(frozen=True, slots=True)
class Command:
    """One line: ``at`` is the moment to wait for, in seconds, if any."""

    verb: str
    words: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    at: float | None = None

    def __str__(self) -> str:
        options = [f"{name}={shlex.quote(value)}" for name, value in self.options.items()]
        moment = [] if self.at is None else [f"@{duration(self.at)}"]
        return " ".join([*moment, self.verb, *map(shlex.quote, self.words), *options])

    def nodes(self) -> tuple[int, ...]:
        """The words as node ids; raises BadScenario."""
        try:
            return tuple(int(word) for word in self.words)
        except ValueError as error:
            raise BadScenario(f"{self}: the words after {self.verb} are node ids") from error

    def option(self, name: str, read: Callable[[str], Any], usual: Any) -> Any:
        """The value of an option; raises BadScenario."""
        if name not in self.options:
            return usual
        try:
            return read(self.options[name])
        except ValueError as error:
            raise BadScenario(f"{self}: {name} cannot be {self.options[name]!r}") from error

    def allow(self, allowed: Iterable[str]) -> None:
        """Raises BadScenario for an option outside of these."""
        known = sorted(allowed)
        for name in self.options:
            if name not in known:
                raise BadScenario(f"{self}: no option {name}; {self.verb} takes {', '.join(known) or 'none'}")


def command(line: str) -> Command:
    """Read one line; raises BadScenario."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise BadScenario(f"{line}: {error}") from error
    at = None
    if words and words[0].startswith("@"):
        try:
            at = seconds(words.pop(0)[1:])
        except ValueError as error:
            raise BadScenario(f"{line}: {error}") from error
    if not words:
        raise BadScenario(f"{line}: no command")
    verb, *rest = words
    options = dict(word.split("=", 1) for word in rest if "=" in word)
    return Command(verb, tuple(word for word in rest if "=" not in word), options, at)


def seconds(text: str) -> float:
    """``800ms`` or ``0.8s`` in seconds; raises ValueError."""
    if text.endswith("ms"):
        return float(text[:-2]) / 1000
    if text.endswith("s"):
        return float(text[:-1])
    raise ValueError(f"a time needs its unit, as in {text}ms or {text}s")


def duration(time: float) -> str:
    """The text of so many seconds; ``seconds`` of it is the same number again."""
    milliseconds = round(time * 1000)
    if milliseconds / 1000 == time and milliseconds < 10_000:
        return f"{milliseconds}ms"
    return f"{time!r}s"


def _yes(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("yes or no")
    return text == "yes"


# Layouts as options: every field of a dataclass is one, written only where it differs from the usual value.


def _options_of(values: Any, usual: Any) -> dict[str, str]:
    options = {}
    for each in fields(values):
        value = getattr(values, each.name)
        if value != getattr(usual, each.name):
            options[each.name] = _text(each.name, value)
    return options


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return duration(value) if name in _TIMES else repr(value)


def _values(given: Command, usual: Any) -> Any:
    """A dataclass like ``usual`` with what the command's options say otherwise."""
    values = {}
    for each in fields(usual):
        value = getattr(usual, each.name)
        read = _yes if isinstance(value, bool) else seconds if each.name in _TIMES else type(value)
        values[each.name] = given.option(each.name, read, value)
    return type(usual)(**values)


def _names(layout: Any) -> list[str]:
    return [each.name for each in fields(layout)]


# The commands that lead to the simulator's own values, and back.


def cluster_of(plan: Plan, defect: tuple[str, int] | None = None) -> Command:
    """The command that makes the cluster of a plan; its load and faults are commands of their own."""
    timeouts = {
        name: duration(value / 1000) if name in _TIMEOUTS else str(value)
        for name, value in plan.timeouts.items()
        if name != "token_coefficient"
    }
    options = {"nodes": ",".join(map(str, plan.node_ids)), "seed": str(plan.seed), **timeouts}
    options |= _options_of(plan.conditions, Conditions())
    if not plan.barrier:
        options["barrier"] = "no"
    if plan.services:
        options |= {"services": "yes", **_options_of(plan.services, Options())}
    if defect:
        options |= {"defect": defect[0], "struck": str(defect[1])}
    return Command("cluster", (), options)


def plan_of(given: Command) -> tuple[Plan, tuple[str, int] | None]:
    """The plan of a ``cluster`` command, without load and faults, and its deliberate defect; raises BadScenario."""
    services = given.option("services", _yes, False)
    of_services = _names(Options) if services else []
    given.allow(
        ["nodes", "seed", "barrier", "services", "defect", "struck", *_TIMEOUTS, *_COUNTS, *_names(Conditions), *of_services]
    )
    node_ids = given.option("nodes", _node_ids, (1, 2, 3))
    timeouts = {"token_coefficient": 1}
    for name in _TIMEOUTS:
        usual = _USUAL.get(name) or CONSENSUS_FACTOR * timeouts["token"] / 1000
        timeouts[name] = round(1000 * given.option(name, seconds, usual))
    timeouts |= {name: given.option(name, int, 0) for name in _COUNTS if name in given.options}
    defect = None
    if "defect" in given.options:
        defect = given.options["defect"], given.option("struck", int, node_ids[0])
    barrier = given.option("barrier", _yes, True)
    seed = given.option("seed", int, 1)
    options = _values(given, Options()) if services else None
    return Plan(seed, node_ids, timeouts, _values(given, Conditions()), IDLE, barrier, (), 0.0, options), defect


def _node_ids(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def load_of(load: Load) -> Command:
    """The command that lets programs send by chance."""
    return Command("load", (), _options_of(load, IDLE))


def load(given: Command) -> Load:
    """What a ``load`` command asks for; raises BadScenario."""
    given.allow(_names(Load))
    made: Load = _values(given, IDLE)
    return made


def strike_of(fault: Fault, usual: Conditions) -> Command:
    """The command that lets a fault strike, in a network whose ordinary conditions are ``usual``."""
    options = {} if math.isinf(fault.duration) else {"for": duration(fault.duration)}
    if fault.kind in _NUMBERS:
        options[_NUMBERS[fault.kind]] = TYPE_NAMES[fault.number] if fault.kind == faults.MUTE else str(fault.number)
    if fault.kind in swarm.KINDS:
        words, engine = divmod(fault.number, len(swarm.NAMES))
        options |= {"engine": swarm.NAMES[engine], "words": str(words)}
    if fault.conditions:
        options |= _options_of(fault.conditions, usual)
    nodes = () if fault.conditions else fault.nodes
    return Command(fault.kind.replace(" ", "-"), tuple(map(str, nodes)), options, fault.time)


def fault_of(given: Command, time: float, plan: Plan) -> Fault:
    """The fault that a command asks for, striking at ``time``; raises BadScenario."""
    kind = KIND_OF_VERB[given.verb]
    nodes = given.nodes() or plan.node_ids
    stranger = set(nodes) - set(plan.node_ids)
    if stranger:
        raise BadScenario(f"{given}: no node {min(stranger)} in the cluster of {list(plan.node_ids)}")
    lasting = given.option("for", seconds, math.inf)
    if kind in swarm.KINDS:
        given.allow(["for", "engine", "words"])
        if plan.services is None:
            raise BadScenario(f"{given}: there is nothing above a bare ring; cluster wants services=yes")
        number = given.option("engine", swarm.NAMES.index, 0) + len(swarm.NAMES) * given.option("words", int, 0)
        return Fault(time, kind, lasting, nodes, number)
    number_name = _NUMBERS.get(kind)
    given.allow(["for", *([number_name] if number_name else []), *(_names(Conditions) if kind == faults.STORM else [])])
    if number_name and number_name not in given.options and kind != faults.REJECT:
        raise BadScenario(f"{given}: {given.verb} needs {number_name}=")
    number = given.option(number_name, TYPE_NAMES.index if kind == faults.MUTE else int, 0) if number_name else 0
    conditions = _values(given, plan.conditions) if kind == faults.STORM else None
    return Fault(time, kind, lasting, nodes, number, conditions)


@dataclass(slots=True)
class Block:
    """Comments, commands, and what they are expected to show."""

    lines: list[str]
    expected: list[str]

    def commands(self) -> list[Command]:
        """The commands of the block; raises BadScenario."""
        return [command(line) for line in self.lines if not line.startswith("#")]

    def __str__(self) -> str:
        if not self.commands():
            return "\n".join(self.lines)
        return "\n".join([*self.lines, SEPARATOR, *self.expected])


def blocks(text: str) -> list[Block]:
    """Cut a file at its empty lines."""
    found: list[Block] = []
    for part in text.strip().split("\n\n"):
        lines = part.strip("\n").splitlines()
        at = lines.index(SEPARATOR) if SEPARATOR in lines else len(lines)
        found.append(Block(lines[:at], lines[at + 1 :]))
    return found


def text_of(parts: Sequence[Block]) -> str:
    """The file of these blocks."""
    return "\n\n".join(map(str, parts)) + "\n"
