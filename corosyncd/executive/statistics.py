"""The statistics map: a snapshot of every process's counters, at most 100 ms old.

Names and types: reference client-api section 2.5, and docs/statistics.md for those that stock does not have. Engines are asked
for theirs; the core's are read in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from corosyncd.executive.record import EngineRecord
from corosyncd.link.vocabulary import ToEngine
from corosyncd.totem.events import RingId

SNAPSHOT_AGE = 0.1
"""Seconds that a snapshot may be given out again."""
WAITING_LIMIT = 256
"""Requesters that may wait for one snapshot; more are given the last one."""

CONNECTIONS_LIMIT = 65_536
"""Of one engine: it has no more descriptors."""
_U64 = (1 << 64) - 1

Values = dict[str, list[Any]]
"""Key name to [type, data]."""


def _check(values: Mapping[str, Sequence[Any]]) -> None:
    """What one engine gives as its counters is handed to another, which trusts the executive."""
    for name, (kind, data) in values.items():
        if not (isinstance(name, str) and isinstance(kind, int) and isinstance(data, bytes)):
            raise ValueError("counters are {name: [type, data]}")


class Snapshots:
    """Gathers the map when somebody asks and it is not fresh."""

    def __init__(self, engines: Callable[[], Iterable[EngineRecord]], own: Callable[[], Values]) -> None:
        """``own`` gives the executive's part."""
        self._engines = engines
        self._own = own
        self._values: Values = {}
        self._taken_at: float | None = None
        self._token = 0
        self._missing: set[str] = set()
        self._parts: Values = {}
        self._waiting: list[tuple[EngineRecord, Any]] = []

    def request(self, engine: EngineRecord, token: Any, now: float) -> None:
        """An engine wants the map."""
        fresh = self._taken_at is not None and now - self._taken_at <= SNAPSHOT_AGE
        if fresh or len(self._waiting) >= WAITING_LIMIT:
            engine.put(ToEngine.STATISTICS, token, self._values)
            return
        self._waiting.append((engine, token))
        if len(self._waiting) > 1:
            return
        self._token += 1
        self._parts = {}
        self._missing = set()
        for other in self._engines():
            if other.requests or other.functions:
                self._missing.add(other.name)
                other.put(ToEngine.STATISTICS_REQUEST, self._token)
        self._finish_if_whole(now)

    def answer(self, engine: EngineRecord, token: int, values: Mapping[str, list[Any]], now: float) -> None:
        """An engine's counters. Raises ValueError for what are none."""
        _check(values)
        if token == self._token and engine.name in self._missing:
            self._parts.update(values)
            self._missing.discard(engine.name)
            self._finish_if_whole(now)

    def engine_gone(self, engine: EngineRecord, now: float) -> None:
        """A dead engine has no counters and no wishes."""
        self._waiting = [(other, token) for other, token in self._waiting if other is not engine]
        if engine.name in self._missing:
            self._missing.discard(engine.name)
            self._finish_if_whole(now)

    def waits_for(self, engine: EngineRecord) -> bool:
        """Whether a snapshot lacks this engine's counters."""
        return engine.name in self._missing

    def forget(self) -> None:
        """Counters were reset: the next request is answered anew."""
        self._taken_at = None

    def _finish_if_whole(self, now: float) -> None:
        if self._missing or not self._waiting:
            return
        self._values = {**self._own(), **self._parts}
        active = {name.rsplit(".", 1)[0] for name in self._parts if name.startswith("stats.ipcs.service")}
        closed = sum(
            int.from_bytes(self._values.pop(name)[1], "little") for name in list(self._values) if name.endswith("\0closed")
        )
        self._values["stats.ipcs.global.active"] = [8, len(active).to_bytes(8, "little")]
        self._values["stats.ipcs.global.closed"] = [8, (closed & _U64).to_bytes(8, "little")]
        self._taken_at = now
        waiting, self._waiting = self._waiting, []
        for engine, token in waiting:
            engine.put(ToEngine.STATISTICS, token, self._values)


class Connections:
    """The programs that are connected to this node's engines: the map's service is told of each that comes or goes, at once."""

    def __init__(self, observer: Callable[[], EngineRecord | None]) -> None:
        """``observer`` is who is told, None while it is away."""
        self._observer = observer
        self._open: dict[str, dict[str, Values]] = {}
        """Engine to connection (its keys' common prefix) to what was told when it came."""

    def changed(self, engine: EngineRecord, _ring_id: RingId, entry: Sequence[Any]) -> None:
        """An engine has a connection more, or less: its CONNECTION entry.

        Raises ValueError for one without keys, or whose keys are none.
        """
        added, values = bool(entry[1]), dict(entry[2])
        _check(values)
        if not values:
            raise ValueError("a connection without keys")
        connection = next(iter(values)).rpartition(".")[0]
        known = self._open.setdefault(engine.name, {})
        if added:
            if len(known) >= CONNECTIONS_LIMIT:
                raise ValueError(f"more than {CONNECTIONS_LIMIT} connections")
            known[connection] = values
        else:
            known.pop(connection, None)
        self._tell(added, values)

    def engine_gone(self, engine: EngineRecord) -> None:
        """All its connections went with it."""
        for values in self._open.pop(engine.name, {}).values():
            self._tell(False, values)

    def _tell(self, added: bool, values: Values) -> None:
        observer = self._observer()
        if observer is not None and observer.running:
            observer.put(ToEngine.CONNECTION, added, values)
