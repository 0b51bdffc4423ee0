"""Typed values of the configuration map, kept as the bytes that travel over IPC.

Types and lengths: cmap_keys(8), reference client-api section 2.2.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple


class ValueType(IntEnum):
    """cmap_value_types_t; 0 stands for "no value" in notifications."""

    NONE = 0
    INT8 = 1
    UINT8 = 2
    INT16 = 3
    UINT16 = 4
    INT32 = 5
    UINT32 = 6
    INT64 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    STRING = 11
    BINARY = 12


# Native byte order: values never leave the host.
FORMATS: dict[int, struct.Struct] = {
    ValueType.INT8: struct.Struct("=b"),
    ValueType.UINT8: struct.Struct("=B"),
    ValueType.INT16: struct.Struct("=h"),
    ValueType.UINT16: struct.Struct("=H"),
    ValueType.INT32: struct.Struct("=i"),
    ValueType.UINT32: struct.Struct("=I"),
    ValueType.INT64: struct.Struct("=q"),
    ValueType.UINT64: struct.Struct("=Q"),
    ValueType.FLOAT: struct.Struct("=f"),
    ValueType.DOUBLE: struct.Struct("=d"),
}


class Value(NamedTuple):
    """A type number and the value's bytes; a string's bytes end with NUL and its length counts it."""

    type: int
    data: bytes

    def python(self) -> int | float | str | bytes:
        """The value as a Python object: numbers, text (undecodable bytes kept as surrogates) or raw bytes."""
        form = FORMATS.get(self.type)
        if form is not None:
            number: int | float = form.unpack(self.data)[0]
            return number
        if self.type == ValueType.STRING:
            return self.data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
        return self.data


NO_VALUE = Value(ValueType.NONE, b"")


def number(kind: ValueType, value: int | float) -> Value:
    """A value of a fixed-size type; raises struct.error where it does not fit."""
    return Value(kind, FORMATS[kind].pack(value))


def text(value: str) -> Value:
    """A string value."""
    return Value(ValueType.STRING, value.encode("utf-8", "surrogateescape") + b"\0")


def uint8(value: int) -> Value:
    """A u8 value."""
    return number(ValueType.UINT8, value)


def uint16(value: int) -> Value:
    """A u16 value."""
    return number(ValueType.UINT16, value)


def int32(value: int) -> Value:
    """An i32 value."""
    return number(ValueType.INT32, value)


def uint32(value: int) -> Value:
    """A u32 value."""
    return number(ValueType.UINT32, value)


def uint64(value: int) -> Value:
    """A u64 value."""
    return number(ValueType.UINT64, value)
