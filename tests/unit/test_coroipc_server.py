"""The server's limits, its bookkeeping, and what happens when clients come and go."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from coroipc.errors import AccessDenied, LibraryError, TooBig, TryAgain
from coroipc.handshake import RESPONSE
from coroipc.messages import request, response
from coroipc.server.connection import Connection
from coroipc.server.files import sweep
from coroipc.server.listener import close_listener, listen
from coroipc.server.server import Server
from tests.data.coroipc_process import PATIENCE, ROOT, SERVICE, ServerProcess, raw_connection, running_server
from tests.data.coroipc_server import COUNT, ECHO, EVENTS, FLOW, RAISE


def _events(number: int, size: int) -> bytes:
    return request(EVENTS, struct.pack("<II", number, size))


def test_a_client_is_authorised_by_its_real_ids_and_finds_its_files() -> None:
    with running_server() as server:
        client = server.raw_client()
        assert server.expect("authorize") == {"what": "authorize", "pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid()}
        assert client.accepted.server_pid == server.pid
        directory = Path(client.accepted.request_prefix).parent
        assert directory.name.startswith(f"qb-{server.pid}-{os.getpid()}-")
        assert stat.S_IMODE(directory.stat().st_mode) == 0o770
        names = {f"qb-{kind}-{SERVICE}-{part}" for kind in ("request", "response", "event") for part in ("header", "data")}
        assert {path.name for path in directory.iterdir()} == names
        assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
        client.close()
        server.expect("gone")
        assert server.ring_directories() == []


@pytest.mark.parametrize(
    ("number", "error"), [(errno.EAGAIN, TryAgain), (errno.EACCES, AccessDenied), (errno.ECONNREFUSED, LibraryError)]
)
def test_a_refused_client_learns_why(number: int, error: type[Exception]) -> None:
    with running_server(authorize=-number) as server:
        with pytest.raises(error):
            server.caller()
        assert server.ring_directories() == []


def test_the_wanted_message_size_is_granted_up_to_a_limit() -> None:
    with running_server() as server:
        assert server.raw_client(3000000).accepted.max_message_size == 3000000
        with pytest.raises(TooBig):
            server.raw_client((16 << 20) + 1)


def test_events_sent_on_connection_arrive_behind_the_response() -> None:
    with running_server(greet=3) as server, server.caller() as caller:
        assert caller.next_events(PATIENCE) == [response(9, body=b"%d" % index) for index in range(3)]


def test_wake_up_bytes_are_exactly_as_many_as_events_however_full_the_socket() -> None:
    with running_server(limits={"overflow_limit": 1 << 24}) as server, server.caller() as caller:
        for _ in range(600):
            caller.call(_events(1, 64), PATIENCE)
        caller.call(_events(400, 64), PATIENCE)
        assert [struct.unpack_from("<I", caller.next_event(PATIENCE) or b"", 24)[0] for _ in range(1000)] == [0] * 600 + list(
            range(400)
        )
        assert caller.next_event(0.0) is None


def test_a_client_that_does_not_read_is_reported_and_then_disconnected_alone() -> None:
    with running_server(limits={"overflow_limit": 8 << 20}) as server, server.caller() as slow, server.caller() as other:
        slow.call(_events(60, 100000), PATIENCE)
        report = server.expect("slow")
        assert report["queued_bytes"] >= 4 << 20
        assert server.statistics()[0]["queueing"] == 1
        slow.call(_events(60, 100000), PATIENCE)
        assert "the limit is 8388608" in server.expect("gone")["reason"]
        assert other.call(request(ECHO, b"x"), PATIENCE) == response(ECHO, body=b"x")


def test_requests_wait_in_the_ring_while_the_gate_is_closed() -> None:
    with running_server(budget=0) as server, server.caller() as caller:
        for _ in range(300):
            caller.send(request(COUNT))
        assert server.statistics()[0]["requests"] == 0
        server.command(budget=1 << 20)
        assert caller.call(request(ECHO), PATIENCE) == response(ECHO)
        assert server.statistics()[0]["requests"] == 301


def test_a_request_beyond_the_budget_waits_for_a_larger_one() -> None:
    with running_server(budget=100) as server, server.caller() as caller:
        caller.call(request(ECHO, bytes(10)), PATIENCE)
        caller.send(request(COUNT, bytes(200)))
        assert server.statistics()[0]["requests"] == 1
        server.command(budget=1000)
        assert caller.call(request(ECHO), PATIENCE) == response(ECHO)
        assert server.statistics()[0]["requests"] == 3


@pytest.mark.parametrize("ends", [False, True])
def test_a_request_longer_than_any_budget_ends_its_connection(ends: bool) -> None:
    with running_server(budget=1048576) as server:
        client = server.raw_client()
        client.commit(request(COUNT, bytes(1048576)))
        if ends:
            client.close()
        else:
            client.wake()
        assert server.expect_gone(client)["reason"] == "a request of 1048592 bytes"
        assert server.ring_directories() == []
        client.close()


def test_what_a_client_had_sent_before_it_ended_is_handed_over_under_the_budget() -> None:
    with running_server(budget=0) as server:
        caller = server.caller()
        for number in range(300):
            caller.send(request(COUNT, b"%d" % number))
        caller.close()
        server.command(budget=1 << 20)
        report = server.expect("gone")
        assert report["counted"] == 300
        assert [bytes.fromhex(body) for body in report["bodies"]] == [b"%d" % number for number in range(300)]


def test_a_killed_client_is_drained_and_cleaned_up() -> None:
    code = (
        "import sys; from coroipc.caller import BlockingCaller; from coroipc.messages import request\n"
        f"caller = BlockingCaller({SERVICE!r}, socket_directory=sys.argv[1])\n"
        f"for number in range(100): caller.send(request({COUNT}, b'%d' % number))\n"
        "print('sent', flush=True); sys.stdin.read()"
    )
    with running_server() as server:
        client = subprocess.Popen(
            [sys.executable, "-c", code, server.directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == b"sent\n"
        finally:
            client.kill()
            client.communicate()
        report = server.expect("gone")
        assert report["counted"] == 100
        assert report["reason"] == "the client has gone"
        assert server.ring_directories() == []


@pytest.mark.parametrize("with_uvloop", [False, True])
def test_the_end_of_a_client_is_noticed_behind_its_last_request_and_before_it_read_its_events(with_uvloop: bool) -> None:
    with running_server(greet=10, uvloop=with_uvloop) as server:
        client = server.raw_client()
        assert client.socket.recv(1, socket.MSG_PEEK)
        os.kill(server.pid, signal.SIGSTOP)
        client.commit(request(COUNT))
        client.wake()
        client.close()  # Ten wake-ups were not read: the server's socket is in error, with a byte before it.
        os.kill(server.pid, signal.SIGCONT)
        report = server.expect_gone(client)
        assert (report["counted"], report["reason"]) == (1, "the client has gone")


def test_a_request_that_the_handler_cannot_survive_costs_its_connection_only() -> None:
    with running_server() as server, server.caller() as bad, server.caller() as good:
        bad.send(request(RAISE))
        assert server.expect("gone")["reason"] == "its request could not be handled"
        assert good.call(request(ECHO), PATIENCE) == response(ECHO)


def test_the_disconnect_request_ends_the_connection() -> None:
    with running_server() as server, server.caller() as caller:
        caller.send(request(COUNT))
        caller.send(request(-3))
        report = server.expect("gone")
        assert (report["reason"], report["counted"]) == ("it has disconnected", 1)


def test_the_counters_have_the_names_of_the_stats_map() -> None:
    with running_server() as server, server.caller() as caller:
        caller.call(_events(7, 64), PATIENCE)
        caller.call(request(FLOW, struct.pack("<I", 2)), PATIENCE)
        (statistics,) = server.statistics()
        process = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
        assert statistics == {
            "queueing": 0,
            "queued": 0,
            "sent": 7,
            "flow_control": 2,
            "procname": process,
            "invalid_request": 0,
            "overload": 0,
            "requests": 2,
            "responses": 2,
            "dispatched": 7,
            "send_retries": 0,
            "recv_retries": 0,
            "flow_control_count": 1,
        }


def test_half_open_connections_are_limited_in_number_and_time() -> None:
    with running_server(limits={"half_open_limit": 3, "handshake_timeout": 0.05}) as server:
        silent = [raw_connection(server.directory) for _ in range(5)]
        with server.caller() as caller:
            assert caller.call(request(ECHO), PATIENCE) == response(ECHO)
        for connection in silent:
            assert connection.recv(1) == b""
            connection.close()


class _Quiet:
    """A handler that lets everybody in."""

    def authorize(self, pid: int, uid: int, gid: int) -> int:
        return 0

    def connected(self, connection: Connection) -> None: ...

    def budget(self, connection: Connection) -> int:
        return 1 << 30

    def requests(self, connection: Connection, requests: list[bytes]) -> None: ...

    def touches(self, connection: Connection) -> None: ...

    def slow(self, connection: Connection, queued_bytes: int) -> None: ...

    def gone(self, connection: Connection, reason: str) -> None: ...


def test_one_user_cannot_take_all_connections(tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    listening = listen("tst", directory=os.path.relpath(tmp_path))
    server = Server("tst", listening, loop, _Quiet(), directory=str(tmp_path), user_connection_limit=2)
    server.start()
    peers = []

    def connect(uid: int) -> int:
        """The error in the response that a process of that user gets."""
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        peers.append(peer)
        server._complete(ours, (os.getpid(), uid, uid), 100)
        error: int = RESPONSE.unpack(peer.recv(RESPONSE.size))[2]
        return error

    try:
        assert [connect(1000) for _ in range(3)] == [0, 0, -errno.EMFILE]
        assert connect(1001) == 0
        assert [connect(0) for _ in range(3)] == [0, 0, 0]
    finally:
        server.close()
        loop.close()
        for peer in peers:
            peer.close()
    assert list(tmp_path.iterdir()) == []


def test_an_orderly_end_removes_files_and_socket() -> None:
    with running_server() as server, server.caller():
        assert server.stop() == {"what": "closed", "active": 0, "closed_count": 1}
        assert os.listdir(server.directory) == []


def _leave_files(server: ServerProcess) -> None:
    client = server.raw_client()
    server.kill()
    client.close()


def test_a_sweep_removes_what_a_killed_server_left_and_nothing_else() -> None:
    with running_server() as server:
        _leave_files(server)
        (left,) = server.ring_directories()
        other = Path(server.directory, "qb-1-2-3-abcdef")
        other.mkdir()
        (other / "qb-request-tst-header").touch()
        precious = Path(server.directory, "qb-99999-2-3-abcdef")
        precious.mkdir()
        (precious / "precious").touch()
        Path(server.directory, "qb-99998-2-3-abcdef").symlink_to(other)
        dead = {server.pid, 99999, 99998}
        assert sweep(lambda pid: pid in dead, server.directory) == [os.path.join(server.directory, left)]
        assert (other / "qb-request-tst-header").exists()
        assert (precious / "precious").exists()


def test_a_listener_replaces_a_stale_path_and_removes_its_own(tmp_path: Path) -> None:
    directory = os.path.relpath(tmp_path)
    listen("tst", directory=directory).close()
    again = listen("tst", directory=directory)
    path = tmp_path / "tst"
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    assert again.getsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED) == 1
    assert not again.getblocking()
    close_listener(again)
    assert not path.exists()


def test_a_second_listener_on_an_abstract_name_is_refused() -> None:
    name = f"coroipc-test-{os.getpid()}"
    first = listen(name)
    try:
        with pytest.raises(OSError, match="in use"):
            listen(name)
    finally:
        close_listener(first)
    close_listener(listen(name))
