"""Which call is possible in which state of a program: one table.

Source: sam_overview(3) and its pages, reference client-api section 7.1.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from coroipc.errors import BadHandle


class State(Enum):
    """How far a program has come with its supervision."""

    NEW = "not initialised"
    INITIALIZED = "initialised, without a supervisor"
    REGISTERED = "supervised, its health unchecked"
    STARTED = "supervised, its health checked"
    FINALIZED = "finalised"


class Call(Enum):
    """The calls, by their C names."""

    INITIALIZE = "sam_initialize"
    REGISTER = "sam_register"
    START = "sam_start"
    STOP = "sam_stop"
    HC_SEND = "sam_hc_send"
    HC_CALLBACK_REGISTER = "sam_hc_callback_register"
    WARN_SIGNAL_SET = "sam_warn_signal_set"
    DATA_STORE = "sam_data_store"
    DATA_RESTORE = "sam_data_restore"
    DATA_GETSIZE = "sam_data_getsize"
    MARK_FAILED = "sam_mark_failed"
    FINALIZE = "sam_finalize"


def _same(*states: State) -> dict[State, State]:
    return {state: state for state in states}


_LIVE: Final = (State.INITIALIZED, State.REGISTERED, State.STARTED)

TRANSITIONS: Final[dict[Call, dict[State, State]]] = {
    Call.INITIALIZE: {State.NEW: State.INITIALIZED},
    Call.REGISTER: {State.INITIALIZED: State.REGISTERED},
    Call.START: {State.REGISTERED: State.STARTED},
    Call.STOP: {State.STARTED: State.REGISTERED},
    Call.HC_SEND: _same(State.STARTED),
    Call.HC_CALLBACK_REGISTER: _same(State.REGISTERED),
    Call.WARN_SIGNAL_SET: _same(*_LIVE),
    Call.DATA_STORE: _same(*_LIVE),
    Call.DATA_RESTORE: _same(*_LIVE),
    Call.DATA_GETSIZE: _same(*_LIVE),
    Call.MARK_FAILED: _same(State.REGISTERED, State.STARTED),
    Call.FINALIZE: dict.fromkeys(_LIVE, State.FINALIZED),
}
"""The state after each call, by the state before it; the pairs that are missing are BadHandle."""


def following(call: Call, state: State) -> State:
    """The state that a successful call leads to. Raises BadHandle where the call is not possible."""
    after = TRANSITIONS[call].get(state)
    if after is None:
        raise BadHandle(f"{call.value}: the program is {state.value}")
    return after
