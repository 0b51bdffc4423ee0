"""The configuration map: typed keys in byte order, changed under the rules that every client can rely on.

Statuses are numbers of coroipc.errors.Status. Sources: cmap_set(3), cmap_inc(3), reference client-api sections 2.2 and 2.3,
services section 6.1.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator

from coroipc.errors import Status
from coroipc.map_values import FORMATS, ValueType
from corosyncd.keyspace.changes import Change, Track
from corosyncd.keyspace.names import AFTER_NAMES, is_valid_name
from corosyncd.keyspace.rules import VOTEQUORUM_READ_ONLY_KEYS, writable_by_clients
from corosyncd.keyspace.values import NO_VALUE, Value

MAXIMUM_VALUE_LENGTH = 16384
"""Bytes of one value as the caller gives it; a string stored without its NUL may so be one longer."""
MAXIMUM_KEYS = 65536
MAXIMUM_BYTES = 32 << 20
"""Bytes of all values together."""
KEYS_FOR_DAEMON = 8192
BYTES_FOR_DAEMON = 1 << 20
"""What clients must leave free, so that a program filling the map cannot keep the daemon from naming its members."""

Outcome = tuple[int, Change | None]
"""A status, and the change to announce: None where nothing changed."""

# Width in bits and signedness of the types that can be adjusted.
_INTEGERS: dict[int, tuple[int, bool]] = {
    ValueType.INT8: (8, True),
    ValueType.UINT8: (8, False),
    ValueType.INT16: (16, True),
    ValueType.UINT16: (16, False),
    ValueType.INT32: (32, True),
    ValueType.UINT32: (32, False),
    ValueType.INT64: (64, True),
    ValueType.UINT64: (64, False),
}


def stored(value: Value) -> Value | None:
    """The value as the map keeps it, or None where its length does not fit its type.

    A string is cut at its NUL or gets one; bytes behind a NUL are refused. A type that does not exist has length 0.
    """
    kind, data = value
    if len(data) > MAXIMUM_VALUE_LENGTH:
        return None
    if kind == ValueType.STRING:
        end = data.find(b"\0")
        if end < 0:
            return Value(kind, bytes(data) + b"\0")
        return Value(kind, bytes(data)) if end == len(data) - 1 else None
    if kind != ValueType.BINARY:
        form = FORMATS.get(kind)
        if len(data) != (form.size if form is not None else 0):
            return None
    return Value(kind, bytes(data))


def added(value: Value, step: int) -> Value | None:
    """An integer value plus ``step``, modulo the width of its type; None for types that cannot count."""
    integer = _INTEGERS.get(value.type)
    if integer is None:
        return None
    bits, signed = integer
    form = FORMATS[value.type]
    number = (form.unpack(value.data)[0] + step) & ((1 << bits) - 1)
    if signed and number >> (bits - 1):
        number -= 1 << bits
    return Value(value.type, form.pack(number))


class KeySpace:
    """A map from key names to values.

    ``client`` in the changing methods says on whose behalf: True applies the read-only rules and the clients' share of the
    limits. ``service_keys`` are the exact names that running engines have made read-only.
    """

    def __init__(self, service_keys: Container[str] = VOTEQUORUM_READ_ONLY_KEYS) -> None:
        """An empty map."""
        self._service_keys = service_keys
        self._values: dict[str, Value] = {}
        self._names: list[str] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def get(self, name: str) -> Value | None:
        """The value of a key, None where there is none."""
        return self._values.get(name)

    def items(self, prefix: str = "") -> Iterator[tuple[str, Value]]:
        """Keys that begin with ``prefix``, in byte order of their names.

        The map may change meanwhile: keys deleted before their turn are left out, new ones may be.
        """
        first = bisect_left(self._names, prefix)
        last = bisect_left(self._names, prefix + AFTER_NAMES, first)
        for name in self._names[first:last]:
            value = self._values.get(name)
            if value is not None:
                yield name, value

    def following(self, name: str, prefix: str = "") -> str | None:
        """The first key behind ``name`` that begins with ``prefix``: the step of an iterator that sees later changes."""
        names = self._names
        position = max(bisect_right(names, name), bisect_left(names, prefix))
        if position == len(names) or not names[position].startswith(prefix):
            return None
        return names[position]

    def set(self, name: str, value: Value, *, client: bool) -> Outcome:
        """Create or change a key, which may change its type. An equal value is OK and announces nothing.

        ACCESS: read-only. INVALID_PARAM: the length does not fit the type. NAME_TOO_LONG: not a name. NO_MEMORY: the map
        is full.
        """
        if client and not writable_by_clients(name, self._service_keys):
            return Status.ACCESS, None
        new = stored(value)
        if new is None:
            return Status.INVALID_PARAM, None
        old = self._values.get(name)
        if old == new:
            return Status.OK, None
        if old is None and not is_valid_name(name):
            return Status.NAME_TOO_LONG, None
        if not self._has_room(new, old, client):
            return Status.NO_MEMORY, None
        self._put(name, new, old)
        if old is None:
            return Status.OK, Change(Track.ADD, name, new, NO_VALUE)
        return Status.OK, Change(Track.MODIFY, name, new, old)

    def delete(self, name: str, *, client: bool) -> Outcome:
        """Remove a key. ACCESS: read-only. NOT_EXIST: no such key."""
        if client and not writable_by_clients(name, self._service_keys):
            return Status.ACCESS, None
        old = self._values.get(name)
        if old is None:
            return Status.NOT_EXIST, None
        self._remove(name, old)
        return Status.OK, Change(Track.DELETE, name, NO_VALUE, old)

    def adjust(self, name: str, step: int, *, client: bool, fast: bool = False) -> Outcome:
        """Add ``step`` to an integer key, wrapping at its width.

        ``fast`` is for the daemon's own counters: announced at every adjustment, with an empty old value.
        ACCESS: read-only. NOT_EXIST: no such key. INVALID_PARAM: not an integer.
        """
        if client and not writable_by_clients(name, self._service_keys):
            return Status.ACCESS, None
        old = self._values.get(name)
        if old is None:
            return Status.NOT_EXIST, None
        new = added(old, step)
        if new is None:
            return Status.INVALID_PARAM, None
        self._put(name, new, old)
        if fast:
            return Status.OK, Change(Track.MODIFY, name, new, NO_VALUE)
        return Status.OK, None if new == old else Change(Track.MODIFY, name, new, old)

    def apply(self, changes: Iterable[tuple[int, str, Value, Value]]) -> None:
        """Follow another map: take over changes that its owner has decided on. Deleting what is not there is ignored."""
        for event, name, new, _ in changes:
            old = self._values.get(name)
            if event != Track.DELETE:
                self._put(name, new, old)
            elif old is not None:
                self._remove(name, old)

    def _has_room(self, new: Value, old: Value | None, client: bool) -> bool:
        """Whether the limits allow the change; a value that shrinks always may."""
        growth = len(new.data) - (len(old.data) if old is not None else 0)
        free_bytes = MAXIMUM_BYTES - self._bytes - (BYTES_FOR_DAEMON if client else 0)
        if growth > 0 and growth > free_bytes:
            return False
        return old is not None or len(self._names) < MAXIMUM_KEYS - (KEYS_FOR_DAEMON if client else 0)

    def _put(self, name: str, new: Value, old: Value | None) -> None:
        if old is None:
            self._names.insert(bisect_left(self._names, name), name)
            self._bytes += len(new.data)
        else:
            self._bytes += len(new.data) - len(old.data)
        self._values[name] = new

    def _remove(self, name: str, old: Value) -> None:
        del self._values[name]
        del self._names[bisect_left(self._names, name)]
        self._bytes -= len(old.data)
