"""The fork server makes engines quickly and small, reaps and reports them, and leaves nobody behind."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from coroipc import messages
from corosyncd.daemon.fork_server import Exited, ForkServer, PriorityRefused, Spawned
from corosyncd.link.vocabulary import ToExecutive
from tests.unit.scripted_executive import ECHO, LIMIT_SECONDS, Executive, leftovers, reports, running_fork_server

ENGINE_MEGABYTES = 25
"""What one engine's process may cost in memory of its own."""


@pytest.fixture
def fork_server() -> Iterator[ForkServer]:
    with running_fork_server() as server:
        yield server


def spawned(fork_server: ForkServer) -> int:
    report = reports(fork_server, 1)[0]
    assert isinstance(report, Spawned)
    return report.pid


def wait_for_death(descriptor: int) -> None:
    """Of the process of a process descriptor, which is closed."""
    assert select.select([descriptor], [], [], LIMIT_SECONDS)[0], "the process lives on"
    os.close(descriptor)


def test_an_engine_ends_with_its_link_and_its_end_is_reported(fork_server: ForkServer) -> None:
    executive = Executive(fork_server)
    pid = spawned(fork_server)
    executive.start()
    executive.close()
    assert reports(fork_server, 1) == [Exited("toy", pid, 0)]
    assert leftovers(pid) == []


def test_a_killed_engine_is_reported_with_its_signal(fork_server: ForkServer) -> None:
    executive = Executive(fork_server)
    pid = spawned(fork_server)
    executive.start()
    os.kill(pid, signal.SIGKILL)
    assert reports(fork_server, 1) == [Exited("toy", pid, -signal.SIGKILL)]
    executive.close()


def test_engines_have_a_title_and_ignore_the_signals_that_are_the_executives(fork_server: ForkServer) -> None:
    executive = Executive(fork_server)
    pid = spawned(fork_server)
    executive.start()
    assert Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ") == b"corosyncd: toy"
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        os.kill(pid, number)
        os.kill(fork_server.pid, number)
    executive.complete()
    executive.close()
    assert reports(fork_server, 1) == [Exited("toy", pid, 0)]


def test_the_fork_server_takes_its_engines_with_it(fork_server: ForkServer) -> None:
    executives = [Executive(fork_server) for _ in range(3)]
    engines = [os.pidfd_open(report.pid) for report in reports(fork_server, 3) if isinstance(report, Spawned)]
    for executive in executives:
        executive.expect(ToExecutive.HELLO)
    assert fork_server.close() == 0
    for descriptor in engines:
        wait_for_death(descriptor)
    for executive in executives:
        executive.close()


def test_reports_that_nobody_read_do_not_keep_the_fork_server_from_ending_in_order(fork_server: ForkServer) -> None:
    executive = Executive(fork_server)
    executive.start()
    assert fork_server.close() == 0
    executive.close()


def test_engines_die_with_a_killed_fork_server() -> None:
    server = ForkServer.start([])
    try:
        executive = Executive(server)
        descriptor = os.pidfd_open(spawned(server))
        executive.start()
        os.kill(server.pid, signal.SIGKILL)
        wait_for_death(descriptor)
        assert select.select([server], [], [], LIMIT_SECONDS)[0]
        server.read_reports()
        assert server.closed
        executive.close()
    finally:
        assert server.close() == -signal.SIGKILL


def test_everybody_dies_with_a_killed_executive() -> None:
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        server = ForkServer.start([])
        executive = Executive(server)
        engine = spawned(server)
        executive.start()
        os.write(writable, b"%d %d" % (server.pid, engine))
        signal.pause()
    family = [os.pidfd_open(int(number)) for number in os.read(readable, 100).split()]
    os.close(readable)
    os.close(writable)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    for descriptor in family:
        wait_for_death(descriptor)


def test_an_engine_inherits_nothing_of_its_siblings(fork_server: ForkServer) -> None:
    first = Executive(fork_server)
    first.start()
    second = Executive(fork_server)
    second.start()
    reports(fork_server, 2)
    first.close()
    exited = reports(fork_server, 1)[0]
    # Had the second engine a copy of the first one's doorbell, the first would not have seen its end.
    assert isinstance(exited, Exited)
    second.close()
    reports(fork_server, 1)


def test_real_time_priority_is_set_or_its_refusal_said_once(fork_server: ForkServer) -> None:
    executives = [Executive(fork_server, below_maximum=1) for _ in range(2)]
    said = reports(fork_server, 2)
    while sum(isinstance(report, Spawned) for report in said) < 2:
        said += reports(fork_server, 1)
    pids = [report.pid for report in said if isinstance(report, Spawned)]
    refusals = [report for report in said if isinstance(report, PriorityRefused)]
    assert len(refusals) <= 1
    for pid in pids:
        expected = os.SCHED_OTHER if refusals else os.SCHED_RR
        assert os.sched_getscheduler(pid) == expected
    for executive in executives:
        executive.close()
    reports(fork_server, 2)


def test_a_blob_larger_than_a_datagram_reaches_the_successor(fork_server: ForkServer) -> None:
    executive = Executive(fork_server, kept=bytes(1 << 20))
    executive.start()
    executive.close()
    reports(fork_server, 2)


def test_an_engine_costs_little_memory(fork_server: ForkServer) -> None:
    executive = Executive(fork_server)
    pid = spawned(fork_server)
    executive.serve()
    with executive.connect() as client:
        client.call_raw(messages.request(ECHO, b"x"), LIMIT_SECONDS)
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    private = sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))
    assert private < ENGINE_MEGABYTES * 1024
    executive.close()
    reports(fork_server, 1)
