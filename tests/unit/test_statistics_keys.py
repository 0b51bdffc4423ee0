"""The executive's keys of the statistics map: ring, transport, and the times that it was not scheduled."""

from __future__ import annotations

from corosyncd.daemon.statistics_keys import DELAYS_KEPT, Delays, ring_keys, transport_keys
from corosyncd.keyspace.values import Value
from corosyncd.totem.statistics import TOKENS_A_MEAN, Statistics
from corosyncd.totem.wire import Reason
from corosyncd.transport.udpu import Counters


def test_every_reason_for_a_drop_has_a_key_from_the_start() -> None:
    statistics = Statistics()
    statistics.drop(Reason.STALE_RING)
    keys = ring_keys(statistics, 1)
    dropped = {name: Value(*value).python() for name, value in keys.items() if name.startswith("stats.srp.dropped.")}
    assert dropped == {f"stats.srp.dropped.{reason}": int(reason is Reason.STALE_RING) for reason in Reason}


def test_what_the_transport_could_not_do_is_counted_since_the_last_clear() -> None:
    counters = Counters()
    counters.foreign_source = 3
    assert transport_keys(counters)["stats.net.foreign_source"] == [8, b"\3" + bytes(7)]
    counters.clear()
    assert {Value(*value).python() for value in transport_keys(counters).values()} == {0}


def test_long_pauses_are_kept_newest_first_and_only_so_many() -> None:
    moments = iter(range(1, 100))
    delays = Delays(1.0, lambda: float(next(moments)))
    delays.paused(0.8)
    assert delays.keys() == {}
    for _ in range(DELAYS_KEPT + 2):
        delays.paused(0.9)
    keys = delays.keys()
    assert len(keys) == 2 * DELAYS_KEPT
    assert Value(*keys["stats.schedmiss.0.timestamp"]).python() == 12_000
    assert Value(*keys["stats.schedmiss.9.timestamp"]).python() == 3_000
    assert Value(*keys["stats.schedmiss.0.delay"]).python() == 900.0
    delays.clear()
    assert delays.keys() == {}


def test_the_work_of_a_token_s_visit_is_a_mean_in_milliseconds() -> None:
    statistics = Statistics()
    for visit in range(TOKENS_A_MEAN + 1):
        statistics.token_received(0, visit * 0.01)
        statistics.token_worked(0.004)
    assert statistics.avg_token_workload == 4
