"""What a program and its supervisor say over their pipes: layouts, pieces, answers, and what is refused."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coroipc.errors import Busy, LibraryError, MessageError, NoMemory, Status
from libsam import DATA_LIMIT
from libsam.pipes import Command, Message, ProgramEnd, Reader, SupervisorEnd, encode_reply, open_pipes

Ends = tuple[ProgramEnd, SupervisorEnd]


@pytest.fixture
def ends() -> Iterator[Ends]:
    program, supervisor = open_pipes()
    with ExitStack() as stack:
        stack.callback(program.close)
        stack.callback(supervisor.close)
        yield program, supervisor


def test_the_bytes_are_those_of_the_reference() -> None:
    assert Message(Command.START).encode() == b"\0"
    assert Message(Command.STOP).encode() == b"\1"
    assert Message(Command.HEARTBEAT).encode() == b"\2"
    assert Message(Command.DATA_STORE, b"ab").encode() == b"\3" + bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b"ab"
    assert Message(Command.WARN_SIGNAL, signal=10).encode() == b"\4" + bytes([10, 0, 0, 0])
    assert Message(Command.MARK_FAILED).encode() == b"\5"
    assert encode_reply() == b"\0"
    assert encode_reply(Status.NO_MEMORY) == b"\1" + bytes([8, 0, 0, 0])


MESSAGES = st.one_of(
    st.sampled_from([Command.START, Command.STOP, Command.HEARTBEAT, Command.MARK_FAILED]).map(Message),
    st.none().map(lambda data: Message(Command.DATA_STORE, data)),
    st.binary(max_size=50).map(lambda data: Message(Command.DATA_STORE, data)),
    st.integers(1, 64).map(lambda number: Message(Command.WARN_SIGNAL, signal=number)),
)


@given(st.lists(MESSAGES, max_size=8), st.integers(1, 20))
def test_commands_come_out_whole_however_the_pipe_cuts_them(messages: list[Message], piece: int) -> None:
    encoded = b"".join(message.encode() for message in messages)
    reader = Reader()
    assert [each for at in range(0, len(encoded), piece) for each in reader.feed(encoded[at : at + piece])] == messages


@pytest.mark.parametrize(
    "received",
    [
        b"\6",
        b"\xff",
        b"\3" + (DATA_LIMIT + 1).to_bytes(8, "little"),
        b"\3" + (-2).to_bytes(8, "little", signed=True),
    ],
)
def test_what_is_no_command_or_too_long_is_refused_before_it_is_waited_for(received: bytes) -> None:
    with pytest.raises(MessageError):
        Reader().feed(received)


def test_heartbeats_and_marks_of_failure_wait_for_no_answer(ends: Ends) -> None:
    program, supervisor = ends
    program.tell(Message(Command.HEARTBEAT))
    program.tell(Message(Command.MARK_FAILED))
    assert supervisor.commands() == [Message(Command.HEARTBEAT), Message(Command.MARK_FAILED)]
    assert supervisor.commands() == []
    assert not supervisor.at_end


def test_an_answer_is_taken_by_the_call_that_waits_for_it(ends: Ends) -> None:
    program, supervisor = ends
    supervisor.reply()
    program.tell(Message(Command.START))
    supervisor.reply(Status.NO_MEMORY)
    with pytest.raises(NoMemory):
        program.tell(Message(Command.DATA_STORE, b"data"))
    supervisor.reply()
    program.tell(Message(Command.STOP))


def test_data_larger_than_the_pipe_pass_through_it(ends: Ends) -> None:
    program, supervisor = ends
    message = Message(Command.DATA_STORE, bytes(range(256)) * 4096)
    teller = threading.Thread(target=program.tell, args=(message,))
    teller.start()
    received: list[Message] = []
    os.set_blocking(supervisor.fileno(), True)
    while not received:
        received += supervisor.commands()
    supervisor.reply()
    teller.join()
    assert received == [message]


def test_without_a_supervisor_every_call_is_a_library_error() -> None:
    program, supervisor = open_pipes()
    supervisor.close()
    for command in Command:
        with pytest.raises(LibraryError):
            program.tell(Message(command))
    program.close()


def test_an_answer_to_a_program_that_has_gone_is_dropped() -> None:
    program, supervisor = open_pipes()
    program.close()
    supervisor.reply()
    assert supervisor.commands() == []
    assert supervisor.at_end
    supervisor.close()


class InTheMiddle:
    """A handler of a signal that comes while a call waits for its answer."""

    def __init__(self, ends: Ends, *calls: Message, raises: bool = False) -> None:
        self.program, self.supervisor = ends
        self.calls = calls
        self.raises = raises
        self.errors: list[type[BaseException]] = []

    def run(self, message: Message) -> None:
        """Tell the message; the signal comes when the supervisor has it, the answer after the handler."""
        main = threading.get_ident()
        handled = threading.Event()

        def handle(number: int, frame: object) -> None:
            try:
                for call in self.calls:
                    try:
                        self.program.tell(call)
                    except Exception as error:
                        self.errors.append(type(error))
                if self.raises:
                    raise InterruptedError("by the handler")
            finally:
                handled.set()

        def supervise() -> None:
            os.set_blocking(self.supervisor.fileno(), True)
            assert self.supervisor.commands() == [message]
            signal.pthread_kill(main, signal.SIGUSR1)
            handled.wait()
            self.supervisor.reply()

        before = signal.signal(signal.SIGUSR1, handle)
        supervisor = threading.Thread(target=supervise)
        supervisor.start()
        try:
            self.program.tell(message)
        finally:
            supervisor.join()
            signal.signal(signal.SIGUSR1, before)


def test_a_signal_handler_can_send_a_heartbeat_in_the_middle_of_a_call_but_nothing_that_is_answered(ends: Ends) -> None:
    middle = InTheMiddle(ends, Message(Command.HEARTBEAT), Message(Command.STOP))
    middle.run(Message(Command.START))
    assert middle.errors == [Busy]
    assert ends[1].commands() == [Message(Command.HEARTBEAT)]


def test_no_byte_comes_in_between_stored_data(ends: Ends) -> None:
    middle = InTheMiddle(ends, Message(Command.HEARTBEAT))
    middle.run(Message(Command.DATA_STORE, b"data"))
    assert middle.errors == [Busy]


def test_after_a_call_that_a_handler_broke_off_no_answer_can_be_trusted(ends: Ends) -> None:
    with pytest.raises(LibraryError):
        InTheMiddle(ends, raises=True).run(Message(Command.START))
    with pytest.raises(LibraryError, match="broke off"):
        ends[0].tell(Message(Command.STOP))
    ends[0].tell(Message(Command.HEARTBEAT))
