"""libsam's calls: which are possible in which state, what they refuse, and what they tell the supervisor."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

import libsam.api
from coroipc.errors import BadHandle, InvalidParameter, LibraryError, TooBig
from libsam import DATA_LIMIT, INTERVAL_LIMIT_MS, Policy, Sam, State, supervised
from libsam.pipes import Command, Message
from libsam.policy import Settings
from libsam.states import TRANSITIONS, Call


class Told:
    """Stands in for the program's end of the pipes."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.error: Exception | None = None

    def tell(self, message: Message) -> None:
        if self.error is not None:
            raise self.error
        self.messages.append(message)

    def check_idle(self, command: Command) -> None:
        pass


class OnePartSupervisor:
    """Stands in for Supervisor: the process goes on as the first instance, and nobody supervises it."""

    told: Told

    def __init__(self, settings: Settings, quorum: object, record: object) -> None:
        settings.instance += 1

    def register(self) -> Told:
        return self.told


class NoRecord:
    def __init__(self, connect: object, pid: int) -> None:
        pass


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr(OnePartSupervisor, "told", told, raising=False)
    monkeypatch.setattr(libsam.api, "Supervisor", OnePartSupervisor)
    monkeypatch.setattr(libsam.api, "Record", NoRecord)
    return told


def sam_in(state: State, policy: Policy = Policy.QUIT | Policy.CMAP) -> Sam:
    """A Sam that was brought there by its calls."""
    sam = Sam()
    if state == State.NEW:
        return sam
    sam.initialize(1000, policy)
    if state == State.FINALIZED:
        sam.finalize()
    if state in (State.REGISTERED, State.STARTED):
        assert sam.register() == 1
    if state == State.STARTED:
        sam.start()
    assert sam.state == state
    return sam


CALLS: dict[Call, Callable[[Sam], Any]] = {
    Call.INITIALIZE: lambda sam: sam.initialize(1000, Policy.QUIT),
    Call.REGISTER: lambda sam: sam.register(),
    Call.START: lambda sam: sam.start(),
    Call.STOP: lambda sam: sam.stop(),
    Call.HC_SEND: lambda sam: sam.hc_send(),
    Call.HC_CALLBACK_REGISTER: lambda sam: sam.hc_callback_register(lambda: True),
    Call.WARN_SIGNAL_SET: lambda sam: sam.warn_signal_set(signal.SIGUSR1),
    Call.DATA_STORE: lambda sam: sam.data_store(b"data"),
    Call.DATA_RESTORE: lambda sam: sam.data_restore(),
    Call.DATA_GETSIZE: lambda sam: sam.data_getsize(),
    Call.MARK_FAILED: lambda sam: sam.mark_failed(),
    Call.FINALIZE: lambda sam: sam.finalize(),
}
POSSIBLE = {
    State.NEW: {Call.INITIALIZE},
    State.INITIALIZED: {
        Call.REGISTER,
        Call.WARN_SIGNAL_SET,
        Call.DATA_STORE,
        Call.DATA_RESTORE,
        Call.DATA_GETSIZE,
        Call.FINALIZE,
    },
    State.REGISTERED: set(Call) - {Call.INITIALIZE, Call.REGISTER, Call.STOP, Call.HC_SEND},
    State.STARTED: set(Call) - {Call.INITIALIZE, Call.REGISTER, Call.START, Call.HC_CALLBACK_REGISTER},
    State.FINALIZED: set(),
}
"""Written down a second time, from the man pages: by state, where the library's table goes by call."""


@pytest.mark.parametrize("state", State, ids=lambda state: state.name.lower())
@pytest.mark.parametrize("call", Call, ids=lambda call: call.value)
def test_a_call_is_possible_in_its_states_and_a_bad_handle_in_the_others(told: Told, call: Call, state: State) -> None:
    sam = sam_in(state)
    if call in POSSIBLE[state]:
        CALLS[call](sam)
        assert sam.state == TRANSITIONS[call][state]
    else:
        with pytest.raises(BadHandle, match=call.value):
            CALLS[call](sam)
        assert sam.state == state
    if sam.state != State.FINALIZED and sam.state != State.NEW:
        sam.finalize()


@pytest.mark.parametrize("interval", [-1, INTERVAL_LIMIT_MS + 1])
def test_an_interval_that_is_no_c_int_from_zero_on_is_refused(interval: int) -> None:
    with pytest.raises(InvalidParameter):
        Sam().initialize(interval, Policy.QUIT)


@pytest.mark.parametrize("policy", [0, 3, 4, Policy.QUORUM, Policy.CMAP, Policy.QUIT | 0x20])
def test_a_policy_that_is_neither_quit_nor_restart_is_refused(policy: int) -> None:
    sam = Sam()
    with pytest.raises(InvalidParameter):
        sam.initialize(0, policy)
    assert sam.state == State.NEW


def test_without_a_daemon_a_policy_with_quorum_cannot_be_initialised() -> None:
    sam = Sam(instance="no-such-daemon")
    with pytest.raises(LibraryError):
        sam.initialize(0, Policy.QUORUM_RESTART)
    assert sam.state == State.NEW


def test_without_a_daemon_a_policy_with_cmap_cannot_be_registered() -> None:
    sam = Sam(instance="no-such-daemon")
    sam.initialize(0, Policy.QUIT | Policy.CMAP)
    with pytest.raises(LibraryError):
        sam.register()
    assert sam.state == State.INITIALIZED


def test_the_calls_tell_the_supervisor_what_the_reference_says(told: Told) -> None:
    sam = sam_in(State.REGISTERED)
    sam.data_store(b"data")
    sam.data_store(None)
    sam.warn_signal_set(signal.SIGUSR1)
    sam.start()
    sam.hc_send()
    sam.stop()
    sam.mark_failed()
    sam.finalize()
    assert told.messages == [
        Message(Command.DATA_STORE, b"data"),
        Message(Command.DATA_STORE),
        Message(Command.WARN_SIGNAL, signal=signal.SIGUSR1),
        Message(Command.START),
        Message(Command.HEARTBEAT),
        Message(Command.STOP),
        Message(Command.MARK_FAILED),
    ]


def test_finalize_stops_the_checks(told: Told) -> None:
    sam_in(State.STARTED).finalize()
    assert [message.command for message in told.messages] == [Command.START, Command.STOP]


@pytest.mark.parametrize(("state", "call"), [(State.REGISTERED, Call.START), (State.STARTED, Call.STOP)])
def test_a_call_that_fails_leaves_the_state_as_it_was(told: Told, state: State, call: Call) -> None:
    sam = sam_in(state)
    told.error = LibraryError()
    with pytest.raises(LibraryError):
        CALLS[call](sam)
    assert sam.state == state


def test_stored_data_come_back_and_none_deletes_them(told: Told) -> None:
    sam = sam_in(State.INITIALIZED)
    assert (sam.data_getsize(), sam.data_restore()) == (0, None)
    sam.data_store(bytearray(b"some"))
    assert (sam.data_getsize(), sam.data_restore()) == (4, b"some")
    sam.register()
    assert sam.data_restore() == b"some"
    sam.data_store(None)
    assert (sam.data_getsize(), sam.data_restore()) == (0, None)


def test_data_that_the_supervisor_does_not_take_are_not_stored(told: Told) -> None:
    sam = sam_in(State.REGISTERED)
    told.error = LibraryError()
    with pytest.raises(LibraryError):
        sam.data_store(b"some")
    assert sam.data_restore() is None


def test_data_past_the_limit_are_too_big(monkeypatch: pytest.MonkeyPatch) -> None:
    assert DATA_LIMIT == 1 << 26
    monkeypatch.setattr("libsam.policy.DATA_LIMIT", 3)
    sam = sam_in(State.INITIALIZED)
    sam.data_store(b"all")
    with pytest.raises(TooBig):
        sam.data_store(b"more")
    assert sam.data_restore() == b"all"


@pytest.mark.parametrize("number", [-1, 0, 65])
def test_a_warning_signal_that_is_no_signal_is_refused(number: int) -> None:
    with pytest.raises(InvalidParameter):
        sam_in(State.INITIALIZED).warn_signal_set(number)


def test_marking_failed_is_for_the_policy_cmap(told: Told) -> None:
    sam = sam_in(State.STARTED, Policy.RESTART)
    with pytest.raises(InvalidParameter):
        sam.mark_failed()


def test_a_callback_needs_an_interval(told: Told) -> None:
    sam = Sam()
    sam.initialize(0, Policy.RESTART)
    sam.register()
    with pytest.raises(InvalidParameter):
        sam.hc_callback_register(lambda: True)


def test_no_callback_can_be_removed_where_there_is_none(told: Told) -> None:
    sam = sam_in(State.REGISTERED)
    with pytest.raises(InvalidParameter):
        sam.hc_callback_register(None)
    sam.hc_callback_register(lambda: True)
    sam.hc_callback_register(None)


def test_a_supervised_block_is_started_and_finalised(told: Told) -> None:
    with supervised(0, Policy.RESTART, warn_signal=signal.SIGUSR1) as sam:
        assert sam.state == State.STARTED
    assert sam.state == State.FINALIZED
    assert [message.command for message in told.messages] == [Command.START, Command.STOP]


def test_an_exception_leaves_a_block_with_the_checks_on(told: Told) -> None:
    with pytest.raises(KeyError), supervised(0, Policy.RESTART) as sam:
        raise KeyError
    assert sam.state == State.STARTED


def test_a_block_may_finalise_by_itself(told: Told) -> None:
    with supervised(0, Policy.RESTART) as sam:
        sam.finalize()
    assert [message.command for message in told.messages] == [Command.START, Command.STOP]


def test_a_block_is_entered_once(told: Told) -> None:
    block = supervised(0, Policy.RESTART)
    with block:
        pass
    with pytest.raises(BadHandle):
        block.__enter__()


def test_a_decorated_function_gets_its_sam_and_its_arguments(told: Told) -> None:
    @supervised(0, Policy.RESTART)
    def double(sam: Sam, number: int, *, more: int = 0) -> int:
        """Twice."""
        assert sam.state == State.STARTED
        return 2 * number + more

    assert double(4, more=1) == 9
    assert double(5) == 10
    assert (double.__name__, double.__doc__) == ("double", "Twice.")
