"""The client classes over a daemon that is a script: tables of calls, errors, events, closing."""

from __future__ import annotations

import asyncio
import inspect
from types import ModuleType
from typing import Any

import pytest

import libcfg
import libcfg.calls
import libcfg.messages
import libcmap
import libcmap.calls
import libcmap.messages as cmap
import libcpg
import libcpg.calls
import libcpg.messages as cpg
import libquorum
import libquorum.calls
import libquorum.messages as quorum
import libvotequorum
import libvotequorum.calls
import libvotequorum.messages
from coroipc.errors import BadHandle, InvalidParameter, LibraryError, MessageError, NotExist, Status, TryAgain
from coroipc.layouts import status_response
from coroipc.library import AsyncLibrary, BlockingLibrary, Dispatch
from tests.unit.scripted_daemon import OK, Daemon, install


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    return install(monkeypatch)


LIBRARIES: list[tuple[ModuleType, ModuleType, type[Any], type[Any]]] = [
    (libcmap.calls, cmap, libcmap.Cmap, libcmap.AsyncCmap),
    (libcpg.calls, cpg, libcpg.Cpg, libcpg.AsyncCpg),
    (libquorum.calls, quorum, libquorum.Quorum, libquorum.AsyncQuorum),
    (libvotequorum.calls, libvotequorum.messages, libvotequorum.Votequorum, libvotequorum.AsyncVotequorum),
    (libcfg.calls, libcfg.messages, libcfg.Cfg, libcfg.AsyncCfg),
]
SAMPLES: dict[str, Any] = {"str": "name", "int": 1, "bool": True, "Plain": 1, "Group": b""}
BY_STEPS: dict[ModuleType, set[int]] = {
    cmap: {cmap.Request.GET, cmap.Request.TRACK_ADD, cmap.Request.TRACK_DELETE},
    cpg: {cpg.Request.JOIN, cpg.Request.LEAVE, cpg.Request.MCAST, cpg.Request.PARTIAL_MCAST, cpg.Request.FINALIZE}
    | {cpg.Request.ZERO_COPY_ALLOCATE, cpg.Request.ZERO_COPY_FREE, cpg.Request.ZERO_COPY_EXECUTE},
}
"""Requests that belong to a session's steps; the tests below see them sent."""


@pytest.mark.parametrize(("calls", "messages", "blocking", "asynchronous"), LIBRARIES, ids=lambda item: item.__name__)
class TestTables:
    def test_every_request_has_a_call_or_steps(
        self, calls: ModuleType, messages: ModuleType, blocking: type[Any], asynchronous: type[Any]
    ) -> None:
        offered = {row.request_id for row in calls.CALLS}
        assert set(messages.Request) - offered == BY_STEPS.get(messages, set())

    def test_an_encoder_writes_the_request_that_its_row_names(
        self, calls: ModuleType, messages: ModuleType, blocking: type[Any], asynchronous: type[Any]
    ) -> None:
        for row in calls.CALLS:
            parameters = inspect.signature(row.encode).parameters.values()
            arguments = [SAMPLES[each.annotation] for each in parameters if each.default is each.empty]
            request = row.encode(*arguments)
            assert int.from_bytes(request[:4], "little") == row.request_id, row.name
            assert int.from_bytes(request[8:12], "little") == len(request), row.name

    def test_both_classes_offer_the_same_and_every_method_names_its_c_function(
        self, calls: ModuleType, messages: ModuleType, blocking: type[Any], asynchronous: type[Any]
    ) -> None:
        def own(cls: type[Any]) -> dict[str, Any]:
            return {name: item for name, item in vars(cls).items() if not name.startswith("_")}

        assert own(blocking).keys() == own(asynchronous).keys()
        for cls in (blocking, asynchronous):
            for name, item in own(cls).items():
                assert "C: " in item.__doc__ or isinstance(item, property), name
        for name, item in own(blocking).items():
            if callable(item):
                assert "Raises" in item.__doc__, name
                assert item.__doc__ == own(asynchronous)[name].__doc__
                assert list(inspect.signature(item).parameters) == list(inspect.signature(own(asynchronous)[name]).parameters)


def test_a_method_shows_the_arguments_of_its_declaration() -> None:
    assert str(inspect.signature(libcmap.Cmap.delete)) == "(self, /, key: 'str') -> 'None'"
    assert str(inspect.signature(libcpg.AsyncCpg.join)) == "(self, group: 'Group')"


def test_an_error_status_becomes_its_exception_and_says_what_was_asked(daemon: Daemon) -> None:
    daemon.answer = lambda request: status_response(1, Status.NOT_EXIST)
    with libcmap.Cmap() as library, pytest.raises(NotExist, match=r"cmap_delete\('some\.key'\)"):
        library.delete("some.key")


def test_the_generic_error_can_come_instead_of_any_response(daemon: Daemon) -> None:
    daemon.answer = lambda request: status_response(0, Status.TRY_AGAIN)
    with libcfg.Cfg() as library, pytest.raises(TryAgain):
        library.ring_status()


@pytest.mark.parametrize("length", [0, 8, 23, 24, 31])
def test_a_response_shorter_than_its_layout_is_an_error_of_the_library(daemon: Daemon, length: int) -> None:
    daemon.answer = lambda request: cpg.LocalResponse(7).encode()[:length]
    with libcpg.Cpg() as library, pytest.raises((MessageError, LibraryError)):
        library.local_nodeid()


def test_a_closed_connection_is_a_bad_handle(daemon: Daemon) -> None:
    library = libcfg.Cfg()
    assert library.fileno() == 42
    library.close()
    library.close()
    assert daemon.closed == 1
    for use in (library.local_nodeid, library.fileno, library.next_event):
        with pytest.raises(BadHandle):
            use()


def test_a_refused_opening_closes_the_connection(daemon: Daemon) -> None:
    daemon.answer = lambda request: status_response(10, Status.NOT_EXIST)
    with pytest.raises(NotExist):
        libcmap.Cmap(7)
    assert daemon.closed == 1


def test_the_model_decides_how_a_quorum_connection_opens(daemon: Daemon) -> None:
    daemon.answer = lambda request: quorum.GettypeResponse(1).encode()
    assert libquorum.Quorum().provider == libquorum.Provider.SET
    assert libquorum.Quorum(libquorum.Model.V0).provider == libquorum.Provider.SET
    assert daemon.ids() == [4, 3]


def test_dispatch_modes_take_one_all_or_go_on_until_close(daemon: Daemon) -> None:
    library = libcfg.Cfg()
    event = libcfg.ShutdownRequested(1)
    seen: list[libcfg.ShutdownRequested] = []
    with pytest.raises(TryAgain):
        library.dispatch(seen.append, Dispatch.ONE_NONBLOCKING)
    daemon.events += [event.encode()] * 6
    assert library.dispatch(seen.append, Dispatch.ONE) == 1
    assert library.dispatch(seen.append, Dispatch.ONE_NONBLOCKING) == 1
    assert library.dispatch(seen.append) == 4
    assert library.dispatch(seen.append) == 0
    assert seen == [event] * 6
    daemon.events += [event.encode()] * 2
    assert library.dispatch(lambda _: library.close(), Dispatch.BLOCKING) == 1
    with pytest.raises(InvalidParameter):
        library.dispatch(seen.append, 5)


def test_an_unknown_event_is_an_error(daemon: Daemon) -> None:
    daemon.events.append(status_response(99))
    with pytest.raises(MessageError, match="99"):
        libcfg.Cfg().next_event()


def test_a_lost_daemon_ends_the_events_with_an_error(daemon: Daemon) -> None:
    with pytest.raises(LibraryError):
        next(libcfg.Cfg().events())


def test_the_asyncio_classes_do_the_same(daemon: Daemon) -> None:
    def answer(request: bytes) -> bytes:
        return cpg.LocalResponse(7).encode() if request[0] == cpg.Request.LOCAL_GET else OK

    async def program() -> None:
        async with libcpg.AsyncCpg() as library:
            assert await library.local_nodeid() == 7
            await library.join("group")
            await library.mcast(b"x" * (cpg.ATOMIC_MESSAGE_LIMIT + 1))
            await library.mcast(b"short")
            daemon.events.append(cpg.Deliver(b"group", 1, 2, b"hello").encode())
            async for event in library:
                assert isinstance(event, cpg.Deliver)
                assert event.data == b"hello"
                break
            assert [event async for event in library.events(0)] == []
        with pytest.raises(BadHandle):
            await library.local_nodeid()

    daemon.answer = answer
    asyncio.run(program())
    assert (daemon.ids(), daemon.closed) == ([4, 0, 12, 12, 2, 8], 1)


def test_an_asyncio_connection_is_closed_when_its_opening_is_refused(daemon: Daemon) -> None:
    daemon.answer = lambda request: status_response(5, Status.INVALID_PARAM)

    async def program() -> None:
        with pytest.raises(InvalidParameter):
            await libquorum.AsyncQuorum(9).connect()

    asyncio.run(program())
    assert daemon.closed == 1


def test_the_base_classes_are_what_the_libraries_share() -> None:
    for _, _, blocking, asynchronous in LIBRARIES:
        assert issubclass(blocking, BlockingLibrary)
        assert issubclass(asynchronous, AsyncLibrary)
