"""The supervisor: it forks the program, waits for what the program, quorum and the clock say, and forks the next instance.

It sleeps in one place, a poll of the command pipe, the program's pidfd and the quorum connection. The end of the program is what
the pidfd says: other processes may hold copies of the pipes.

Source: sam_overview(3), reference client-api section 7.2.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Final

from coroipc.errors import LibraryError, MessageError
from libsam.pipes import Command, Message, ProgramEnd, SupervisorEnd, open_pipes
from libsam.policy import LAST_INSTANCE, Settings
from libsam.quorum import QuorumWatch
from libsam.record import FAILED, STATES, Record
from libsam.supervision import Action, Input, Phase, Supervision, Verdict

KILLED_STATUS: Final = 128
"""A program that a signal ended gives this plus the signal's number, as in a shell (the C library: 0, a success)."""
SUPERVISOR_FAILURE: Final = 70
"""Exit status of a supervisor that could not go on (sysexits' "internal software error")."""

_INPUTS: Final[dict[Command, Input]] = {
    Command.START: Input.START,
    Command.STOP: Input.STOP,
    Command.HEARTBEAT: Input.HEARTBEAT,
    Command.DATA_STORE: Input.SETTING,
    Command.WARN_SIGNAL: Input.SETTING,
    Command.MARK_FAILED: Input.MARK_FAILED,
}


@dataclass(frozen=True, slots=True)
class _Instance:
    """A running instance, as its supervisor holds it."""

    pid: int
    pidfd: int
    pipes: SupervisorEnd


class Supervisor:
    """What stays behind in ``sam_register``."""

    def __init__(self, settings: Settings, quorum: QuorumWatch | None, record: Record | None) -> None:
        """``quorum`` and ``record`` are there when the policy asks for them."""
        self._settings = settings
        self._quorum = quorum
        self._record = record

    def register(self) -> ProgramEnd:
        """Fork the program, again after each failure. Returns in the instances only: the supervisor ends with the last of them.

        Raises LibraryError when the first fork is not possible, and what the map's errors stand for.
        """
        if self._record is not None:
            self._record.register(self._settings)
        # A handler that raises between a fork and the guard in ``_supervise`` would let the supervisor run the program.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pipes, instance = self._fork()
            return pipes if instance is None else self._supervise(instance, mask)
        except LibraryError:
            self._forget()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _supervise(self, instance: _Instance, mask: set[signal.Signals | int]) -> ProgramEnd:
        """Attend one instance after the other. No exception leaves the supervisor: its caller lives in another process now."""
        try:
            while True:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                verdict, status = self._attend(instance)
                if verdict != Verdict.RESTART:
                    break
                if self._record is not None:
                    self._record.show(STATES[Phase.STOPPED])
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                pipes, following = self._fork()
                if following is None:
                    return pipes
                instance = following
            self._part(verdict)
            os._exit(status)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            traceback.print_exc()
            with contextlib.suppress(Exception):
                self._part(Verdict.FAIL)
        os._exit(SUPERVISOR_FAILURE)

    def _fork(self) -> tuple[ProgramEnd, _Instance | None]:
        """The next instance: its end of the pipes and, in the supervisor alone, what is needed to attend it."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                if stream is not None:
                    stream.flush()  # What is buffered here would be written by both.
        program, supervisor = open_pipes()
        settings = self._settings
        before, pid = settings.instance, 0
        settings.instance = 0 if before == LAST_INSTANCE else before + 1
        try:
            pid = os.fork()
            if pid == 0:
                self._enter(program, supervisor)
                return program, None
            instance = _Instance(pid, os.pidfd_open(pid), supervisor)
        except OSError as error:
            program.close()
            supervisor.close()
            if pid > 0:
                os.waitpid(pid, 0)  # It was not admitted, and ends at once.
            settings.instance = before
            raise LibraryError(f"sam_register: {error}") from error
        program.close()
        supervisor.reply()
        return program, instance

    def _enter(self, program: ProgramEnd, supervisor: SupervisorEnd) -> None:
        """In an instance: become the program, once the supervisor is ready."""
        try:
            supervisor.close()
            self._disown()
            admitted = program.admitted()
        except OSError:
            admitted = False
        if not admitted:
            os._exit(SUPERVISOR_FAILURE)

    def _disown(self) -> None:
        """Let go of the supervisor's connections without ending them, which ``close`` would do."""
        nowhere = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        for holder in (self._quorum, self._record):
            if holder is not None and holder.connection is not None:
                os.dup2(nowhere, holder.connection.fileno(), inheritable=False)
        os.close(nowhere)

    def _attend(self, instance: _Instance) -> tuple[Verdict, int]:
        """From an instance's fork to its end: what follows, and the exit status that it stands for."""
        supervision = Supervision(self._settings, quorate=self._quorum is not None and self._quorum.quorate)
        try:
            while instance.pidfd not in self._wait(instance, supervision):
                self._hear(instance, supervision)
                now = time.monotonic()
                if supervision.deadline is not None and now >= supervision.deadline:
                    self._step(instance, supervision, Input.TIMEOUT)
                for quorate in self._quorum.look(now) if self._quorum is not None else ():
                    self._step(instance, supervision, Input.QUORATE if quorate else Input.NOT_QUORATE)
            self._hear(instance, supervision)  # Its last words, such as STOP, decide what its end means.
            return supervision.verdict(), _exit_status(instance.pid)
        finally:
            os.close(instance.pidfd)
            instance.pipes.close()

    def _wait(self, instance: _Instance, supervision: Supervision) -> set[int]:
        """Sleep until something is readable or due; the descriptors that are readable."""
        poll = select.poll()
        poll.register(instance.pidfd, select.POLLIN)
        if not instance.pipes.at_end:
            poll.register(instance.pipes, select.POLLIN)
        deadlines = [supervision.deadline]
        if self._quorum is not None:
            deadlines.append(self._quorum.deadline)
            if self._quorum.connection is not None:
                poll.register(self._quorum.connection, select.POLLIN)
        due = min((deadline for deadline in deadlines if deadline is not None), default=None)
        timeout = None if due is None else math.ceil(max(0.0, due - time.monotonic()) * 1000)
        return {descriptor for descriptor, _ in poll.poll(timeout)}

    def _hear(self, instance: _Instance, supervision: Supervision) -> None:
        """Take the commands that wait."""
        try:
            for message in instance.pipes.commands():
                self._keep(message)
                self._step(instance, supervision, _INPUTS[message.command])
                if self._record is not None:
                    self._record.touch()
        except MessageError:
            self._step(instance, supervision, Input.BREACH)

    def _keep(self, message: Message) -> None:
        """The next instance inherits it."""
        if message.command == Command.DATA_STORE:
            self._settings.data = message.data
        elif message.command == Command.WARN_SIGNAL:
            self._settings.warn_signal = message.signal

    def _step(self, instance: _Instance, supervision: Supervision, happened: Input) -> None:
        action = supervision.step(happened, time.monotonic())
        if self._record is not None and supervision.phase in STATES:
            self._record.show(STATES[supervision.phase])  # Before the answer: whoever was answered finds it in the map.
        if action == Action.REPLY:
            instance.pipes.reply()
        elif action == Action.WARN:
            signal.pidfd_send_signal(instance.pidfd, self._settings.warn_signal)
        elif action == Action.KILL:
            signal.pidfd_send_signal(instance.pidfd, signal.SIGKILL)

    def _part(self, verdict: Verdict) -> None:
        """The last words to the daemon."""
        if self._quorum is not None:
            self._quorum.close()
        if verdict == Verdict.QUIT:
            self._forget()
        elif self._record is not None:
            self._record.show(FAILED)
            self._record.close()

    def _forget(self) -> None:
        """Nothing in the map is left of a program that has not failed."""
        if self._record is not None:
            self._record.remove()
            self._record.close()


def _exit_status(pid: int) -> int:
    """Reap an instance that has ended."""
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return SUPERVISOR_FAILURE  # The program ignores SIGCHLD, so that the kernel keeps no status for its parent.
    return status if status >= 0 else KILLED_STATUS - status
