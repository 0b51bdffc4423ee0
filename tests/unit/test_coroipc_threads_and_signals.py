"""A blocking caller whose program has several threads, and handlers of signals that raise or close."""

from __future__ import annotations

import os
import select
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import coroipc.library
from coroipc.channel import Channel
from coroipc.errors import BadHandle, LibraryError, TooBig
from coroipc.library import BlockingLibrary
from coroipc.messages import request, response
from tests.data.coroipc_process import PATIENCE, ServerProcess, running_server
from tests.data.coroipc_server import COUNT, ECHO, EVENTS, LATE

ONE_EVENT = request(EVENTS, struct.pack("<II", 1, 64))


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server() as running:
        yield running


class Raised(Exception):
    """What the handler of a signal raises."""


def _in_a_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """A thread that runs, and the result or the error that it ends with."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def test_one_thread_waits_for_events_while_another_fills_the_socket() -> None:
    with running_server() as server, server.caller() as caller:
        reader, events = _in_a_thread(lambda: caller.next_event(PATIENCE))
        os.kill(server.pid, signal.SIGSTOP)
        sender, results = _in_a_thread(lambda: [caller.send(request(COUNT)) for _ in range(1000)])
        sender.join(0.5)  # A socket holds fewer wake-ups than that.
        assert sender.is_alive()
        os.kill(server.pid, signal.SIGCONT)
        sender.join(PATIENCE)
        assert results == [[None] * 1000]
        caller.call(ONE_EVENT, PATIENCE)
        reader.join(PATIENCE)
        assert events == [response(9, body=bytes(64))]


def test_closing_ends_the_wait_of_another_thread(server: ServerProcess) -> None:
    caller = server.caller()
    reader, results = _in_a_thread(lambda: caller.next_event(None))
    caller.close()
    reader.join(PATIENCE)
    assert [type(result) for result in results] == [BadHandle]


def test_the_rings_stay_until_another_thread_has_left_them(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = server.caller()
    caller.call(ONE_EVENT, PATIENCE)
    assert select.select([caller.fileno()], [], [], PATIENCE)[0]  # The event follows the response.
    inside, hung_up, closed = threading.Event(), threading.Event(), threading.Event()
    take_events, hang_up = Channel.take_events, Channel.hang_up

    def slow_take(channel: Channel, maximum: int) -> list[bytes]:
        inside.set()
        assert hung_up.wait(PATIENCE)
        assert not closed.wait(0.1)
        return take_events(channel, maximum)

    def noted_hang_up(channel: Channel) -> None:
        hang_up(channel)
        hung_up.set()

    monkeypatch.setattr(Channel, "take_events", slow_take)
    monkeypatch.setattr(Channel, "hang_up", noted_hang_up)
    reader, results = _in_a_thread(lambda: caller.next_event(None))
    assert inside.wait(PATIENCE)
    caller.close()
    closed.set()
    reader.join(PATIENCE)
    assert results == [response(9, body=bytes(64))]


def test_a_handler_that_closes_while_events_are_taken_leaves_the_rings_to_whoever_takes_them(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    caller = server.caller()
    take_events = Channel.take_events

    def take_and_close(channel: Channel, maximum: int) -> list[bytes]:
        signal.raise_signal(signal.SIGUSR1)
        assert channel.fileno() >= 0
        return take_events(channel, maximum)

    monkeypatch.setattr(Channel, "take_events", take_and_close)
    with _handler(signal.SIGUSR1, caller.close), pytest.raises(BadHandle):
        caller.next_event(None)
    assert len(os.listdir("/proc/self/fd")) == descriptors


@contextmanager
def _handler(number: signal.Signals, handle: Callable[[], object]) -> Iterator[None]:
    before = signal.signal(number, lambda *_: handle())
    try:
        yield
    finally:
        signal.signal(number, before)


def _raise() -> None:
    raise Raised


def test_what_a_handler_raises_in_a_sleep_leaves_the_connection_whole(server: ServerProcess) -> None:
    with _handler(signal.SIGALRM, _raise), server.caller() as caller:
        for _ in range(3):
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            with pytest.raises(Raised):
                caller.call(request(LATE, struct.pack("<I", 60)), PATIENCE)
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            with pytest.raises(Raised):
                caller.next_event(None)
        assert caller.call(request(ECHO, b"mine"), PATIENCE) == response(ECHO, body=b"mine")


@pytest.mark.parametrize("step", ["put", "take_response", "take_events"])
def test_an_exchange_that_a_handler_broke_off_is_the_last_one(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Else the next call would get the response of this one, or wait for one that was taken already."""
    original = getattr(Channel, step)

    def broken_off(*arguments: object) -> object:
        original(*arguments)
        raise Raised

    with server.caller() as caller:
        caller.call(ONE_EVENT, PATIENCE)
        with monkeypatch.context() as patch:
            patch.setattr(Channel, step, broken_off)
            with pytest.raises(Raised):
                caller.next_event(PATIENCE) if step == "take_events" else caller.call(request(ECHO, b"first"), PATIENCE)
        with pytest.raises(LibraryError):
            caller.call(request(ECHO, b"second"), PATIENCE)


def test_a_refused_request_is_no_broken_exchange(server: ServerProcess) -> None:
    with server.caller() as caller:
        with pytest.raises(TooBig):
            caller.send(bytes(2000000))
        assert caller.call(request(ECHO, b"x"), PATIENCE) == response(ECHO, body=b"x")


def test_events_end_when_another_thread_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        def event(self, message: bytes) -> bytes:
            return message

    with running_server() as server:
        monkeypatch.setattr(coroipc.library, "BlockingCaller", lambda service, **options: server.caller())
        connection: BlockingLibrary[bytes] = BlockingLibrary("tst", Session())
        reader, results = _in_a_thread(lambda: list(connection.events(None)))
        connection.close()
        reader.join(PATIENCE)
        assert results == [[]]
