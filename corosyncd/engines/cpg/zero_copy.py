"""The zero-copy buffers of one connection: files that its program shares, each with a message that it may send again and again.

The name is the interface's: what is sent is read from the file, since a mapping would be in its owner's hands
(``coroipc.server.shared_file``). Nothing in a file is trusted, and what was read once is not read again.
Source: reference client-api section 3.7.
"""

from __future__ import annotations

from typing import Final

from coroipc.errors import CorosyncError, InvalidParameter, NoResources, NotExist, TooBig
from corosyncd.engines.engine import SharedFile
from libcpg.messages import ATOMIC_MESSAGE_LIMIT, MCAST_REQUEST
from libcpg.zero_copy import ADDRESS, ADDRESS_OFFSET, DATA_OFFSET, MESSAGE_OFFSET

BUFFERS_OF_ONE_CLIENT: Final = 32
"""At the same time; each is an open file."""


class Buffers:
    """Buffers by the address that the program knows them by: a number, no address of ours."""

    __slots__ = ("_files", "_next")

    def __init__(self) -> None:
        """None."""
        self._files: dict[int, SharedFile] = {}
        self._next = 1

    def refuse_too_many(self) -> None:
        """Raises NoResources where the client has as many as it may."""
        if len(self._files) >= BUFFERS_OF_ONE_CLIENT:
            raise NoResources(f"{BUFFERS_OF_ONE_CLIENT} zero-copy buffers")

    def add(self, file: SharedFile) -> None:
        """Keep a file and write its address into it. Raises InvalidParameter (too small), NoSpace; the file is closed then."""
        try:
            if file.size < DATA_OFFSET:
                raise InvalidParameter(f"a zero-copy buffer of {file.size} bytes, {DATA_OFFSET} at least")
            file.write(ADDRESS_OFFSET, ADDRESS.pack(self._next))
        except CorosyncError:
            file.close()
            raise
        self._files[self._next] = file
        self._next += 1

    def mcast(self, address: int) -> bytes:
        """The mcast request that the buffer at that address holds. Raises NotExist, TooBig, InvalidParameter."""
        file = self._files.get(address)
        if file is None:
            raise NotExist(f"no zero-copy buffer at {address:#x}")
        head = file.read(MESSAGE_OFFSET, MCAST_REQUEST.size)
        _guarantee, length = MCAST_REQUEST.unpack(head)
        if length > ATOMIC_MESSAGE_LIMIT:
            raise TooBig(f"a message of {length} bytes")
        return head + file.read(DATA_OFFSET, length)

    def free(self, address: int) -> bool:
        """Let go of one; False where there is none."""
        file = self._files.pop(address, None)
        if file is None:
            return False
        file.close()
        return True

    def close(self) -> None:
        """Let go of all."""
        for file in self._files.values():
            file.close()
        self._files.clear()
