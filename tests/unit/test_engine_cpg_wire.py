"""Ring messages of closed process groups, against captured ones."""

from __future__ import annotations

import struct

import pytest

from corosyncd.engines import wire as ring
from corosyncd.engines.cpg import wire
from corosyncd.engines.cpg.wire import Function
from corosyncd.engines.wire import Source
from tests.unit import ring_vectors as captured


def message(function: int, body: bytes) -> bytes:
    """A whole ring message of the service."""
    return ring.header(wire.SERVICE_ID, function, ring.HEADER_SIZE + len(body)) + body


def test_join_and_leave_are_encoded_as_stock_nodes_do() -> None:
    assert message(Function.PROCESS_JOIN, wire.encode_process(b"grpA", 16261, 1)) == captured.CPG_JOIN
    assert message(Function.PROCESS_LEAVE, wire.encode_process(b"grpA", 16267, 2)) == captured.CPG_LEAVE


def test_join_and_leave_of_stock_nodes_are_understood() -> None:
    assert wire.decode_process(captured.CPG_JOIN.data) == (b"grpA", 16261, 1)
    assert wire.decode_process(captured.CPG_LEAVE.data) == (b"grpA", 16267, 2)


def test_bytes_behind_a_name_do_not_belong_to_it() -> None:
    assert wire.decode_process(captured.CPG_JOIN_DIRTY.data) == (b"other", 1470, 1)


def test_a_name_may_hold_nul_bytes() -> None:
    assert wire.decode_process(message(0, wire.encode_process(b"a\0b\0", 1, 1))).name == b"a\0b\0"


def test_a_message_is_encoded_as_stock_nodes_do() -> None:
    data = b"hello from one"
    head = wire.MCAST.pack(4, b"grpA", len(data), 16261, 1, 0x5621C161A0D0)
    assert message(Function.MCAST, head + data) == captured.CPG_MCAST


def test_the_receivers_view_of_a_message_agrees_with_its_layout() -> None:
    length, size, pid = wire.MCAST_VIEW.unpack_from(captured.CPG_MCAST.data)
    assert (length, size, pid) == (4, 14, 16261)
    assert captured.CPG_MCAST.data[wire.NAME_VALUE :][:length] == b"grpA"
    assert captured.CPG_MCAST.data[wire.MCAST_DATA :] == b"hello from one"
    assert ring.unpack_source(captured.CPG_MCAST.data, 168) == Source(1, 0x5621C161A0D0)


def test_fragments_of_stock_nodes_are_understood() -> None:
    first = wire.decode_partial(captured.CPG_PARTIAL_FIRST_HEAD.data + b"x" * 1047552)
    assert (first.name, first.total, first.pid, first.fragment, len(first.data)) == (b"grpA", 1047553, 1428, 1, 1047552)
    last = wire.decode_partial(captured.CPG_PARTIAL_LAST.data)
    assert (last.total, last.fragment, last.data) == (1047553, 3, b"x")


def test_a_fragment_is_encoded_as_stock_nodes_do() -> None:
    head = wire.PARTIAL_MCAST.pack(4, b"grpA", 1047553, 1, 1428, 3, 1, 0x5572A8F8C9B0)
    assert message(Function.PARTIAL_MCAST, head + b"x") == captured.CPG_PARTIAL_LAST


def test_down_lists_go_both_ways() -> None:
    assert message(Function.DOWN_LIST, wire.encode_down_list(3, [3])) == captured.CPG_DOWN_LIST
    assert wire.decode_down_list(captured.CPG_DOWN_LIST.data) == (3,)


def test_a_down_list_names_at_most_as_many_nodes_as_it_has_slots() -> None:
    assert len(wire.decode_down_list(message(5, wire.encode_down_list(400, range(1, 401))))) == wire.DOWN_LIST_SLOTS


def test_old_down_lists_are_read() -> None:
    assert wire.decode_down_list_old(message(4, struct.pack("<I4x384I", 2, 7, 8, *[0] * 382))) == (7, 8)


def test_join_lists_go_both_ways() -> None:
    processes = [(16261, b"grpA"), (19581, b"zeta")]
    assert wire.encode_join_list(processes) == captured.CPG_JOIN_LIST
    assert wire.decode_join_list(captured.CPG_JOIN_LIST.data) == processes


def test_a_join_list_whose_header_announces_more_than_there_is_counts_no_further_than_the_message() -> None:
    longer = bytearray(captured.CPG_JOIN_LIST.data)
    longer[8:12] = struct.pack("<i", 24 + 144 * 50)
    assert len(wire.decode_join_list(bytes(longer))) == 2


def test_a_join_list_whose_header_announces_less_ends_there() -> None:
    shorter = bytearray(captured.CPG_JOIN_LIST.data)
    shorter[8:12] = struct.pack("<i", 24 + 144)
    assert wire.decode_join_list(bytes(shorter)) == [(16261, b"grpA")]


def altered(data: bytes, offset: int, value: int) -> bytes:
    """The message with one u32 replaced."""
    return data[:offset] + struct.pack("<I", value) + data[offset + 4 :]


@pytest.mark.parametrize(
    ("decode", "data"),
    [
        (wire.decode_process, captured.CPG_JOIN.data[:-1]),
        (wire.decode_process, altered(captured.CPG_JOIN.data, 16, 129)),
        (wire.decode_join_list, captured.CPG_JOIN_LIST.data[:-1]),
        (wire.decode_join_list, captured.CPG_JOIN_LIST.data[:23]),
        (wire.decode_join_list, altered(captured.CPG_JOIN_LIST.data, 8, 0xFFFFFFF0)),
        (wire.decode_join_list, altered(captured.CPG_JOIN_LIST.data, 32, 129)),
        (wire.decode_down_list, captured.CPG_DOWN_LIST.data[:-1]),
        (wire.decode_down_list, altered(captured.CPG_DOWN_LIST.data, 24, 385)),
        (wire.decode_partial, captured.CPG_PARTIAL_LAST.data[:-1]),
        (wire.decode_partial, captured.CPG_PARTIAL_LAST.data[:199]),
        (wire.decode_partial, altered(captured.CPG_PARTIAL_LAST.data, 152, 0)),
    ],
)
def test_impossible_lengths_and_counts_are_refused(decode: object, data: bytes) -> None:
    with pytest.raises((ValueError, struct.error)):
        decode(data)  # type: ignore[operator]
