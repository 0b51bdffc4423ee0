"""An engine in a process of its own, driven over a real link by a scripted executive and used by real client connections."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coroipc import messages
from coroipc.caller import BlockingCaller
from coroipc.errors import LibraryError, Status, TryAgain
from coroipc.ringbuffer import SEMAPHORE_OFFSET
from coroipc.server import files
from corosyncd.daemon.fork_server import EXIT_ENGINE_FAILED, Exited, ForkServer, Spawned
from corosyncd.engines.engine import MulticastClass
from corosyncd.keyspace.values import NO_VALUE, uint8
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import RingId
from tests.unit.scripted_executive import (
    DIE,
    ECHO,
    EVENTS,
    FAIL,
    LIMIT_SECONDS,
    MULTICAST,
    TIMER,
    Executive,
    leftovers,
    reports,
    running_fork_server,
)


@pytest.fixture(scope="module")
def fork_server() -> Iterator[ForkServer]:
    with running_fork_server() as server:
        yield server


@pytest.fixture
def executive(fork_server: ForkServer) -> Iterator[Executive]:
    executive = Executive(fork_server)
    spawned = reports(fork_server, 1)[0]
    assert isinstance(spawned, Spawned)
    try:
        yield executive
    finally:
        executive.close()
        exited = reports(fork_server, 1)[0]
        assert isinstance(exited, Exited)
        if exited.status >= 0:
            assert not leftovers(spawned.pid)


def echo(client: BlockingCaller, body: bytes = b"hello") -> None:
    assert client.call_raw(messages.request(ECHO, body), LIMIT_SECONDS)[24:] == body


def status_of(client: BlockingCaller, request: int) -> tuple[int, int]:
    """Id and status of a response."""
    response = client.call_raw(messages.request(request), LIMIT_SECONDS)
    return struct.unpack_from("=i", response)[0], messages.status_of(response)


def test_it_introduces_itself_takes_its_keys_and_is_ready(executive: Executive) -> None:
    fields = executive.expect(ToExecutive.HELLO)[1][1]
    assert (fields["name"], fields["service_id"], fields["requests"]) == ("toy", 9, 6)
    executive.say([ToEngine.KEYS, 0, [[4, "toy.a", *uint8(1), *NO_VALUE]]])
    executive.expect(ToExecutive.READY)
    assert executive.lines() == [("info", "started with 1 keys")]


def test_programs_are_told_to_try_again_until_the_first_round_is_complete(executive: Executive) -> None:
    executive.start()
    with pytest.raises(TryAgain):
        executive.connect()
    executive.say([ToEngine.CONFIGURATION, [], [1]], [ToEngine.SYNC_COMPLETE])
    executive.expect(ToExecutive.GATE_OPENED)
    with executive.connect() as client:
        echo(client)


def test_a_sync_round_over_the_link_has_its_words_in_order(executive: Executive) -> None:
    executive.serve()
    executive.end.outbox.ring_id = RingId(1, 8)
    executive.say([ToEngine.CONFIGURATION, [1], [1]], [ToEngine.SYNC_STEP], [ToEngine.SYNC_ACTIVATE], [ToEngine.SYNC_COMPLETE])
    executive.expect(ToExecutive.GATE_OPENED)
    said = [(ring_id, entry[0]) for ring_id, entry, _ in executive.heard]
    words = (ToExecutive.GATE_CLOSED, ToExecutive.MULTICAST, ToExecutive.SYNC_STEP_DONE, ToExecutive.SYNC_ACTIVATED)
    assert said == [(RingId(1, 8), kind) for kind in words]
    assert executive.heard[1][1][1] == MulticastClass.SYNC


def test_requests_are_answered_and_multicasts_reach_the_executive_in_order(executive: Executive) -> None:
    executive.serve()
    with executive.connect() as client:
        for number in range(200):
            client.send(messages.request(MULTICAST, number.to_bytes(4, "little")))
        echo(client)
        assert executive.multicasts(200) == [number.to_bytes(4, "little") for number in range(200)]


def test_deliveries_become_events_of_every_client_before_they_are_confirmed(executive: Executive) -> None:
    executive.serve()
    with executive.connect() as first, executive.connect() as second:
        echo(first)
        echo(second)
        executive.deliver(*[b"message %d" % number for number in range(300)])
        assert executive.expect(ToExecutive.CONSUMED)[1][1] == sum(16 + len(b"message %d" % n) for n in range(300))
        for client in (first, second):
            events: list[bytes] = []
            while len(events) < 300:
                # They are in the ring already: no waiting.
                event = client.next_event(0)
                assert event is not None
                events.append(event[24:])
            assert events == [b"message %d" % number for number in range(300)]


def test_events_sent_before_an_answer_are_there_when_the_answer_is(executive: Executive) -> None:
    executive.serve()
    with executive.connect() as client:
        client.call_raw(messages.request(EVENTS, (3).to_bytes(4, "little")), LIMIT_SECONDS)
        assert [client.next_event(0) is not None for _ in range(4)] == [True, True, True, False]


def test_a_timer_expires_in_the_engine(executive: Executive) -> None:
    executive.serve()
    with executive.connect() as client:
        assert status_of(client, TIMER) == (TIMER, Status.OK)


def test_an_unknown_request_is_an_invalid_parameter_and_a_refused_one_tries_again(executive: Executive) -> None:
    executive.serve(credit=0)
    with executive.connect() as client:
        assert status_of(client, 6) == (0, Status.INVALID_PARAM)
        assert [status_of(client, TIMER) for _ in range(2)] == [(0, Status.TRY_AGAIN)] * 2
        executive.say([ToEngine.STATISTICS_REQUEST, 1])
        values = executive.expect(ToExecutive.STATISTICS)[1][2]
        counters = {name.rpartition(".")[2]: int.from_bytes(data, "little") for name, (_, data) in values.items()}
        assert (counters["invalid_request"], counters["overload"]) == (1, 2)


def test_while_synchronising_nothing_is_read_and_multicasts_are_refused_by_the_library(executive: Executive) -> None:
    executive.serve()
    with executive.connect() as client:
        echo(client)
        executive.say([ToEngine.CONFIGURATION, [1, 2], [1, 2]])
        executive.expect(ToExecutive.GATE_CLOSED)
        with pytest.raises(TryAgain):
            client.send(messages.request(MULTICAST, b"m"))
        # An ordinary request may still be queued, and waits for the end of the round.
        client.send(messages.request(ECHO, b"queued"), flow_limit=1)
        executive.say([ToEngine.KEYS, 78, []])
        executive.expect(ToExecutive.KEYS_CONFIRM)
        executive.complete()
        assert client.call_raw(messages.request(ECHO, b"later"), LIMIT_SECONDS)[24:] == b"queued"


def test_a_multicast_without_room_waits_in_the_engine_and_goes_when_there_is_room(executive: Executive) -> None:
    executive.serve(credit=300_000)
    with executive.connect() as client:
        big = bytes(250_000)
        client.send(messages.request(MULTICAST, big))
        assert executive.multicasts(1) == [big]
        sent = 0
        try:
            while sent < 4:
                client.send(messages.request(MULTICAST, big), flow_limit=1)
                sent += 1
        except TryAgain:
            pass
        executive.say([ToEngine.STATISTICS_REQUEST, 1])
        values = executive.expect(ToExecutive.STATISTICS)[1][2]
        assert [value for name, value in values.items() if name.endswith(".flow_control")] == [[6, (2).to_bytes(4, "little")]]
        for _ in range(sent):
            assert not [entry for _, entry, _ in executive.heard if entry[0] == ToExecutive.MULTICAST]
            executive.say([ToEngine.CREDIT, 250_016])
            assert executive.multicasts(1) == [big]
        executive.say([ToEngine.CREDIT, 250_016])
        echo(client)


def test_a_handler_that_fails_costs_one_client_its_connection_and_no_other(executive: Executive) -> None:
    executive.serve()
    with executive.connect() as good, executive.connect() as bad:
        echo(bad)
        with pytest.raises(LibraryError):
            bad.call_raw(messages.request(FAIL), LIMIT_SECONDS)
        assert executive.multicasts(1) == [b"left"]
        echo(good)
        assert any("RuntimeError: a bug in a handler" in line for _, line in executive.lines())


def test_a_client_that_goes_is_told_to_the_cluster_after_its_last_requests(executive: Executive) -> None:
    executive.serve()
    client = executive.connect()
    echo(client)
    for number in range(20):
        client.send(messages.request(MULTICAST, b"%d" % number))
    client.close()
    assert executive.multicasts(21) == [*[b"%d" % number for number in range(20)], b"left"]


def test_counters_are_those_of_the_stats_map(executive: Executive) -> None:
    executive.serve()
    with executive.connect() as client:
        echo(client)
        executive.say([ToEngine.STATISTICS_REQUEST, 5])
        _, entry, _ = executive.expect(ToExecutive.STATISTICS)
        assert entry[1] == 5
        prefix = f"stats.ipcs.service9.{os.getpid()}.0x"
        mine = {name.rsplit(".", 1)[1]: value for name, value in entry[2].items() if name.startswith(prefix)}
        assert mine["requests"] == [8, (1).to_bytes(8, "little")]
        assert mine["queueing"] == [5, bytes(4)]
        assert mine["procname"][0] == 11
        assert entry[2]["stats.ipcs.toy\0closed"] == [8, bytes(8)]


def test_stop_closes_the_clients_and_says_its_last_words_in_order(executive: Executive) -> None:
    executive.serve()
    with executive.connect() as client:
        echo(client)
        executive.say([ToEngine.STOP])
        executive.expect(ToExecutive.STOPPED)
        assert executive.multicasts(2) == [b"left", b"last words"]
        with pytest.raises(LibraryError):
            client.call_raw(messages.request(ECHO), LIMIT_SECONDS)


def test_an_engine_that_fails_while_applying_ends_and_its_log_says_why(executive: Executive) -> None:
    executive.serve()
    executive.deliver(b"a bug")
    lines = executive.wait_for_end()
    assert [level for level, _ in lines][-1] == "crit"
    assert "LookupError: a bug in applying" in lines[-1][1]


def test_a_killed_engine_is_noticed_at_once_and_its_clients_get_a_library_error(executive: Executive) -> None:
    executive.serve()
    with executive.connect() as client:
        echo(client)
        with pytest.raises(LibraryError):
            client.call_raw(messages.request(DIE), LIMIT_SECONDS)
        executive.wait_for_end()


def truncate(file: Path) -> None:
    os.truncate(file, 0)


def spoil_semaphore(file: Path) -> None:
    """Its waiters and its kind (sem_t of glibc): who posts asks the kernel for what it does not know."""
    if file.name.endswith("-header"):
        with file.open("r+b") as header:
            header.seek(SEMAPHORE_OFFSET + 4)
            header.write(struct.pack("=II", 1, 0x7F))


class Saboteur:
    """A process that attaches, cuts or spoils the files that it shares with the engine when told to, and touches them no more."""

    def __init__(self, executive: Executive) -> None:
        ours, theirs = socket.socketpair()
        self.control = ours
        self.pid = os.fork()
        if self.pid == 0:
            try:
                ours.close()
                caller = executive.connect()
                echo(caller)
                theirs.send(b"attached")
                harm = truncate if theirs.recv(3) == b"cut" else spoil_semaphore
                for folder in Path("/dev/shm").glob(f"qb-*-{os.getpid()}-*"):
                    for file in folder.iterdir():
                        harm(file)
                theirs.send(b"done")
                if theirs.recv(1):
                    os.write(caller.fileno(), b"!")  # Says that there is a request.
                    theirs.recv(1)
            finally:
                os._exit(0)
        theirs.close()
        assert self.control.recv(8) == b"attached"

    def harm(self, how: bytes) -> None:
        self.control.send(how)
        assert self.control.recv(4) == b"done"

    def end(self) -> None:
        self.control.close()
        os.waitpid(self.pid, 0)


TOUCHES: dict[str, Callable[[Executive, Saboteur], object]] = {
    "a request": lambda executive, saboteur: saboteur.control.send(b"1"),
    "an event": lambda executive, saboteur: executive.deliver(b"event"),
    "the flow-control word": lambda executive, saboteur: executive.say([ToEngine.CONFIGURATION, [], [1]]),
    "the statistics": lambda executive, saboteur: executive.say([ToEngine.STATISTICS_REQUEST, 1]),
    "its end": lambda executive, saboteur: os.kill(saboteur.pid, signal.SIGKILL),
    "the engine's end": lambda executive, saboteur: executive.say([ToEngine.STOP]),
}


def check_who_was_noted(fork_server: ForkServer, strike: Callable[[Executive, Saboteur], object], number: signal.Signals) -> None:
    """An engine that ends by the signal, once ``strike`` has used what a saboteur shares with it, has noted the saboteur."""
    executive = Executive(fork_server)
    (spawned,) = reports(fork_server, 1)
    assert isinstance(spawned, Spawned)
    try:
        executive.serve()
        saboteur = Saboteur(executive)
        try:
            strike(executive, saboteur)
        finally:
            saboteur.end()
        assert reports(fork_server, 1) == [Exited("toy", spawned.pid, -number)]
        assert executive.end.noted == (saboteur.pid, os.getuid())
    finally:
        executive.close()
        files.sweep(lambda pid: pid == spawned.pid)


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_a_program_that_cuts_its_files_kills_the_engine_and_is_the_one_that_was_noted(
    fork_server: ForkServer, touch: Callable[[Executive, Saboteur], object]
) -> None:
    def strike(executive: Executive, saboteur: Saboteur) -> None:
        with executive.connect() as bystander:
            echo(bystander)  # The engine has finished with the saboteur's request by then,
            saboteur.harm(b"cut")
            echo(bystander)  # and used somebody else's memory last.
            touch(executive, saboteur)
            executive.wait_for_end()

    check_who_was_noted(fork_server, strike, signal.SIGBUS)


def test_a_program_that_spoils_its_semaphores_kills_the_engine_and_is_the_one_that_was_noted(fork_server: ForkServer) -> None:
    def strike(executive: Executive, saboteur: Saboteur) -> None:
        saboteur.harm(b"bad")
        executive.deliver(b"event")
        executive.wait_for_end()

    check_who_was_noted(fork_server, strike, signal.SIGABRT)


def test_over_system_v_memory_it_is_the_same(fork_server: ForkServer) -> None:
    executive = Executive(fork_server, kind="sysv")
    try:
        executive.serve()
        with executive.connect() as client:
            client.send(messages.request(MULTICAST, b"m"))
            assert executive.multicasts(1) == [b"m"]
    finally:
        executive.close()
        assert [type(report) for report in reports(fork_server, 2)] == [Spawned, Exited]


def test_an_engine_that_cannot_be_loaded_says_why_and_ends(fork_server: ForkServer) -> None:
    executive = Executive(fork_server, engine="no.such.module:Engine")
    try:
        lines = executive.wait_for_end()
        assert "ModuleNotFoundError" in lines[0][1]
        exited = reports(fork_server, 2)[1]
        assert isinstance(exited, Exited)
        assert exited.status == EXIT_ENGINE_FAILED
    finally:
        executive.close()


def test_an_engine_whose_start_was_given_up_ends_without_a_complaint(fork_server: ForkServer) -> None:
    os.kill(fork_server.pid, signal.SIGSTOP)
    executive = Executive(fork_server)
    executive.end.close()
    os.kill(fork_server.pid, signal.SIGCONT)
    spawned, exited = reports(fork_server, 2)
    assert isinstance(spawned, Spawned)
    assert exited == Exited("toy", spawned.pid, 0)
    assert executive.lines() == []
    executive.close()
