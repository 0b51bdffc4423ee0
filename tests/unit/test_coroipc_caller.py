"""Both callers against a server in a process of its own."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import struct
import threading
from collections.abc import Iterator

import pytest

from coroipc.errors import BadHandle, LibraryError, NotExist, TimedOut, TooBig, TryAgain
from coroipc.messages import request, response, status_of
from tests.data.coroipc_process import PATIENCE, ServerProcess, running_server
from tests.data.coroipc_server import COUNT, ECHO, EVENTS, FAIL, FLOW, LATE, SILENCE


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server() as running:
        yield running


def _events(number: int, size: int = 64) -> bytes:
    return request(EVENTS, struct.pack("<II", number, size))


def _event(index: int, size: int = 64) -> bytes:
    return response(9, body=struct.pack("<I", index) * (size // 4))


def _late(milliseconds: int) -> bytes:
    return request(LATE, struct.pack("<I", milliseconds))


def test_a_call_returns_its_response(server: ServerProcess) -> None:
    with server.caller() as caller:
        for size in (0, 1, 5, 5000, 1048576 - 24):
            body = os.urandom(size)
            assert caller.call(request(ECHO, body), PATIENCE) == response(ECHO, body=body)


def test_a_status_becomes_its_error_and_call_raw_leaves_it(server: ServerProcess) -> None:
    with server.caller() as caller:
        with pytest.raises(NotExist):
            caller.call(request(FAIL), PATIENCE)
        assert status_of(caller.call_raw(request(FAIL), PATIENCE)) == 12
        with pytest.raises(TooBig):
            caller.call(request(ECHO, bytes(1048576)), PATIENCE)


def test_the_response_of_a_call_that_timed_out_is_not_taken_for_the_next_one(server: ServerProcess) -> None:
    with server.caller() as caller:
        with pytest.raises(TimedOut):
            caller.call(_late(50), 0.001)
        assert caller.call(request(ECHO, b"next"), PATIENCE) == response(ECHO, body=b"next")
        with pytest.raises(TimedOut):
            caller.call(request(SILENCE), 0.0)


def test_calls_of_several_threads_do_not_mix(server: ServerProcess) -> None:
    wrong = []

    def run(number: int) -> None:
        for index in range(100):
            body = b"%d-%d" % (number, index)
            if caller.call(request(ECHO, body), PATIENCE) != response(ECHO, body=body):
                wrong.append(body)

    with server.caller() as caller:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert wrong == []


def test_each_event_has_one_wake_up_byte(server: ServerProcess) -> None:
    with server.caller() as caller:
        caller.call(_events(5), PATIENCE)
        assert [caller.next_event(PATIENCE) for _ in range(3)] == [_event(index) for index in range(3)]
        assert select.select([caller.fileno()], [], [], 0)[0]
        assert caller.next_events(PATIENCE) == [_event(3), _event(4)]
        assert not select.select([caller.fileno()], [], [], 0)[0]
        assert caller.next_event(0.0) is None
        assert caller.next_event(0.001) is None


def test_more_events_than_the_ring_holds_arrive_in_order(server: ServerProcess) -> None:
    with server.caller() as caller:
        caller.call(_events(300, 20000), PATIENCE)
        for index in range(300):
            assert caller.next_event(PATIENCE) == _event(index, 20000)
        assert caller.next_event(0.0) is None


def test_flow_control_refuses_as_far_as_the_limit_says(server: ServerProcess) -> None:
    with server.caller() as caller:
        caller.call(request(FLOW, struct.pack("<I", 2)), PATIENCE)
        with pytest.raises(TryAgain):
            caller.send(request(COUNT))
        caller.send(request(COUNT), flow_limit=1)
        caller.call(request(ECHO), PATIENCE)
        with pytest.raises(TryAgain):
            caller.call_raw(request(ECHO), PATIENCE, flow_limit=2)
        caller.call(request(FLOW, struct.pack("<I", 1)), PATIENCE)
        with pytest.raises(TryAgain):
            caller.call(request(ECHO), PATIENCE)


def test_a_closed_caller_says_so(server: ServerProcess) -> None:
    caller = server.caller()
    caller.close()
    caller.close()
    with pytest.raises(BadHandle):
        caller.call(request(ECHO))
    with pytest.raises(BadHandle):
        caller.next_event(0.0)


def test_a_connection_takes_one_descriptor(server: ServerProcess) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with server.caller():
        assert len(os.listdir("/proc/self/fd")) == before + 1
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_killed_server_is_a_library_error_and_its_files_are_removed() -> None:
    with running_server() as server:
        caller = server.caller()
        idle = server.caller()
        caller.send(request(COUNT))
        killer = threading.Timer(0.05, os.kill, (server.pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(LibraryError):
            caller.call(request(SILENCE))
        killer.join()
        server.process.wait()
        with pytest.raises(LibraryError):
            caller.call(request(ECHO))
        with pytest.raises(LibraryError):
            idle.next_event(PATIENCE)
        assert len(server.ring_directories()) == 2
        caller.close()
        idle.close()
        assert server.ring_directories() == []


def test_events_before_an_orderly_end_are_still_delivered() -> None:
    with running_server() as server, server.caller() as caller:
        caller.call(_events(3), PATIENCE)
        assert server.stop() == {"what": "closed", "active": 0, "closed_count": 1}
        assert [caller.next_event(PATIENCE) for _ in range(3)] == [_event(index) for index in range(3)]
        with pytest.raises(LibraryError):
            caller.next_event(PATIENCE)
        with pytest.raises(LibraryError):
            caller.send(request(COUNT))


def test_asyncio_calls_and_events(server: ServerProcess) -> None:
    async def scenario() -> None:
        async with server.async_caller() as caller:
            bodies = [os.urandom(size) for size in (0, 7, 100000)]
            responses = await asyncio.gather(*(caller.call(request(ECHO, body)) for body in bodies))
            assert responses == [response(ECHO, body=body) for body in bodies]
            with pytest.raises(NotExist):
                await caller.call(request(FAIL))
            for _ in range(2):
                caller.send(request(COUNT))
            assert await caller.next_event(0.0) is None
            assert await caller.next_event(0.001) is None
            await caller.call(_events(200, 20000))
            received = 0
            async for event in caller:
                assert event == _event(received, 20000)
                received += 1
                if received == 200:
                    break

    asyncio.run(scenario())


def test_an_asyncio_event_wakes_its_waiter(server: ServerProcess) -> None:
    async def scenario() -> None:
        async with server.async_caller() as caller:
            waiter = asyncio.create_task(caller.next_event(PATIENCE))
            await caller.call(_events(1))
            assert await waiter == _event(0)

    asyncio.run(scenario())


def test_a_cancelled_asyncio_call_leaves_the_connection_usable(server: ServerProcess) -> None:
    async def scenario() -> None:
        async with server.async_caller() as caller:
            with pytest.raises(TimedOut):
                await caller.call(_late(20), timeout=0.002)
            task = asyncio.create_task(caller.call(_late(20)))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await caller.call(request(ECHO, b"x"), timeout=PATIENCE) == response(ECHO, body=b"x")

    asyncio.run(scenario())


def test_closing_ends_what_waits(server: ServerProcess) -> None:
    async def scenario() -> None:
        caller = server.async_caller()
        await caller.connect()
        with pytest.raises(BadHandle):
            await caller.connect()
        call = asyncio.create_task(caller.call(request(SILENCE)))
        event = asyncio.create_task(caller.next_event())
        await asyncio.sleep(0)
        await caller.aclose()
        await caller.aclose()
        with pytest.raises((LibraryError, BadHandle)):
            await call
        with pytest.raises(BadHandle):
            await event
        with pytest.raises(BadHandle):
            await caller.call(request(ECHO))

    asyncio.run(scenario())


def test_a_killed_server_ends_asyncio_calls_and_events() -> None:
    async def scenario(server: ServerProcess) -> None:
        caller = server.async_caller()
        await caller.connect()
        event = asyncio.create_task(caller.next_event())
        call = asyncio.create_task(caller.call(request(SILENCE)))
        await asyncio.sleep(0)
        server.kill()
        with pytest.raises(LibraryError):
            await event
        with pytest.raises(LibraryError):
            await call
        await caller.aclose()
        assert server.ring_directories() == []

    with running_server() as server:
        asyncio.run(scenario(server))


def test_asyncio_without_a_server_is_a_library_error() -> None:
    async def scenario(server: ServerProcess) -> None:
        caller = server.async_caller()
        with pytest.raises(LibraryError):
            await caller.connect(timeout=PATIENCE)
        await caller.aclose()

    with running_server() as server:
        server.stop()
        asyncio.run(scenario(server))
