"""The order in which trackers fire (reference services section 6.1)."""

from __future__ import annotations

import pytest

from coroipc.errors import Status
from corosyncd.keyspace import trackers as trackers_module
from corosyncd.keyspace.changes import Track
from corosyncd.keyspace.trackers import Trackers

ALL = Track.ADD | Track.MODIFY | Track.DELETE
PREFIX = ALL | Track.PREFIX


def test_the_most_specific_tracker_fires_first() -> None:
    trackers = Trackers()
    for identifier, name, flags in [
        (1, None, PREFIX),
        (2, "a.", PREFIX),
        (3, "a.b.c", PREFIX),
        (4, "a.b.c", ALL),
        (5, "a.b.", PREFIX),
        (6, "a.b.d", ALL),
        (7, "b", PREFIX),
    ]:
        assert trackers.add(identifier, name, flags) == Status.OK
    assert trackers.matching("a.b.c", Track.ADD) == [4, 3, 5, 2, 1]


def test_on_the_same_key_exact_trackers_fire_newest_first_and_prefixes_oldest_first() -> None:
    trackers = Trackers()
    for identifier in (10, 7, 30):
        trackers.add(identifier, "key", ALL)
    for identifier in (11, 8, 31):
        trackers.add(identifier, "key", PREFIX)
    for identifier in (12, 9, 32):
        trackers.add(identifier, None, PREFIX)
    assert trackers.matching("key", Track.MODIFY) == [30, 7, 10, 11, 8, 31, 12, 9, 32]


@pytest.mark.parametrize("event", [Track.ADD, Track.MODIFY, Track.DELETE])
def test_only_the_wanted_events_fire(event: Track) -> None:
    trackers = Trackers()
    trackers.add(1, "key", event)
    trackers.add(2, "key", ALL & ~event)
    trackers.add(3, "k", event | Track.PREFIX)
    trackers.add(4, "k", (ALL & ~event) | Track.PREFIX)
    assert trackers.matching("key", event) == [1, 3]


def test_no_name_without_prefix_matches_nothing() -> None:
    trackers = Trackers()
    assert trackers.add(1, None, ALL) == Status.OK
    assert trackers.add(2, "", ALL) == Status.OK
    assert trackers.matching("key", Track.ADD) == []
    assert trackers.remove(1)


def test_unknown_flags_are_an_invalid_parameter() -> None:
    trackers = Trackers()
    assert trackers.add(1, "key", 16) == Status.INVALID_PARAM
    assert 1 not in trackers


def test_a_removed_tracker_does_not_fire() -> None:
    trackers = Trackers()
    trackers.add(1, "abc", PREFIX)
    trackers.add(2, "abc", PREFIX)
    assert trackers.remove(1)
    assert not trackers.remove(1)
    assert trackers.matching("abcd", Track.ADD) == [2]
    assert trackers.remove(2)
    assert trackers.matching("abcd", Track.ADD) == []
    assert len(trackers) == 0


def test_an_identifier_stands_for_one_tracker() -> None:
    trackers = Trackers()
    trackers.add(1, "key", ALL)
    with pytest.raises(ValueError, match="1 exists"):
        trackers.add(1, "other", ALL)


def test_the_number_of_trackers_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers_module, "MAXIMUM_TRACKERS", 2)
    trackers = Trackers()
    assert [trackers.add(identifier, "key", ALL) for identifier in range(3)] == [Status.OK, Status.OK, Status.NO_RESOURCES]
