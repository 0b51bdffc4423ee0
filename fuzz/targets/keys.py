"""What programs may write into the configuration map, and every engine that goes by it: wd and mon have no other input.

Claims: a key that the map takes ends no engine and stops no node, also not by the timers that follow; what it brings about is
bounded.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from coroipc.errors import Status
from coroipc.map_values import ValueType
from corosyncd.engines.pload.engine import START_KEY, START_VALUE, PloadEngine
from corosyncd.keyspace.values import Value, number, text, uint32, uint64
from fuzz.lone_engine import ENGINES, EVENTS_LIMIT, WORDS_LIMIT, LoneEngine
from fuzz.pieces import cut, joined
from fuzz.target import claim

CHANGES_EACH: Final = 12
"""Most changes and expired timers in one input."""
OPERATIONS: Final = ("set", "delete", "adjust")
EXPIRE: Final = len(OPERATIONS)
"""Not a change: the next timer expires."""
SECOND: Final = 1_000_000_000
PROGRAM: Final = "resources.process.77."
MEMORY: Final = "resources.system.memory_used."
RUNS: Final[tuple[tuple[tuple[str, Value] | None, ...], ...]] = (
    (
        (PROGRAM + "recovery", text("watchdog")),
        (PROGRAM + "poll_period", uint64(1000)),
        (PROGRAM + "last_updated", uint64(1000 * SECOND)),
        (PROGRAM + "state", text("running")),
        None,
        (PROGRAM + "state", text("failed")),
        None,
        None,
    ),
    (
        (MEMORY + "max", text("80 %")),
        (MEMORY + "poll_period", uint64(600)),
        None,
        (MEMORY + "recovery", text("quit")),
        None,
        None,
    ),
    (("resources.watchdog_timeout", uint32(10)), None, ("resources.watchdog_timeout", text("ten")), None),
    (("quorum.expected_votes", uint32(5)), ("quorum.two_node", uint32(1)), ("quorum.device.model", text("net"))),
    (("quorum.device.votes", uint32(1)), ("quorum.device.timeout", uint32(1)), ("quorum.cancel_wait_for_all", uint32(1)), None),
    (("config.reload_status", number(ValueType.INT32, 1)), ("quorum.votes", number(ValueType.INT8, -1))),
    (("pload.count", uint32(10)), ("pload.size", uint32(100)), (START_KEY, text(START_VALUE)), None),
    (
        ("totem.config_version", uint64(2)),
        ("runtime.members.2.status", text("joined")),
        ("runtime.members.2.ip", text("r(0) ip")),
    ),
    (("cfg.shutdown_timeout", uint32(0)), ("runtime.force_gather", text("yes")), ("stats.srp.x", number(ValueType.DOUBLE, 0.5))),
    (("logging.debug", text("trace")), ("uidgid.uid.1000", number(ValueType.UINT8, 1)), ("nodelist.node.9.nodeid", uint32(9))),
)
"""Ways in which keys are used; None: a timer expires."""


class KeysTarget:
    """An input: engine, then changes, each behind its length: operation, length of the name, name, type, value or step."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self.seeds = [
            bytes((engine,)) + joined(bytes((EXPIRE,)) if step is None else _set(*step) for step in run)
            for engine in range(len(ENGINES))
            for run in RUNS
        ]

    def run(self, data: bytes) -> None:
        """One run of changes."""
        if not data:
            return
        engine = ENGINES[data[0] % len(ENGINES)]
        name = engine.description.name
        lone = LoneEngine(engine)
        for change in cut(data[1:], CHANGES_EACH):
            if not change or change[0] % (EXPIRE + 1) == EXPIRE:
                lone.expire()
            else:
                self.dropped[Status(lone.change(_operation(change))).name.lower()] += 1
        # The load test ends every daemon: who starts it has written that he knows.
        claim(not lone.refused or engine is PloadEngine, f"{name} stops the node: {lone.refused}")
        claim(lone.said <= WORDS_LIMIT and len(lone.events) <= EVENTS_LIMIT, f"what keys bring about in {name} is bounded")


def _set(name: str, value: Value) -> bytes:
    return bytes((0, len(name))) + name.encode() + bytes((value.type,)) + value.data


def _operation(change: bytes) -> list[object]:
    """As the cmap engine asks for it on behalf of a program."""
    size = change[1] if len(change) > 1 else 0
    name = change[2 : 2 + size].decode("utf-8", "surrogateescape")
    rest = change[2 + size :]
    kind = rest[0] if rest else int(ValueType.NONE)
    step = int.from_bytes(rest[1:5], "little", signed=True)
    return [OPERATIONS[change[0] % (EXPIRE + 1)], name, kind, rest[1:], step, True]
