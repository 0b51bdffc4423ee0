"""Headers that every message between a library and an engine begins with.

Padding is garbage when a C peer sends it: only the declared bytes are read, and zero is written.

Source: reference ipc section 4.1, client-api sections 1.1 and 1.4.
"""

from __future__ import annotations

from struct import Struct

from coroipc.errors import LibraryError, Status

REQUEST_HEADER = Struct("<i4xi4x")
"""id, size of the whole message."""

RESPONSE_HEADER = Struct("<i4xi4xi4x")
"""id, size of the whole message, status. Events begin with the same."""

RING_ID = Struct("<I4xQ")
"""Node id of the representative, sequence: as cpg, quorum and votequorum clients see a ring id."""

AUTHENTICATE = -1
"""Id of a connection request and its answer."""

DISCONNECT = -3
"""Id of a request that ends the connection."""

_STATUS = Struct("<16xi")


def request(identifier: int, body: bytes = b"") -> bytes:
    """A request: its header, then ``body``."""
    return REQUEST_HEADER.pack(identifier, REQUEST_HEADER.size + len(body)) + body


def response(identifier: int, status: int = Status.OK, body: bytes = b"") -> bytes:
    """A response or an event: its header, then ``body``."""
    return RESPONSE_HEADER.pack(identifier, RESPONSE_HEADER.size + len(body), status) + body


def error_response(status: int) -> bytes:
    """The 24-byte answer that can come in place of any response: id 0, only the status counts."""
    return RESPONSE_HEADER.pack(0, RESPONSE_HEADER.size, status)


def status_of(message: bytes | bytearray | memoryview) -> int:
    """The status of a response. Raises LibraryError when the message is too short to have one."""
    if len(message) < RESPONSE_HEADER.size:
        raise LibraryError(f"a response of {len(message)} bytes")
    status: int = _STATUS.unpack_from(message)[0]
    return status
