"""Chance's part above the ring: what a seed adds to a plan when whole nodes run, and how those faults strike.

The faults of the ring go on beside them. Engines are killed between two turns, between two words of a frame, or between telling
their programs and telling the executive; engines, programs and whole machines stand still; configurations are read again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from random import Random
from typing import TYPE_CHECKING, Final

from corosyncd.keyspace.values import uint32
from corosyncsim.faults import DISTANCES, Fault, Plan
from corosyncsim.node import Power
from corosyncsim.services.options import BATCHES, Options
from corosyncsim.services.stack import ENGINES, SETTINGS_PREFIX

if TYPE_CHECKING:
    from corosyncsim.services.services import Services

KILL, KILL_IN_FRAME, KILL_BETWEEN, STALL, PROGRAM_STALL, MACHINE_PAUSE, RELOAD = (
    "kill an engine",
    "kill an engine in a frame",
    "kill an engine after its events",
    "stall an engine",
    "stall programs",
    "pause a machine",
    "reload",
)
KINDS: Final = (KILL, KILL_IN_FRAME, KILL_BETWEEN, STALL, PROGRAM_STALL, MACHINE_PAUSE, RELOAD)
OF_LIVES: Final = frozenset(KINDS) - {RELOAD}
"""See ``corosyncsim.faults``."""
NAMES: Final = tuple(engine.description.name for engine in ENGINES)
WORDS: Final = 12
"""An engine that is killed in a frame works off fewer words than this before."""
SETTINGS: Final = tuple(SETTINGS_PREFIX + name for name in ("one", "two", "three"))


def with_services(plan: Plan, distance: str = "site") -> Plan:
    """The plan with whole nodes: fewer faults of the ring, so that rounds are completed between them, and faults of their own.

    All programs together send no more than nodes at this distance may (``corosyncsim.faults.DISTANCES``).
    """
    random = Random(plan.seed * 2_654_435_761 + 2)
    token = plan.timeouts["token"] / 1000
    options = Options(
        wake_delay=10 ** random.uniform(-4.7, -2.7),
        frames_at_once=random.choice((1, 4, 16)),
        start_delay=random.choice((0.01, 0.05, 0.2)),
        restart_delay=token * random.choice((0.5, 2.0)),
        members=random.choice((1, 2, 4)),
        groups=random.choice((1, 2, 4)),
        pause=10 ** random.uniform(-1.2, 0.0),
        largest=random.choice((50, 500, 3000)),
        huge=random.choice((0.0, 0.0, 0.02)),
        watchers=random.random() < 0.7,
        wait_for_all=random.random() < 0.2,
    )
    apart = DISTANCES[distance]
    batch = sum(BATCHES) / len(BATCHES)
    options = replace(
        options,
        pause=max(options.pause, len(plan.node_ids) * options.members * batch / apart.rate),
        huge=options.huge if apart.rate == inf else 0.0,
    )
    kinds = random.sample(KINDS, random.randint(1, 4))
    mean = max(token, 0.5) * random.choice((2.0, 5.0, 15.0))
    faults = [fault for fault in plan.faults if random.random() < 0.3]
    time = random.expovariate(1.0 / mean)
    while time < plan.duration:
        faults.append(_draw(random, random.choice(kinds), time, plan.node_ids))
        time += random.expovariate(1.0 / mean)
    return replace(plan, services=options, faults=tuple(sorted(faults, key=lambda fault: fault.time)))


def _draw(random: Random, kind: str, time: float, node_ids: tuple[int, ...]) -> Fault:
    """``number``: which engine, and for a death in a frame also after how many words."""
    engine = random.randrange(len(NAMES))
    length = 10 ** random.uniform(-2.5, 0.5)
    return Fault(time, kind, length, (random.choice(node_ids),), engine + len(NAMES) * random.randrange(WORDS))


class Strikes:
    """What the faults of these kinds do to a run's services."""

    def __init__(self, services: Services) -> None:
        """``by_kind`` is for ``corosyncsim.injector``."""
        self._services = services
        self._reloads = 0
        self.by_kind: dict[str, Callable[[Fault], Callable[[], None] | None]] = {
            KILL: self._kill,
            KILL_IN_FRAME: self._kill_in_frame,
            KILL_BETWEEN: self._kill_between,
            STALL: self._stall,
            PROGRAM_STALL: self._stall_programs,
            MACHINE_PAUSE: self._pause_machine,
            RELOAD: self._reload,
        }

    def _kill(self, fault: Fault) -> None:
        stack = self._services.stacks.get(fault.nodes[0])
        if stack is not None:
            stack.kill(_engine(fault), "killed")

    def _kill_in_frame(self, fault: Fault) -> None:
        stack = self._services.stacks.get(fault.nodes[0])
        link = stack.links.get(_engine(fault)) if stack is not None else None
        if link is not None:
            link.process.dies_after = fault.number // len(NAMES)

    def _kill_between(self, fault: Fault) -> None:
        stack = self._services.stacks.get(fault.nodes[0])
        link = stack.links.get(_engine(fault)) if stack is not None else None
        if link is not None:
            link.process.dies_between = True

    def _stall(self, fault: Fault) -> Callable[[], None]:
        stack = self._services.stacks.get(fault.nodes[0])
        link = stack.links.get(_engine(fault)) if stack is not None else None
        if link is None:
            return lambda: None
        process = link.process
        process.stall(self._services.kernel.now + fault.duration)
        return process.resume

    def _stall_programs(self, fault: Fault) -> Callable[[], None]:
        programs = list(self._services.programs[fault.nodes[0]])
        for program in programs:
            program.stall(self._services.kernel.now + fault.duration)

        def resume() -> None:
            for program in programs:
                program.resume()

        return resume

    def _pause_machine(self, fault: Fault) -> Callable[[], None]:
        """Everything on it stands still: daemon, engines, programs."""
        services = self._services
        stack = services.stacks.get(fault.nodes[0])
        if stack is None or stack.node.power is not Power.UP:
            return lambda: None
        node, undo = stack.node, [self._stall_programs(fault)]
        node.pause()
        for link in stack.links.values():
            link.process.stall(services.kernel.now + fault.duration)
            undo.append(link.process.resume)

        def resume() -> None:
            node.resume()
            for each in undo:
                each()

        return resume

    def _reload(self, fault: Fault) -> None:
        """The file has other values now, and every second time lacks one of the keys."""
        self._reloads += 1
        settings = self._services.settings
        settings.clear()
        for name in SETTINGS[: 2 + self._reloads % 2]:
            settings[name] = uint32(self._reloads)
        stack = self._services.stacks.get(fault.nodes[0])
        if stack is not None and stack.node.power is Power.UP:
            stack.reload()


def _engine(fault: Fault) -> str:
    return NAMES[fault.number % len(NAMES)]
