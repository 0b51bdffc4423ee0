"""The types of the configuration map's values, as numbers on the wire and in memory: what its engine and its clients share.

Source: cmap_keys(8), reference client-api section 2.2.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final


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
FORMATS: Final[dict[int, struct.Struct]] = {
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
"""Every type of a fixed size; the others are STRING and BINARY."""
