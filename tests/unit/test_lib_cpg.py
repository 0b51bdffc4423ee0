"""libcpg's operations of several requests, and its putting together of fragments, over a daemon that is a script."""

from __future__ import annotations

import asyncio
import os
from collections import deque

import pytest

import libcpg
import libcpg.messages as cpg
import libcpg.session
from coroipc.errors import Busy, Interrupted, InvalidParameter, LibraryError, NameTooLong, NoSections, Status, TryAgain
from coroipc.layouts import status_response
from coroipc.library import Ask
from libcpg.assembly import Assembly
from tests.unit.scripted_daemon import OK, Daemon, install


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    return install(monkeypatch)


def test_join_and_leave_are_repeated_while_busy(daemon: Daemon) -> None:
    answers = deque([Status.BUSY, Status.BUSY, Status.OK, Status.BUSY, Status.OK])
    daemon.answer = lambda request: status_response(0, answers.popleft() if answers else Status.OK)
    library = libcpg.Cpg(initial_totem_configuration=True)
    library.join("group")
    library.leave(b"group")
    assert daemon.ids() == [0, 0, 0, 1, 1]
    assert cpg.JoinRequest.decode(daemon.requests[0]) == cpg.JoinRequest(b"group", os.getpid(), 1)
    assert len(daemon.pauses) == 3


def test_busy_for_too_long_is_raised(daemon: Daemon) -> None:
    daemon.answer = lambda request: status_response(0, Status.BUSY)
    with pytest.raises(Busy):
        libcpg.Cpg().join("group")
    assert len(daemon.requests) == libcpg.session.BUSY_RETRIES


def test_try_again_of_a_join_is_the_callers_affair(daemon: Daemon) -> None:
    daemon.answer = lambda request: status_response(0, Status.TRY_AGAIN)
    with pytest.raises(TryAgain):
        libcpg.Cpg().join("group")
    assert (len(daemon.requests), daemon.pauses) == (1, [])


def test_a_long_group_name_is_refused_before_anything_is_sent(daemon: Daemon) -> None:
    library = libcpg.Cpg()
    for call in (library.join, library.leave, library.membership):
        with pytest.raises(NameTooLong):
            call("g" * 129)
    with pytest.raises(InvalidParameter):
        next(library.iterate(""))
    assert daemon.requests == []


def test_a_message_up_to_the_limit_is_one_request_that_stops_at_either_flow_control_value(daemon: Daemon) -> None:
    library = libcpg.Cpg()
    library.mcast([b"a" * 1000000, bytearray(b"b" * 47552)])
    library.mcast(b"")
    assert (daemon.ids(), daemon.limits) == ([2, 2], [2, 2])
    assert len(cpg.McastRequest.decode(daemon.requests[0]).data) == cpg.ATOMIC_MESSAGE_LIMIT


def test_a_longer_message_goes_in_fragments_that_span_no_two_pieces(daemon: Daemon) -> None:
    libcpg.Cpg().mcast([b"a" * (cpg.ATOMIC_MESSAGE_LIMIT + 5), b"", memoryview(b"b" * 7)])
    parts = [cpg.PartialMcastRequest.decode(request) for request in daemon.requests]
    assert [(part.fragment, len(part.data), part.data[:1]) for part in parts] == [
        (cpg.Fragment.FIRST, cpg.ATOMIC_MESSAGE_LIMIT, b"a"),
        (cpg.Fragment.CONTINUED, 5, b"a"),
        (cpg.Fragment.LAST, 7, b"b"),
    ]
    assert {part.total for part in parts} == {cpg.ATOMIC_MESSAGE_LIMIT + 12}
    assert set(daemon.limits) == {2}


def test_the_fragments_of_two_messages_of_one_connection_do_not_mix() -> None:
    session = libcpg.session.Session()
    messages = [bytes([letter]) * (2 * cpg.ATOMIC_MESSAGE_LIMIT) for letter in b"ab"]
    steps = [session.mcast(message) for message in messages]
    taken = [next(each) for each in steps]
    assembly = Assembly()
    arrived: list[cpg.Deliver | None] = []
    while steps:
        for each, step in zip(list(steps), list(taken), strict=True):
            if isinstance(step, Ask):
                part = cpg.PartialMcastRequest.decode(step.request)
                arrived.append(assembly.add(cpg.PartialDeliver(b"g", 1, 7, part.total, part.fragment, part.data)))
            try:
                taken[steps.index(each)] = each.send(OK)
            except StopIteration:
                del taken[steps.index(each)]
                steps.remove(each)
    assert [event.data for event in arrived if event is not None] == messages


def test_a_message_that_was_given_up_does_not_hold_up_the_next(daemon: Daemon) -> None:
    async def scenario() -> None:
        library = libcpg.AsyncCpg()
        await library.connect()
        daemon.answer = _give_up
        with pytest.raises(asyncio.CancelledError) as given_up:
            await library.mcast(bytes(cpg.ATOMIC_MESSAGE_LIMIT + 1))
        assert given_up.tb is not None  # It still has the frames that were passed.
        assert not library._session._fragmenting.locked()

    asyncio.run(scenario())


def _give_up(request: bytes) -> bytes:
    raise asyncio.CancelledError


def test_a_fragment_without_room_is_repeated_also_when_flow_control_refuses_it(daemon: Daemon) -> None:
    refusals = deque([True, True, False, False])

    def answer(request: bytes) -> bytes:
        if refusals and refusals.popleft():
            if len(refusals) == 3:
                raise TryAgain("flow control")
            return status_response(18, Status.TRY_AGAIN)
        return status_response(18)

    daemon.answer = answer
    libcpg.Cpg().mcast(b"x" * (cpg.ATOMIC_MESSAGE_LIMIT + 1))
    kinds = [cpg.PartialMcastRequest.decode(request).fragment for request in daemon.requests]
    assert kinds == [cpg.Fragment.FIRST] * 3 + [cpg.Fragment.LAST]
    assert daemon.pauses == [libcpg.session.RETRY_SECONDS] * 2


def test_no_room_for_too_long_is_raised(daemon: Daemon) -> None:
    daemon.answer = lambda request: status_response(18, Status.TRY_AGAIN)
    with pytest.raises(TryAgain):
        libcpg.Cpg().mcast(b"x" * (cpg.ATOMIC_MESSAGE_LIMIT + 1))
    assert len(daemon.pauses) == libcpg.session.NO_ROOM_RETRIES


def test_a_membership_change_between_fragments_is_raised_at_once(daemon: Daemon) -> None:
    answers = deque([Status.OK, Status.INTERRUPT])
    daemon.answer = lambda request: status_response(18, answers.popleft())
    with pytest.raises(Interrupted):
        libcpg.Cpg().mcast(b"x" * (3 * cpg.ATOMIC_MESSAGE_LIMIT))
    assert len(daemon.requests) == 2


def test_an_unknown_guarantee_is_refused(daemon: Daemon) -> None:
    with pytest.raises(InvalidParameter):
        libcpg.Cpg().mcast(b"x", 4)


def test_closing_finalizes_so_that_multicasts_are_not_lost(daemon: Daemon) -> None:
    library = libcpg.Cpg()
    library.mcast(b"last words")
    library.close()
    library.close()
    assert (daemon.ids(), daemon.closed) == ([2, 8], 1)


def test_closing_succeeds_when_the_daemon_has_gone(daemon: Daemon) -> None:
    def gone(request: bytes) -> bytes:
        raise LibraryError()

    library = libcpg.Cpg()
    daemon.answer = gone
    library.close()
    assert daemon.closed == 1


def partial(kind: int, data: bytes, total: int, pid: int = 7) -> bytes:
    return cpg.PartialDeliver(b"g", 1, pid, total, kind, data).encode()


def delivered(library: libcpg.Cpg) -> list[bytes]:
    return [event.data for event in library.events(0) if isinstance(event, cpg.Deliver)]


def test_fragments_of_several_senders_are_put_together_apart(daemon: Daemon) -> None:
    first, middle, last = cpg.Fragment
    daemon.events += [
        partial(first, b"ab", 6, pid=1),
        partial(first, b"xy", 4, pid=2),
        partial(middle, b"cd", 6, pid=1),
        partial(last, b"zz", 4, pid=2),
        partial(last, b"ef", 6, pid=1),
    ]
    assert delivered(libcpg.Cpg()) == [b"xyzz", b"abcdef"]


def test_a_new_beginning_discards_what_was_begun(daemon: Daemon) -> None:
    first, middle, last = cpg.Fragment
    daemon.events += [partial(middle, b"??", 4), partial(first, b"ab", 4), partial(first, b"xy", 4), partial(last, b"zz", 4)]
    assert delivered(libcpg.Cpg()) == [b"xyzz"]


def test_the_leave_of_a_sender_discards_what_it_began(daemon: Daemon) -> None:
    first, _, last = cpg.Fragment
    gone = cpg.ConfigurationChange(b"g", (), (cpg.Address(1, 7, cpg.Reason.PROCESS_DOWN),), ())
    daemon.events += [partial(first, b"ab", 4), gone.encode(), partial(last, b"cd", 4)]
    assert delivered(libcpg.Cpg()) == []


@pytest.mark.parametrize(("total", "size"), [(3, 2), (9, 2), (4, 3)])
def test_a_message_that_breaks_its_announcement_is_dropped_and_counted(daemon: Daemon, total: int, size: int) -> None:
    first, _, last = cpg.Fragment
    daemon.events += [partial(first, b"ab", total), partial(last, b"c" * size, total)]
    library = libcpg.Cpg()
    assert (delivered(library), library.dropped_messages) == ([], 1)


def test_a_message_past_the_limit_is_dropped_and_counted(daemon: Daemon) -> None:
    first, middle, last = cpg.Fragment
    daemon.events += [partial(first, b"ab", 8), partial(middle, b"cde", 8), partial(last, b"fgh", 8)]
    library = libcpg.Cpg(assembly_limit=4)
    assert (delivered(library), library.dropped_messages) == ([], 1)


def test_an_iteration_is_freed_at_its_end_and_when_it_is_left_early(daemon: Daemon) -> None:
    entries = deque([b"one", b"two"])

    def answer(request: bytes) -> bytes:
        match request[0]:
            case cpg.Request.ITERATION_INITIALIZE:
                return cpg.IterationResponse(99).encode()
            case cpg.Request.ITERATION_NEXT if entries:
                return cpg.IterationNextResponse(entries.popleft(), 1, 2).encode()
            case cpg.Request.ITERATION_NEXT:
                return cpg.IterationNextResponse().encode(Status.NO_SECTIONS)
        return OK

    daemon.answer = answer
    library = libcpg.Cpg()
    assert [entry.group for entry in library.iterate()] == [b"one", b"two"]
    assert daemon.ids() == [5, 6, 6, 6, 7]
    entries.append(b"three")
    for entry in library.iterate():
        assert entry.group == b"three"
        break
    assert daemon.ids()[5:] == [5, 6, 7]
    with pytest.raises(NoSections):
        library.iteration_next(99)
