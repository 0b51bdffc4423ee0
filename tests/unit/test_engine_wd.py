"""wd: the watchdog gets signs of life while the executive answers; a resource that fails is recovered as its keys say."""

from __future__ import annotations

import pytest

from corosyncd.engines.wd.dog import ASK
from corosyncd.engines.wd.engine import WdEngine
from corosyncd.keyspace.values import Value, text, uint32, uint64
from tests.unit.fake_host import FakeHost
from tests.unit.fake_machine import FakeMachine

DEVICE = {"resources.watchdog_device": text("/dev/watchdog")}
PROGRAM = "resources.process.77."
SECOND = 1_000_000_000


class Guarded:
    """A started engine, its clock at 100 s."""

    def __init__(self, keys: dict[str, Value] | None = None, kept: bytes | None = None) -> None:
        self.host = FakeHost(keys=keys)
        self.machine = self.host.machine = FakeMachine()
        self.host.clock = 100.0
        self.engine = WdEngine(self.host, kept)
        self.engine.start()

    @property
    def signs_of_life(self) -> int:
        return self.machine.watchdog.signs_of_life

    def executive_answers(self) -> None:
        self.host.apply_key_requests(self.engine)

    def set(self, name: str, value: Value) -> None:
        """A program changes a key."""
        _status, change = self.host.map.set(name, value, client=True)
        assert change is not None
        self.engine.keys_changed([change])  # type: ignore[list-item]
        self.executive_answers()

    def delete(self, name: str) -> None:
        _status, change = self.host.map.delete(name, client=True)
        assert change is not None
        self.engine.keys_changed([change])  # type: ignore[list-item]

    def register(self, recovery: str = "quit", period: int = 1000) -> None:
        """A supervisor makes its program known, started and well."""
        self.set(PROGRAM + "recovery", text(recovery))
        self.set(PROGRAM + "poll_period", uint64(period))
        self.report()
        self.set(PROGRAM + "state", text("stopped"))
        self.set(PROGRAM + "state", text("running"))

    def report(self) -> None:
        self.set(PROGRAM + "last_updated", uint64(int(self.host.clock * SECOND)))

    def check(self) -> None:
        """The time of the next look has come."""
        self.host.expire(self.engine, PROGRAM)

    def lines(self, level: str) -> list[str]:
        return [line for at, line in self.host.lines if at == level]


# The device.


@pytest.mark.parametrize(
    ("keys", "warning"),
    [
        ({}, "The watchdog is not enabled by the configuration (resources.watchdog_device)"),
        ({"resources.watchdog_device": text("off")}, "The watchdog is disabled by the configuration (resources.watchdog_device)"),
        ({"resources.watchdog_device": text("")}, "The watchdog is disabled by the configuration (resources.watchdog_device)"),
        (
            {"resources.watchdog_device": text("/dev/none")},
            "The watchdog /dev/none cannot be used (No such file or directory): "
            "is a watchdog driver loaded (for example softdog)?",
        ),
    ],
)
def test_without_a_device_the_node_runs_and_says_why_it_is_not_guarded(keys: dict[str, Value], warning: str) -> None:
    guarded = Guarded(keys)
    assert guarded.lines("warning") == [warning]
    assert not guarded.machine.opened
    assert not guarded.host.timers
    guarded.engine.stop()


def test_every_sign_of_life_but_the_first_follows_an_answer_of_the_executive() -> None:
    guarded = Guarded(DEVICE)
    assert guarded.machine.watchdog.timeout == 6
    assert guarded.signs_of_life == 1
    guarded.executive_answers()
    assert guarded.signs_of_life == 2
    for expected in (2, 2, 2):
        guarded.host.expire(guarded.engine, ASK)
        assert guarded.signs_of_life == expected
    assert guarded.host.clock == 109.0, "asked every half timeout"


def test_an_answer_to_an_old_question_is_no_sign_of_life() -> None:
    guarded = Guarded(DEVICE)
    guarded.host.clock += 3.1
    guarded.executive_answers()
    assert guarded.signs_of_life == 1
    assert guarded.lines("error") == ["The executive took 3.1 s to answer: no sign of life for the watchdog"]


def test_a_timeout_is_taken_over_at_once_and_one_out_of_range_is_written_back() -> None:
    guarded = Guarded({**DEVICE, "resources.watchdog_timeout": uint32(20)})
    assert guarded.machine.watchdog.timeout == 20
    guarded.set("resources.watchdog_timeout", uint32(10))
    assert guarded.machine.watchdog.timeout == 10
    assert guarded.host.timers[ASK] == 105.0
    guarded.set("resources.watchdog_timeout", uint32(121))
    assert guarded.machine.watchdog.timeout == 10
    assert guarded.host.map.get("resources.watchdog_timeout") == uint32(10)


def test_the_default_timeout_is_shown_in_the_map() -> None:
    guarded = Guarded()
    guarded.executive_answers()
    assert guarded.host.map.get("resources.watchdog_timeout") == uint32(6)


def test_a_device_that_insists_on_its_timeout_gets_signs_of_life_in_time_for_that_one() -> None:
    host = FakeHost(keys=DEVICE)
    machine = host.machine = FakeMachine()
    machine.watchdog.insists_on = 4
    engine = WdEngine(host)
    engine.start()
    assert host.timers[ASK] == 2.0
    assert ("warning", "The watchdog keeps its timeout of 4 s when 6 s are wanted") in host.lines


def test_an_orderly_stop_disarms_the_watchdog() -> None:
    guarded = Guarded(DEVICE)
    guarded.engine.stop()
    assert guarded.machine.watchdog.disarmed


# Resources.


def test_a_program_that_goes_on_reporting_is_left_alone() -> None:
    guarded = Guarded(DEVICE)
    guarded.register()
    for _ in range(10):
        guarded.check()
        guarded.report()
    assert guarded.lines("crit") == []


def test_a_program_that_falls_silent_for_one_and_a_half_periods_has_failed() -> None:
    guarded = Guarded(DEVICE)
    guarded.register()
    guarded.check()
    assert guarded.lines("crit") == []
    guarded.check()
    assert guarded.lines("error") == ["resource 77: its report is 500 ms late (period 1000 ms)"]
    assert guarded.lines("crit") == ["resource 77 has failed; recovery: quit"]
    assert PROGRAM not in guarded.host.timers


def test_recovery_quit_lets_the_watchdog_bite_and_a_successor_does_not_undo_that() -> None:
    guarded = Guarded(DEVICE)
    guarded.executive_answers()
    guarded.register()
    before = guarded.signs_of_life
    guarded.set(PROGRAM + "state", text("failed"))
    guarded.check()
    guarded.executive_answers()
    assert guarded.signs_of_life == before
    assert ASK not in guarded.host.timers
    assert guarded.lines("alert") == ["The watchdog gets no sign of life any more"]
    successor = Guarded(DEVICE, guarded.host.kept)
    assert not successor.machine.opened


@pytest.mark.parametrize(
    ("recovery", "done"), [("reboot", ["restart"]), ("shutdown", ["power off"]), ("none", []), ("restart", [])]
)
def test_each_recovery_does_what_its_name_says(recovery: str, done: list[str]) -> None:
    guarded = Guarded(DEVICE)
    guarded.register(recovery)
    guarded.set(PROGRAM + "state", text("failed"))
    guarded.check()
    assert guarded.machine.ended == done
    assert ASK in guarded.host.timers


def test_a_recovery_that_is_not_permitted_is_named_and_the_node_goes_on() -> None:
    host = FakeHost(
        keys={PROGRAM + "recovery": text("reboot"), PROGRAM + "state": text("failed"), PROGRAM + "last_updated": uint64(1)}
    )
    engine = WdEngine(host)
    engine.start()
    host.expire(engine, PROGRAM)
    assert ("alert", "resource 77: reboot is not possible: no machine") in host.lines


@pytest.mark.parametrize("state", ["stopped", "waiting for quorum"])
def test_a_program_that_is_not_started_is_not_checked(state: str) -> None:
    guarded = Guarded(DEVICE)
    guarded.register()
    guarded.set(PROGRAM + "state", text(state))
    assert PROGRAM not in guarded.host.timers
    guarded.set(PROGRAM + "state", text("running"))
    assert guarded.host.timers[PROGRAM] == 101.0


def test_a_failed_program_is_watched_again_when_its_supervisor_says_it_runs() -> None:
    guarded = Guarded(DEVICE)
    guarded.register("none")
    guarded.set(PROGRAM + "state", text("failed"))
    guarded.check()
    assert PROGRAM not in guarded.host.timers
    guarded.set(PROGRAM + "state", text("running"))
    assert PROGRAM in guarded.host.timers


def test_a_resource_whose_state_is_deleted_is_forgotten() -> None:
    guarded = Guarded(DEVICE)
    guarded.register()
    guarded.delete(PROGRAM + "state")
    assert PROGRAM not in guarded.host.timers
    guarded.set(PROGRAM + "recovery", text("reboot"))
    assert PROGRAM not in guarded.host.timers


def test_a_resource_without_recovery_is_not_watched_until_it_has_one() -> None:
    guarded = Guarded()
    guarded.set(PROGRAM + "state", text("running"))
    assert "resource 77 has no recovery key: it is not watched" in guarded.lines("warning")
    assert PROGRAM not in guarded.host.timers
    assert guarded.host.map.get(PROGRAM + "poll_period") == uint64(6000), "the default is shown"
    guarded.set(PROGRAM + "recovery", text("quit"))
    assert guarded.host.timers[PROGRAM] == 106.0


def test_a_new_resource_has_two_periods_and_at_least_six_seconds_to_begin() -> None:
    for period, first in ((1000, 106.0), (4000, 108.0)):
        keys = {"recovery": text("quit"), "poll_period": uint64(period), "state": text("running"), "last_updated": uint64(0)}
        guarded = Guarded({PROGRAM + leaf: value for leaf, value in keys.items()})
        assert guarded.host.timers[PROGRAM] == first


def test_a_changed_period_holds_and_the_first_look_waits_for_the_longer_one() -> None:
    guarded = Guarded()
    guarded.register(period=4000)
    guarded.set(PROGRAM + "poll_period", uint64(1000))
    assert guarded.host.timers[PROGRAM] == 104.0
    guarded.host.clock = 103.9
    guarded.report()
    guarded.check()
    assert guarded.host.timers[PROGRAM] == 105.0


def test_resources_of_other_types_are_found_at_the_start_only() -> None:
    keys = {"resources.disk.a.state": text("running"), "resources.disk.a.recovery": text("none")}
    guarded = Guarded(keys)
    assert "resources.disk.a." in guarded.host.timers
    guarded.set("resources.disk.b.recovery", text("none"))
    guarded.set("resources.disk.b.state", text("running"))
    assert "resources.disk.b." not in guarded.host.timers
