"""The supervisor's two connections to the daemon: its keys in the map, its view of quorum, and what happens without a daemon."""

from __future__ import annotations

from collections import deque
from typing import Any, cast

import pytest

from coroipc.errors import LibraryError, NotExist, TryAgain
from libcmap import Cmap, Plain, ValueType
from libquorum import NodeListNotification, Quorum, QuorumNotification
from libsam import Policy
from libsam.policy import Settings
from libsam.quorum import RECONNECT_SECONDS, QuorumWatch
from libsam.record import FAILED, STATES, Record
from libsam.supervision import Phase

PID = 4711
KEYS = ["last_updated", "poll_period", "recovery", "state"]


class FakeMap:
    """A daemon's map, and how often programs connected to it."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[Plain, ValueType]] = {}
        self.away = False
        self.restarted = False
        """Since the last connection was made."""
        self.connections = 0
        self.closed = 0

    def connect(self) -> Cmap:
        self._there()
        self.restarted = False
        self.connections += 1
        return cast(Cmap, self)

    def set(self, key: str, value: Plain, kind: ValueType) -> None:
        self._there()
        if self.restarted:
            raise LibraryError("lost")
        self.keys[key] = (value, kind)

    def delete(self, key: str) -> None:
        self._there()
        if self.keys.pop(key, None) is None:
            raise NotExist(key)

    def close(self) -> None:
        self.closed += 1

    def _there(self) -> None:
        if self.away:
            raise LibraryError("away")

    def seen(self) -> dict[str, Plain]:
        prefix = f"resources.process.{PID}."
        assert all(key.startswith(prefix) for key in self.keys)
        return {key.removeprefix(prefix): value for key, (value, _) in self.keys.items()}


@pytest.fixture
def fake() -> FakeMap:
    return FakeMap()


def registered(fake: FakeMap, policy: Policy = Policy.RESTART | Policy.CMAP) -> Record:
    record = Record(fake.connect, PID)
    record.register(Settings(1500, policy))
    return record


def test_a_registered_program_has_the_four_keys_with_their_types(fake: FakeMap) -> None:
    registered(fake)
    seen = fake.seen()
    assert sorted(seen) == KEYS
    assert (seen["recovery"], seen["poll_period"], seen["state"]) == ("restart", 1500, "stopped")
    kinds = {key.rsplit(".", 1)[1]: kind for key, (_, kind) in fake.keys.items()}
    assert kinds == {
        "recovery": ValueType.STRING,
        "poll_period": ValueType.UINT64,
        "last_updated": ValueType.UINT64,
        "state": ValueType.STRING,
    }


def test_the_recovery_is_quit_for_the_policy_quit(fake: FakeMap) -> None:
    registered(fake, Policy.QUORUM_QUIT | Policy.CMAP)
    assert fake.seen()["recovery"] == "quit"


def test_every_sign_of_life_renews_the_time(fake: FakeMap, monkeypatch: pytest.MonkeyPatch) -> None:
    record = registered(fake)
    monkeypatch.setattr("time.monotonic_ns", lambda: 123)
    record.touch()
    assert fake.seen()["last_updated"] == 123


def test_a_program_that_ended_in_order_leaves_no_key_and_a_failed_one_leaves_all(fake: FakeMap) -> None:
    record = registered(fake)
    record.show(FAILED)
    record.close()
    assert sorted(fake.seen()) == KEYS
    assert fake.seen()["state"] == "failed"
    registered(fake).remove()
    assert fake.seen() == {}


def test_a_map_that_comes_back_gets_all_keys_again(fake: FakeMap) -> None:
    record = registered(fake)
    fake.away = True
    record.show("running")
    record.touch()
    assert record.connection is None
    fake.keys.clear()
    fake.away = False
    record.touch()
    assert fake.connections == 2
    assert sorted(fake.seen()) == KEYS
    assert fake.seen()["state"] == "running"


def test_the_first_update_after_a_restart_of_the_daemon_is_not_lost(fake: FakeMap) -> None:
    record = registered(fake)
    fake.keys.clear()
    fake.restarted = True
    record.show("running")
    assert sorted(fake.seen()) == KEYS
    assert fake.seen()["state"] == "running"


def test_without_a_map_registration_fails(fake: FakeMap) -> None:
    fake.away = True
    with pytest.raises(LibraryError):
        Record(fake.connect, PID)


def test_a_map_that_is_away_at_the_end_is_no_error(fake: FakeMap) -> None:
    record = registered(fake)
    fake.away = True
    record.remove()


class FakeQuorum:
    """A daemon's quorum service."""

    def __init__(self, quorate: bool) -> None:
        self.quorate = quorate
        self.away: Exception | None = None
        self.waiting: deque[Any] = deque()
        self.tracking = 0
        self.closed = 0

    def connect(self) -> Quorum:
        if self.away is not None:
            raise self.away
        return cast(Quorum, self)

    def trackstart(self, flags: int) -> None:
        self.tracking += 1

    def getquorate(self) -> bool:
        return self.quorate

    def events(self, timeout: float) -> Any:
        assert timeout == 0.0
        if self.away is not None:
            raise self.away
        while self.waiting:
            yield self.waiting.popleft()

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("quorate", [False, True])
def test_the_state_at_connect_is_known_without_an_event(quorate: bool) -> None:
    watch = QuorumWatch(FakeQuorum(quorate).connect)
    assert watch.quorate is quorate
    assert watch.look(0.0) == []
    assert watch.deadline is None


def test_every_change_counts_also_when_quorum_is_back_already() -> None:
    daemon = FakeQuorum(True)
    watch = QuorumWatch(daemon.connect)
    lost, gained = QuorumNotification(False, 1, 4, (1,)), QuorumNotification(True, 1, 8, (1, 2))
    daemon.waiting += [gained, lost, lost, NodeListNotification(1, 8, (1, 2), (2,), ()), gained, gained]
    assert watch.look(0.0) == [False, True]
    assert watch.quorate
    daemon.waiting += [lost]
    assert watch.look(0.0) == [False]
    assert not watch.quorate


def test_no_daemon_is_no_quorum_and_it_is_looked_for_in_intervals() -> None:
    daemon = FakeQuorum(True)
    watch = QuorumWatch(daemon.connect)
    daemon.away = LibraryError()
    assert watch.look(10.0) == [False]
    assert (watch.connection, watch.deadline) == (None, 10.0 + RECONNECT_SECONDS)
    daemon.away = TryAgain()
    assert watch.look(10.0 + RECONNECT_SECONDS) == []
    assert watch.deadline == 10.0 + 2 * RECONNECT_SECONDS
    daemon.away = None
    assert watch.look(10.5 + RECONNECT_SECONDS) == []
    assert watch.look(10.0 + 2 * RECONNECT_SECONDS) == [True]
    assert (watch.quorate, watch.deadline, daemon.tracking) == (True, None, 2)


def test_events_before_the_loss_of_the_daemon_are_taken() -> None:
    daemon = FakeQuorum(False)
    watch = QuorumWatch(daemon.connect)

    def events(timeout: float) -> Any:
        yield QuorumNotification(True, 1, 8, (1, 2))
        raise LibraryError

    daemon.events = events  # type: ignore[method-assign]
    assert watch.look(10.0) == [True, False]
    assert not watch.quorate


def test_every_phase_that_the_map_shows_has_the_word_of_the_man_page() -> None:

    assert STATES == {Phase.STOPPED: "stopped", Phase.WAITING: "waiting for quorum", Phase.RUNNING: "running"}
