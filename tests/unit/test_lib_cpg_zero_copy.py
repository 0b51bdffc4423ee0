"""libcpg's zero-copy buffers over a daemon that is a script: the file, the requests, the refusals."""

from __future__ import annotations

import os

import pytest

from coroipc.errors import BadHandle, InvalidParameter, LibraryError, NotSupported, Status, TooBig, TryAgain
from coroipc.layouts import status_response
from libcpg import ATOMIC_MESSAGE_LIMIT, Cpg, Guarantee
from libcpg.messages import McastRequest, Request
from libcpg.zero_copy import ADDRESS, ADDRESS_OFFSET, DATA_OFFSET, MESSAGE_OFFSET, AllocateRequest, ExecuteRequest, FreeRequest
from tests.unit.scripted_daemon import OK, Daemon, install

WHERE = 0x7F12_3456_7000


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """Takes every buffer, and leaves its name."""
    script = install(monkeypatch)
    script.answer = take
    return script


def take(request: bytes) -> bytes:
    if request[0] == Request.ZERO_COPY_ALLOCATE:
        size, path = AllocateRequest.decode(request)
        assert os.stat(path).st_size == size
        with open(path, "rb+") as file:
            assert int.from_bytes(file.read(4), "little") == size
            file.seek(ADDRESS_OFFSET)
            file.write(ADDRESS.pack(WHERE))
        return status_response(0, 0)  # A stock daemon's status is undefined.
    return OK


def test_a_buffer_is_made_sent_from_and_given_back(daemon: Daemon) -> None:
    cpg = Cpg()
    buffer = cpg.zero_copy_allocate(1000)
    path = AllocateRequest.decode(daemon.requests[-1]).path
    assert not os.path.exists(path)
    assert len(buffer.data) == 1000
    buffer.data[:5] = b"hello"
    cpg.zero_copy_mcast(buffer, 5, Guarantee.FIFO)
    assert ExecuteRequest.decode(daemon.requests[-1]) == (WHERE,)
    expected = McastRequest(b"hello", Guarantee.FIFO).encode()
    assert bytes(buffer._memory[MESSAGE_OFFSET : MESSAGE_OFFSET + len(expected)]) == expected
    cpg.zero_copy_free(buffer)
    assert FreeRequest.decode(daemon.requests[-1]) == (DATA_OFFSET + 1000, WHERE)
    for call in (lambda: cpg.zero_copy_free(buffer), lambda: cpg.zero_copy_mcast(buffer)):
        with pytest.raises(BadHandle):
            call()


@pytest.mark.parametrize(
    ("status", "error"), [(Status.NOT_SUPPORTED, NotSupported), (Status.TRY_AGAIN, TryAgain), (1, LibraryError)]
)
def test_a_buffer_that_gets_no_address_is_refused_and_leaves_nothing(daemon: Daemon, status: int, error: type[Exception]) -> None:
    daemon.answer = lambda request: status_response(14, status)
    with pytest.raises(error):
        Cpg().zero_copy_allocate(10)
    assert not os.path.exists(AllocateRequest.decode(daemon.requests[-1]).path)


def test_what_the_buffer_or_a_message_cannot_hold_is_refused_before_anything_is_sent(daemon: Daemon) -> None:
    cpg = Cpg()
    with pytest.raises(InvalidParameter):
        cpg.zero_copy_allocate(-1)
    buffer = cpg.zero_copy_allocate(ATOMIC_MESSAGE_LIMIT + 1)
    count = len(daemon.requests)
    for length, guarantee, error in (
        (None, 2, TooBig),
        (ATOMIC_MESSAGE_LIMIT + 2, 2, InvalidParameter),
        (-1, 2, InvalidParameter),
        (1, 9, InvalidParameter),
    ):
        with pytest.raises(error):
            cpg.zero_copy_mcast(buffer, length, guarantee)
    assert len(daemon.requests) == count
    cpg.zero_copy_free(buffer)


def test_memory_that_is_still_looked_at_stays_after_the_free(daemon: Daemon) -> None:
    cpg = Cpg()
    buffer = cpg.zero_copy_allocate(10)
    view = buffer.data[2:4]
    cpg.zero_copy_free(buffer)
    view[:] = b"ok"
    assert bytes(view) == b"ok"


def test_giving_back_is_repeated_while_the_daemon_cannot_listen(daemon: Daemon) -> None:
    cpg = Cpg()
    buffer = cpg.zero_copy_allocate(10)
    answers = [status_response(0, Status.TRY_AGAIN), status_response(0, Status.TRY_AGAIN), OK]
    daemon.answer = lambda request: answers.pop(0)
    cpg.zero_copy_free(buffer)
    assert (answers, len(daemon.pauses)) == ([], 2)
