"""Claims on the frames: layouts against real bytes, both byte orders, and every check of reference totem.md §6."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from struct import pack_into

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corosyncd.totem import wire
from corosyncd.totem.wire import MalformedFrame, Mcast, Packed, Reason, decode, encode
from tests.unit.pcap import udp_payloads
from tests.unit.totem_vectors import BYTES, DECODED

CAPTURES = sorted((Path(__file__).parent.parent / "data" / "captures").glob("udpu-*.pcap"))


def frames(path: Path) -> list[bytes]:
    return [payload for _, _, payload in udp_payloads(path)]


def test_all_seven_captures_are_here() -> None:
    assert [path.name[:6] for path in CAPTURES] == [f"udpu-{number}" for number in range(1, 8)]


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_every_captured_frame_encodes_to_the_bytes_it_was_decoded_from(path: Path) -> None:
    for frame in frames(path):
        assert encode(decode(frame)) == frame


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_byte_swapped_copy_of_every_captured_frame_decodes_to_the_same_values(path: Path) -> None:
    for frame in frames(path):
        decoded = decode(frame)
        swapped = encode(decoded, swapped=True)
        assert swapped[:2] == b"\xc0\x70"
        assert decode(swapped) == decoded


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_the_payload_of_every_captured_mcast_is_packed_exactly(path: Path) -> None:
    for frame in frames(path):
        mcast = decode(frame)
        if isinstance(mcast, Mcast):
            while mcast.encapsulated == wire.ENCAPSULATED:
                inner = decode(mcast.payload)
                assert isinstance(inner, Mcast)
                mcast = inner
            packed = wire.decode_packed(mcast.payload)
            assert wire.encode_packed(packed) == mcast.payload
            assert wire.decode_packed(wire.encode_packed(packed, swapped=True), swapped=True) == packed


@pytest.mark.parametrize("name", DECODED)
def test_the_vectors_of_the_reference_decode_to_the_values_given_there(name: str) -> None:
    assert decode(BYTES[name]) == DECODED[name]
    assert encode(DECODED[name]) == BYTES[name]


def test_three_messages_packed_in_one_frame() -> None:
    packed = wire.decode_packed(BYTES["V12"][45:])
    assert [len(chunk) for chunk in packed.chunks] == [37, 37, 40]
    assert packed.chunks[2].startswith(b"\x01\x00\x04\x00sync")


def test_a_middle_fragment_names_its_own_number_and_the_one_it_continues() -> None:
    version, kind, fragmented, continuation, count = wire.PACKED.little.unpack_from(BYTES["V13"], 45)
    assert (version, kind, fragmented, continuation, count) == (0, 0, 2, 1, 1)


def test_an_encapsulated_frame_carries_the_old_frame_whole() -> None:
    outer = decode(BYTES["V14"])
    assert isinstance(outer, Mcast)
    inner = decode(outer.payload)
    assert isinstance(inner, Mcast)
    assert (outer.encapsulated, inner.encapsulated) == (1, 2)
    assert (inner.system_from, inner.seq, inner.this_seqno, wire.ring_id(inner)) == (3, 0x1F, 22, (1, 9))


@pytest.mark.parametrize(
    ("layout", "size"),
    [
        (wire.HEADER, 13),
        (wire.ORF_TOKEN, 57),
        (wire.RETRANSMIT_ENTRY, 16),
        (wire.MCAST, 45),
        (wire.MERGE_DETECT, 29),
        (wire.MEMB_JOIN, 33),
        (wire.COMMIT_TOKEN, 41),
        (wire.COMMIT_ENTRY, 24),
        (wire.TOKEN_HOLD_CANCEL, 25),
        (wire.PACKED, 8),
    ],
)
def test_the_structures_are_packed_without_padding(layout: wire.Layout, size: int) -> None:
    assert layout.size == size
    assert layout.little.size == layout.big.size == layout.partial().size == size


def test_fields_stand_at_the_offsets_of_the_reference() -> None:
    assert wire.ORF_TOKEN.offsets["ring_representative"] == 29
    assert wire.ORF_TOKEN.offsets["rtr_list_entries"] == 53
    assert wire.MCAST.offsets["ring_sequence"] == 29
    assert wire.COMMIT_TOKEN.offsets["memb_index"] == 33
    assert wire.MEMB_JOIN.offsets["ring_seq"] == 25


def changed(name: str, offset: int, code: str, value: int) -> bytes:
    frame = bytearray(BYTES[name])
    pack_into(code, frame, offset, value)
    return bytes(frame)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", Reason.SHORT_HEADER),
        (BYTES["V6"][:12], Reason.SHORT_HEADER),
        (b"\x70\xc1" + BYTES["V6"][2:], Reason.MAGIC),
        (changed("V6", 2, "<B", 2), Reason.VERSION),
        (changed("V6", 3, "<B", 6), Reason.TYPE),
        (BYTES["V6"][:56], Reason.SHORT_FRAME),
        (BYTES["V8"][:-1], Reason.SHORT_FRAME),
        (BYTES["V6"] + bytes(1444), Reason.LONG_FRAME),
        (changed("V8", 53, "<I", 31) + bytes(600), Reason.LIST_TOO_LONG),
        (BYTES["V11"][:44], Reason.SHORT_FRAME),
        (BYTES["V11"] + bytes(65536), Reason.LONG_FRAME),
        (BYTES["V9"][:28], Reason.SHORT_FRAME),
        (BYTES["V10"][:24], Reason.SHORT_FRAME),
        (BYTES["V1"][:32], Reason.SHORT_FRAME),
        (BYTES["V2"][:-1], Reason.SHORT_FRAME),
        (changed("V2", 17, "<I", 385), Reason.LIST_TOO_LONG),
        (changed("V2", 21, "<I", 0xFFFFFFFF), Reason.LIST_TOO_LONG),
        (changed("V2", 13, "<I", 0), Reason.NODE_ID),
        (changed("V2", 33, "<I", 0), Reason.NODE_ID),
        (changed("V2", 25, "<Q", (1 << 63) + 1), Reason.RING_SEQUENCE),
        (BYTES["V4"][:40], Reason.SHORT_FRAME),
        (BYTES["V4"][:-1], Reason.SHORT_FRAME),
        (changed("V4", 37, "<I", 385), Reason.LIST_TOO_LONG),
        (changed("V4", 37, "<I", 0), Reason.NODE_ID),
        (changed("V4", 41, "<I", 2), Reason.NODE_ID),
        (changed("V4", 21, "<Q", (1 << 64) - 1), Reason.RING_SEQUENCE),
    ],
)
def test_a_malformed_frame_is_refused_with_its_reason(frame: bytes, reason: Reason) -> None:
    with pytest.raises(MalformedFrame) as caught:
        decode(frame)
    assert caught.value.reason is reason


@pytest.mark.parametrize("name", ["V1", "V3", "V4", "V6", "V9", "V10"])
def test_bytes_behind_a_frame_of_fixed_size_are_ignored_as_stock_does(name: str) -> None:
    assert decode(BYTES[name] + bytes(7)) == DECODED[name]


@pytest.mark.parametrize("payload", [bytes(7), bytes(6) + b"\x01\x00", bytes(6) + b"\x01\x00\x02\x00x", bytes(9)])
def test_a_payload_whose_length_is_not_the_exact_sum_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedFrame):
        wire.decode_packed(payload)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(sorted(BYTES)), st.booleans())
def test_no_bytes_raise_anything_but_malformed_frame(noise: bytes, name: str, swapped: bool) -> None:
    head = (encode(DECODED[name], swapped=True) if swapped else BYTES[name])[: 4 + len(noise) % 60]
    with suppress(MalformedFrame):
        encode(decode(head + noise))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(0, 255), st.integers(0, 255), st.booleans())
def test_packed_payloads_survive_both_byte_orders(chunks: list[bytes], fragmented: int, continuation: int, swapped: bool) -> None:
    packed = Packed(0, 0, fragmented, continuation, tuple(chunks))
    assert wire.decode_packed(wire.encode_packed(packed, swapped), swapped) == packed
