"""What a program and its supervisor say to each other, over two pipes.

A command is a byte and, for two of them, a payload; the supervisor answers all but heartbeats and marks of failure, each exactly
once: with byte 0, or with byte 1 and a status. One answer comes unasked, when the supervisor is ready for the program. Both ends
are this library, so that the layout is its own affair.

Source: reference client-api section 7.2, services section 7.
"""

from __future__ import annotations

import contextlib
import os
import struct
from enum import IntEnum
from typing import Final, NamedTuple

from coroipc.errors import Busy, LibraryError, MessageError, Status, check
from libsam.policy import DATA_LIMIT

READ_SIZE: Final = 1 << 20
"""Bytes of one read: more than the pipe holds, so that one read empties it."""


class Command(IntEnum):
    """The first byte of what a program sends."""

    START = 0
    STOP = 1
    HEARTBEAT = 2
    DATA_STORE = 3
    WARN_SIGNAL = 4
    MARK_FAILED = 5


UNANSWERED: Final = frozenset({Command.HEARTBEAT, Command.MARK_FAILED})

_LENGTH: Final = struct.Struct("=q")
_NUMBER: Final = struct.Struct("=i")
_NO_DATA: Final = -1
"""Length of a DATA_STORE that deletes what is stored."""
_OK: Final = b"\0"
_ERROR: Final = b"\1"


class Message(NamedTuple):
    """A command with what belongs to it."""

    command: Command
    data: bytes | None = None
    """DATA_STORE: what to keep; None: nothing any more."""
    signal: int = 0
    """WARN_SIGNAL: the signal's number."""

    def encode(self) -> bytes:
        """The bytes on the pipe."""
        head = bytes((self.command,))
        if self.command == Command.DATA_STORE:
            return head + (_LENGTH.pack(_NO_DATA) if self.data is None else _LENGTH.pack(len(self.data)) + self.data)
        if self.command == Command.WARN_SIGNAL:
            return head + _NUMBER.pack(self.signal)
        return head


class Reader:
    """Puts commands together from what the reads of a pipe return."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._buffer = bytearray()

    def feed(self, received: bytes) -> list[Message]:
        """The commands that are whole now. Raises MessageError for what is no command or too long."""
        self._buffer += received
        messages = []
        while (message := self._next()) is not None:
            messages.append(message)
        return messages

    def _next(self) -> Message | None:
        if not self._buffer:
            return None
        try:
            command = Command(self._buffer[0])
        except ValueError:
            raise MessageError(f"command {self._buffer[0]} of a supervised program") from None
        if command == Command.DATA_STORE:
            return self._data()
        if command == Command.WARN_SIGNAL:
            taken = self._take(1 + _NUMBER.size)
            return None if taken is None else Message(command, signal=_NUMBER.unpack_from(taken, 1)[0])
        self._take(1)
        return Message(command)

    def _data(self) -> Message | None:
        head = 1 + _LENGTH.size
        if len(self._buffer) < head:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer, 1)
        if length == _NO_DATA:
            self._take(head)
            return Message(Command.DATA_STORE)
        if not 0 <= length <= DATA_LIMIT:
            raise MessageError(f"a supervised program stores {length} bytes")
        taken = self._take(head + length)
        return None if taken is None else Message(Command.DATA_STORE, data=taken[head:])

    def _take(self, size: int) -> bytes | None:
        if len(self._buffer) < size:
            return None
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def encode_reply(status: int = Status.OK) -> bytes:
    """The bytes of a supervisor's answer."""
    return _OK if status == Status.OK else _ERROR + _NUMBER.pack(status)


class ProgramEnd:
    """The program's ends of the two pipes, which stay open as long as it lives."""

    def __init__(self, commands: int, replies: int) -> None:
        """``commands`` is written, ``replies`` read; both descriptors belong to this object."""
        self._commands = commands
        self._replies = replies
        self._answered: Command | None = None
        self._broken = False

    def admitted(self) -> bool:
        """Wait for the first answer, which nothing has asked for: the supervisor is ready. False: there will be none."""
        try:
            return self._reply() == Status.OK
        except OSError:
            return False

    def tell(self, message: Message) -> None:
        """Send a command and take its answer, if it has one.

        A handler of a signal may call this in the middle of another call: what has no answer passes, unless data are on their
        way; the rest is Busy. Raises LibraryError (no supervisor, or an exception broke off an earlier call), Busy, or what
        the answer says.
        """
        if message.command not in UNANSWERED or self._answered == Command.DATA_STORE:
            self.check_idle(message.command)
        try:
            if message.command in UNANSWERED:
                self._write(message.encode())
            else:
                check(self._exchange(message), message.command.name)
        except OSError as error:
            raise LibraryError(f"the supervisor has gone: {error}") from error

    def check_idle(self, command: Command) -> None:
        """Raise Busy in the middle of a call that waits for its answer, LibraryError after one that was broken off."""
        if self._broken:
            raise LibraryError(f"{command.name}: an exception broke off an earlier call")
        if self._answered is not None:
            raise Busy(f"{command.name} in the middle of {self._answered.name}")

    def close(self) -> None:
        """Close both, which only the supervisor does with its copies."""
        os.close(self._commands)
        os.close(self._replies)

    def _exchange(self, message: Message) -> int:
        self._answered = message.command
        try:
            self._write(message.encode())
            status = self._reply()
        except BaseException:
            self._broken = True  # Half a command, or an answer, may still be on its way.
            raise
        finally:
            self._answered = None
        return status

    def _write(self, encoded: bytes) -> None:
        rest = memoryview(encoded)
        while rest:
            rest = rest[os.write(self._commands, rest) :]

    def _reply(self) -> int:
        kind = self._read(1)
        return int(Status.OK) if kind == _OK else int(_NUMBER.unpack(self._read(_NUMBER.size))[0])

    def _read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = os.read(self._replies, size - len(parts))
            if not part:
                raise BrokenPipeError("end of the pipe")
            parts += part
        return bytes(parts)


class SupervisorEnd:
    """The supervisor's ends of the two pipes."""

    def __init__(self, commands: int, replies: int) -> None:
        """``commands`` is read, ``replies`` written; both descriptors belong to this object."""
        os.set_blocking(commands, False)
        self._commands = commands
        self._replies = replies
        self._reader = Reader()
        self.at_end = False
        """Whether the program has closed its side; no command can come any more."""

    def fileno(self) -> int:
        """The descriptor that is readable when commands wait."""
        return self._commands

    def commands(self) -> list[Message]:
        """The commands that wait. Raises MessageError for what is none."""
        try:
            received = os.read(self._commands, READ_SIZE)
        except BlockingIOError:
            return []
        self.at_end = not received
        return self._reader.feed(received)

    def reply(self, status: int = Status.OK) -> None:
        """Answer a command; nobody hears it where the program has gone."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._replies, encode_reply(status))

    def close(self) -> None:
        """Close both."""
        os.close(self._commands)
        os.close(self._replies)


def open_pipes() -> tuple[ProgramEnd, SupervisorEnd]:
    """Both ends, of which each process keeps one. Raises LibraryError."""
    try:
        read_commands, write_commands = os.pipe()
        try:
            read_replies, write_replies = os.pipe()
        except OSError:
            os.close(read_commands)
            os.close(write_commands)
            raise
    except OSError as error:
        raise LibraryError(f"sam_register: {error}") from error
    return ProgramEnd(write_commands, read_replies), SupervisorEnd(read_commands, write_replies)
