"""A file mapped into memory without keeping its descriptor.

``mmap.mmap`` holds a duplicate of the descriptor for as long as the map lives; a connection has six maps, so a server of 500
clients would need 3,000 descriptors for nothing. The C library's own call needs none.
"""

from __future__ import annotations

import ctypes
import os
from mmap import MAP_SHARED, PROT_READ, PROT_WRITE

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_mmap.restype = ctypes.c_void_p
_munmap = _libc.munmap
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_munmap.restype = ctypes.c_int

_MAP_FAILED = ctypes.c_void_p(-1).value


class Mapping:
    """Shared, writable memory of a file; ``characters`` is valid until ``close``.

    ``characters`` is a ctypes array: a slice of it is a ``bytes`` copy, and ``memoryview(characters)`` gives access in place.
    Every view must be released before ``close``; what is read through one afterwards is an invalid address.
    """

    __slots__ = ("_address", "_size", "characters")

    def __init__(self, descriptor: int, size: int) -> None:
        """Map the first ``size`` bytes of an open file; the descriptor may be closed at once. Raises OSError."""
        address = _mmap(None, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        if address is None or address == _MAP_FAILED:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._address: int = address
        self._size = size
        self.characters: ctypes.Array[ctypes.c_char] = (ctypes.c_char * size).from_address(address)

    def close(self) -> None:
        """Unmap. A second call does nothing."""
        if self._size:
            self.characters = (ctypes.c_char * 0)()
            _munmap(self._address, self._size)
            self._size = 0
