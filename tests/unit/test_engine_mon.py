"""mon: readings become keys, and one above its limit makes the resource fail until its configuration changes."""

from __future__ import annotations

import pytest

from coroipc.map_values import ValueType
from corosyncd.engines.mon.engine import MonEngine
from corosyncd.keyspace.values import Value, text, uint32, uint64
from tests.unit.fake_host import FakeHost
from tests.unit.fake_machine import FakeMachine

MEMORY, LOAD = "resources.system.memory_used.", "resources.system.load_15min."


class Monitored:
    """A started engine on a machine that the test sets."""

    def __init__(self, **keys: Value) -> None:
        """Keys of memory_used, by leaf."""
        self.host = FakeHost(keys={MEMORY + leaf: value for leaf, value in keys.items()})
        self.machine = self.host.machine = FakeMachine()
        self.host.clock = 100.0
        self.engine = MonEngine(self.host)
        self.engine.start()
        self.host.apply_key_requests(self.engine)

    def value(self, name: str) -> Value | None:
        return self.host.map.get(name)

    def state(self) -> str:
        value = self.value(MEMORY + "state")
        assert value is not None
        return str(value.python())

    def set(self, leaf: str, value: Value) -> None:
        """A user changes a key."""
        _status, change = self.host.map.set(MEMORY + leaf, value, client=True)
        assert change is not None
        self.engine.keys_changed([change])  # type: ignore[list-item]
        self.host.apply_key_requests(self.engine)

    def delete(self, leaf: str) -> None:
        _status, change = self.host.map.delete(MEMORY + leaf, client=True)
        assert change is not None
        self.engine.keys_changed([change])  # type: ignore[list-item]
        self.host.apply_key_requests(self.engine)

    def poll(self) -> None:
        """The period is over."""
        self.host.expire(self.engine, "memory_used")
        self.host.apply_key_requests(self.engine)


def test_without_a_limit_the_keys_stand_at_their_defaults_and_nothing_is_read() -> None:
    monitored = Monitored()
    assert dict(monitored.host.map.items("resources.")) == {
        LOAD + "current": Value(ValueType.DOUBLE, bytes(8)),
        LOAD + "last_updated": uint64(0),
        LOAD + "poll_period": uint64(3000),
        LOAD + "state": text("stopped"),
        MEMORY + "current": Value(ValueType.INT32, bytes(4)),
        MEMORY + "last_updated": uint64(0),
        MEMORY + "poll_period": uint64(3000),
        MEMORY + "state": text("stopped"),
    }
    assert not monitored.host.timers


def test_a_limit_starts_the_readings_which_are_stamped_with_monotonic_nanoseconds() -> None:
    monitored = Monitored(max=text("80"))
    assert monitored.state() == "running"
    assert monitored.value(MEMORY + "current") == uint32(40)
    assert monitored.value(MEMORY + "last_updated") == uint64(100_000_000_000)
    assert monitored.host.timers["memory_used"] == 103.0
    monitored.machine.memory = 41
    monitored.poll()
    assert monitored.value(MEMORY + "current") == uint32(41)
    assert monitored.value(MEMORY + "last_updated") == uint64(103_000_000_000)


def test_a_reading_above_the_limit_fails_and_a_good_one_does_not_mend_it() -> None:
    monitored = Monitored(max=text("80"))
    monitored.machine.memory = 80
    monitored.poll()
    assert monitored.state() == "running"
    monitored.machine.memory = 81
    monitored.poll()
    assert monitored.state() == "failed"
    monitored.machine.memory = 10
    monitored.poll()
    assert monitored.state() == "failed"
    monitored.set("max", text("85"))
    assert monitored.state() == "running"


def test_the_load_is_judged_by_its_fraction() -> None:
    monitored = Monitored()
    monitored.machine.load = 1.25
    status, change = monitored.host.map.set(LOAD + "max", text("1.2"), client=True)
    assert (status, change is not None) == (1, True)
    monitored.engine.keys_changed([change])  # type: ignore[list-item]
    monitored.host.apply_key_requests(monitored.engine)
    assert monitored.value(LOAD + "state") == text("failed")


def test_a_limit_that_goes_away_or_is_no_number_stops_the_monitoring() -> None:
    monitored = Monitored(max=text("80"))
    monitored.set("max", text("plenty"))
    assert monitored.state() == "stopped"
    assert "memory_used" not in monitored.host.timers
    monitored.set("max", text("80"))
    assert monitored.state() == "running"
    monitored.delete("max")
    assert monitored.state() == "stopped"


@pytest.mark.parametrize("period", [text("500"), uint64(500), uint32(500)])
def test_a_period_counts_whatever_its_type(period: Value) -> None:
    monitored = Monitored(max=text("80"), poll_period=period)
    assert monitored.host.timers["memory_used"] == 100.5
    assert monitored.value(MEMORY + "poll_period") == period


def test_a_period_out_of_range_is_refused_in_words_and_the_default_holds() -> None:
    monitored = Monitored(max=text("80"), poll_period=text("499"))
    assert monitored.host.timers["memory_used"] == 103.0
    assert ("warning", "resource memory_used: poll_period '499' is not used: it must be 500 to 120000 (milliseconds)") in (
        monitored.host.lines
    )


def test_a_reading_that_fails_leaves_the_stamp_to_grow_old_and_is_tried_again() -> None:
    monitored = Monitored(max=text("80"))
    monitored.machine.memory = None
    monitored.poll()
    assert monitored.value(MEMORY + "last_updated") == uint64(100_000_000_000)
    monitored.machine.memory = 12
    monitored.poll()
    assert monitored.value(MEMORY + "current") == uint32(12)
