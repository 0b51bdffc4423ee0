"""libcmap's operations of several requests, and its trackers, over a daemon that is a script."""

from __future__ import annotations

import pytest

import libcmap
import libcmap.messages as cmap
import libcmap.session
from coroipc.errors import InvalidParameter, Status, TryAgain
from tests.unit.scripted_daemon import Daemon, install


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    return install(monkeypatch)


def test_a_value_larger_than_the_first_room_is_asked_for_again(daemon: Daemon) -> None:
    value = b"v" * 1000 + b"\0"

    def answer(request: bytes) -> bytes:
        room = cmap.GetRequest.decode(request).room
        if room and room < len(value):
            return cmap.GetResponse().encode(Status.INVALID_PARAM)
        return cmap.GetResponse(11, len(value), value).encode(room=room)

    daemon.answer = answer
    assert libcmap.Cmap().get("some.key") == "v" * 1000
    assert [cmap.GetRequest.decode(request).room for request in daemon.requests] == [libcmap.session.FIRST_ROOM, 0, 1001]


def test_a_value_that_grows_at_every_attempt_is_given_up(daemon: Daemon) -> None:
    def answer(request: bytes) -> bytes:
        room = cmap.GetRequest.decode(request).room
        if room:
            return cmap.GetResponse().encode(Status.INVALID_PARAM)
        return cmap.GetResponse(11, 300 + len(daemon.requests), b"").encode(room=0)

    daemon.answer = answer
    with pytest.raises(TryAgain):
        libcmap.Cmap().get("some.key")
    assert len(daemon.requests) == 2 * libcmap.session.GET_ATTEMPTS


def test_the_statistics_are_chosen_when_the_connection_opens(daemon: Daemon) -> None:
    libcmap.Cmap(libcmap.Map.STATS)
    assert [cmap.SetCurrentMapRequest.decode(request).map_id for request in daemon.requests] == [1]


def notification(instance: int, event: int = 2) -> bytes:
    return cmap.Notification(instance, "some.key", event, 6, b"\2\0\0\0", 11, b"old\0").encode()


def test_a_change_names_its_tracker_and_has_both_values(daemon: Daemon) -> None:
    daemon.answer = lambda request: cmap.TrackAddResponse(77).encode()
    library = libcmap.Cmap()
    tracker = library.track("some.", prefix=True)
    assert cmap.TrackAddRequest.decode(daemon.requests[0]) == cmap.TrackAddRequest("some.", 15, tracker.instance)
    daemon.events.append(notification(tracker.instance))
    change = library.next_event(0)
    old, new = libcmap.Value(11, "old"), libcmap.Value(6, 2)
    assert change == libcmap.KeyChange(tracker.instance, "some.key", libcmap.Track.MODIFY, new, old)


def test_events_of_an_ended_or_unknown_tracker_are_not_seen(daemon: Daemon) -> None:
    daemon.answer = lambda request: cmap.TrackAddResponse(77).encode()
    library = libcmap.Cmap()
    ended, kept = library.track("some.key"), library.track("some.key")
    library.untrack(ended)
    daemon.events += [notification(ended.instance), notification(12345), notification(kept.instance)]
    assert [change.tracker for change in library.events(0)] == [kept.instance]
    assert daemon.requests[-1] == cmap.TRACK_DELETE_REQUEST.pack(77)


def test_a_refused_tracker_leaves_nothing_behind(daemon: Daemon) -> None:
    daemon.answer = lambda request: cmap.TrackAddResponse().encode(Status.INVALID_PARAM)
    library = libcmap.Cmap()
    with pytest.raises(InvalidParameter):
        library.track("some.key")
    daemon.events.append(notification(1))
    assert list(library.events(0)) == []
