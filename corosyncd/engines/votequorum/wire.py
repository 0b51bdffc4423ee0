"""The ring messages of votequorum: what one node's service says to all the others.

Layouts: reference services section 4.1 and vectors V15 to V22. After the 16-byte header the fields are packed without gaps,
little endian; the whole is rounded up to a multiple of eight. Undefined bytes are sent as zeros and never read: stock daemons
leave garbage there. ``body`` gives what follows the header; ``decode`` takes the whole message.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from corosyncd.engines.wire import HEADER_SIZE

NAME_SIZE: Final = 255
"""A device's name with its NUL, in bytes."""

_FOUR_WORDS = struct.Struct("<IIII")
_RECONFIGURE = struct.Struct("<IIB7x")
_REGISTRATION = struct.Struct(f"<I{NAME_SIZE}s5x")
_RENAME = struct.Struct(f"<{NAME_SIZE}s{NAME_SIZE}s2x")


class Function(IntEnum):
    """Numbers of the ring messages."""

    NODE_INFO = 0
    RECONFIGURE = 1
    DEVICE_REGISTRATION = 2
    DEVICE_RENAME = 3


class Parameter(IntEnum):
    """What a RECONFIGURE changes."""

    EXPECTED_VOTES = 1
    NODE_VOTES = 2
    CANCEL_WAITING = 3


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """NODEINFO, 32 bytes: a node's votes and flags; node id 0 carries the votes of the sender's device."""

    node_id: int
    votes: int
    expected_votes: int
    flags: int

    def body(self) -> bytes:
        """The bytes behind the header."""
        return _FOUR_WORDS.pack(self.node_id, self.votes, self.expected_votes, self.flags)


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """RECONFIGURE, 32 bytes: an operator's order; ``node_id`` is the node concerned (or, where none is, the sender)."""

    node_id: int
    value: int
    parameter: Parameter

    def body(self) -> bytes:
        """The bytes behind the header."""
        return _RECONFIGURE.pack(self.node_id, self.value, self.parameter)


@dataclass(frozen=True, slots=True)
class DeviceRegistration:
    """QDEVICE_REG, 280 bytes: a quorum device is registered, or not any more, under a name the whole cluster shares."""

    register: bool
    name: str

    def body(self) -> bytes:
        """The bytes behind the header."""
        return _REGISTRATION.pack(self.register, _field(self.name))


@dataclass(frozen=True, slots=True)
class DeviceRename:
    """QDEVICE_RECONFIGURE, 528 bytes: all that know the device by the old name use the new one."""

    old: str
    new: str

    def body(self) -> bytes:
        """The bytes behind the header."""
        return _RENAME.pack(_field(self.old), _field(self.new))


Message = NodeInfo | Reconfigure | DeviceRegistration | DeviceRename


def function_of(message: Message) -> Function:
    """The function number that a message travels under."""
    match message:
        case NodeInfo():
            return Function.NODE_INFO
        case Reconfigure():
            return Function.RECONFIGURE
        case DeviceRegistration():
            return Function.DEVICE_REGISTRATION
        case DeviceRename():
            return Function.DEVICE_RENAME


def decode(function: int, message: bytes) -> Message:
    """A message, header included. Raises ValueError or struct.error: too short, unknown numbers, a name without its NUL."""
    match function:
        case Function.NODE_INFO:
            return NodeInfo(*_FOUR_WORDS.unpack_from(message, HEADER_SIZE))
        case Function.RECONFIGURE:
            node_id, value, parameter = _RECONFIGURE.unpack_from(message, HEADER_SIZE)
            return Reconfigure(node_id, value, Parameter(parameter))
        case Function.DEVICE_REGISTRATION:
            operation, name = _REGISTRATION.unpack_from(message, HEADER_SIZE)
            if operation > 1:
                raise ValueError(f"device registration with the unknown operation {operation}")
            return DeviceRegistration(bool(operation), _name(name))
        case Function.DEVICE_RENAME:
            old, new = _RENAME.unpack_from(message, HEADER_SIZE)
            return DeviceRename(_name(old), _name(new))
    raise ValueError(f"unknown votequorum function {function}")


def name_fits(name: str) -> bool:
    """Whether a device may have this name: 1 to 254 bytes, so that a NUL always follows it in its field."""
    return 0 < len(name.encode("utf-8", "surrogateescape")) < NAME_SIZE


def _field(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _name(field: bytes) -> str:
    name, terminator, _ = field.partition(b"\0")
    if not terminator:
        raise ValueError("device name without a NUL in its field")
    return name.decode("utf-8", "surrogateescape")
