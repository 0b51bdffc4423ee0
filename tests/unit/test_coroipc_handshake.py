"""Socket names, the connection request and its response, byte for byte."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from coroipc import errors, handshake
from coroipc.messages import REQUEST_HEADER, RESPONSE_HEADER, RING_ID, error_response, request, response, status_of

REQUEST_VECTOR = bytes.fromhex("ffffffff 00000000 18000000 00000000 00001000 00000000")
RESPONSE_VECTOR = bytes.fromhex(
    """
    ff ff ff ff 00 00 00 00 28 30 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 01 00 00 00 00 00 10 00
    30 56 94 ac db 55 00 00 2f 64 65 76 2f 73 68 6d
    2f 71 62 2d 31 33 36 38 33 2d 31 37 30 38 31 2d
    31 38 2d 46 42 33 44 76 58 2f 71 62 2d 72 65 71
    75 65 73 74 2d 63 6d 61 70 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    """
)


def test_the_connection_request_is_stocks() -> None:
    assert handshake.REQUEST.pack(-1, 24, 1048576) == REQUEST_VECTOR


def test_the_connection_response_is_stocks() -> None:
    prefix = b"/dev/shm/qb-13683-17081-18-FB3DvX/qb-"
    prefixes = (prefix + b"request-cmap", prefix + b"response-cmap", prefix + b"event-cmap")
    answer = handshake.connection_response(0, 1048576, 0x55DBAC945630, prefixes)
    assert len(answer) == 12328
    assert answer[:112] == RESPONSE_VECTOR
    assert answer[4136:].startswith(prefixes[1])
    assert answer[8232:].startswith(prefixes[2])
    accepted = handshake.parse_response(answer, 13683)
    assert accepted == handshake.Accepted(1048576, *(part.decode() for part in prefixes), 13683, 0x55DBAC945630)


def test_a_refusal_has_the_full_size_and_nothing_but_its_error() -> None:
    answer = handshake.connection_response(-errno.EAGAIN)
    assert len(answer) == 12328
    assert answer[16:20] == (-11).to_bytes(4, "little", signed=True)
    assert not any(answer[20:])


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EAGAIN, errors.TryAgain),
        (errno.EACCES, errors.AccessDenied),
        (errno.ENOSYS, errors.NotSupported),
        (errno.ENOSPC, errors.NoSpace),
        (errno.EMSGSIZE, errors.TooBig),
        (errno.EMFILE, errors.LibraryError),
    ],
)
def test_a_refusal_becomes_the_error_of_c_libraries(number: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        handshake.parse_response(handshake.connection_response(-number), 1)


def test_an_answer_that_is_none_is_refused() -> None:
    good = handshake.connection_response(0, 100, 1, (b"/a", b"/b", b"/c"))
    for bad, error in (
        (b"\0\0\0\0" + good[4:], errors.LibraryError),
        (good[:8] + b"\x18" + good[9:], errors.LibraryError),
        (good[:24] + b"\0" + good[25:], errors.NotSupported),
        (handshake.connection_response(0, 100, 1, (b"a", b"/b", b"/c")), errors.LibraryError),
        (handshake.connection_response(0, 100, 1, (b"/a", b"", b"/c")), errors.LibraryError),
    ):
        with pytest.raises(error):
            handshake.parse_response(bad, 1)


def test_an_abstract_name_is_padded_to_the_whole_structure() -> None:
    address = handshake.socket_address("cmap")
    assert address == b"\0cmap" + bytes(103)
    assert len(address) == 108


def test_an_instance_has_names_of_its_own() -> None:
    assert handshake.socket_address("cpg", "blue") == b"\0cpg@blue".ljust(108, b"\0")
    assert handshake.socket_address("cpg", "blue", "/run/x") == "/run/x/cpg@blue"


def test_names_that_do_not_fit_are_refused() -> None:
    for arguments in (("",), ("a/b",), ("a\0b",), ("x" * 107,), ("cpg", None, "/" + "d" * 104)):
        with pytest.raises(ValueError, match=r"name|path"):
            handshake.socket_address(*arguments)


def test_the_environment_chooses_instance_and_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("COROSYNC_INSTANCE", raising=False)
    monkeypatch.delenv("COROSYNC_SOCKET_DIRECTORY", raising=False)
    monkeypatch.setattr(handshake, "FORCE_MARKER", str(tmp_path / "marker"))
    assert handshake.instance_name() is None
    assert handshake.socket_directory() is None
    (tmp_path / "marker").touch()
    assert handshake.socket_directory() == "/run"
    monkeypatch.setenv("COROSYNC_INSTANCE", "blue")
    monkeypatch.setenv("COROSYNC_SOCKET_DIRECTORY", "/elsewhere")
    assert handshake.instance_name() == "blue"
    assert handshake.instance_name("green") == "green"
    assert handshake.socket_directory() == "/elsewhere"
    assert handshake.socket_directory("/given") == "/given"


def _serve_once(path: str, serve: Callable[[socket.socket], None]) -> threading.Thread:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    listening.settimeout(30.0)

    def run() -> None:
        with listening:
            connection, _ = listening.accept()
            with connection:
                serve(connection)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_the_client_reads_its_response_and_no_wake_up_behind_it(tmp_path: Path) -> None:
    seen = []

    def serve(connection: socket.socket) -> None:
        seen.append(connection.recv(100))
        answer = handshake.connection_response(0, 12328, 7, (b"/a", b"/b", b"/c"))
        connection.sendall(answer[:5000])
        connection.sendall(answer[5000:] + b"!!")

    thread = _serve_once(str(tmp_path / "s"), serve)
    connection, accepted = handshake.connect(str(tmp_path / "s"), 100, 30.0)
    thread.join()
    with connection:
        assert seen == [REQUEST_VECTOR[:16] + (12328).to_bytes(4, "little") + bytes(4)]
        assert connection.recv(100) == b"!!"
        assert accepted.server_pid == os.getpid()
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED) == 0
        assert not connection.getblocking()


def test_no_daemon_is_a_library_error(tmp_path: Path) -> None:
    with pytest.raises(errors.LibraryError, match="check that corosyncd runs"):
        handshake.connect(str(tmp_path / "nobody"), 100, 1.0)


def test_a_daemon_that_closes_without_an_answer_is_a_library_error(tmp_path: Path) -> None:
    thread = _serve_once(str(tmp_path / "s"), lambda connection: None)
    with pytest.raises(errors.LibraryError):
        handshake.connect(str(tmp_path / "s"), 100, 30.0)
    thread.join()


def test_a_daemon_that_keeps_silent_is_left_after_the_time_allowed(tmp_path: Path) -> None:
    give_up = threading.Event()
    thread = _serve_once(str(tmp_path / "s"), lambda connection: bool(give_up.wait(30.0)) and None)
    with pytest.raises(errors.TimedOut):
        handshake.connect(str(tmp_path / "s"), 100, 0.05)
    give_up.set()
    thread.join()


def test_headers_have_their_sizes_and_zero_padding() -> None:
    assert (REQUEST_HEADER.size, RESPONSE_HEADER.size, RING_ID.size) == (16, 24, 16)
    assert request(2, b"abc") == bytes.fromhex("02000000000000001300000000000000") + b"abc"
    assert response(11, 12) == bytes.fromhex("0b000000000000001800000000000000 0c00000000000000")
    assert error_response(6) == bytes.fromhex("00000000000000001800000000000000 0600000000000000")
    assert RING_ID.pack(1, 5) == bytes.fromhex("01000000000000000500000000000000")


def test_the_status_is_read_through_garbage_in_the_padding() -> None:
    captured = bytes.fromhex("0c000000fe7f00002000000008cb773701000000000000000100000000000000")
    assert status_of(captured) == 1
    with pytest.raises(errors.LibraryError, match="23 bytes"):
        status_of(captured[:23])
