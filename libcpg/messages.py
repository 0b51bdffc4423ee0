"""Layouts of the cpg library's messages, both directions.

Source: cpg_overview(8), reference client-api sections 3.1, 3.2 and 11.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from coroipc.errors import MessageError, NameTooLong, Status
from coroipc.layouts import REQUEST, RESPONSE, Buffer, Layout, pack_words, unpack_words

GROUP_NAME_LIMIT: Final = 128
"""Bytes of a group name (CPG_MAX_NAME_LENGTH)."""
MEMBERSHIP_SLOTS: Final = 384
"""Addresses in a membership response, always all of them."""
LIST_LIMIT: Final = 128
"""Addresses that a C client holds for each list of a configuration change (CPG_MEMBERS_MAX)."""
ATOMIC_MESSAGE_LIMIT: Final = 1048576 - 1024
"""Longest message, or fragment of one, that travels in one request (bytes)."""


class Request(IntEnum):
    """Request ids."""

    JOIN = 0
    LEAVE = 1
    MCAST = 2
    MEMBERSHIP_GET = 3
    LOCAL_GET = 4
    ITERATION_INITIALIZE = 5
    ITERATION_NEXT = 6
    ITERATION_FINALIZE = 7
    FINALIZE = 8
    ZERO_COPY_ALLOCATE = 9
    ZERO_COPY_FREE = 10
    ZERO_COPY_EXECUTE = 11
    PARTIAL_MCAST = 12


class Response(IntEnum):
    """Response and event ids, one enumeration of their own."""

    JOIN = 0
    LEAVE = 1
    MCAST = 2
    MEMBERSHIP_GET = 3
    CONFIGURATION_CHANGE = 4
    DELIVER = 5
    LOCAL_GET = 7
    ITERATION_INITIALIZE = 9
    ITERATION_NEXT = 10
    ITERATION_FINALIZE = 11
    FINALIZE = 12
    TOTEM_CONFIGURATION = 13
    PARTIAL_DELIVER = 17
    PARTIAL_MCAST = 18


class Guarantee(IntEnum):
    """Ordering asked for; the daemon sends everything agreed."""

    UNORDERED = 0
    FIFO = 1
    AGREED = 2
    SAFE = 3


class Reason(IntEnum):
    """Why an address is in a list of a configuration change."""

    UNDEFINED = 0
    JOIN = 1
    LEAVE = 2
    NODE_DOWN = 3
    NODE_UP = 4
    PROCESS_DOWN = 5


class Iteration(IntEnum):
    """What an iteration lists."""

    NAME_ONLY = 1
    ONE_GROUP = 2
    ALL = 3


class Fragment(IntEnum):
    """Place of a fragment in its message."""

    FIRST = 1
    CONTINUED = 2
    LAST = 3


class JoinFlag(IntEnum):
    """Bits of a join request."""

    INITIAL_TOTEM_CONFIGURATION = 1
    """One totem configuration right after the first configuration change (CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF)."""


# A group name: uint32 length, padding, 128 bytes. Public where the cpg engine packs and unpacks on its hot path.
_NAME = "I4x128s"

JOIN_REQUEST = Layout("cpg join", Request.JOIN, REQUEST, _NAME + "I4xI4x")
LEAVE_REQUEST = Layout("cpg leave", Request.LEAVE, REQUEST, _NAME + "I4x")
MCAST_REQUEST = Layout("cpg mcast", Request.MCAST, REQUEST, "8xI4xI4x")
"""guarantee, length, data at 40: the header has the response's 24 bytes."""
MEMBERSHIP_REQUEST = Layout("cpg membership", Request.MEMBERSHIP_GET, REQUEST, _NAME)
LOCAL_REQUEST = Layout("cpg local node", Request.LOCAL_GET, REQUEST)
ITERATION_REQUEST = Layout("cpg iteration", Request.ITERATION_INITIALIZE, REQUEST, _NAME + "I4x")
ITERATION_NEXT_REQUEST = Layout("cpg iteration next", Request.ITERATION_NEXT, REQUEST, "Q")
ITERATION_FINALIZE_REQUEST = Layout("cpg iteration end", Request.ITERATION_FINALIZE, REQUEST, "Q")
FINALIZE_REQUEST = Layout("cpg finalize", Request.FINALIZE, REQUEST)
PARTIAL_MCAST_REQUEST = Layout("cpg partial mcast", Request.PARTIAL_MCAST, REQUEST, "8xI4xI4xI4xI4x")
"""guarantee, length of the whole message, length of the fragment, type, data at 56."""

MEMBERSHIP_RESPONSE = Layout("cpg membership response", Response.MEMBERSHIP_GET, RESPONSE, "I4x")
LOCAL_RESPONSE = Layout("cpg local node response", Response.LOCAL_GET, RESPONSE, "I4x")
ITERATION_RESPONSE = Layout("cpg iteration response", Response.ITERATION_INITIALIZE, RESPONSE, "Q")
ITERATION_NEXT_RESPONSE = Layout("cpg iteration next response", Response.ITERATION_NEXT, RESPONSE, _NAME + "II")

CONFIGURATION_EVENT = Layout("cpg configuration change", Response.CONFIGURATION_CHANGE, RESPONSE, _NAME + "I4xI4xI4x")
DELIVER_EVENT = Layout("cpg deliver", Response.DELIVER, RESPONSE, _NAME + "I4xI4xI4x")
"""status, name length, name, message length, nodeid, pid, data at 184."""
TOTEM_EVENT = Layout("cpg totem configuration", Response.TOTEM_CONFIGURATION, RESPONSE, "I4xQI", size=48)
PARTIAL_DELIVER_EVENT = Layout("cpg partial deliver", Response.PARTIAL_DELIVER, RESPONSE, _NAME + "I4xI4xI4xI4xI4x")
"""status, name length, name, whole length, fragment length, nodeid, pid, type, data at 200."""

_ADDRESS = struct.Struct("=I4xI4xI4x")


class Address(NamedTuple):
    """One process of a group; ``reason`` is a Reason, 0 in lists of present members."""

    nodeid: int
    pid: int
    reason: int = 0


def _name(length: int, value: bytes, layout: Layout) -> bytes:
    if length > GROUP_NAME_LIMIT:
        raise NameTooLong(f"{layout.name}: group name of {length} bytes")
    return value[:length]


def _pack_addresses(addresses: Iterable[Address]) -> bytes:
    return b"".join(_ADDRESS.pack(*address) for address in addresses)


def _unpack_addresses(data: bytes) -> tuple[Address, ...]:
    return tuple(map(Address._make, _ADDRESS.iter_unpack(data)))


class JoinRequest(NamedTuple):
    """Request 0."""

    group: bytes
    pid: int
    flags: int = 0

    def encode(self) -> bytes:
        """168 bytes."""
        return JOIN_REQUEST.pack(len(self.group), self.group, self.pid, self.flags)

    @classmethod
    def decode(cls, message: Buffer) -> JoinRequest:
        """Raises MessageError, NameTooLong."""
        length, value, pid, flags = JOIN_REQUEST.unpack(message)
        return cls(_name(length, value, JOIN_REQUEST), pid, flags)


class LeaveRequest(NamedTuple):
    """Request 1."""

    group: bytes
    pid: int

    def encode(self) -> bytes:
        """160 bytes."""
        return LEAVE_REQUEST.pack(len(self.group), self.group, self.pid)

    @classmethod
    def decode(cls, message: Buffer) -> LeaveRequest:
        """Raises MessageError, NameTooLong."""
        length, value, pid = LEAVE_REQUEST.unpack(message)
        return cls(_name(length, value, LEAVE_REQUEST), pid)


class McastRequest(NamedTuple):
    """Request 2, which has no response."""

    data: bytes
    guarantee: int = Guarantee.AGREED

    def encode(self) -> bytes:
        """40 bytes and the data."""
        return MCAST_REQUEST.pack(self.guarantee, len(self.data), tail=self.data)

    @classmethod
    def decode(cls, message: Buffer) -> McastRequest:
        """Raises MessageError."""
        guarantee, length = MCAST_REQUEST.unpack(message)
        return cls(MCAST_REQUEST.variable(message, length), guarantee)


class PartialMcastRequest(NamedTuple):
    """Request 12: one fragment of a message of ``total`` bytes."""

    data: bytes
    total: int
    fragment: int
    guarantee: int = Guarantee.AGREED

    def encode(self) -> bytes:
        """56 bytes and the fragment."""
        return PARTIAL_MCAST_REQUEST.pack(self.guarantee, self.total, len(self.data), self.fragment, tail=self.data)

    @classmethod
    def decode(cls, message: Buffer) -> PartialMcastRequest:
        """Raises MessageError."""
        guarantee, total, length, fragment = PARTIAL_MCAST_REQUEST.unpack(message)
        return cls(PARTIAL_MCAST_REQUEST.variable(message, length), total, fragment, guarantee)


class MembershipRequest(NamedTuple):
    """Request 3."""

    group: bytes

    def encode(self) -> bytes:
        """152 bytes."""
        return MEMBERSHIP_REQUEST.pack(len(self.group), self.group)

    @classmethod
    def decode(cls, message: Buffer) -> MembershipRequest:
        """Raises MessageError, NameTooLong."""
        length, value = MEMBERSHIP_REQUEST.unpack(message)
        return cls(_name(length, value, MEMBERSHIP_REQUEST))


class MembershipResponse(NamedTuple):
    """Response 3: the present processes of a group."""

    members: tuple[Address, ...] = ()

    def encode(self, status: int = Status.OK) -> bytes:
        """Always 9248 bytes, also on error; members past the 384th do not fit and are left out."""
        shown = self.members[:MEMBERSHIP_SLOTS]
        slots = _pack_addresses(shown) + bytes(_ADDRESS.size * (MEMBERSHIP_SLOTS - len(shown)))
        return MEMBERSHIP_RESPONSE.pack(status, len(shown), tail=slots)

    @classmethod
    def decode(cls, message: Buffer) -> MembershipResponse:
        """Raises MessageError."""
        _, count = MEMBERSHIP_RESPONSE.unpack(message)
        return cls(_unpack_addresses(MEMBERSHIP_RESPONSE.variable(message, _ADDRESS.size * count)))


class LocalResponse(NamedTuple):
    """Response 7."""

    nodeid: int = 0

    def encode(self, status: int = Status.OK) -> bytes:
        """32 bytes."""
        return LOCAL_RESPONSE.pack(status, self.nodeid)

    @classmethod
    def decode(cls, message: Buffer) -> LocalResponse:
        """Raises MessageError."""
        return cls(LOCAL_RESPONSE.unpack(message)[1])


class IterationRequest(NamedTuple):
    """Request 5: ``kind`` is an Iteration."""

    group: bytes
    kind: int

    def encode(self) -> bytes:
        """160 bytes."""
        return ITERATION_REQUEST.pack(len(self.group), self.group, self.kind)

    @classmethod
    def decode(cls, message: Buffer) -> IterationRequest:
        """Raises MessageError, NameTooLong. The name counts for one group only: C programs leave it uninitialised otherwise."""
        length, value, kind = ITERATION_REQUEST.unpack(message)
        if kind != Iteration.ONE_GROUP:
            return cls(b"", kind)
        return cls(_name(length, value, ITERATION_REQUEST), kind)


class IterationResponse(NamedTuple):
    """Response 9: the handle that requests 6 and 7 name."""

    handle: int = 0

    def encode(self, status: int = Status.OK) -> bytes:
        """32 bytes."""
        return ITERATION_RESPONSE.pack(status, self.handle)

    @classmethod
    def decode(cls, message: Buffer) -> IterationResponse:
        """Raises MessageError."""
        return cls(ITERATION_RESPONSE.unpack(message)[1])


class IterationNextResponse(NamedTuple):
    """Response 10: one process; ``nodeid`` and ``pid`` are 0 where only names are listed."""

    group: bytes = b""
    nodeid: int = 0
    pid: int = 0

    def encode(self, status: int = Status.OK) -> bytes:
        """168 bytes."""
        return ITERATION_NEXT_RESPONSE.pack(status, len(self.group), self.group, self.nodeid, self.pid)

    @classmethod
    def decode(cls, message: Buffer) -> IterationNextResponse:
        """Raises MessageError, NameTooLong."""
        _, length, value, nodeid, pid = ITERATION_NEXT_RESPONSE.unpack(message)
        return cls(_name(length, value, ITERATION_NEXT_RESPONSE), nodeid, pid)


@dataclass(frozen=True, slots=True)
class ConfigurationChange:
    """Event 4: processes joined or left a group. ``members`` is the list after the change, without reasons."""

    group: bytes
    members: tuple[Address, ...]
    left: tuple[Address, ...]
    joined: tuple[Address, ...]

    def encode(self) -> bytes:
        """184 bytes and 24 an address. Counts travel as members, joined, left; lists as members, left, joined."""
        lists = _pack_addresses(self.members) + _pack_addresses(self.left) + _pack_addresses(self.joined)
        counts = (len(self.members), len(self.joined), len(self.left))
        return CONFIGURATION_EVENT.pack(Status.OK, len(self.group), self.group, *counts, tail=lists)

    @classmethod
    def decode(cls, message: Buffer) -> ConfigurationChange:
        """Raises MessageError, NameTooLong."""
        _, length, value, members, joined, left = CONFIGURATION_EVENT.unpack(message)
        lists = CONFIGURATION_EVENT.variable(message, _ADDRESS.size * (members + left + joined))
        addresses = _unpack_addresses(lists)
        group = _name(length, value, CONFIGURATION_EVENT)
        return cls(group, addresses[:members], addresses[members : members + left], addresses[members + left :])


@dataclass(frozen=True, slots=True)
class Deliver:
    """Event 5: one message of a group, in total order."""

    group: bytes
    nodeid: int
    pid: int
    data: bytes

    def encode(self) -> bytes:
        """184 bytes and the data."""
        head = (Status.OK, len(self.group), self.group, len(self.data), self.nodeid, self.pid)
        return DELIVER_EVENT.pack(*head, tail=self.data)

    @classmethod
    def decode(cls, message: Buffer) -> Deliver:
        """The status field is undefined here and is not looked at. Raises MessageError, NameTooLong."""
        _, length, value, size, nodeid, pid = DELIVER_EVENT.unpack(message)
        return cls(_name(length, value, DELIVER_EVENT), nodeid, pid, DELIVER_EVENT.variable(message, size))


@dataclass(frozen=True, slots=True)
class TotemConfiguration:
    """Event 13: the ring that messages after this event are ordered in."""

    ring_nodeid: int
    ring_sequence: int
    members: tuple[int, ...]

    def encode(self) -> bytes:
        """48 bytes and 4 a member; the list starts at 44."""
        head = (Status.OK, self.ring_nodeid, self.ring_sequence, len(self.members))
        return TOTEM_EVENT.pack(*head, tail=pack_words(self.members))

    @classmethod
    def decode(cls, message: Buffer) -> TotemConfiguration:
        """Raises MessageError."""
        _, nodeid, sequence, count = TOTEM_EVENT.unpack(message)
        return cls(nodeid, sequence, unpack_words(TOTEM_EVENT.variable(message, 4 * count)))


@dataclass(frozen=True, slots=True)
class PartialDeliver:
    """Event 17: one fragment of a message of ``total`` bytes."""

    group: bytes
    nodeid: int
    pid: int
    total: int
    fragment: int
    data: bytes

    def encode(self) -> bytes:
        """200 bytes and the fragment."""
        sizes = (self.total, len(self.data), self.nodeid, self.pid, self.fragment)
        return PARTIAL_DELIVER_EVENT.pack(Status.OK, len(self.group), self.group, *sizes, tail=self.data)

    @classmethod
    def decode(cls, message: Buffer) -> PartialDeliver:
        """The status field is undefined here and is not looked at. Raises MessageError, NameTooLong."""
        _, length, value, total, size, nodeid, pid, fragment = PARTIAL_DELIVER_EVENT.unpack(message)
        data = PARTIAL_DELIVER_EVENT.variable(message, size)
        return cls(_name(length, value, PARTIAL_DELIVER_EVENT), nodeid, pid, total, fragment, data)


WireEvent = ConfigurationChange | Deliver | TotemConfiguration | PartialDeliver

_EVENTS: Final[dict[int, type[ConfigurationChange] | type[Deliver] | type[TotemConfiguration] | type[PartialDeliver]]] = {
    Response.CONFIGURATION_CHANGE: ConfigurationChange,
    Response.DELIVER: Deliver,
    Response.TOTEM_CONFIGURATION: TotemConfiguration,
    Response.PARTIAL_DELIVER: PartialDeliver,
}


def decode_event(message: Buffer) -> WireEvent:
    """One event of the event ring; MessageError where the id is unknown or the message short."""
    identifier = int.from_bytes(message[:4], "little", signed=True)
    event = _EVENTS.get(identifier)
    if event is None:
        raise MessageError(f"cpg event with the unknown id {identifier}")
    return event.decode(message)
