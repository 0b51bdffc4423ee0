"""Layouts of the votequorum library's messages, both directions.

Source: votequorum_overview(3), reference client-api sections 5 and 11.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

from coroipc.errors import InvalidParameter, MessageError, Status
from coroipc.layouts import REQUEST, RESPONSE, Buffer, Layout, pack_words, text_until_nul, unpack_words

QDEVICE_NAME_SIZE: Final = 255
"""Bytes of a quorum device's name with its NUL (VOTEQUORUM_QDEVICE_MAX_NAME_LEN)."""


class Request(IntEnum):
    """Request ids."""

    GETINFO = 0
    SETEXPECTED = 1
    SETVOTES = 2
    TRACKSTART = 3
    TRACKSTOP = 4
    QDEVICE_REGISTER = 5
    QDEVICE_UNREGISTER = 6
    QDEVICE_UPDATE = 7
    QDEVICE_POLL = 8
    QDEVICE_MASTER_WINS = 9


class Response(IntEnum):
    """Response and event ids; every request but GETINFO is answered with STATUS."""

    STATUS = 0
    GETINFO = 1
    QUORUM = 3
    EXPECTED_VOTES = 4
    NODELIST = 5


RESPONSE_IDS: Final[dict[int, int]] = {
    number: Response.GETINFO if number == Request.GETINFO else Response.STATUS for number in Request
}
"""The response id that answers each request."""


class NodeState(IntEnum):
    """State of a node in votequorum's eyes; 0 is the quorum device's entry."""

    DEVICE = 0
    MEMBER = 1
    DEAD = 2
    LEAVING = 3


class Track(IntFlag):
    """What trackstart asks for: the present state, changes, or changes without the present state."""

    CURRENT = 1
    CHANGES = 2
    CHANGES_ONLY = 4


class InfoFlag(IntFlag):
    """Bits of getinfo's flags: the first six describe the local daemon, the rest the node asked for."""

    TWO_NODE = 1
    QUORATE = 2
    WAIT_FOR_ALL = 4
    LAST_MAN_STANDING = 8
    AUTO_TIE_BREAKER = 16
    ALLOW_DOWNSCALE = 32
    QDEVICE_REGISTERED = 64
    QDEVICE_ALIVE = 128
    QDEVICE_CAST_VOTE = 256
    QDEVICE_MASTER_WINS = 512


GETINFO_REQUEST = Layout("votequorum getinfo", Request.GETINFO, REQUEST, "i4x")
SETEXPECTED_REQUEST = Layout("votequorum setexpected", Request.SETEXPECTED, REQUEST, "I4x")
SETVOTES_REQUEST = Layout("votequorum setvotes", Request.SETVOTES, REQUEST, "Ii")
TRACKSTART_REQUEST = Layout("votequorum trackstart", Request.TRACKSTART, REQUEST, "QI4x")
TRACKSTOP_REQUEST = Layout("votequorum trackstop", Request.TRACKSTOP, REQUEST)
QDEVICE_REGISTER_REQUEST = Layout("votequorum qdevice register", Request.QDEVICE_REGISTER, REQUEST, "255sx")
QDEVICE_UNREGISTER_REQUEST = Layout("votequorum qdevice unregister", Request.QDEVICE_UNREGISTER, REQUEST, "255sx")
QDEVICE_UPDATE_REQUEST = Layout("votequorum qdevice update", Request.QDEVICE_UPDATE, REQUEST, "255s255s2x")
QDEVICE_POLL_REQUEST = Layout("votequorum qdevice poll", Request.QDEVICE_POLL, REQUEST, "255sxi4xI4xQ")
QDEVICE_MASTER_WINS_REQUEST = Layout("votequorum master wins", Request.QDEVICE_MASTER_WINS, REQUEST, "255sxI4x")

GETINFO_RESPONSE = Layout("votequorum getinfo response", Response.GETINFO, RESPONSE, "9I255s5x")

QUORUM_EVENT = Layout("votequorum quorum", Response.QUORUM, RESPONSE, "I4xQI4x")
EXPECTED_VOTES_EVENT = Layout("votequorum expected votes", Response.EXPECTED_VOTES, RESPONSE, "QI4x")
NODELIST_EVENT = Layout("votequorum nodelist", Response.NODELIST, RESPONSE, "QI4xQI4x")

_NODE = struct.Struct("=II")


def _pack_name(name: str) -> bytes:
    text = name.encode("utf-8", "surrogateescape")
    if not text or len(text) >= QDEVICE_NAME_SIZE or b"\0" in text:
        raise InvalidParameter(f"quorum device name {name!r}")
    return text


def _text(field: bytes) -> str:
    return text_until_nul(field).decode("utf-8", "surrogateescape")


class GetinfoRequest(NamedTuple):
    """Request 0: nodeid 0 is the local node."""

    nodeid: int

    def encode(self) -> bytes:
        """24 bytes."""
        return GETINFO_REQUEST.pack(_signed(self.nodeid))

    @classmethod
    def decode(cls, message: Buffer) -> GetinfoRequest:
        """Raises MessageError."""
        return cls(GETINFO_REQUEST.unpack(message)[0] & 0xFFFFFFFF)


def _signed(nodeid: int) -> int:
    """A node id for a field that C declares as int."""
    return nodeid - (1 << 32) if nodeid >= 1 << 31 else nodeid


class SetexpectedRequest(NamedTuple):
    """Request 1."""

    expected_votes: int

    def encode(self) -> bytes:
        """24 bytes."""
        return SETEXPECTED_REQUEST.pack(self.expected_votes)

    @classmethod
    def decode(cls, message: Buffer) -> SetexpectedRequest:
        """Raises MessageError."""
        return cls(*SETEXPECTED_REQUEST.unpack(message))


class SetvotesRequest(NamedTuple):
    """Request 2: nodeid 0 is the local node."""

    votes: int
    nodeid: int

    def encode(self) -> bytes:
        """24 bytes."""
        return SETVOTES_REQUEST.pack(self.votes, _signed(self.nodeid))

    @classmethod
    def decode(cls, message: Buffer) -> SetvotesRequest:
        """Raises MessageError."""
        votes, nodeid = SETVOTES_REQUEST.unpack(message)
        return cls(votes, nodeid & 0xFFFFFFFF)


class TrackstartRequest(NamedTuple):
    """Request 3: ``context`` is echoed in every event."""

    context: int
    flags: int

    def encode(self) -> bytes:
        """32 bytes."""
        return TRACKSTART_REQUEST.pack(self.context, self.flags)

    @classmethod
    def decode(cls, message: Buffer) -> TrackstartRequest:
        """Raises MessageError."""
        return cls(*TRACKSTART_REQUEST.unpack(message))


class QdeviceNameRequest(NamedTuple):
    """Requests 5 and 6, which carry one name."""

    name: str

    def encode(self, layout: Layout) -> bytes:
        """272 bytes; ``layout`` says which request it is. Raises InvalidParameter."""
        return layout.pack(_pack_name(self.name))

    @classmethod
    def decode(cls, message: Buffer) -> QdeviceNameRequest:
        """Raises MessageError."""
        return cls(_text(QDEVICE_REGISTER_REQUEST.unpack(message)[0]))


class QdeviceUpdateRequest(NamedTuple):
    """Request 7; the second name starts at 271."""

    old_name: str
    new_name: str

    def encode(self) -> bytes:
        """528 bytes. Raises InvalidParameter."""
        return QDEVICE_UPDATE_REQUEST.pack(_pack_name(self.old_name), _pack_name(self.new_name))

    @classmethod
    def decode(cls, message: Buffer) -> QdeviceUpdateRequest:
        """Raises MessageError."""
        old_name, new_name = QDEVICE_UPDATE_REQUEST.unpack(message)
        return cls(_text(old_name), _text(new_name))


class QdevicePollRequest(NamedTuple):
    """Request 8: the ring id says for which membership the device votes."""

    name: str
    cast_vote: bool
    ring_nodeid: int
    ring_sequence: int

    def encode(self) -> bytes:
        """296 bytes. Raises InvalidParameter."""
        return QDEVICE_POLL_REQUEST.pack(_pack_name(self.name), int(self.cast_vote), self.ring_nodeid, self.ring_sequence)

    @classmethod
    def decode(cls, message: Buffer) -> QdevicePollRequest:
        """Raises MessageError."""
        name, cast_vote, nodeid, sequence = QDEVICE_POLL_REQUEST.unpack(message)
        return cls(_text(name), bool(cast_vote), nodeid, sequence)


class QdeviceMasterWinsRequest(NamedTuple):
    """Request 9."""

    name: str
    allow: bool

    def encode(self) -> bytes:
        """280 bytes. Raises InvalidParameter."""
        return QDEVICE_MASTER_WINS_REQUEST.pack(_pack_name(self.name), int(self.allow))

    @classmethod
    def decode(cls, message: Buffer) -> QdeviceMasterWinsRequest:
        """Raises MessageError."""
        name, allow = QDEVICE_MASTER_WINS_REQUEST.unpack(message)
        return cls(_text(name), bool(allow))


class Info(NamedTuple):
    """Response 1: one node's votes and the quorum they make. ``flags`` are InfoFlag bits."""

    nodeid: int = 0
    state: int = 0
    votes: int = 0
    expected_votes: int = 0
    highest_expected: int = 0
    total_votes: int = 0
    quorum: int = 0
    flags: int = 0
    qdevice_votes: int = 0
    qdevice_name: str = ""

    def encode(self, status: int = Status.OK) -> bytes:
        """320 bytes, zero-filled also on error: C clients copy the name even then."""
        name = self.qdevice_name.encode("utf-8", "surrogateescape")[: QDEVICE_NAME_SIZE - 1]
        return GETINFO_RESPONSE.pack(status, *self[:9], name)

    @classmethod
    def decode(cls, message: Buffer) -> Info:
        """Raises MessageError."""
        _, *numbers, name = GETINFO_RESPONSE.unpack(message)
        return cls._make((*numbers, _text(name)))


class Node(NamedTuple):
    """One entry of a quorum notification: ``state`` is a NodeState; nodeid 0 is a registered quorum device."""

    nodeid: int
    state: int


@dataclass(frozen=True, slots=True)
class QuorumNotification:
    """Event 3: the quorum decision and every node known, the dead ones too."""

    context: int
    quorate: bool
    nodes: tuple[Node, ...]

    def encode(self) -> bytes:
        """48 bytes and 8 a node."""
        nodes = b"".join(_NODE.pack(*node) for node in self.nodes)
        return QUORUM_EVENT.pack(Status.OK, int(self.quorate), self.context, len(self.nodes), tail=nodes)

    @classmethod
    def decode(cls, message: Buffer) -> QuorumNotification:
        """Raises MessageError."""
        _, quorate, context, count = QUORUM_EVENT.unpack(message)
        nodes = _NODE.iter_unpack(QUORUM_EVENT.variable(message, _NODE.size * count))
        return cls(context, bool(quorate), tuple(map(Node._make, nodes)))


@dataclass(frozen=True, slots=True)
class ExpectedVotesNotification:
    """Event 4: the local node's expected votes have changed."""

    context: int
    expected_votes: int

    def encode(self) -> bytes:
        """40 bytes."""
        return EXPECTED_VOTES_EVENT.pack(Status.OK, self.context, self.expected_votes)

    @classmethod
    def decode(cls, message: Buffer) -> ExpectedVotesNotification:
        """Raises MessageError."""
        return cls(*EXPECTED_VOTES_EVENT.unpack(message)[1:])


@dataclass(frozen=True, slots=True)
class NodeListNotification:
    """Event 5: the members of the ring being synchronised, before quorum is computed for it."""

    context: int
    ring_nodeid: int
    ring_sequence: int
    members: tuple[int, ...]

    def encode(self) -> bytes:
        """56 bytes and 4 a member."""
        head = (Status.OK, self.context, self.ring_nodeid, self.ring_sequence, len(self.members))
        return NODELIST_EVENT.pack(*head, tail=pack_words(self.members))

    @classmethod
    def decode(cls, message: Buffer) -> NodeListNotification:
        """Raises MessageError."""
        _, context, nodeid, sequence, count = NODELIST_EVENT.unpack(message)
        return cls(context, nodeid, sequence, unpack_words(NODELIST_EVENT.variable(message, 4 * count)))


Event = QuorumNotification | ExpectedVotesNotification | NodeListNotification

_EVENTS: Final[dict[int, type[QuorumNotification] | type[ExpectedVotesNotification] | type[NodeListNotification]]] = {
    Response.QUORUM: QuorumNotification,
    Response.EXPECTED_VOTES: ExpectedVotesNotification,
    Response.NODELIST: NodeListNotification,
}


def decode_event(message: Buffer) -> Event:
    """One event of the event ring; MessageError where the id is unknown or the message short."""
    identifier = int.from_bytes(message[:4], "little", signed=True)
    event = _EVENTS.get(identifier)
    if event is None:
        raise MessageError(f"votequorum event with the unknown id {identifier}")
    return event.decode(message)
