"""Votequorum's ring messages against bytes captured from stock 3.1.7 (reference services section 10, V15 to V22)."""

from __future__ import annotations

import struct

import pytest

from corosyncd.engines import wire as header_wire
from corosyncd.engines.votequorum import wire
from corosyncd.engines.votequorum.wire import DeviceRegistration, DeviceRename, NodeInfo, Parameter, Reconfigure

GARBAGE = "a5"
"""What stock daemons leave in undefined bytes; ours are zero."""


def vector(text: str, garbage: str) -> bytes:
    """``xx*n`` repeats a byte, ``..`` is an undefined one."""
    parts = []
    for word in text.split():
        byte, _, count = word.partition("*")
        parts.append(byte.replace("..", garbage) * int(count or 1))
    return bytes.fromhex("".join(parts))


VECTORS = [
    ("00000500 00*4 20 00*7 02000000 01000000 03000000 08000000", NodeInfo(2, 1, 3, 8)),
    ("00000500 00*4 20 00*7 01000000 01000000 05000000 71000000", NodeInfo(1, 1, 5, 0x71)),
    ("01000500 ..*4 20000000 ..*4 01000000 04000000 01 000000 ..*4", Reconfigure(1, 4, Parameter.EXPECTED_VOTES)),
    ("01000500 ..*4 20000000 ..*4 02000000 02000000 02 000000 ..*4", Reconfigure(2, 2, Parameter.NODE_VOTES)),
    ("01000500 ..*4 20000000 ..*4 01000000 00000000 03 000000 ..*4", Reconfigure(1, 0, Parameter.CANCEL_WAITING)),
    ("02000500 ..*4 18010000 ..*4 01000000 66616b65716400 ..*248 ..*5", DeviceRegistration(True, "fakeqd")),
    ("02000500 ..*4 18010000 ..*4 00000000 6e65776e616d6500 ..*247 ..*5", DeviceRegistration(False, "newname")),
    ("03000500 ..*4 10020000 ..*4 66616b65716400 ..*248 6e65776e616d6500 ..*247 ..*2", DeviceRename("fakeqd", "newname")),
]


@pytest.mark.parametrize(("text", "message"), VECTORS, ids=[f"V{15 + n}" for n in range(len(VECTORS))])
def test_captured_bytes_are_read_and_written(text: str, message: wire.Message) -> None:
    function = wire.function_of(message)
    assert wire.decode(function, vector(text, GARBAGE)) == message
    body = message.body()
    ours = header_wire.header(5, function, 16 + len(body)) + body
    assert ours == vector(text, "00")
    assert len(ours) % 8 == 0


@pytest.mark.parametrize(("text", "message"), VECTORS)
def test_a_message_cut_off_is_refused(text: str, message: wire.Message) -> None:
    whole = vector(text, "00")
    for length in (0, 15, 16, 20, len(whole) - 1):
        with pytest.raises((ValueError, struct.error)):
            wire.decode(wire.function_of(message), whole[:length])


def test_unknown_functions_parameters_and_operations_are_refused() -> None:
    head = bytes(16)
    for function, body in ((4, bytes(64)), (1, struct.pack("<IIB7x", 1, 2, 4)), (2, struct.pack("<I260x", 2))):
        with pytest.raises(ValueError):
            wire.decode(function, head + body)


def test_a_device_name_without_its_nul_is_refused() -> None:
    with pytest.raises(ValueError):
        wire.decode(2, bytes(16) + struct.pack("<I255s5x", 1, b"x" * 255))
    assert wire.decode(2, bytes(16) + struct.pack("<I255s5x", 1, b"x" * 254)) == DeviceRegistration(True, "x" * 254)


def test_names_of_1_to_254_bytes_fit() -> None:
    assert [wire.name_fits(name) for name in ("", "x", "x" * 254, "x" * 255, "é" * 127, "é" * 128)] == [
        False,
        True,
        True,
        False,
        True,
        False,
    ]
