"""Which trackers a change concerns, and in what order they fire: from the most to the least specific.

Exact names come first, newest tracker first; then prefixes, longer before shorter and oldest first on the same prefix; trackers
of everything come last. Source: reference services section 6.1, client-api section 2.3.
"""

from __future__ import annotations

from coroipc.errors import Status
from corosyncd.keyspace.changes import FLAGS, Track

MAXIMUM_TRACKERS = 65536
"""Of all clients together."""


class Trackers:
    """Trackers by identifier; the caller chooses identifiers and keeps what belongs to them."""

    def __init__(self) -> None:
        """No trackers."""
        self._places: dict[int, tuple[dict[str, dict[int, int]], str]] = {}
        # name -> identifier -> wanted events; dictionaries keep the order of addition.
        self._exact: dict[str, dict[int, int]] = {}
        self._prefixes: dict[str, dict[int, int]] = {}
        self._lengths: list[int] = []

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._places

    def add(self, identifier: int, name: str | None, flags: int) -> int:
        """Track a key, or with PREFIX every key that begins with ``name``; no name with PREFIX tracks everything.

        No name without PREFIX is accepted and never fires. Returns a status: INVALID_PARAM for unknown flags, NO_RESOURCES at
        the limit. Raises ValueError where the identifier is in use.
        """
        if identifier in self._places:
            raise ValueError(f"tracker {identifier} exists already")
        if flags & ~int(FLAGS):
            return Status.INVALID_PARAM
        if len(self._places) >= MAXIMUM_TRACKERS:
            return Status.NO_RESOURCES
        table = self._prefixes if flags & Track.PREFIX else self._exact
        place = name or ""
        table.setdefault(place, {})[identifier] = flags & ~int(Track.PREFIX)
        self._places[identifier] = (table, place)
        if table is self._prefixes:
            self._note_lengths()
        return Status.OK

    def remove(self, identifier: int) -> bool:
        """Forget a tracker; False where there is none."""
        found = self._places.pop(identifier, None)
        if found is None:
            return False
        table, place = found
        del table[place][identifier]
        if not table[place]:
            del table[place]
            if table is self._prefixes:
                self._note_lengths()
        return True

    def matching(self, name: str, event: int) -> list[int]:
        """Identifiers of the trackers that a change of this key fires, in firing order; ``event`` is ADD, MODIFY or DELETE."""
        exact = self._exact.get(name)
        fired = [identifier for identifier, events in reversed(exact.items()) if events & event] if exact and name else []
        for length in self._lengths:
            if length <= len(name):
                same_prefix = self._prefixes.get(name[:length])
                if same_prefix:
                    fired.extend(identifier for identifier, events in same_prefix.items() if events & event)
        return fired

    def _note_lengths(self) -> None:
        """Distinct lengths of the tracked prefixes, longest first: one lookup for each finds every match."""
        self._lengths = sorted({len(prefix) for prefix in self._prefixes}, reverse=True)
