"""Clients that lie: each loses its own connection, and nobody else notices."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coroipc.handshake import REQUEST
from coroipc.messages import error_response, request, response
from tests.data.coroipc_process import PATIENCE, RawClient, ServerProcess, raw_connection, running_server
from tests.data.coroipc_server import COUNT, ECHO, EVENTS

GOOD = request(COUNT)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server() as running:
        yield running


@pytest.fixture
def bystander(server: ServerProcess) -> Iterator[None]:
    """A client that must not notice."""
    with server.caller() as caller:
        caller.call(request(ECHO, b"before"), PATIENCE)
        yield
        assert caller.call(request(ECHO, b"after"), PATIENCE) == response(ECHO, body=b"after")


def _write_pointer(client: RawClient, value: int) -> None:
    client.commit(GOOD)
    client.set_word(0, value)


def _inflated(client: RawClient) -> None:
    client.commit(GOOD)
    client.set_semaphore(0x7FFFFFFF)


def _negative(client: RawClient) -> None:
    client.commit(GOOD)
    client.commit(b"x")
    client.set_semaphore(0x80000000)
    client.wake(5000)


LIES: dict[str, Callable[[RawClient], object]] = {
    "a request of one byte": lambda client: client.commit(b"x"),
    "a request shorter than its header": lambda client: client.commit(GOOD[:15]),
    "an empty request": lambda client: client.commit(b"", size=0),
    "a size field of zero": lambda client: client.commit(struct.pack("<i4xi4x", COUNT, 0)),
    "a negative size field": lambda client: client.commit(struct.pack("<i4xi4x", COUNT, -16)),
    "a size field beyond the maximum": lambda client: client.commit(struct.pack("<i4xi4x", COUNT, 1048577)),
    "a chunk longer than what was written": lambda client: client.commit(GOOD, size=1000),
    "a chunk longer than the ring": lambda client: client.commit(GOOD, size=0x7FFFFFFF),
    "a chunk of the largest size there is": lambda client: client.commit(GOOD, size=0xFFFFFFFF),
    "a chunk that is not committed": lambda client: client.commit(GOOD, magic=0xA110CED0),
    "a magic of its own": lambda client: client.commit(GOOD, magic=0xDEADBEEF),
    "a write pointer outside the ring": lambda client: _write_pointer(client, 1052672 // 4),
    "the largest write pointer there is": lambda client: _write_pointer(client, 0xFFFFFFFF),
    "a write pointer taken back": lambda client: _write_pointer(client, 0),
    "a semaphore at its maximum": _inflated,
    "a semaphore beyond its maximum": _negative,
    "tokens without chunks": lambda client: client.set_semaphore(50),
    "a disconnect request": lambda client: client.commit(request(-3)),
}


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_lie_in_the_request_ring_ends_the_connection(server: ServerProcess, lie: Callable[[RawClient], object]) -> None:
    client = server.raw_client()
    lie(client)
    client.wake()
    assert client.closed_by_server()
    client.close()
    server.expect_gone(client)


@pytest.mark.usefixtures("bystander")
def test_a_read_pointer_outside_the_event_ring_ends_the_connection(server: ServerProcess) -> None:
    client = server.raw_client()
    struct.pack_into("=I", client.event_header, 4, 0xFFFFFFFF)
    client.commit(request(EVENTS, struct.pack("<II", 1, 64)))
    client.wake()
    assert client.closed_by_server()
    client.close()
    assert "event ring: read pointer" in server.expect_gone(client)["reason"]


@pytest.mark.usefixtures("bystander")
def test_a_full_semaphore_on_the_event_ring_ends_the_connection(server: ServerProcess) -> None:
    client = server.raw_client()
    struct.pack_into("=I", client.event_header, 8208, 0x7FFFFFFF)
    client.commit(request(EVENTS, struct.pack("<II", 1, 64)))
    client.wake()
    assert client.closed_by_server()
    client.close()
    server.expect_gone(client)


@pytest.mark.usefixtures("bystander")
def test_a_client_that_never_takes_its_responses_is_disconnected(server: ServerProcess) -> None:
    client = server.caller(max_message_size=12328)
    for _ in range(5):
        client.send(request(ECHO, bytes(4000)))
        server.statistics()
    server.expect("gone", reason="it does not take its responses")
    client.close()


@pytest.mark.usefixtures("bystander")
def test_wake_ups_without_requests_are_tolerated_up_to_a_limit(server: ServerProcess) -> None:
    client = server.raw_client()
    client.wake(4000)
    client.commit(request(ECHO))
    client.wake()
    client.wake(200)
    assert client.closed_by_server()
    client.close()
    assert server.expect_gone(client)["reason"] == "it sends wake-ups without requests"


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize(
    "first_bytes",
    [
        REQUEST.pack(0, 24, 1048576),
        REQUEST.pack(-3, 24, 1048576),
        REQUEST.pack(-1, 23, 1048576),
        bytes(24),
        b"\xff" * 24,
    ],
)
def test_a_wrong_connection_request_is_closed_without_an_answer(server: ServerProcess, first_bytes: bytes) -> None:
    connection = raw_connection(server.directory)
    connection.sendall(first_bytes)
    assert connection.recv(1) == b""
    connection.close()


@pytest.mark.usefixtures("bystander")
def test_a_connection_request_in_pieces_is_accepted(server: ServerProcess) -> None:
    connection = raw_connection(server.directory)
    whole = REQUEST.pack(-1, 24, 1048576)
    for index in range(24):
        connection.sendall(whole[index : index + 1])
    assert connection.recv(20)[16:20] == bytes(4)
    connection.close()


@pytest.mark.usefixtures("bystander")
def test_a_truncated_connection_request_is_forgotten(server: ServerProcess) -> None:
    connection = raw_connection(server.directory)
    connection.sendall(bytes(10))
    connection.close()


@pytest.mark.usefixtures("bystander")
def test_a_flood_of_requests_starves_nobody(server: ServerProcess) -> None:
    with server.caller() as flooding, server.caller() as patient:
        for _ in range(50):
            for _ in range(64):
                flooding.send(request(COUNT))
            assert patient.call(request(ECHO), PATIENCE) == response(ECHO)


@pytest.mark.usefixtures("bystander")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    payloads=st.lists(st.binary(max_size=80), min_size=1, max_size=5),
    words=st.lists(st.tuples(st.integers(0, 2061), st.integers(0, 0xFFFFFFFF)), max_size=3),
    junk=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 0xFFFFFFFF)), max_size=3),
)
def test_any_bytes_in_the_rings_leave_the_server_alive(
    server: ServerProcess, payloads: list[bytes], words: list[tuple[int, int]], junk: list[tuple[int, int]]
) -> None:
    client = server.raw_client()
    for payload in payloads:
        client.commit(payload)
    for index, value in words:
        client.set_word(index, value)
    for index, value in junk:
        struct.pack_into("=I", client.request_data, index * 4, value)
    client.wake(len(payloads))
    client.close()
    server.expect_gone(client)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=0, max_size=60))
def test_any_bytes_as_a_connection_request_leave_the_server_alive(server: ServerProcess, first_bytes: bytes) -> None:
    connection = raw_connection(server.directory)
    try:
        connection.sendall(first_bytes)
    except OSError:
        pass  # The server was quicker.
    connection.close()


def test_the_server_still_serves_after_all_this(server: ServerProcess) -> None:
    with server.caller() as caller:
        assert caller.call(request(ECHO), PATIENCE) == response(ECHO)
        assert caller.call_raw(request(3), PATIENCE)[16:] == error_response(12)[16:]
