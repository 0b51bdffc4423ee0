"""A cmap connection without I/O: its trackers and their events, and the operations of more than one request.

Source: cmap_get(3), cmap_track_add(3), reference client-api sections 2.1 and 2.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from coroipc.errors import InvalidParameter, TryAgain
from coroipc.library import Steps, ask
from coroipc.map_values import ValueType
from libcmap import messages
from libcmap.messages import GetResponse, Track
from libcmap.values import Plain, Value, unpack_value

FIRST_ROOM: Final = 256
"""Bytes asked for at first: nearly every value fits, so that one request is enough."""
GET_ATTEMPTS: Final = 8
"""How often a value that grows between two requests is asked for again."""


@dataclass(frozen=True, slots=True)
class Tracker:
    """One interest in changes, as ``track`` returns it and ``untrack`` takes it."""

    instance: int
    """Names the tracker in its events."""
    key: str
    kind: Track
    handle: int
    """The daemon's own name for it."""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key was added, modified or deleted. ``tracker`` is the ``instance`` of the Tracker that it matched."""

    tracker: int
    key: str
    event: Track
    """ADD, MODIFY or DELETE."""
    new: Value | None
    """None for a deleted key."""
    old: Value | None
    """None for an added key."""


class Session:
    """State of one connection: the trackers that are open."""

    def __init__(self, map_id: int) -> None:
        """``map_id`` is a Map."""
        self.map_id = map_id
        self._last_instance = 0
        self._open: set[int] = set()

    def event(self, message: bytes) -> KeyChange | None:
        """None for a tracker that has ended: its last events may still be under way. Raises MessageError."""
        event = messages.decode_event(message)
        if event.instance not in self._open:
            return None
        new, old = _value(event.new_kind, event.new_value), _value(event.old_kind, event.old_value)
        return KeyChange(event.instance, event.key, Track(event.event), new, old)

    def choose_map(self) -> Steps[None]:
        """The first step on a connection: the map it looks at. Raises NotExist."""
        if self.map_id != messages.Map.ICMAP:
            yield from ask(messages.SetCurrentMapRequest(self.map_id).encode(), f"cmap_initialize_map({self.map_id})")

    def get(self, key: str) -> Steps[Plain]:
        """The value of a key as a Python object: a number, text, or bytes.

        C: cmap_get, cmap_get_string … Raises NotExist, NameTooLong, LibraryError.
        """
        value = yield from self.get_typed(key)
        return value.value

    def get_typed(self, key: str) -> Steps[Value]:
        """The value of a key with its type.

        C: cmap_get. Raises NotExist, NameTooLong, LibraryError, TryAgain (it grew at every attempt).
        """
        what = f"cmap_get({key!r})"
        room = FIRST_ROOM
        for _ in range(GET_ATTEMPTS):
            try:
                response = yield from ask(messages.GetRequest(key, room).encode(), what)
            except InvalidParameter:  # The room was too small: nothing else about this request can be invalid.
                response = yield from ask(messages.GetRequest(key, 0).encode(), what)
                room = GetResponse.decode(response, with_value=False).length
            else:
                found = GetResponse.decode(response)
                return Value(found.kind, unpack_value(found.value, found.kind))
        raise TryAgain(what)

    def track(
        self, key: str = "", kind: Track = Track.ADD | Track.MODIFY | Track.DELETE, *, prefix: bool = False
    ) -> Steps[Tracker]:
        """Be told of changes to one key, or with ``prefix`` to every key that starts so (the empty one: all).

        The changes come as KeyChange events, this connection's own among them. C: cmap_track_add. Raises
        InvalidParameter (kind), NotSupported (stats map: a prefix goes with ADD and DELETE alone), NameTooLong,
        LibraryError.
        """
        kind = Track(kind | Track.PREFIX) if prefix else Track(kind)
        self._last_instance += 1
        instance = self._last_instance
        self._open.add(instance)  # Before the request: an event may overtake the response.
        try:
            request = messages.TrackAddRequest(key, kind, instance).encode()
            response = yield from ask(request, f"cmap_track_add({key!r})")
            return Tracker(instance, key, kind, messages.TrackAddResponse.decode(response).handle)
        except BaseException:
            self._open.discard(instance)
            raise

    def untrack(self, tracker: Tracker) -> Steps[None]:
        """End a tracker; its events that are under way are dropped.

        C: cmap_track_delete. Raises BadHandle, LibraryError.
        """
        yield from ask(messages.TRACK_DELETE_REQUEST.pack(tracker.handle), f"cmap_track_delete({tracker.key!r})")
        self._open.discard(tracker.instance)


def _value(kind: int, data: bytes) -> Value | None:
    return None if kind == ValueType.NONE else Value(kind, unpack_value(data, kind))
