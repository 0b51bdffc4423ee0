"""The quorum section: what it means, what is refused at a start, and what a reload does instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from coroipc.map_values import ValueType
from corosyncd.engines.engine import ConfigurationError
from corosyncd.engines.votequorum import configuration
from corosyncd.engines.votequorum.configuration import Conflict, Settings
from corosyncd.engines.votequorum.decision import LARGEST_VOTE_SUM, TieBreaker
from corosyncd.keyspace.values import Value, int32, number, text
from tests.unit.fake_host import FakeHost
from tests.unit.quorum_cluster import configuration as keys_of


def start(keys: Mapping[str, Value], barrier: int = 0) -> tuple[Settings, str]:
    """A first reading on node 1, and its notices."""
    reading = configuration.read_at_start(FakeHost(1, keys), 1, barrier)
    return reading.settings, " ".join(line for _, line in reading.notices)


def again(keys: Mapping[str, Value], before: Settings, registered: bool = False) -> tuple[Settings, str]:
    """A reading at run time."""
    reading = configuration.read_again(FakeHost(1, keys), 1, 0, before, device_registered=registered)
    return reading.settings, " ".join(line for _, line in reading.notices)


THREE = (1, 2, 3)
FOUR = (1, 2, 3, 4)
DEVICE: dict[str, Any] = {"device_model": "net"}


def test_expected_votes_are_the_sum_of_the_nodelist_or_the_key() -> None:
    settings, _ = start(keys_of(THREE, {1: 2, 3: 0}))
    assert (settings.votes, settings.expected_votes) == (2, 3)
    settings, _ = start(keys_of(THREE, {1: 2}, expected_votes=9))
    assert (settings.votes, settings.expected_votes) == (2, 9)


def test_votes_count_only_without_a_nodelist() -> None:
    settings, _ = start(keys_of((), votes=None, expected_votes=5))
    assert settings.votes == 1
    keys = {**keys_of((), expected_votes=5), "quorum.votes": number(ValueType.UINT32, 3)}
    assert start(keys)[0].votes == 3
    assert start({**keys, **keys_of(THREE)})[0].votes == 1


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"nodes": ()}, "nodelist or quorum.expected_votes must be configured!"),
    ({"nodes": (1, 2), "two_node": 1, **DEVICE}, "two_node and quorum device cannot be configured at the same time!"),
    ({**DEVICE, "last_man_standing": 1}, "quorum.device is not compatible with last_man_standing"),
    ({**DEVICE, "nodes": FOUR, "auto_tie_breaker": 1}, "quorum.device is not compatible with auto_tie_breaker"),
    ({**DEVICE, "allow_downscale": 1}, "quorum.device is not compatible with allow_downscale"),
    ({**DEVICE, "expected_votes": 5}, "quorum.device.votes must be specified when quorum.expected_votes is set"),
    ({**DEVICE, "votes": {1: 2}}, "quorum.device.votes must be specified when not all nodes votes 1"),
    ({**DEVICE, "expected_votes": 3, "device_votes": 2}, "quorum.device.votes is too high or expected_votes is too low"),
    (
        {"auto_tie_breaker": 1, "last_man_standing": 1},
        "auto_tie_breaker & last_man_standing not available in odd sized cluster",
    ),
    ({"expected_votes": LARGEST_VOTE_SUM + 1}, f"more than {LARGEST_VOTE_SUM} votes"),
    ({"votes": {1: 200, 2: 200, 3: 200}}, f"more than {LARGEST_VOTE_SUM} votes"),
    ({**DEVICE, "device_votes": 508}, f"more than {LARGEST_VOTE_SUM} votes"),
]


@pytest.mark.parametrize(("options", "reason"), REFUSED)
def test_a_start_is_refused_with_the_reason(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^configuration error: ") as refused:
        start(keys_of(**{"nodes": THREE, **options}))
    assert reason in str(refused.value)


@pytest.mark.parametrize(("options", "reason"), REFUSED[2:8])
def test_a_reload_puts_the_device_out_of_use_instead(options: dict[str, Any], reason: str) -> None:
    fixed = {
        name: value for name, value in options.items() if name in ("last_man_standing", "auto_tie_breaker", "allow_downscale")
    }
    nodes = options.get("nodes", THREE)
    before, _ = start(keys_of(nodes, **fixed))
    assert before.device_usable
    settings, notices = again(keys_of(**{"nodes": nodes, **options}), before)
    assert not settings.device_usable
    assert reason in notices
    assert again(keys_of(nodes, **fixed), settings)[0].device_usable


@pytest.mark.parametrize("options", [REFUSED[0][0], *(options for options, _ in REFUSED[9:])])
def test_a_reload_that_makes_no_sense_changes_nothing(options: dict[str, Any]) -> None:
    before, _ = start(keys_of(THREE))
    with pytest.raises(Conflict):
        again(keys_of(**{"nodes": THREE, **options}), before)


def test_a_reload_to_an_odd_cluster_with_tie_breaker_and_last_man_standing_changes_nothing() -> None:
    options = {"auto_tie_breaker": 1, "last_man_standing": 1}
    before, _ = start(keys_of(FOUR, **options))
    with pytest.raises(Conflict, match="odd sized"):
        again(keys_of(THREE, **options), before)


@pytest.mark.parametrize("registered", [True, False])
def test_two_node_and_a_device_after_a_reload_whoever_was_first_stays(registered: bool) -> None:
    before, _ = start(keys_of((1, 2), two_node=1))
    settings, _ = again(keys_of((1, 2), two_node=1, **DEVICE), before, registered)
    assert (settings.rules.two_node, settings.device_usable) == (not registered, registered)


def test_wait_for_all_follows_two_node_unless_it_is_configured() -> None:
    before, _ = start(keys_of((1, 2), two_node=1))
    assert before.rules.wait_for_all
    assert not again(keys_of((1, 2)), before)[0].rules.wait_for_all
    assert not start(keys_of((1, 2), two_node=1, wait_for_all=0))[0].rules.wait_for_all
    assert start(keys_of((1, 2), wait_for_all=1))[0].rules.wait_for_all


def test_the_fixed_options_stay_as_they_were_at_start() -> None:
    before, _ = start(keys_of(FOUR, auto_tie_breaker=1, last_man_standing_window=500))
    settings, _ = again(keys_of(FOUR, wait_for_all=1, last_man_standing=1, allow_downscale=1, last_man_standing_window=9), before)
    assert settings.rules == before.rules
    assert settings.window_ms == 500


@pytest.mark.parametrize(
    ("node", "tie_breaker", "nodes"),
    [
        (None, TieBreaker.LOWEST, ()),
        ("lowest", TieBreaker.LOWEST, ()),
        ("highest", TieBreaker.HIGHEST, ()),
        ("3 1", TieBreaker.LIST, (3, 1)),
        ("4 2 x 1", TieBreaker.LIST, (4, 2)),
        ("best", TieBreaker.NONE, ()),
    ],
)
def test_auto_tie_breaker_node_names_a_side_or_lists_nodes(
    node: str | None, tie_breaker: TieBreaker, nodes: tuple[int, ...]
) -> None:
    extra = {"auto_tie_breaker_node": node} if node else {}
    rules = start(keys_of(FOUR, auto_tie_breaker=1, **extra))[0].rules
    assert (rules.tie_breaker, rules.tie_breaker_nodes) == (tie_breaker, nodes)


def test_auto_tie_breaker_comes_and_goes_with_even_and_odd_clusters() -> None:
    even, _ = start(keys_of(FOUR, auto_tie_breaker=1))
    odd, notices = again(keys_of(THREE), even)
    assert (odd.rules.tie_breaker, "odd" in notices) == (TieBreaker.NONE, True)
    assert again(keys_of(FOUR), odd)[0].rules.tie_breaker is TieBreaker.LOWEST


def test_auto_tie_breaker_in_an_odd_cluster_needs_wait_for_all() -> None:
    assert start(keys_of(THREE, auto_tie_breaker=1))[0].rules.tie_breaker is TieBreaker.NONE
    assert start(keys_of(THREE, auto_tie_breaker=1, wait_for_all=1))[0].rules.tie_breaker is TieBreaker.LOWEST


def test_two_node_gives_way_to_auto_tie_breaker_but_leaves_wait_for_all_on() -> None:
    rules = start(keys_of((1, 2), two_node=1, auto_tie_breaker=1))[0].rules
    assert (rules.two_node, rules.tie_breaker, rules.wait_for_all) == (False, TieBreaker.LOWEST, True)


def test_auto_tie_breaker_node_alone_is_warned_about() -> None:
    assert "no effect" in start(keys_of(FOUR, auto_tie_breaker_node="lowest"))[1]


def test_a_device_without_votes_gets_one_less_than_there_are_nodes() -> None:
    settings, _ = start(keys_of(THREE, **DEVICE))
    assert (settings.device_votes, settings.expected_votes, settings.device_configured) == (2, 5, True)


def test_an_empty_device_model_is_no_device() -> None:
    settings, _ = start(keys_of(THREE, device_model="", two_node=0))
    assert (settings.device_configured, settings.device_votes, settings.device_usable) == (False, 0, True)


def test_device_times_default_to_ten_and_thirty_seconds() -> None:
    settings, _ = start(keys_of(THREE, **DEVICE))
    assert (settings.device_timeout_ms, settings.device_sync_timeout_ms) == (10000, 30000)
    settings, _ = start(keys_of(THREE, **DEVICE, device_timeout=700, device_sync_timeout=800))
    assert (settings.device_timeout_ms, settings.device_sync_timeout_ms) == (700, 800)


def test_tracking_replaces_the_configured_votes_by_the_barrier() -> None:
    keys = keys_of(THREE, expected_votes=5, expected_votes_tracking=1)
    assert start(keys)[0].expected_votes == 3, "a fresh barrier falls back to the nodelist"
    assert start(keys, barrier=7)[0].expected_votes == 7
    assert start(keys, barrier=2)[0].expected_votes == 3, "what was stored is a minimum: nodes were added since"
    keys = keys_of((), expected_votes=5, expected_votes_tracking=1)
    assert start(keys)[0].expected_votes == 5, "without a nodelist the key is all there is"
    assert start(keys, barrier=7)[0].expected_votes == 7


def test_tracking_begins_with_the_device_that_the_nodelist_counts() -> None:
    settings, _ = start(keys_of(THREE, expected_votes_tracking=1, **DEVICE))
    assert (settings.expected_votes, settings.device_votes) == (5, 2)
    assert start(keys_of(THREE, expected_votes_tracking=1, **DEVICE), 7)[0].expected_votes == 7


def test_a_device_whose_votes_can_no_longer_be_told_keeps_those_it_had() -> None:
    before, _ = start(keys_of(THREE, **DEVICE))
    settings, notice = again(keys_of(THREE, expected_votes=1, **DEVICE), before)
    assert "quorum.device.votes must be specified when quorum.expected_votes is set" in notice
    assert (settings.device_votes, settings.device_usable) == (2, False)


def test_allow_downscale_switches_tracking_on() -> None:
    assert start(keys_of(THREE, allow_downscale=1))[0].rules.expected_votes_tracking


@pytest.mark.parametrize("nonsense", [int32(-5), text("many"), number(ValueType.DOUBLE, 3.5), number(ValueType.UINT64, 1 << 40)])
def test_a_value_that_no_vote_can_have_counts_as_absent(nonsense: Value) -> None:
    keys = {**keys_of(THREE), "quorum.expected_votes": nonsense, "nodelist.node.0.quorum_votes": nonsense}
    assert start(keys)[0].expected_votes == 3


def test_the_fingerprint_sees_changed_keys_but_not_the_order_to_stop_waiting() -> None:
    keys = keys_of(THREE)
    same = {**keys, "quorum.cancel_wait_for_all": int32(1), "totem.token": int32(1)}
    assert start(same)[0].fingerprint == start(keys)[0].fingerprint
    assert start(keys_of(THREE, {2: 2}))[0].fingerprint != start(keys)[0].fingerprint
