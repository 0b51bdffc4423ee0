"""Zero-copy buffers: the file that a program shares with its daemon, and the requests about it.

The file begins with its size, as the program has it, and an address that the daemon chose and that later requests name; a whole
mcast request follows, and the message behind it is what the program writes.

Source: reference client-api sections 3.1 and 3.7.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from coroipc.layouts import REQUEST, Buffer, Layout, text_until_nul
from libcpg.messages import MCAST_REQUEST, Request

DIRECTORY: Final = "/dev/shm"
FILE_PREFIX: Final = "corosync_zerocopy-"
"""Of the file's name; six letters and digits follow."""
PATH_LIMIT: Final = 128
"""Bytes of a path in the request, its NUL included."""

SIZE: Final = struct.Struct("=i")
ADDRESS: Final = struct.Struct("=Q")
ADDRESS_OFFSET: Final = 8
MESSAGE_OFFSET: Final = 16
DATA_OFFSET: Final = MESSAGE_OFFSET + MCAST_REQUEST.size

ALLOCATE_REQUEST = Layout("cpg zero-copy allocate", Request.ZERO_COPY_ALLOCATE, REQUEST, f"Q{PATH_LIMIT}s")
FREE_REQUEST = Layout("cpg zero-copy free", Request.ZERO_COPY_FREE, REQUEST, "QQ")
EXECUTE_REQUEST = Layout("cpg zero-copy mcast", Request.ZERO_COPY_EXECUTE, REQUEST, "Q")


class AllocateRequest(NamedTuple):
    """Request 9: ``size`` is the whole file's."""

    size: int
    path: bytes

    def encode(self) -> bytes:
        """152 bytes."""
        return ALLOCATE_REQUEST.pack(self.size, self.path)

    @classmethod
    def decode(cls, message: Buffer) -> AllocateRequest:
        """Raises MessageError."""
        size, path = ALLOCATE_REQUEST.unpack(message)
        return cls(size, text_until_nul(path))


class FreeRequest(NamedTuple):
    """Request 10."""

    size: int
    address: int

    def encode(self) -> bytes:
        """32 bytes."""
        return FREE_REQUEST.pack(self.size, self.address)

    @classmethod
    def decode(cls, message: Buffer) -> FreeRequest:
        """Raises MessageError."""
        return cls._make(FREE_REQUEST.unpack(message))


class ExecuteRequest(NamedTuple):
    """Request 11: send the message that the buffer at this address holds."""

    address: int

    def encode(self) -> bytes:
        """24 bytes."""
        return EXECUTE_REQUEST.pack(self.address)

    @classmethod
    def decode(cls, message: Buffer) -> ExecuteRequest:
        """Raises MessageError."""
        return cls._make(EXECUTE_REQUEST.unpack(message))
