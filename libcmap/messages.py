"""Layouts of the cmap library's messages, both directions.

Source: cmap_overview(8), reference client-api sections 2.1 to 2.3 and 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

from coroipc.errors import MessageError, NameTooLong, Status
from coroipc.layouts import REQUEST, RESPONSE, Buffer, Layout, text_until_nul

KEY_LIMIT: Final = 255
"""Longest key name (CMAP_KEYNAME_MAXLEN)."""
KEY_MINIMUM: Final = 3
"""Shortest key name (CMAP_KEYNAME_MINLEN); the daemon checks it for new keys."""
VALUE_LIMIT: Final = 16384
"""Longest value in bytes; the daemon checks it."""


class Request(IntEnum):
    """Request ids."""

    SET = 0
    DELETE = 1
    GET = 2
    ADJUST = 3
    ITERATION_INITIALIZE = 4
    ITERATION_NEXT = 5
    ITERATION_FINALIZE = 6
    TRACK_ADD = 7
    TRACK_DELETE = 8
    SET_CURRENT_MAP = 9


class Response(IntEnum):
    """Response and event ids."""

    SET = 0
    DELETE = 1
    GET = 2
    ADJUST = 3
    ITERATION_INITIALIZE = 4
    ITERATION_NEXT = 5
    ITERATION_FINALIZE = 6
    TRACK_ADD = 7
    TRACK_DELETE = 8
    NOTIFY = 9
    SET_CURRENT_MAP = 10


RESPONSE_IDS: Final[dict[int, int]] = {
    **{number: number for number in range(Request.SET, Request.SET_CURRENT_MAP)},
    Request.SET_CURRENT_MAP: Response.SET_CURRENT_MAP,
}
"""The response id that answers each request."""


class Map(IntEnum):
    """The maps of a daemon; a connection looks at one of them."""

    ICMAP = 0
    STATS = 1


class Track(IntFlag):
    """Bits of a tracker's type; DELETE, MODIFY and ADD are also the values of a notification's event field."""

    DELETE = 1
    MODIFY = 2
    ADD = 4
    PREFIX = 8


# mar_name_t: uint16 length, padding, 256 bytes.
_KEY = "H6x256s"

SET_REQUEST = Layout("cmap set", Request.SET, REQUEST, _KEY + "QB7x")
DELETE_REQUEST = Layout("cmap delete", Request.DELETE, REQUEST, _KEY)
GET_REQUEST = Layout("cmap get", Request.GET, REQUEST, _KEY + "Q")
ADJUST_REQUEST = Layout("cmap adjust", Request.ADJUST, REQUEST, _KEY + "i4x")
ITERATION_REQUEST = Layout("cmap iteration", Request.ITERATION_INITIALIZE, REQUEST, _KEY)
ITERATION_NEXT_REQUEST = Layout("cmap iteration next", Request.ITERATION_NEXT, REQUEST, "Q")
ITERATION_FINALIZE_REQUEST = Layout("cmap iteration end", Request.ITERATION_FINALIZE, REQUEST, "Q")
TRACK_ADD_REQUEST = Layout("cmap track", Request.TRACK_ADD, REQUEST, _KEY + "i4xQ")
TRACK_DELETE_REQUEST = Layout("cmap track end", Request.TRACK_DELETE, REQUEST, "Q")
SET_CURRENT_MAP_REQUEST = Layout("cmap map choice", Request.SET_CURRENT_MAP, REQUEST, "i4x")

GET_RESPONSE = Layout("cmap get response", Response.GET, RESPONSE, "QB7x")
ITERATION_RESPONSE = Layout("cmap iteration response", Response.ITERATION_INITIALIZE, RESPONSE, "Q")
ITERATION_NEXT_RESPONSE = Layout("cmap iteration next response", Response.ITERATION_NEXT, RESPONSE, _KEY + "QB7x")
TRACK_ADD_RESPONSE = Layout("cmap track response", Response.TRACK_ADD, RESPONSE, "Q")
TRACK_DELETE_RESPONSE = Layout("cmap track end response", Response.TRACK_DELETE, RESPONSE, "Q")
NOTIFY_EVENT = Layout("cmap notification", Response.NOTIFY, RESPONSE, "Q" + _KEY + "i4xB7xB7xQQ")


def _pack_key(key: str) -> tuple[int, bytes]:
    text = key.encode("utf-8", "surrogateescape")
    if len(text) > KEY_LIMIT or b"\0" in text:
        raise NameTooLong(f"cmap key {key!r}")
    return len(text), text


def _text(value: bytes) -> str:
    return text_until_nul(value).decode("utf-8", "surrogateescape")


class SetRequest(NamedTuple):
    """Request 0: ``kind`` is a value type, ``value`` its bytes (a string's without NUL)."""

    key: str
    kind: int
    value: bytes

    def encode(self) -> bytes:
        """296 bytes and the value. Raises NameTooLong."""
        return SET_REQUEST.pack(*_pack_key(self.key), len(self.value), self.kind, tail=self.value)

    @classmethod
    def decode(cls, message: Buffer) -> SetRequest:
        """Raises MessageError. The key is the text up to its NUL, whatever its length field says."""
        _, key, length, kind = SET_REQUEST.unpack(message)
        return cls(_text(key), kind, SET_REQUEST.variable(message, length))


class DeleteRequest(NamedTuple):
    """Request 1."""

    key: str

    def encode(self) -> bytes:
        """280 bytes. Raises NameTooLong."""
        return DELETE_REQUEST.pack(*_pack_key(self.key))

    @classmethod
    def decode(cls, message: Buffer) -> DeleteRequest:
        """Raises MessageError."""
        return cls(_text(DELETE_REQUEST.unpack(message)[1]))


class GetRequest(NamedTuple):
    """Request 2: ``room`` is the caller's buffer in bytes; 0 asks for type and length only."""

    key: str
    room: int

    def encode(self) -> bytes:
        """288 bytes. Raises NameTooLong."""
        return GET_REQUEST.pack(*_pack_key(self.key), self.room)

    @classmethod
    def decode(cls, message: Buffer) -> GetRequest:
        """Raises MessageError."""
        _, key, room = GET_REQUEST.unpack(message)
        return cls(_text(key), room)


class AdjustRequest(NamedTuple):
    """Request 3: ``step`` (int32) is added."""

    key: str
    step: int

    def encode(self) -> bytes:
        """288 bytes. Raises NameTooLong."""
        return ADJUST_REQUEST.pack(*_pack_key(self.key), self.step)

    @classmethod
    def decode(cls, message: Buffer) -> AdjustRequest:
        """Raises MessageError."""
        _, key, step = ADJUST_REQUEST.unpack(message)
        return cls(_text(key), step)


class IterationRequest(NamedTuple):
    """Request 4: an empty prefix is every key."""

    prefix: str

    def encode(self) -> bytes:
        """280 bytes. Raises NameTooLong."""
        return ITERATION_REQUEST.pack(*_pack_key(self.prefix))

    @classmethod
    def decode(cls, message: Buffer) -> IterationRequest:
        """Raises MessageError."""
        length, prefix = ITERATION_REQUEST.unpack(message)
        return cls(_text(prefix) if length else "")


class TrackAddRequest(NamedTuple):
    """Request 7: ``kind`` is Track bits, ``instance`` the client's own handle, echoed in each notification."""

    key: str
    kind: int
    instance: int

    def encode(self) -> bytes:
        """296 bytes. Raises NameTooLong."""
        return TRACK_ADD_REQUEST.pack(*_pack_key(self.key), self.kind, self.instance)

    @classmethod
    def decode(cls, message: Buffer) -> TrackAddRequest:
        """Raises MessageError."""
        length, key, kind, instance = TRACK_ADD_REQUEST.unpack(message)
        return cls(_text(key) if length else "", kind, instance)


class HandleRequest(NamedTuple):
    """Requests 5, 6 and 8, which carry one handle of the daemon's."""

    handle: int

    def encode(self, layout: Layout) -> bytes:
        """24 bytes; ``layout`` says which request it is."""
        return layout.pack(self.handle)

    @classmethod
    def decode(cls, message: Buffer) -> HandleRequest:
        """Raises MessageError."""
        return cls(*ITERATION_NEXT_REQUEST.unpack(message))


class SetCurrentMapRequest(NamedTuple):
    """Request 9: ``map_id`` is a Map."""

    map_id: int

    def encode(self) -> bytes:
        """24 bytes."""
        return SET_CURRENT_MAP_REQUEST.pack(self.map_id)

    @classmethod
    def decode(cls, message: Buffer) -> SetCurrentMapRequest:
        """Raises MessageError."""
        return cls(*SET_CURRENT_MAP_REQUEST.unpack(message))


class GetResponse(NamedTuple):
    """Response 2: ``length`` is the value's; ``value`` is empty where only type and length were asked for."""

    kind: int = 0
    length: int = 0
    value: bytes = b""

    def encode(self, status: int = Status.OK, room: int = 0) -> bytes:
        """40 bytes and, on success, ``room`` more: the value, zero-filled to the caller's buffer."""
        tail = self.value[:room].ljust(room, b"\0") if status == Status.OK else b""
        return GET_RESPONSE.pack(status, self.length, self.kind, tail=tail)

    @classmethod
    def decode(cls, message: Buffer, with_value: bool = True) -> GetResponse:
        """``with_value`` False: the answer to a request without room. Raises MessageError."""
        _, length, kind = GET_RESPONSE.unpack(message)
        return cls(kind, length, GET_RESPONSE.variable(message, length) if with_value else b"")


class IterationResponse(NamedTuple):
    """Response 4."""

    handle: int = 0

    def encode(self, status: int = Status.OK) -> bytes:
        """32 bytes."""
        return ITERATION_RESPONSE.pack(status, self.handle)

    @classmethod
    def decode(cls, message: Buffer) -> IterationResponse:
        """Raises MessageError."""
        return cls(ITERATION_RESPONSE.unpack(message)[1])


class IterationNextResponse(NamedTuple):
    """Response 5: a key, its value's length and type."""

    key: str = ""
    length: int = 0
    kind: int = 0

    def encode(self, status: int = Status.OK) -> bytes:
        """304 bytes."""
        return ITERATION_NEXT_RESPONSE.pack(status, *_pack_key(self.key), self.length, self.kind)

    @classmethod
    def decode(cls, message: Buffer) -> IterationNextResponse:
        """Raises MessageError."""
        _, _, key, length, kind = ITERATION_NEXT_RESPONSE.unpack(message)
        return cls(_text(key), length, kind)


class TrackAddResponse(NamedTuple):
    """Response 7: the daemon's handle, which ends the tracker."""

    handle: int = 0

    def encode(self, status: int = Status.OK) -> bytes:
        """32 bytes."""
        return TRACK_ADD_RESPONSE.pack(status, self.handle)

    @classmethod
    def decode(cls, message: Buffer) -> TrackAddResponse:
        """Raises MessageError."""
        return cls(TRACK_ADD_RESPONSE.unpack(message)[1])


class TrackDeleteResponse(NamedTuple):
    """Response 8: the client's own handle of the ended tracker."""

    instance: int = 0

    def encode(self, status: int = Status.OK) -> bytes:
        """32 bytes."""
        return TRACK_DELETE_RESPONSE.pack(status, self.instance)

    @classmethod
    def decode(cls, message: Buffer) -> TrackDeleteResponse:
        """Raises MessageError."""
        return cls(TRACK_DELETE_RESPONSE.unpack(message)[1])


@dataclass(frozen=True, slots=True)
class Notification:
    """Event 9: one change of a key. ``event`` is Track.ADD, DELETE or MODIFY; a missing side has type 0 and no bytes."""

    instance: int
    key: str
    event: int
    new_kind: int
    new_value: bytes
    old_kind: int
    old_value: bytes

    def encode(self) -> bytes:
        """336 bytes, the new value's bytes, the old value's bytes."""
        kinds = (self.event, self.new_kind, self.old_kind, len(self.new_value), len(self.old_value))
        head = (Status.OK, self.instance, *_pack_key(self.key), *kinds)
        return NOTIFY_EVENT.pack(*head, tail=self.new_value + self.old_value)

    @classmethod
    def decode(cls, message: Buffer) -> Notification:
        """Raises MessageError."""
        _, instance, _, key, event, new_kind, old_kind, new_length, old_length = NOTIFY_EVENT.unpack(message)
        values = NOTIFY_EVENT.variable(message, new_length + old_length)
        return cls(instance, _text(key), event, new_kind, values[:new_length], old_kind, values[new_length:])


def decode_event(message: Buffer) -> Notification:
    """One event of the event ring; MessageError where the id is unknown or the message short."""
    identifier = int.from_bytes(message[:4], "little", signed=True)
    if identifier != Response.NOTIFY:
        raise MessageError(f"cmap event with the unknown id {identifier}")
    return Notification.decode(message)
