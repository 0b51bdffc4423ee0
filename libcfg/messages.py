"""Layouts of the cfg library's messages, both directions.

Source: corosync/cfg.h, reference client-api sections 6 and 11.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from coroipc.errors import InvalidParameter, MessageError, Status
from coroipc.layouts import REQUEST, RESPONSE, Buffer, Layout, text_until_nul

LINK_SLOTS: Final = 8
"""Links in a node status, always all of them (CFG_MAX_LINKS)."""
INTERFACE_SLOTS: Final = 16
"""Interfaces in a ring status, always all of them."""
AF_INET: Final = 2
AF_INET6: Final = 10
"""Address families as Linux numbers them; this module is also read by an engine, which imports no sockets."""
REASON_LIMIT: Final = 255
"""Longest reason of a kill in bytes, without its NUL."""
NODE_STATUS_VERSION: Final = 1
"""The one version of the node status structure (CFG_NODE_STATUS_V1)."""


class Request(IntEnum):
    """Request ids."""

    RING_STATUS_GET = 0
    RING_REENABLE = 1
    KILL_NODE = 2
    TRY_SHUTDOWN = 3
    REPLYTO_SHUTDOWN = 4
    GET_NODE_ADDRS = 5
    LOCAL_GET = 6
    RELOAD_CONFIG = 7
    REOPEN_LOG_FILES = 8
    NODE_STATUS_GET = 9
    TRACKSTART = 10
    TRACKSTOP = 11


class Response(IntEnum):
    """Response and event ids."""

    RING_STATUS_GET = 0
    RING_REENABLE = 1
    TRACKSTART = 2
    TRACKSTOP = 3
    KILL_NODE = 8
    TRY_SHUTDOWN = 9
    TEST_SHUTDOWN = 10
    GET_NODE_ADDRS = 11
    LOCAL_GET = 12
    REPLYTO_SHUTDOWN = 13
    RELOAD_CONFIG = 14
    REOPEN_LOG_FILES = 15
    NODE_STATUS_GET = 16


RESPONSE_IDS: Final[dict[int, int]] = {request: Response[request.name] for request in Request}
"""The response id that answers each request."""


class ShutdownFlag(IntEnum):
    """How a node is asked to stop: trackers decide, trackers are only told, or nobody is asked."""

    REQUEST = 0
    REGARDLESS = 1
    IMMEDIATE = 2


RING_STATUS_GET_REQUEST = Layout("cfg ring status", Request.RING_STATUS_GET, REQUEST)
RING_REENABLE_REQUEST = Layout("cfg ring re-enable", Request.RING_REENABLE, REQUEST)
KILL_NODE_REQUEST = Layout("cfg kill node", Request.KILL_NODE, REQUEST, "I4xH256s6x")
TRY_SHUTDOWN_REQUEST = Layout("cfg try shutdown", Request.TRY_SHUTDOWN, REQUEST, "I4x")
REPLYTO_SHUTDOWN_REQUEST = Layout("cfg reply to shutdown", Request.REPLYTO_SHUTDOWN, REQUEST, "I4x")
GET_NODE_ADDRS_REQUEST = Layout("cfg node addresses", Request.GET_NODE_ADDRS, REQUEST, "I4x")
LOCAL_GET_REQUEST = Layout("cfg local node", Request.LOCAL_GET, REQUEST)
RELOAD_CONFIG_REQUEST = Layout("cfg reload", Request.RELOAD_CONFIG, REQUEST)
REOPEN_LOG_FILES_REQUEST = Layout("cfg reopen logs", Request.REOPEN_LOG_FILES, REQUEST)
NODE_STATUS_GET_REQUEST = Layout("cfg node status", Request.NODE_STATUS_GET, REQUEST, "I4xI4x")
TRACKSTART_REQUEST = Layout("cfg trackstart", Request.TRACKSTART, REQUEST, "B7x")
TRACKSTOP_REQUEST = Layout("cfg trackstop", Request.TRACKSTOP, REQUEST)

RING_STATUS_GET_RESPONSE = Layout("cfg ring status response", Response.RING_STATUS_GET, RESPONSE, "I4x2048s8192s")
GET_NODE_ADDRS_RESPONSE = Layout("cfg node addresses response", Response.GET_NODE_ADDRS, RESPONSE, "II")
LOCAL_GET_RESPONSE = Layout("cfg local node response", Response.LOCAL_GET, RESPONSE, "I4x")
NODE_STATUS_GET_RESPONSE = Layout("cfg node status response", Response.NODE_STATUS_GET, RESPONSE, "II6B2x4160s")
NODE_STATUS_ERROR = Layout("cfg node status error", Response.NODE_STATUS_GET, RESPONSE, "8x")
"""What answers a node status request that fails."""

TEST_SHUTDOWN_EVENT = Layout("cfg test shutdown", Response.TEST_SHUTDOWN, RESPONSE, "I4x")

_LINK = struct.Struct("=BBBxI256s256s")
_INTERFACE_NAME_SIZE: Final = 128
_INTERFACE_STATUS_SIZE: Final = 512
_ADDRESS_SIZE: Final = 16


def _text(field: bytes) -> str:
    return text_until_nul(field).decode("utf-8", "surrogateescape")


def _field(text: str, size: int) -> bytes:
    """A character array that always ends with NUL."""
    return text.encode("utf-8", "surrogateescape")[: size - 1].ljust(size, b"\0")


class Interface(NamedTuple):
    """One interface of the ring status: ``name`` is "<link number> <address>"."""

    name: str
    status: str


class RingStatusResponse(NamedTuple):
    """Response 0."""

    interfaces: tuple[Interface, ...] = ()

    def encode(self, status: int = Status.OK) -> bytes:
        """10272 bytes; interfaces past the 16th are left out."""
        shown = self.interfaces[:INTERFACE_SLOTS]
        names = b"".join(_field(each.name, _INTERFACE_NAME_SIZE) for each in shown)
        states = b"".join(_field(each.status, _INTERFACE_STATUS_SIZE) for each in shown)
        return RING_STATUS_GET_RESPONSE.pack(status, len(shown), names, states)

    @classmethod
    def decode(cls, message: Buffer) -> RingStatusResponse:
        """Raises MessageError."""
        _, count, names, states = RING_STATUS_GET_RESPONSE.unpack(message)
        if count > INTERFACE_SLOTS:
            raise MessageError(f"cfg ring status response: announces {count} interfaces of at most {INTERFACE_SLOTS}")
        return cls(
            tuple(
                Interface(
                    _text(names[index * _INTERFACE_NAME_SIZE :][:_INTERFACE_NAME_SIZE]),
                    _text(states[index * _INTERFACE_STATUS_SIZE :][:_INTERFACE_STATUS_SIZE]),
                )
                for index in range(count)
            )
        )


class KillNodeRequest(NamedTuple):
    """Request 2. The reason's length field counts its NUL, and the text starts at 26, unaligned."""

    nodeid: int
    reason: str

    def encode(self) -> bytes:
        """288 bytes. Raises InvalidParameter."""
        reason = self.reason.encode("utf-8", "surrogateescape")
        if len(reason) > REASON_LIMIT:
            raise InvalidParameter(f"reason of {len(reason)} bytes, at most {REASON_LIMIT}")
        return KILL_NODE_REQUEST.pack(self.nodeid, len(reason) + 1, reason)

    @classmethod
    def decode(cls, message: Buffer) -> KillNodeRequest:
        """Raises MessageError."""
        nodeid, length, reason = KILL_NODE_REQUEST.unpack(message)
        return cls(nodeid, _text(reason[:length]))


class TryShutdownRequest(NamedTuple):
    """Request 3: ``flags`` is a ShutdownFlag."""

    flags: int

    def encode(self) -> bytes:
        """24 bytes."""
        return TRY_SHUTDOWN_REQUEST.pack(self.flags)

    @classmethod
    def decode(cls, message: Buffer) -> TryShutdownRequest:
        """Raises MessageError."""
        return cls(*TRY_SHUTDOWN_REQUEST.unpack(message))


class ReplytoShutdownRequest(NamedTuple):
    """Request 4."""

    agree: bool

    def encode(self) -> bytes:
        """24 bytes."""
        return REPLYTO_SHUTDOWN_REQUEST.pack(int(self.agree))

    @classmethod
    def decode(cls, message: Buffer) -> ReplytoShutdownRequest:
        """Raises MessageError."""
        return cls(bool(REPLYTO_SHUTDOWN_REQUEST.unpack(message)[0]))


class GetNodeAddrsRequest(NamedTuple):
    """Request 5: nodeid 0 is the local node."""

    nodeid: int

    def encode(self) -> bytes:
        """24 bytes."""
        return GET_NODE_ADDRS_REQUEST.pack(self.nodeid)

    @classmethod
    def decode(cls, message: Buffer) -> GetNodeAddrsRequest:
        """Raises MessageError."""
        return cls(*GET_NODE_ADDRS_REQUEST.unpack(message))


class GetNodeAddrsResponse(NamedTuple):
    """Response 11: addresses as text, all of one family."""

    addresses: tuple[str, ...] = ()

    def encode(self, status: int = Status.OK) -> bytes:
        """32 bytes and 16 an address; the family is the first one's. Raises ValueError for what is no address."""
        parsed = [ipaddress.ip_address(text) for text in self.addresses]
        family = AF_INET6 if parsed and parsed[0].version == 6 else AF_INET
        records = b"".join(address.packed.ljust(_ADDRESS_SIZE, b"\0") for address in parsed)
        return GET_NODE_ADDRS_RESPONSE.pack(status, family if parsed else 0, len(parsed), tail=records)

    @classmethod
    def decode(cls, message: Buffer) -> GetNodeAddrsResponse:
        """Raises MessageError, also for an address family that is neither IPv4 nor IPv6."""
        _, family, count = GET_NODE_ADDRS_RESPONSE.unpack(message)
        records = GET_NODE_ADDRS_RESPONSE.variable(message, _ADDRESS_SIZE * count)
        length = {AF_INET: 4, AF_INET6: 16}.get(family)
        if length is None and count:
            raise MessageError(f"cfg node addresses response: unknown address family {family}")
        starts = range(0, len(records), _ADDRESS_SIZE)
        return cls(tuple(str(ipaddress.ip_address(records[start:][:length])) for start in starts))


class LocalGetResponse(NamedTuple):
    """Response 12."""

    nodeid: int = 0

    def encode(self, status: int = Status.OK) -> bytes:
        """32 bytes."""
        return LOCAL_GET_RESPONSE.pack(status, self.nodeid)

    @classmethod
    def decode(cls, message: Buffer) -> LocalGetResponse:
        """Raises MessageError."""
        return cls(LOCAL_GET_RESPONSE.unpack(message)[1])


class NodeStatusRequest(NamedTuple):
    """Request 9."""

    nodeid: int
    version: int = NODE_STATUS_VERSION

    def encode(self) -> bytes:
        """32 bytes."""
        return NODE_STATUS_GET_REQUEST.pack(self.nodeid, self.version)

    @classmethod
    def decode(cls, message: Buffer) -> NodeStatusRequest:
        """Raises MessageError."""
        return cls(*NODE_STATUS_GET_REQUEST.unpack(message))


class LinkStatus(NamedTuple):
    """One link to a node; ``mtu`` in bytes."""

    enabled: bool = False
    connected: bool = False
    dynamically_connected: bool = False
    mtu: int = 0
    source: str = ""
    destination: str = ""


class NodeStatus(NamedTuple):
    """Response 16, version 1: how this node sees another one. ``links`` always has eight records."""

    nodeid: int = 0
    reachable: bool = False
    remote: bool = False
    external: bool = False
    onwire_minimum: int = 0
    onwire_maximum: int = 0
    onwire_version: int = 0
    links: tuple[LinkStatus, ...] = (LinkStatus(),) * LINK_SLOTS

    def encode(self, status: int = Status.OK) -> bytes:
        """4200 bytes; 32 with an error status."""
        if status != Status.OK:
            return NODE_STATUS_ERROR.pack(status)
        links = b"".join(
            _LINK.pack(*each[:4], _field(each.source, 256), _field(each.destination, 256)) for each in self.links[:LINK_SLOTS]
        )
        return NODE_STATUS_GET_RESPONSE.pack(status, NODE_STATUS_VERSION, *self[:7], links)

    @classmethod
    def decode(cls, message: Buffer) -> NodeStatus:
        """Raises MessageError, also for another version of the structure."""
        _, version, nodeid, reachable, remote, external, low, high, used, records = NODE_STATUS_GET_RESPONSE.unpack(message)
        if version != NODE_STATUS_VERSION:
            raise MessageError(f"cfg node status response of version {version}")
        links = tuple(
            LinkStatus(bool(enabled), bool(connected), bool(dynamic), mtu, _text(source), _text(destination))
            for enabled, connected, dynamic, mtu, source, destination in _LINK.iter_unpack(records)
        )
        return cls(nodeid, bool(reachable), bool(remote), bool(external), low, high, used, links)


class TrackstartRequest(NamedTuple):
    """Request 10: the flags are ignored."""

    flags: int = 0

    def encode(self) -> bytes:
        """24 bytes."""
        return TRACKSTART_REQUEST.pack(self.flags)

    @classmethod
    def decode(cls, message: Buffer) -> TrackstartRequest:
        """Raises MessageError."""
        return cls(*TRACKSTART_REQUEST.unpack(message))


@dataclass(frozen=True, slots=True)
class ShutdownRequested:
    """Event 10: somebody wants this node to stop; answer with replyto_shutdown.

    ``flags`` are those of the request; ``status`` TIMEOUT says that the vote has ended without us.
    """

    flags: int
    status: int = Status.OK

    def encode(self) -> bytes:
        """32 bytes."""
        return TEST_SHUTDOWN_EVENT.pack(self.status, self.flags)

    @classmethod
    def decode(cls, message: Buffer) -> ShutdownRequested:
        """Raises MessageError."""
        status, flags = TEST_SHUTDOWN_EVENT.unpack(message)
        return cls(flags, status)


def decode_event(message: Buffer) -> ShutdownRequested:
    """One event of the event ring; MessageError where the id is unknown or the message short."""
    identifier = int.from_bytes(message[:4], "little", signed=True)
    if identifier != Response.TEST_SHUTDOWN:
        raise MessageError(f"cfg event with the unknown id {identifier}")
    return ShutdownRequested.decode(message)
