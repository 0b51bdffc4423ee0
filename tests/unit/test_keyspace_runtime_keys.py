"""The daemon's own keys (captured in reference config section 17.4) and the rules of the statistics map."""

from __future__ import annotations

import pytest

from coroipc.errors import Status
from coroipc.map_values import ValueType
from corosyncd.keyspace import runtime_keys, statistics
from corosyncd.keyspace.changes import Track
from corosyncd.keyspace.values import Value, int32, text, uint8, uint16, uint32, uint64

# A healthy three-node stock cluster, udpu.
STOCK = {
    "block_unlisted_ips": 1,
    "cancel_token_hold_on_retransmit": 0,
    "consensus": 4380,
    "downcheck": 1000,
    "fail_recv_const": 2500,
    "heartbeat_failures_allowed": 0,
    "hold": 685,
    "join": 50,
    "max_messages": 17,
    "max_network_delay": 50,
    "merge": 200,
    "miss_count_const": 5,
    "send_join": 0,
    "seqno_unchanged_const": 30,
    "token": 3650,
    "token_retransmit": 869,
    "token_retransmits_before_loss_const": 4,
    "token_warning": 75,
    "window_size": 50,
}


def test_values_in_force_are_published_as_a_stock_daemon_does() -> None:
    keys = dict(runtime_keys.totem_parameters(STOCK, {0: runtime_keys.ping_timers(3650)}))
    expected: dict[str, Value] = {f"runtime.config.totem.{name}": uint32(value) for name, value in STOCK.items()}
    expected |= {
        "runtime.config.totem.interface.0.knet_ping_interval": uint32(912),
        "runtime.config.totem.interface.0.knet_ping_timeout": uint32(1825),
        "runtime.config.totem.knet_compression_level": int32(0),
        "runtime.config.totem.knet_compression_model": text("none"),
        "runtime.config.totem.knet_compression_threshold": uint32(0),
        "runtime.config.totem.knet_mtu": uint32(0),
        "runtime.config.totem.knet_pmtud_interval": uint32(30),
    }
    assert keys == expected


def test_a_missing_parameter_is_not_invented() -> None:
    with pytest.raises(KeyError):
        runtime_keys.totem_parameters({"token": 1}, {})


@pytest.mark.parametrize(("token", "interval", "timeout"), [(3000, 750, 1500), (3650, 912, 1825), (2650, 662, 1325)])
def test_ping_timers_follow_the_token(token: int, interval: int, timeout: int) -> None:
    assert runtime_keys.ping_timers(token) == (interval, timeout)


def test_configured_ping_timers_win() -> None:
    assert runtime_keys.ping_timers(3000, pong_count=3, interval=100) == (100, 1000)


def test_a_service_brings_its_names_and_a_pair_of_counters_for_each_function() -> None:
    assert runtime_keys.service(5, "corosync_votequorum", "votequorum", 2) == [
        ("internal_configuration.service.5.name", text("corosync_votequorum")),
        ("internal_configuration.service.5.ver", uint32(0)),
        ("runtime.services.votequorum.service_id", uint16(5)),
        ("runtime.services.votequorum.0.tx", uint64(0)),
        ("runtime.services.votequorum.0.rx", uint64(0)),
        ("runtime.services.votequorum.1.tx", uint64(0)),
        ("runtime.services.votequorum.1.rx", uint64(0)),
    ]
    assert runtime_keys.service_names(5) == ["internal_configuration.service.5.name", "internal_configuration.service.5.ver"]


def test_member_keys_list_every_link_with_a_trailing_blank() -> None:
    assert runtime_keys.member(2, {1: "10.84.1.2", 0: "10.84.0.2"}, True, 3) == [
        ("runtime.members.2.ip", text("r(0) ip(10.84.0.2) r(1) ip(10.84.1.2) ")),
        ("runtime.members.2.join_count", uint32(3)),
        ("runtime.members.2.status", text("joined")),
    ]
    assert runtime_keys.member(2, {0: "::1"}, False, 3)[2] == ("runtime.members.2.status", text("left"))


def test_triggers_rest_at_no() -> None:
    assert [value for _, value in runtime_keys.triggers()] == [text("no")] * 3


def test_the_local_nodes_place_and_addresses() -> None:
    assert runtime_keys.local_node(1, {0: "10.84.0.2"}) == [
        ("nodelist.local_node_pos", uint32(1)),
        ("totem.interface.0.bindnetaddr", text("10.84.0.2")),
    ]


def test_flags_and_grants_are_u8() -> None:
    assert runtime_keys.reload_progress(True, False) == [
        ("config.totemconfig_reload_in_progress", uint8(1)),
        ("config.reload_in_progress", uint8(0)),
    ]
    assert runtime_keys.granted_users("gid", [17]) == [("uidgid.config.gid.17", Value(ValueType.UINT8, b"\1"))]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("stats.clear.totem", (Status.OK, "totem")),
        ("stats.clear.all", (Status.OK, "all")),
        ("stats.clear.weather", (Status.NOT_SUPPORTED, "")),
        ("stats.srp.mcast_tx", (Status.ACCESS, "")),
    ],
)
def test_setting_a_statistics_key_only_resets(name: str, answer: tuple[int, str]) -> None:
    assert statistics.cleared_by_set(name) == answer
    other = Status.NOT_SUPPORTED if name.startswith("stats.clear.") else Status.ACCESS
    assert statistics.status_of_other_change(name) == other


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        (Track.MODIFY, Status.OK),
        (Track.PREFIX | Track.ADD | Track.DELETE, Status.OK),
        (Track.PREFIX | Track.ADD, Status.NOT_SUPPORTED),
        (Track.PREFIX | Track.MODIFY, Status.NOT_SUPPORTED),
        (32, Status.INVALID_PARAM),
    ],
)
def test_prefixes_of_the_statistics_map_are_tracked_for_coming_and_going_only(flags: int, status: int) -> None:
    assert statistics.status_of_tracker(flags) == status
