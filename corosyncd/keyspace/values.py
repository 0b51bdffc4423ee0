"""Typed values of the configuration map, kept as the bytes that travel over IPC.

Types and lengths: cmap_keys(8), reference client-api section 2.2.
"""

from __future__ import annotations

from typing import NamedTuple

from coroipc.map_values import FORMATS, ValueType


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
