"""Typed values of the configuration map as Python objects, and their bytes.

Source: cmap_overview(8), reference client-api section 2.2.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from coroipc.errors import InvalidParameter, MessageError
from coroipc.layouts import text_until_nul
from coroipc.map_values import FORMATS, ValueType

Plain = int | float | str | bytes
"""What a value is in Python."""


class Value(NamedTuple):
    """A value with its type. ``value`` is a number, text (undecodable bytes kept as surrogates) or, for BINARY, bytes."""

    kind: int
    value: Plain


def guess_type(value: Plain) -> ValueType:
    """The type a value gets when none is given: the narrowest of u32, i32, u64, i64 for integers, u8 for booleans.

    Raises InvalidParameter for integers past 64 bits and for other objects.
    """
    match value:
        case bool():
            return ValueType.UINT8
        case int():
            for kind in (ValueType.UINT32, ValueType.INT32, ValueType.UINT64, ValueType.INT64):
                width = FORMATS[kind].size * 8
                signed = kind in (ValueType.INT32, ValueType.INT64)
                low, high = (-(1 << width - 1), 1 << width - 1) if signed else (0, 1 << width)
                if low <= value < high:
                    return kind
            raise InvalidParameter(f"cmap value {value} needs more than 64 bits")
        case float():
            return ValueType.DOUBLE
        case str():
            return ValueType.STRING
        case bytes() | bytearray():
            return ValueType.BINARY
    raise InvalidParameter(f"cmap value of the type {type(value).__name__}")


def pack_value(value: Plain, kind: int) -> bytes:
    """The bytes of a value as a client sends them (strings without NUL). Raises InvalidParameter where it does not fit."""
    form = FORMATS.get(kind)
    try:
        if form is not None:
            return form.pack(value)
    except (struct.error, OverflowError) as error:
        raise InvalidParameter(f"cmap value {value!r} as {_name(kind)}: {error}") from error
    if kind == ValueType.STRING and isinstance(value, str) and "\0" not in value:
        return value.encode("utf-8", "surrogateescape")
    if kind == ValueType.BINARY and isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise InvalidParameter(f"cmap value {value!r} as {_name(kind)}")


def unpack_value(data: bytes, kind: int) -> Plain:
    """The value that the daemon's bytes stand for; bytes of unknown types stay bytes.

    Raises MessageError where their number is not the type's.
    """
    form = FORMATS.get(kind)
    if form is not None:
        if len(data) != form.size:
            raise MessageError(f"cmap value of {len(data)} bytes as {_name(kind)}")
        number: int | float = form.unpack(data)[0]
        return number
    if kind == ValueType.STRING:
        return text_until_nul(data).decode("utf-8", "surrogateescape")
    return data


def _name(kind: int) -> str:
    return ValueType(kind).name.lower() if kind in tuple(ValueType) else f"type {kind}"
