"""The thread of event-driven health checking."""

from __future__ import annotations

import queue
import threading

import pytest

from coroipc.errors import BadHandle, LibraryError
from libsam.health import HEARTBEATS_PER_INTERVAL, HeartbeatThread

INTERVAL = 0.04
LONG = 3600.0
DEADLINE = 30.0


class Trace:
    """What the thread does, in order."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)
        self.events: queue.Queue[str] = queue.Queue()
        self.error: Exception | None = None

    def send(self) -> None:
        self.events.put("heartbeat")
        if self.error is not None:
            raise self.error

    def check(self) -> bool:
        self.events.put("check")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def next(self, count: int) -> list[str]:
        return [self.events.get(timeout=DEADLINE) for _ in range(count)]


def join(thread: HeartbeatThread) -> None:
    thread._thread.join(DEADLINE)
    assert not thread._thread.is_alive()


CYCLE = [*["heartbeat"] * HEARTBEATS_PER_INTERVAL, "check"]


def test_the_callback_is_asked_after_every_fourth_heartbeat_until_it_says_no() -> None:
    trace = Trace(True, False)
    thread = HeartbeatThread(INTERVAL, trace.send, trace.check)
    thread.resume()
    join(thread)
    assert trace.next(trace.events.qsize()) == CYCLE * 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_that_raises_ends_the_heartbeats() -> None:
    trace = Trace(ValueError("sick"))
    thread = HeartbeatThread(INTERVAL, trace.send, trace.check)
    thread.resume()
    join(thread)
    assert trace.next(trace.events.qsize()) == CYCLE


def test_a_supervisor_that_has_gone_ends_the_heartbeats() -> None:
    trace = Trace()
    trace.error = LibraryError()
    thread = HeartbeatThread(INTERVAL, trace.send, trace.check)
    thread.resume()
    join(thread)
    assert trace.next(trace.events.qsize()) == ["heartbeat"]


def test_heartbeats_that_come_too_late_are_not_counted() -> None:
    trace = Trace(False)
    trace.error = BadHandle()
    thread = HeartbeatThread(INTERVAL, trace.send, trace.check)
    thread.resume()
    assert trace.next(2 * HEARTBEATS_PER_INTERVAL) == ["heartbeat"] * 2 * HEARTBEATS_PER_INTERVAL
    trace.error = None
    join(thread)


def test_nothing_is_sent_before_resume_and_after_pause() -> None:
    trace = Trace(True)
    thread = HeartbeatThread(LONG, trace.send, trace.check)
    thread.resume()
    thread.pause()
    thread.end()
    join(thread)
    assert trace.events.empty()


def test_a_callback_can_end_its_own_thread() -> None:
    ended = threading.Event()

    def check() -> bool:
        thread.end()
        ended.set()
        return True

    thread = HeartbeatThread(INTERVAL, lambda: None, check)
    thread.resume()
    assert ended.wait(DEADLINE)
    join(thread)
