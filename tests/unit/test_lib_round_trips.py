"""Whatever the client libraries' messages carry, the other side reads the same; what is no message is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import libcfg.messages as cfg
import libcmap.messages as cmap
import libcpg.messages as cpg
import libquorum.messages as quorum
import libvotequorum.messages as votequorum
from coroipc.errors import CorosyncError, InvalidParameter, MessageError, NameTooLong
from coroipc.layouts import Layout
from coroipc.map_values import ValueType
from libcmap.values import Value, guess_type, pack_value, unpack_value

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
I32 = st.integers(-(2**31), 2**31 - 1)
U8 = st.integers(0, 255)
FLAG = st.booleans()
GROUP = st.binary(max_size=128)
DATA = st.binary(max_size=300)
KEY = st.text("abcdefgzABCZ0189._-/:", max_size=255)
NAME = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)
WORDS = st.lists(U32, max_size=9).map(tuple)
ADDRESSES = st.lists(st.builds(cpg.Address, U32, U32, U32), max_size=9).map(tuple)
NODES = st.lists(st.builds(votequorum.Node, U32, U32), max_size=9).map(tuple)
LINK = st.builds(cfg.LinkStatus, FLAG, FLAG, FLAG, U32, NAME, NAME)
INTERFACES = st.lists(st.builds(cfg.Interface, NAME.map(lambda text: text[:20]), NAME), max_size=16).map(tuple)
IPV4 = st.lists(st.ip_addresses(v=4).map(str), min_size=1, max_size=8).map(tuple)
IPV6 = st.lists(st.ip_addresses(v=6).map(str), min_size=1, max_size=8).map(tuple)

MESSAGES: dict[type, st.SearchStrategy[Any]] = {
    kind: st.builds(kind, *fields)
    for kind, *fields in (
        (cmap.SetRequest, KEY, U8, DATA),
        (cmap.DeleteRequest, KEY),
        (cmap.GetRequest, KEY, U64),
        (cmap.AdjustRequest, KEY, I32),
        (cmap.IterationRequest, KEY),
        (cmap.TrackAddRequest, KEY, I32, U64),
        (cmap.SetCurrentMapRequest, I32),
        (cmap.IterationResponse, U64),
        (cmap.IterationNextResponse, KEY, U64, U8),
        (cmap.TrackAddResponse, U64),
        (cmap.TrackDeleteResponse, U64),
        (cmap.Notification, U64, KEY, I32, U8, DATA, U8, DATA),
        (cpg.JoinRequest, GROUP, U32, U32),
        (cpg.LeaveRequest, GROUP, U32),
        (cpg.McastRequest, DATA, U32),
        (cpg.PartialMcastRequest, DATA, U32, U32, U32),
        (cpg.MembershipRequest, GROUP),
        (cpg.MembershipResponse, ADDRESSES),
        (cpg.LocalResponse, U32),
        (cpg.IterationRequest, GROUP, st.just(int(cpg.Iteration.ONE_GROUP))),
        (cpg.IterationResponse, U64),
        (cpg.IterationNextResponse, GROUP, U32, U32),
        (cpg.ConfigurationChange, GROUP, ADDRESSES, ADDRESSES, ADDRESSES),
        (cpg.Deliver, GROUP, U32, U32, DATA),
        (cpg.TotemConfiguration, U32, U64, WORDS),
        (cpg.PartialDeliver, GROUP, U32, U32, U32, U32, DATA),
        (quorum.GetquorateResponse, FLAG),
        (quorum.TrackstartRequest, U32),
        (quorum.ModelGettypeRequest, U32),
        (quorum.GettypeResponse, U32),
        (quorum.QuorumNotificationV0, FLAG, U64, WORDS),
        (quorum.QuorumNotification, FLAG, U32, U64, WORDS),
        (quorum.NodeListNotification, U32, U64, WORDS, WORDS, WORDS),
        (votequorum.GetinfoRequest, U32),
        (votequorum.SetexpectedRequest, U32),
        (votequorum.SetvotesRequest, U32, U32),
        (votequorum.TrackstartRequest, U64, U32),
        (votequorum.QdeviceUpdateRequest, NAME, NAME),
        (votequorum.QdevicePollRequest, NAME, FLAG, U32, U64),
        (votequorum.QdeviceMasterWinsRequest, NAME, FLAG),
        (votequorum.Info, *(U32,) * 9, NAME),
        (votequorum.QuorumNotification, U64, FLAG, NODES),
        (votequorum.ExpectedVotesNotification, U64, U32),
        (votequorum.NodeListNotification, U64, U32, U64, WORDS),
        (cfg.RingStatusResponse, INTERFACES),
        (cfg.KillNodeRequest, U32, NAME),
        (cfg.TryShutdownRequest, U32),
        (cfg.ReplytoShutdownRequest, FLAG),
        (cfg.GetNodeAddrsRequest, U32),
        (cfg.GetNodeAddrsResponse, IPV4 | IPV6),
        (cfg.LocalGetResponse, U32),
        (cfg.NodeStatusRequest, U32, U32),
        (cfg.NodeStatus, U32, FLAG, FLAG, FLAG, U8, U8, U8, st.tuples(*(LINK,) * 8)),
        (cfg.TrackstartRequest, U8),
        (cfg.ShutdownRequested, U32, I32),
    )
}


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read(kind: Any, data: st.DataObject) -> None:
    value = data.draw(MESSAGES[kind])
    message = value.encode()
    assert int.from_bytes(message[8:12], "little") == len(message)
    assert kind.decode(message) == value
    assert kind.decode(memoryview(bytearray(message))) == value


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_octets_that_are_no_message_raise_a_library_error_or_are_read(kind: Any, data: st.DataObject) -> None:
    octets = bytearray(data.draw(MESSAGES[kind]).encode())
    for place, octet in data.draw(st.lists(st.tuples(st.integers(0, len(octets) - 1), U8), max_size=8)):
        octets[place] = octet
    message = bytes(octets[: data.draw(st.integers(0, len(octets)))])
    try:
        kind.decode(message)
    except (MessageError, NameTooLong):
        pass  # The two that decoders declare; anything else fails the test.


@pytest.mark.parametrize(
    "decode", [cmap.decode_event, cpg.decode_event, quorum.decode_event, votequorum.decode_event, cfg.decode_event]
)
@given(message=st.binary(max_size=400))
def test_an_event_of_any_octets_raises_a_library_error_or_is_read(decode: Callable[[bytes], object], message: bytes) -> None:
    try:
        decode(message)
    except CorosyncError:
        pass  # MessageError mostly; a group name past its limit is NameTooLong.


@pytest.mark.parametrize(
    ("message", "layout"),
    [
        (cmap.HandleRequest(2**64 - 1), cmap.ITERATION_NEXT_REQUEST),
        (cmap.HandleRequest(5), cmap.ITERATION_FINALIZE_REQUEST),
        (cmap.HandleRequest(6), cmap.TRACK_DELETE_REQUEST),
        (votequorum.QdeviceNameRequest("Qdevice"), votequorum.QDEVICE_REGISTER_REQUEST),
        (votequorum.QdeviceNameRequest("Qdevice"), votequorum.QDEVICE_UNREGISTER_REQUEST),
    ],
)
def test_messages_that_several_requests_share_are_read_as_written(message: Any, layout: Layout) -> None:
    octets = message.encode(layout)
    assert (octets[0], len(octets)) == (layout.identifier, layout.size)
    assert type(message).decode(octets) == message


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (cmap.DeleteRequest("k" * 256), NameTooLong),
        (cmap.DeleteRequest("a\0b"), NameTooLong),
        (votequorum.QdeviceMasterWinsRequest("", True), InvalidParameter),
        (votequorum.QdeviceMasterWinsRequest("n" * 255, True), InvalidParameter),
        (cfg.KillNodeRequest(1, "r" * 256), InvalidParameter),
    ],
)
def test_names_that_do_not_fit_are_refused_before_anything_is_sent(message: Any, error: type[CorosyncError]) -> None:
    with pytest.raises(error):
        message.encode()


def test_counts_larger_than_the_message_are_refused() -> None:
    for message, decode in (
        (cpg.TOTEM_EVENT.pack(1, 1, 1, 2**32 - 1), cpg.TotemConfiguration.decode),
        (cpg.CONFIGURATION_EVENT.pack(1, 1, b"g", 2**32 - 1, 2**32 - 1, 2**32 - 1), cpg.ConfigurationChange.decode),
        (cpg.DELIVER_EVENT.pack(1, 1, b"g", 2**32 - 1, 1, 1), cpg.Deliver.decode),
        (cmap.GET_RESPONSE.pack(1, 2**64 - 1, 11), cmap.GetResponse.decode),
        (cfg.GET_NODE_ADDRS_RESPONSE.pack(1, 2, 2**32 - 1), cfg.GetNodeAddrsResponse.decode),
        (cfg.RING_STATUS_GET_RESPONSE.pack(1, 17, b"", b""), cfg.RingStatusResponse.decode),
    ):
        with pytest.raises(MessageError):
            decode(message)


@given(
    value=st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text().filter(lambda s: "\0" not in s) | st.binary()
)
def test_a_python_value_comes_back_from_the_type_that_was_guessed(value: int | float | str | bytes) -> None:
    kind = guess_type(value)
    assert unpack_value(pack_value(value, kind), kind) == value


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, ValueType.UINT8),
        (0, ValueType.UINT32),
        (2**32 - 1, ValueType.UINT32),
        (2**32, ValueType.UINT64),
        (-1, ValueType.INT32),
        (-(2**31) - 1, ValueType.INT64),
        (0.5, ValueType.DOUBLE),
        ("", ValueType.STRING),
        (b"", ValueType.BINARY),
    ],
)
def test_a_value_without_a_type_gets_the_narrowest_that_holds_it(value: Any, kind: ValueType) -> None:
    assert guess_type(value) == kind


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (256, ValueType.UINT8),
        (-1, ValueType.UINT64),
        ("text", ValueType.UINT32),
        (1, ValueType.STRING),
        ("a\0b", ValueType.STRING),
        ("text", ValueType.BINARY),
        (1e300, ValueType.FLOAT),
        (1, 99),
    ],
)
def test_a_value_that_its_type_cannot_hold_is_refused(value: Any, kind: int) -> None:
    with pytest.raises(InvalidParameter):
        pack_value(value, kind)


def test_integers_past_64_bits_have_no_type() -> None:
    for value in (2**64, -(2**63) - 1):
        with pytest.raises(InvalidParameter):
            guess_type(value)


def test_values_of_a_wrong_length_from_the_daemon_are_refused() -> None:
    with pytest.raises(MessageError):
        unpack_value(b"\1\2\3", ValueType.UINT32)
    assert Value(99, unpack_value(b"raw", 99)) == Value(99, b"raw")
    assert unpack_value(b"with\0nul\0", ValueType.STRING) == "with"
