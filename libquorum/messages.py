"""Layouts of the quorum library's messages, both directions.

Source: quorum_overview(3), reference client-api sections 4 and 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

from coroipc.errors import MessageError, Status
from coroipc.layouts import REQUEST, RESPONSE, Buffer, Layout, pack_words, unpack_words


class Request(IntEnum):
    """Request ids."""

    GETQUORATE = 0
    TRACKSTART = 1
    TRACKSTOP = 2
    GETTYPE = 3
    MODEL_GETTYPE = 4


class Response(IntEnum):
    """Response and event ids."""

    GETQUORATE = 0
    TRACKSTART = 1
    TRACKSTOP = 2
    NOTIFICATION_V0 = 3
    GETTYPE = 4
    MODEL_GETTYPE = 5
    NOTIFICATION_V1 = 6
    NODELIST = 7


RESPONSE_IDS: Final[dict[int, int]] = {
    Request.GETQUORATE: Response.GETQUORATE,
    Request.TRACKSTART: Response.TRACKSTART,
    Request.TRACKSTOP: Response.TRACKSTOP,
    Request.GETTYPE: Response.GETTYPE,
    Request.MODEL_GETTYPE: Response.MODEL_GETTYPE,
}
"""The response id that answers each request."""


class Model(IntEnum):
    """Which events a connection gets: version 1 has whole ring ids and node lists."""

    V0 = 0
    V1 = 1


class Provider(IntEnum):
    """Whether a quorum provider decides (gettype)."""

    FREE = 0
    SET = 1


class Track(IntFlag):
    """What trackstart asks for: the present state, changes, or changes without the present state."""

    CURRENT = 1
    CHANGES = 2
    CHANGES_ONLY = 4


GETQUORATE_REQUEST = Layout("quorum getquorate", Request.GETQUORATE, REQUEST)
TRACKSTART_REQUEST = Layout("quorum trackstart", Request.TRACKSTART, REQUEST, "I4x")
TRACKSTOP_REQUEST = Layout("quorum trackstop", Request.TRACKSTOP, REQUEST)
GETTYPE_REQUEST = Layout("quorum gettype", Request.GETTYPE, REQUEST)
MODEL_GETTYPE_REQUEST = Layout("quorum model gettype", Request.MODEL_GETTYPE, REQUEST, "I4x")

GETQUORATE_RESPONSE = Layout("quorum getquorate response", Response.GETQUORATE, RESPONSE, "I4x")
GETTYPE_RESPONSE = Layout("quorum gettype response", Response.GETTYPE, RESPONSE, "I4x")
MODEL_GETTYPE_RESPONSE = Layout("quorum model gettype response", Response.MODEL_GETTYPE, RESPONSE, "I4x")

NOTIFICATION_V0_EVENT = Layout("quorum notification", Response.NOTIFICATION_V0, RESPONSE, "i4xQI", size=48)
NOTIFICATION_V1_EVENT = Layout("quorum notification", Response.NOTIFICATION_V1, RESPONSE, "i4xI4xQI", size=56)
NODELIST_EVENT = Layout("quorum nodelist", Response.NODELIST, RESPONSE, "I4xQI4xI4xI", size=64)


class GetquorateResponse(NamedTuple):
    """Response 0."""

    quorate: bool = False

    def encode(self, status: int = Status.OK) -> bytes:
        """32 bytes."""
        return GETQUORATE_RESPONSE.pack(status, int(self.quorate))

    @classmethod
    def decode(cls, message: Buffer) -> GetquorateResponse:
        """Raises MessageError."""
        return cls(bool(GETQUORATE_RESPONSE.unpack(message)[1]))


class TrackstartRequest(NamedTuple):
    """Request 1: ``flags`` are Track bits."""

    flags: int

    def encode(self) -> bytes:
        """24 bytes."""
        return TRACKSTART_REQUEST.pack(self.flags)

    @classmethod
    def decode(cls, message: Buffer) -> TrackstartRequest:
        """Raises MessageError."""
        return cls(*TRACKSTART_REQUEST.unpack(message))


class ModelGettypeRequest(NamedTuple):
    """Request 4: asks for the type and switches the connection's event model."""

    model: int

    def encode(self) -> bytes:
        """24 bytes."""
        return MODEL_GETTYPE_REQUEST.pack(self.model)

    @classmethod
    def decode(cls, message: Buffer) -> ModelGettypeRequest:
        """Raises MessageError."""
        return cls(*MODEL_GETTYPE_REQUEST.unpack(message))


class GettypeResponse(NamedTuple):
    """Responses 4 and 5: ``provider`` is a Provider."""

    provider: int = 0

    def encode(self, status: int = Status.OK, layout: Layout = GETTYPE_RESPONSE) -> bytes:
        """32 bytes; ``layout`` is GETTYPE_RESPONSE or MODEL_GETTYPE_RESPONSE."""
        return layout.pack(status, self.provider)

    @classmethod
    def decode(cls, message: Buffer) -> GettypeResponse:
        """Raises MessageError."""
        return cls(GETTYPE_RESPONSE.unpack(message)[1])


@dataclass(frozen=True, slots=True)
class QuorumNotificationV0:
    """Event 3, model 0: the quorum decision for a ring."""

    quorate: bool
    ring_sequence: int
    members: tuple[int, ...]

    def encode(self) -> bytes:
        """48 bytes and 4 a member; the list starts at 44."""
        head = (Status.OK, int(self.quorate), self.ring_sequence, len(self.members))
        return NOTIFICATION_V0_EVENT.pack(*head, tail=pack_words(self.members))

    @classmethod
    def decode(cls, message: Buffer) -> QuorumNotificationV0:
        """Raises MessageError."""
        _, quorate, sequence, count = NOTIFICATION_V0_EVENT.unpack(message)
        return cls(bool(quorate), sequence, unpack_words(NOTIFICATION_V0_EVENT.variable(message, 4 * count)))


@dataclass(frozen=True, slots=True)
class QuorumNotification:
    """Event 6, model 1: the quorum decision for a ring."""

    quorate: bool
    ring_nodeid: int
    ring_sequence: int
    members: tuple[int, ...]

    def encode(self) -> bytes:
        """56 bytes and 4 a member; the list starts at 52."""
        head = (Status.OK, int(self.quorate), self.ring_nodeid, self.ring_sequence, len(self.members))
        return NOTIFICATION_V1_EVENT.pack(*head, tail=pack_words(self.members))

    @classmethod
    def decode(cls, message: Buffer) -> QuorumNotification:
        """Raises MessageError."""
        _, quorate, nodeid, sequence, count = NOTIFICATION_V1_EVENT.unpack(message)
        return cls(bool(quorate), nodeid, sequence, unpack_words(NOTIFICATION_V1_EVENT.variable(message, 4 * count)))


@dataclass(frozen=True, slots=True)
class NodeListNotification:
    """Event 7, model 1: a ring's members, before the quorum decision about it is known."""

    ring_nodeid: int
    ring_sequence: int
    members: tuple[int, ...]
    joined: tuple[int, ...]
    left: tuple[int, ...]

    def encode(self) -> bytes:
        """64 bytes and 4 a node; the lists start at 60: members, joined, left."""
        counts = (len(self.members), len(self.joined), len(self.left))
        lists = pack_words(self.members + self.joined + self.left)
        return NODELIST_EVENT.pack(Status.OK, self.ring_nodeid, self.ring_sequence, *counts, tail=lists)

    @classmethod
    def decode(cls, message: Buffer) -> NodeListNotification:
        """Raises MessageError."""
        _, nodeid, sequence, members, joined, left = NODELIST_EVENT.unpack(message)
        nodes = unpack_words(NODELIST_EVENT.variable(message, 4 * (members + joined + left)))
        return cls(nodeid, sequence, nodes[:members], nodes[members : members + joined], nodes[members + joined :])


Event = QuorumNotificationV0 | QuorumNotification | NodeListNotification

_EVENTS: Final[dict[int, type[QuorumNotificationV0] | type[QuorumNotification] | type[NodeListNotification]]] = {
    Response.NOTIFICATION_V0: QuorumNotificationV0,
    Response.NOTIFICATION_V1: QuorumNotification,
    Response.NODELIST: NodeListNotification,
}


def decode_event(message: Buffer) -> Event:
    """One event of the event ring; MessageError where the id is unknown or the message short."""
    identifier = int.from_bytes(message[:4], "little", signed=True)
    event = _EVENTS.get(identifier)
    if event is None:
        raise MessageError(f"quorum event with the unknown id {identifier}")
    return event.decode(message)
