"""The cmap library's calls of one request each.

Source: cmap_overview(8) and its pages, reference client-api sections 2.1 to 2.5.
"""

from __future__ import annotations

from typing import Any, Final

from coroipc.errors import InvalidParameter
from coroipc.library import Call, call, nothing
from libcmap import messages
from libcmap.messages import IterationNextResponse, Request
from libcmap.values import Plain, guess_type, pack_value


def _iteration(response: bytes) -> int:
    return messages.IterationResponse.decode(response).handle


@call(Request.SET, "cmap_set", nothing)
def set_value(key: str, value: Plain, kind: int | None = None) -> bytes:
    """Store a value under a key, as ``kind`` (a ValueType) or as the type that its Python type suggests.

    Integers become the narrowest of u32, i32, u64, i64; booleans u8; floats double. Storing what is there already
    notifies nobody. C: cmap_set, cmap_set_uint32 … Raises AccessDenied (read-only), NameTooLong (length or characters
    of the key), InvalidParameter (value or its size, at most 16384 bytes), NotSupported, LibraryError.
    """
    kind = guess_type(value) if kind is None else kind
    return messages.SetRequest(key, kind, pack_value(value, kind)).encode()


@call(Request.DELETE, "cmap_delete", nothing)
def delete(key: str) -> bytes:
    """Remove a key.

    C: cmap_delete. Raises NotExist, AccessDenied, NameTooLong, LibraryError.
    """
    return messages.DeleteRequest(key).encode()


@call(Request.ADJUST, "cmap_adjust_int", nothing)
def adjust(key: str, step: int) -> bytes:
    """Add ``step`` (32 bits, signed) to an integer, wrapping at its type's width.

    C: the request behind cmap_inc and cmap_dec. Raises NotExist, InvalidParameter (no integer, or the step),
    AccessDenied, NameTooLong, LibraryError.
    """
    if not -(1 << 31) <= step < 1 << 31:
        raise InvalidParameter(f"cmap_adjust_int: step {step}")
    return messages.AdjustRequest(key, step).encode()


@call(Request.ADJUST, "cmap_inc", nothing)
def increment(key: str) -> bytes:
    """Add 1 to an integer, wrapping at its type's width.

    C: cmap_inc. Raises NotExist, InvalidParameter (no integer), AccessDenied, NameTooLong, LibraryError.
    """
    return messages.AdjustRequest(key, 1).encode()


@call(Request.ADJUST, "cmap_dec", nothing)
def decrement(key: str) -> bytes:
    """Subtract 1 from an integer, wrapping at its type's width.

    C: cmap_dec. Raises NotExist, InvalidParameter (no integer), AccessDenied, NameTooLong, LibraryError.
    """
    return messages.AdjustRequest(key, -1).encode()


@call(Request.ITERATION_INITIALIZE, "cmap_iter_init", _iteration)
def iteration_initialize(prefix: str = "") -> bytes:
    """Open an iteration over the keys that start with ``prefix``, in byte order. Returns its handle.

    C: cmap_iter_init. Raises NameTooLong, LibraryError.
    """
    return messages.IterationRequest(prefix).encode()


@call(Request.ITERATION_NEXT, "cmap_iter_next", IterationNextResponse.decode)
def iteration_next(handle: int) -> bytes:
    """The next key with its value's length and type. Keys set or deleted meanwhile are seen, or not.

    C: cmap_iter_next. Raises NoSections at the end, BadHandle, LibraryError.
    """
    return messages.ITERATION_NEXT_REQUEST.pack(handle)


@call(Request.ITERATION_FINALIZE, "cmap_iter_finalize", nothing)
def iteration_finalize(handle: int) -> bytes:
    """Free an iteration.

    C: cmap_iter_finalize. Raises BadHandle, LibraryError.
    """
    return messages.ITERATION_FINALIZE_REQUEST.pack(handle)


@call(Request.SET_CURRENT_MAP, "cmap_initialize_map", nothing)
def set_current_map(map_id: int) -> bytes:
    """Choose the map that this connection looks at (a Map).

    C: part of cmap_initialize_map. Raises NotExist, Busy (iterations or trackers are open), LibraryError.
    """
    return messages.SetCurrentMapRequest(map_id).encode()


CALLS: Final[tuple[Call[Any, Any], ...]] = (
    set_value,
    delete,
    adjust,
    increment,
    decrement,
    iteration_initialize,
    iteration_next,
    iteration_finalize,
    set_current_map,
)
