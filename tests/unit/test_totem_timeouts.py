"""Claims on the parameters: derived values, zeros, limits and their texts (reference totem.md §3.1, config.md §3.2)."""

from __future__ import annotations

import pytest

from corosyncd.totem.timeouts import derive


@pytest.mark.parametrize(
    ("nodes", "settings", "token", "retransmit", "hold", "consensus"),
    [
        (1, {}, 3000, 714, 561, 3600),
        (2, {}, 3000, 714, 561, 3600),
        (3, {}, 3650, 869, 685, 4380),
        (3, {"token": 2000}, 2650, 630, 494, 3180),
        (4, {}, 4300, 1023, 808, 5160),
    ],
)
def test_timeouts_follow_from_the_token_timeout_and_the_number_of_nodes(
    nodes: int, settings: dict[str, int], token: int, retransmit: int, hold: int, consensus: int
) -> None:
    published = derive(settings, nodes).published
    values = [published[name] for name in ("token", "token_retransmit", "hold", "consensus")]
    assert values == [token, retransmit, hold, consensus]


def test_what_is_published_is_what_a_stock_daemon_of_three_nodes_publishes() -> None:
    assert dict(derive({}, 3).published) == {
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


def test_times_are_in_seconds() -> None:
    parameters = derive({}, 3)
    assert (parameters.token, parameters.hold, parameters.join) == (3.65, 0.685, 0.05)
    assert parameters.token_warning == pytest.approx(2.7375)


def test_the_net_mtu_leaves_room_for_two_headers() -> None:
    assert derive({}, 3).net_mtu == 1410
    assert derive({"netmtu": 65536}, 3).net_mtu == 65446


def test_zero_asks_for_the_default_but_where_it_means_off() -> None:
    parameters = derive({"token": 0, "join": 0, "token_retransmit": 0, "hold": 0, "consensus": 0, "token_warning": 0}, 2)
    assert parameters.published["token"] == 3000
    assert parameters.published["join"] == 50
    assert parameters.published["hold"] == 561
    assert parameters.token_warning == 0


def test_values_that_are_set_are_not_derived() -> None:
    published = derive({"token_retransmit": 100, "hold": 50, "consensus": 9000}, 3).published
    assert (published["token_retransmit"], published["hold"], published["consensus"]) == (100, 50, 9000)


def test_the_heartbeat_is_off_unless_it_is_shorter_than_the_token_timeout() -> None:
    assert derive({}, 2).heartbeat == 0
    assert derive({"heartbeat_failures_allowed": 1}, 2).heartbeat == pytest.approx(0.764)
    assert derive({"heartbeat_failures_allowed": 5}, 2).heartbeat == 0


def test_126_ms_is_the_smallest_token_timeout_of_two_nodes() -> None:
    assert derive({"token": 126}, 2).published["token_retransmit"] == 30
    with pytest.raises(ValueError, match="Not appropriate token or token_retransmits_before_loss_const value set"):
        derive({"token": 125}, 2)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"max_network_delay": 29}, "The max_network_delay parameter (29 ms) may not be less than (30 ms)."),
        ({"token": 29}, "The token timeout parameter (29 ms) may not be less than (30 ms)."),
        ({"token_retransmit": 20}, "The token retransmit timeout parameter (20 ms) may not be less than (30 ms)."),
        ({"hold": 13}, "The token hold timeout parameter (13 ms) may not be less than (14 ms)."),
        ({"join": 29}, "The join timeout parameter (29 ms) may not be less than (30 ms)."),
        ({"consensus": 29}, "The consensus timeout parameter (29 ms) may not be less than (30 ms)."),
        ({"consensus": 40}, "The consensus timeout parameter (40 ms) may not be less than join timeout (50 ms)."),
        ({"merge": 29}, "The merge timeout parameter (29 ms) may not be less than (30 ms)."),
        ({"downcheck": 29}, "The downcheck timeout parameter (29 ms) may not be less than (30 ms)."),
        ({"token_warning": 101}, "The token warning parameter (101%) must be between 0 (disabled) and 100."),
        ({"netmtu": 100}, "The netmtu parameter (100 bytes) must be between 256 and 65536."),
        ({"window_size": 2049}, "The window_size parameter (2049 frames) must be between 1 and 2048."),
        ({"token": 4294967295}, "The consensus parameter (5153960754) may not be more than 4294967295."),
    ],
)
def test_a_value_outside_its_limits_is_refused_with_the_stock_text(settings: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        derive(settings, 2)
    assert str(caught.value) == text
