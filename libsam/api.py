"""The calls of the simple availability manager, on one object: ``Sam``.

Source: sam_overview(3) and its pages, reference client-api section 7.
"""

from __future__ import annotations

import os
import threading

from coroipc.errors import InvalidParameter
from libcmap import Cmap
from libquorum import Quorum
from libsam.health import HealthCheck, HeartbeatThread
from libsam.pipes import Command, Message, ProgramEnd
from libsam.policy import Policy, Settings, checked_data, checked_settings, checked_signal
from libsam.quorum import QuorumWatch
from libsam.record import Record
from libsam.states import Call, State, following
from libsam.supervisor import Supervisor


class Sam:
    """A program's supervision. Several threads may call.

    A process has use for one: another one, registered in the supervised program, would supervise only what follows it.
    Every call raises BadHandle in a state in which it is not possible (``libsam.states``).
    """

    def __init__(self, *, instance: str | None = None, socket_directory: str | None = None) -> None:
        """``instance`` names the daemon for QUORUM and CMAP (default: COROSYNC_INSTANCE). ``initialize`` comes next."""
        self._instance = instance
        self._socket_directory = socket_directory
        self._lock = threading.RLock()  # Reentrant: the handler of the warning signal may call too.
        self._state = State.NEW
        self._settings = Settings(0, Policy.QUIT)
        self._quorum: QuorumWatch | None = None
        self._program: ProgramEnd | None = None
        self._heartbeats: HeartbeatThread | None = None

    @property
    def state(self) -> State:
        """How far the program has come."""
        return self._state

    @property
    def interval_ms(self) -> int:
        """Longest silence that ``initialize`` allowed."""
        return self._settings.interval_ms

    def initialize(self, interval_ms: int, policy: int) -> None:
        """Choose how long the program may be silent while it is checked (0: without limit), and the recovery Policy.

        With QUORUM, connect to the quorum service. C: sam_initialize. Raises BadHandle (done already), InvalidParameter;
        with QUORUM also LibraryError, TryAgain, AccessDenied.
        """
        with self._lock:
            after = following(Call.INITIALIZE, self._state)
            settings = checked_settings(interval_ms, policy)
            if settings.policy & Policy.QUORUM:
                self._quorum = QuorumWatch(self._connect_quorum)
            self._settings, self._state = settings, after

    def register(self) -> int:
        """Become supervised: the process forks, its parent stays in this call as the supervisor, the child returns.

        After each failure, with the policy RESTART, another child returns. The result is the instance's number, from 1 on; data
        that an earlier instance stored are there. The supervisor ends with the last instance and passes its exit status on
        (128 and the signal's number, where a signal ended it). To be called before threads are started, which a fork does not
        copy, and before handlers of signals are set, which would run in the supervisor too. What the program has open by now,
        all instances share. C: sam_register. Raises BadHandle, LibraryError (no pipe, no process); with CMAP also TryAgain,
        AccessDenied.
        """
        with self._lock:
            after = following(Call.REGISTER, self._state)
            record = Record(self._connect_cmap, os.getpid()) if self._settings.policy & Policy.CMAP else None
            self._program = Supervisor(self._settings, self._quorum, record).register()
            self._quorum = None
            self._state = after
            return self._settings.instance

    def start(self) -> None:
        """Have the health checked from now on: ``hc_send`` must follow within each interval. With QUORUM, wait for quorum first;
        calls of other threads wait with it. C: sam_start. Raises BadHandle, LibraryError (no supervisor).
        """
        with self._lock:
            after = following(Call.START, self._state)
            self._tell(Message(Command.START))
            self._state = after
            if self._heartbeats is not None:
                self._heartbeats.resume()

    def stop(self) -> None:
        """Have the health checked no more: from now on the program may end.

        C: sam_stop. Raises BadHandle, LibraryError (no supervisor), Busy (in a signal handler, in the middle of another call).
        """
        with self._lock:
            after = following(Call.STOP, self._state)
            self._tell(Message(Command.STOP))
            self._state = after
            if self._heartbeats is not None:
                self._heartbeats.pause()

    def hc_send(self) -> None:
        """Say that the program is well.

        C: sam_hc_send. Raises BadHandle, LibraryError (no supervisor).
        """
        with self._lock:
            following(Call.HC_SEND, self._state)
            self._tell(Message(Command.HEARTBEAT))

    def hc_callback_register(self, check: HealthCheck | None) -> None:
        """Have a thread send the heartbeats as long as ``check``, asked once an interval, returns True; None: no longer.

        When it returns False or raises, the heartbeats end, so that warning and kill follow. (In C the callback returns 0 for
        "well".) C: sam_hc_callback_register. Raises BadHandle, InvalidParameter (without an interval, or None where there was no
        callback).
        """
        with self._lock:
            following(Call.HC_CALLBACK_REGISTER, self._state)
            if self._settings.interval_ms == 0:
                raise InvalidParameter("sam_hc_callback_register: there is no interval in which to ask")
            if check is None and self._heartbeats is None:
                raise InvalidParameter("sam_hc_callback_register: there is no callback to remove")
            if self._heartbeats is not None:
                self._heartbeats.end()
            self._heartbeats = None if check is None else HeartbeatThread(self._settings.interval, self.hc_send, check)

    def warn_signal_set(self, signal: int) -> None:
        """Choose the signal that a silent program gets first (default: SIGTERM); SIGKILL spares it the warning.

        C: sam_warn_signal_set. Raises BadHandle, InvalidParameter (no signal), LibraryError (no supervisor), Busy.
        """
        with self._lock:
            following(Call.WARN_SIGNAL_SET, self._state)
            number = checked_signal(signal)
            self._tell(Message(Command.WARN_SIGNAL, signal=number))
            self._settings.warn_signal = number

    def data_store(self, data: bytes | bytearray | memoryview | None) -> None:
        """Keep data for the instances to come, in place of what was stored before; None: keep nothing.

        C: sam_data_store. Raises BadHandle, TooBig (past DATA_LIMIT), LibraryError (no supervisor), Busy.
        """
        with self._lock:
            following(Call.DATA_STORE, self._state)
            kept = checked_data(data)
            self._tell(Message(Command.DATA_STORE, data=kept))
            self._settings.data = kept

    def data_restore(self) -> bytes | None:
        """What is stored; None where nothing is.

        C: sam_data_restore. Raises BadHandle.
        """
        with self._lock:
            following(Call.DATA_RESTORE, self._state)
            return self._settings.data

    def data_getsize(self) -> int:
        """Bytes of what is stored; 0 where nothing is.

        C: sam_data_getsize. Raises BadHandle.
        """
        with self._lock:
            following(Call.DATA_GETSIZE, self._state)
            return len(self._settings.data or b"")

    def mark_failed(self) -> None:
        """Give up: the program is killed without warning and not started again, and the map's ``state`` becomes "failed".

        C: sam_mark_failed. Raises BadHandle, InvalidParameter (policy without CMAP), LibraryError (no supervisor).
        """
        with self._lock:
            following(Call.MARK_FAILED, self._state)
            if not self._settings.policy & Policy.CMAP:
                raise InvalidParameter("sam_mark_failed: only with the policy CMAP")
            self._tell(Message(Command.MARK_FAILED))

    def finalize(self) -> None:
        """End the checks for good: whatever becomes of the program, it is not started again.

        C: sam_finalize. Raises BadHandle, LibraryError (no supervisor), Busy.
        """
        with self._lock:
            after = following(Call.FINALIZE, self._state)
            if self._program is not None:
                self._program.check_idle(Command.STOP)
            if self._state == State.STARTED:
                self._tell(Message(Command.STOP))
            self._state = after
            if self._heartbeats is not None:
                self._heartbeats.end()
            if self._quorum is not None:
                self._quorum.close()

    def _tell(self, message: Message) -> None:
        """Tell the supervisor; before there is one, it is enough that this process knows."""
        if self._program is not None:
            self._program.tell(message)

    def _connect_quorum(self) -> Quorum:
        return Quorum(instance=self._instance, socket_directory=self._socket_directory)

    def _connect_cmap(self) -> Cmap:
        return Cmap(instance=self._instance, socket_directory=self._socket_directory)
