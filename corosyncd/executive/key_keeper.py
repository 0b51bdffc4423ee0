"""The owner of the configuration map: changes go through here, to every engine that tracks them.

A client's change is answered when every tracking engine has confirmed it (design, "Who owns the map").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from corosyncd.executive.record import EngineRecord
from corosyncd.keyspace.changes import Change, Track
from corosyncd.keyspace.key_space import KeySpace
from corosyncd.keyspace.values import NO_VALUE, Value
from corosyncd.link.vocabulary import ToEngine

OK = 1
INVALID_PARAM = 7
SNAPSHOT_BYTES = 256 * 1024
"""Names and values in one KEYS entry of a snapshot: well below the largest frame of a link."""
MORE_OF_SNAPSHOT = -1
"""The confirm number of a snapshot's entry that is not its last."""
_OPERATION = (str, int, bytes, int)
"""Types of name, type, data and step."""


class _Pending:
    """A requester that waits for confirmations."""

    __slots__ = ("requester", "statuses", "token", "waiting")

    def __init__(self, requester: EngineRecord, token: Any, statuses: list[int], waiting: set[str]) -> None:
        self.requester = requester
        self.token = token
        self.statuses = statuses
        self.waiting = waiting


def _wire(change: Change) -> list[Any]:
    return [change.event, change.name, change.new.type, change.new.data, change.old.type, change.old.data]


def _check(operation: Sequence[Any]) -> None:
    _kind, *values, _permission = operation
    if len(values) != len(_OPERATION) or not all(map(isinstance, values, _OPERATION)):
        raise ValueError("a wish to change a key is [kind, name, type, data, step, permission]")


class KeyKeeper:
    """Applies changes to the map in order, tells the engines, and remembers who waits for what."""

    def __init__(self, space: KeySpace, engines: Callable[[], Iterable[EngineRecord]], changed: Callable[[list[Change]], None]):
        """``changed`` is told every applied change: the executive acts on some keys itself."""
        self.space = space
        self._engines = engines
        self._changed = changed
        self._pending: dict[int, _Pending] = {}
        self._next_confirm = 1

    def publish(self, pairs: Iterable[tuple[str, Value]]) -> None:
        """Set keys on the daemon's own behalf: read-only rules do not apply, nobody waits."""
        changes = []
        for name, value in pairs:
            _status, change = self.space.set(name, value, client=False)
            if change is not None:
                changes.append(change)
        self._spread(changes, 0)

    def remove(self, names: Iterable[str]) -> None:
        """Delete keys on the daemon's own behalf; absent ones are ignored."""
        changes = []
        for name in names:
            _status, change = self.space.delete(name, client=False)
            if change is not None:
                changes.append(change)
        self._spread(changes, 0)

    def change(self, requester: EngineRecord, token: Any, operations: Sequence[Sequence[Any]]) -> None:
        """An engine's KEYS_CHANGE: each operation is [kind, name, type, data, step, permission].

        Raises ValueError for one of another form; then none is done.
        """
        for operation in operations:
            _check(operation)
        statuses: list[int] = []
        changes: list[Change] = []
        for kind, name, value_type, data, step, permission in operations:
            client = bool(permission)
            if kind == "set":
                status, change = self.space.set(name, Value(value_type, data), client=client)
            elif kind == "delete":
                status, change = self.space.delete(name, client=client)
            elif kind == "adjust":
                status, change = self.space.adjust(name, step, client=client)
            else:
                status, change = INVALID_PARAM, None
            statuses.append(int(status))
            if change is not None:
                changes.append(change)
        if token is None:
            self._spread(changes, 0)
            return
        confirm = self._next_confirm
        self._next_confirm += 1
        waiting = self._spread(changes, confirm)
        if waiting:
            self._pending[confirm] = _Pending(requester, token, statuses, waiting)
        else:
            requester.put(ToEngine.KEYS_RESULT, token, statuses)

    def confirmed(self, engine: EngineRecord, confirm: int) -> None:
        """An engine has applied the changes of that number."""
        pending = self._pending.get(confirm)
        if pending is None:
            return
        pending.waiting.discard(engine.name)
        if not pending.waiting:
            del self._pending[confirm]
            pending.requester.put(ToEngine.KEYS_RESULT, pending.token, pending.statuses)

    def waits_for(self, engine: EngineRecord) -> bool:
        """Whether a change is not answered before this engine has confirmed it."""
        return any(engine.name in pending.waiting for pending in self._pending.values())

    def engine_gone(self, engine: EngineRecord) -> None:
        """Nobody waits for a dead engine, and a dead requester is not answered."""
        for confirm, pending in list(self._pending.items()):
            if pending.requester is engine:
                del self._pending[confirm]
            else:
                self.confirmed(engine, confirm)

    def snapshot(self, engine: EngineRecord) -> None:
        """Tell a new engine every key of its prefixes."""
        entries: list[list[Any]] = []
        size = 0
        for prefix in engine.tracked:
            for name, value in self.space.items(prefix):
                entries.append(_wire(Change(Track.ADD, name, value, NO_VALUE)))
                size += len(name) + len(value.data)
                if size > SNAPSHOT_BYTES:
                    engine.put(ToEngine.KEYS, MORE_OF_SNAPSHOT, entries)
                    entries, size = [], 0
        engine.put(ToEngine.KEYS, 0, entries)

    def _spread(self, changes: list[Change], confirm: int) -> set[str]:
        waiting: set[str] = set()
        if not changes:
            return waiting
        for engine in self._engines():
            mine = [_wire(change) for change in changes if engine.tracks(change.name)]
            if mine:
                engine.put(ToEngine.KEYS, confirm, mine)
                if confirm:
                    waiting.add(engine.name)
        self._changed(changes)
        return waiting
