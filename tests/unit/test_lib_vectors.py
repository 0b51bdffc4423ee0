"""Layouts of the client libraries against messages captured from Corosync 3.1.7 (padding zeroed)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import libcfg.messages as cfg
import libcmap.messages as cmap
import libcpg.messages as cpg
import libcpg.zero_copy as zero_copy
import libquorum.messages as quorum
import libvotequorum.messages as votequorum
from coroipc.errors import MessageError
from coroipc.layouts import Layout


def octets(size: int, **parts: str) -> bytes:
    """A message of ``size`` zeros with hexadecimal parts at offsets (``x18="01 02"``)."""
    message = bytearray(size)
    for place, text in parts.items():
        data = bytes.fromhex(text)
        start = int(place[1:], 16)
        message[start : start + len(data)] = data
    return bytes(message)


GROUP = "04 00 00 00 00 00 00 00 67 72 70 31"
PID = "89 4a 00 00"

CAPTURED: dict[str, tuple[bytes, object, Callable[[], bytes], Callable[[bytes], object]]] = {
    "cmap get": (
        octets(
            288,
            x00="02 00 00 00 00 00 00 00 20 01",
            x10="12 00 00 00 00 00 00 00",
            x18="74 6f 74 65 6d 2e 63 6c 75 73 74 65 72 5f 6e 61 6d 65",
            x118="40",
        ),
        cmap.GetRequest("totem.cluster_name", 64),
        cmap.GetRequest("totem.cluster_name", 64).encode,
        cmap.GetRequest.decode,
    ),
    "cmap get answer": (
        octets(104, x00="02 00 00 00 00 00 00 00 68", x10="01", x18="07", x20="0b", x28="69 70 63 72 65 66 00"),
        cmap.GetResponse(11, 7, b"ipcref\0"),
        lambda: cmap.GetResponse(11, 7, b"ipcref\0").encode(room=64),
        cmap.GetResponse.decode,
    ),
    "cmap notification": (
        octets(
            340,
            x00="09 00 00 00 00 00 00 00 54 01",
            x10="01 00 00 00 00 00 00 00 88 77 66 55 44 33 22 11",
            x20="06 00 00 00 00 00 00 00 74 65 73 74 2e 61",
            x128="04 00 00 00 00 00 00 00 06",
            x140="04",
            x150="07",
        ),
        cmap.Notification(0x1122334455667788, "test.a", 4, 6, b"\7\0\0\0", 0, b""),
        cmap.Notification(0x1122334455667788, "test.a", 4, 6, b"\7\0\0\0", 0, b"").encode,
        cmap.Notification.decode,
    ),
    "cpg join": (
        octets(168, x08="a8", x10=GROUP, x98=PID, xa0="01"),
        cpg.JoinRequest(b"grp1", 19081, 1),
        cpg.JoinRequest(b"grp1", 19081, 1).encode,
        cpg.JoinRequest.decode,
    ),
    "cpg confchg": (
        octets(232, x00="04", x08="e8", x10="01", x18=GROUP, xa0="01", xa8="01", xb8="01", xc0=PID, xd0="01", xd8=PID, xe0="01"),
        cpg.ConfigurationChange(b"grp1", (cpg.Address(1, 19081),), (), (cpg.Address(1, 19081, 1),)),
        cpg.ConfigurationChange(b"grp1", (cpg.Address(1, 19081),), (), (cpg.Address(1, 19081, 1),)).encode,
        cpg.ConfigurationChange.decode,
    ),
    "cpg totem confchg": (
        octets(52, x00="0d", x08="34", x10="01", x18="01", x20="05", x28="01 00 00 00 01"),
        cpg.TotemConfiguration(1, 5, (1,)),
        cpg.TotemConfiguration(1, 5, (1,)).encode,
        cpg.TotemConfiguration.decode,
    ),
    "cpg mcast": (
        octets(51, x00="02", x08="33", x18="02", x20="0b", x28=b"hello world".hex()),
        cpg.McastRequest(b"hello world"),
        cpg.McastRequest(b"hello world").encode,
        cpg.McastRequest.decode,
    ),
    "cpg deliver": (
        octets(195, x00="05", x08="c3", x10="01", x18=GROUP, xa0="0b", xa8="01", xb0=PID, xb8=b"hello world".hex()),
        cpg.Deliver(b"grp1", 1, 19081, b"hello world"),
        cpg.Deliver(b"grp1", 1, 19081, b"hello world").encode,
        cpg.Deliver.decode,
    ),
    "quorum getquorate answer": (
        octets(32, x08="20", x10="01", x18="01"),
        quorum.GetquorateResponse(True),
        quorum.GetquorateResponse(True).encode,
        quorum.GetquorateResponse.decode,
    ),
    "quorum nodelist": (
        octets(68, x00="07", x08="44", x10="01", x18="01", x20="05", x28="01", x3c="01"),
        quorum.NodeListNotification(1, 5, (1,), (), ()),
        quorum.NodeListNotification(1, 5, (1,), (), ()).encode,
        quorum.NodeListNotification.decode,
    ),
    "quorum notification": (
        octets(60, x00="06", x08="3c", x10="01", x18="01", x20="01", x28="05", x30="01 00 00 00 01"),
        quorum.QuorumNotification(True, 1, 5, (1,)),
        quorum.QuorumNotification(True, 1, 5, (1,)).encode,
        quorum.QuorumNotification.decode,
    ),
    "votequorum nodelist": (
        octets(60, x00="05", x08="3c", x10="01", x18="01 ef be ad de", x20="01", x28="05", x30="01", x38="01"),
        votequorum.NodeListNotification(0xDEADBEEF01, 1, 5, (1,)),
        votequorum.NodeListNotification(0xDEADBEEF01, 1, 5, (1,)).encode,
        votequorum.NodeListNotification.decode,
    ),
    "cfg node addresses answer": (
        octets(48, x00="0b", x08="30", x10="01", x18="02 00 00 00 01", x20="0a 51 00 01"),
        cfg.GetNodeAddrsResponse(("10.81.0.1",)),
        cfg.GetNodeAddrsResponse(("10.81.0.1",)).encode,
        cfg.GetNodeAddrsResponse.decode,
    ),
}


@pytest.mark.parametrize("name", CAPTURED)
def test_a_message_is_written_as_captured(name: str) -> None:
    captured, _, encode, _ = CAPTURED[name]
    assert encode().hex(" ") == captured.hex(" ")


@pytest.mark.parametrize("name", CAPTURED)
def test_a_captured_message_is_read(name: str) -> None:
    captured, value, _, decode = CAPTURED[name]
    assert decode(captured) == value


@pytest.mark.parametrize("name", CAPTURED)
def test_a_captured_message_is_read_whatever_its_padding_holds(name: str) -> None:
    captured, value, encode, decode = CAPTURED[name]
    garbage = bytearray(captured)
    for place in (4, 12):  # Behind id and size, in every header.
        garbage[place : place + 4] = b"\xa5\xa5\xa5\xa5"
    assert decode(bytes(garbage)) == value
    assert encode() == captured


@pytest.mark.parametrize("name", CAPTURED)
def test_a_message_cut_anywhere_raises_message_error(name: str) -> None:
    captured, value, _, decode = CAPTURED[name]
    needed = len(captured)
    for length in range(len(captured)):
        try:
            read = decode(captured[:length])
        except MessageError:
            continue
        # Only trailing bytes that mean nothing may be missing: padding, or the rest of a caller's room.
        assert read == value
        needed = min(needed, length)
    assert not any(captured[needed:])


SIZES: dict[Layout, tuple[int, int, int]] = {
    # layout: id, where the variable part starts, size of the C structure
    cmap.SET_REQUEST: (0, 296, 296),
    cmap.DELETE_REQUEST: (1, 280, 280),
    cmap.GET_REQUEST: (2, 288, 288),
    cmap.ADJUST_REQUEST: (3, 288, 288),
    cmap.ITERATION_REQUEST: (4, 280, 280),
    cmap.ITERATION_NEXT_REQUEST: (5, 24, 24),
    cmap.ITERATION_FINALIZE_REQUEST: (6, 24, 24),
    cmap.TRACK_ADD_REQUEST: (7, 296, 296),
    cmap.TRACK_DELETE_REQUEST: (8, 24, 24),
    cmap.SET_CURRENT_MAP_REQUEST: (9, 24, 24),
    cmap.GET_RESPONSE: (2, 40, 40),
    cmap.ITERATION_RESPONSE: (4, 32, 32),
    cmap.ITERATION_NEXT_RESPONSE: (5, 304, 304),
    cmap.TRACK_ADD_RESPONSE: (7, 32, 32),
    cmap.TRACK_DELETE_RESPONSE: (8, 32, 32),
    cmap.NOTIFY_EVENT: (9, 336, 336),
    cpg.JOIN_REQUEST: (0, 168, 168),
    cpg.LEAVE_REQUEST: (1, 160, 160),
    cpg.MCAST_REQUEST: (2, 40, 40),
    cpg.MEMBERSHIP_REQUEST: (3, 152, 152),
    cpg.LOCAL_REQUEST: (4, 16, 16),
    cpg.ITERATION_REQUEST: (5, 160, 160),
    cpg.ITERATION_NEXT_REQUEST: (6, 24, 24),
    cpg.ITERATION_FINALIZE_REQUEST: (7, 24, 24),
    cpg.FINALIZE_REQUEST: (8, 16, 16),
    zero_copy.ALLOCATE_REQUEST: (9, 152, 152),
    zero_copy.FREE_REQUEST: (10, 32, 32),
    zero_copy.EXECUTE_REQUEST: (11, 24, 24),
    cpg.PARTIAL_MCAST_REQUEST: (12, 56, 56),
    cpg.LOCAL_RESPONSE: (7, 32, 32),
    cpg.ITERATION_RESPONSE: (9, 32, 32),
    cpg.ITERATION_NEXT_RESPONSE: (10, 168, 168),
    cpg.CONFIGURATION_EVENT: (4, 184, 184),
    cpg.DELIVER_EVENT: (5, 184, 184),
    cpg.TOTEM_EVENT: (13, 44, 48),
    cpg.PARTIAL_DELIVER_EVENT: (17, 200, 200),
    quorum.GETQUORATE_REQUEST: (0, 16, 16),
    quorum.TRACKSTART_REQUEST: (1, 24, 24),
    quorum.TRACKSTOP_REQUEST: (2, 16, 16),
    quorum.GETTYPE_REQUEST: (3, 16, 16),
    quorum.MODEL_GETTYPE_REQUEST: (4, 24, 24),
    quorum.GETTYPE_RESPONSE: (4, 32, 32),
    quorum.MODEL_GETTYPE_RESPONSE: (5, 32, 32),
    quorum.NOTIFICATION_V0_EVENT: (3, 44, 48),
    quorum.NOTIFICATION_V1_EVENT: (6, 52, 56),
    quorum.NODELIST_EVENT: (7, 60, 64),
    votequorum.GETINFO_REQUEST: (0, 24, 24),
    votequorum.SETEXPECTED_REQUEST: (1, 24, 24),
    votequorum.SETVOTES_REQUEST: (2, 24, 24),
    votequorum.TRACKSTART_REQUEST: (3, 32, 32),
    votequorum.TRACKSTOP_REQUEST: (4, 16, 16),
    votequorum.QDEVICE_REGISTER_REQUEST: (5, 272, 272),
    votequorum.QDEVICE_UNREGISTER_REQUEST: (6, 272, 272),
    votequorum.QDEVICE_UPDATE_REQUEST: (7, 528, 528),
    votequorum.QDEVICE_POLL_REQUEST: (8, 296, 296),
    votequorum.QDEVICE_MASTER_WINS_REQUEST: (9, 280, 280),
    votequorum.GETINFO_RESPONSE: (1, 320, 320),
    votequorum.QUORUM_EVENT: (3, 48, 48),
    votequorum.EXPECTED_VOTES_EVENT: (4, 40, 40),
    votequorum.NODELIST_EVENT: (5, 56, 56),
    cfg.RING_STATUS_GET_REQUEST: (0, 16, 16),
    cfg.RING_REENABLE_REQUEST: (1, 16, 16),
    cfg.KILL_NODE_REQUEST: (2, 288, 288),
    cfg.TRY_SHUTDOWN_REQUEST: (3, 24, 24),
    cfg.REPLYTO_SHUTDOWN_REQUEST: (4, 24, 24),
    cfg.GET_NODE_ADDRS_REQUEST: (5, 24, 24),
    cfg.LOCAL_GET_REQUEST: (6, 16, 16),
    cfg.RELOAD_CONFIG_REQUEST: (7, 16, 16),
    cfg.REOPEN_LOG_FILES_REQUEST: (8, 16, 16),
    cfg.NODE_STATUS_GET_REQUEST: (9, 32, 32),
    cfg.TRACKSTART_REQUEST: (10, 24, 24),
    cfg.TRACKSTOP_REQUEST: (11, 16, 16),
    cfg.RING_STATUS_GET_RESPONSE: (0, 10272, 10272),
    cfg.GET_NODE_ADDRS_RESPONSE: (11, 32, 32),
    cfg.LOCAL_GET_RESPONSE: (12, 32, 32),
    cfg.NODE_STATUS_GET_RESPONSE: (16, 4200, 4200),
    cfg.NODE_STATUS_ERROR: (16, 32, 32),
    cfg.TEST_SHUTDOWN_EVENT: (10, 32, 32),
}


@pytest.mark.parametrize("layout", SIZES, ids=lambda layout: layout.name)
def test_a_layout_has_the_id_and_the_sizes_of_the_c_structure(layout: Layout) -> None:
    assert (layout.identifier, layout.head.size, layout.size) == SIZES[layout]


def test_a_membership_answer_always_has_all_its_slots() -> None:
    assert len(cpg.MembershipResponse((cpg.Address(1, 2),)).encode()) == 9248
    assert len(cpg.MembershipResponse().encode(12)) == 9248


def test_fields_lie_where_the_c_structures_have_them() -> None:
    assert votequorum.QdeviceUpdateRequest("old", "new").encode()[271:274] == b"new"
    poll = votequorum.QdevicePollRequest("qd", True, 7, 9).encode()
    assert (poll[272], poll[280], poll[288]) == (1, 7, 9)
    kill = cfg.KillNodeRequest(3, "why").encode()
    assert (kill[24], kill[26:29]) == (4, b"why")
    ring = cfg.RingStatusResponse((cfg.Interface("0 a", "OK"), cfg.Interface("1 b", "FAULTY"))).encode()
    assert (ring[32:35], ring[160:163], ring[2080:2082], ring[2592:2598]) == (b"0 a", b"1 b", b"OK", b"FAULTY")
    links = (cfg.LinkStatus(), cfg.LinkStatus(True, True, False, 0x1234, "a", "b"), *(cfg.LinkStatus(),) * 6)
    status = cfg.NodeStatus(5, True, False, True, 1, 2, 3, links).encode()
    assert (status[24], status[28], status[32:38]) == (1, 5, bytes([1, 0, 1, 1, 2, 3]))
    second = 24 + 16 + 520
    assert (status[second : second + 2], status[second + 4 : second + 6]) == (b"\1\1", b"\x34\x12")
    assert (status[second + 8], status[second + 264]) == (ord("a"), ord("b"))
    info = votequorum.Info(qdevice_votes=9, qdevice_name="Qdevice").encode()
    assert (info[56], info[60:67]) == (9, b"Qdevice")
    partial = cpg.PartialDeliver(b"g", 1, 2, 1000, 3, b"data").encode()
    assert (partial[168], partial[176], partial[184], partial[192], partial[200:]) == (4, 1, 2, 3, b"data")
