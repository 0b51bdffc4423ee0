"""Who is told of which change: clients' trackers on the map and on the statistics.

Source: cmap_track_add(3), reference client-api sections 2.3 and 2.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from coroipc.errors import Status
from corosyncd.engines.cmap.connection import TRACKERS_OF_ONE_CLIENT, Connection
from corosyncd.engines.engine import Client
from corosyncd.keyspace.changes import Change, Track
from corosyncd.keyspace.trackers import Trackers
from corosyncd.keyspace.values import NO_VALUE, Value
from libcmap.messages import Notification

_NOT_COMPARED = ("stats.ipcs.service", "stats.schedmiss.")


class Tracking:
    """The trackers of all clients on one map."""

    def __init__(self) -> None:
        """Nobody tracks."""
        self._trackers = Trackers()
        self._owners: dict[int, Connection] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def add(self, connection: Connection, handle: int, name: str, flags: int, instance: int) -> int:
        """Track for a client: INVALID_PARAM for unknown flags, NO_RESOURCES at a limit."""
        if len(connection.trackers) >= TRACKERS_OF_ONE_CLIENT:
            return Status.NO_RESOURCES
        status = self._trackers.add(handle, name or None, flags)
        if status == Status.OK:
            self._owners[handle] = connection
            connection.trackers[handle] = instance
        return status

    def remove(self, connection: Connection, handle: int) -> int | None:
        """End one tracker of the client; its own handle for it, None where there is none."""
        instance = connection.trackers.pop(handle, None)
        if instance is not None:
            self._trackers.remove(handle)
            del self._owners[handle]
        return instance

    def notifications(self, change: tuple[int, str, Value, Value]) -> Iterator[tuple[Client, bytes]]:
        """The events of one change, in firing order."""
        event, name, new, old = change
        for handle in self._trackers.matching(name, event):
            connection = self._owners[handle]
            told = Notification(connection.trackers[handle], name, event, *new, *old)
            yield connection.client, told.encode()


def statistics_changes(before: Mapping[str, Value], after: Mapping[str, Value]) -> Iterator[Change]:
    """What trackers of the statistics can be told of, in byte order of the names.

    A modified value is given as both sides, as the stock daemon does. Keys of connections and of delays come and go without a
    word here: the former are told when it happens, the latter never, as in stock.
    """
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if (old is None or new is None) and name.startswith(_NOT_COMPARED):
            continue
        if old is None and new is not None:
            yield Change(Track.ADD, name, new, NO_VALUE)
        elif new is None and old is not None:
            yield Change(Track.DELETE, name, NO_VALUE, old)
        elif new is not None and new != old:
            yield Change(Track.MODIFY, name, new, new)
