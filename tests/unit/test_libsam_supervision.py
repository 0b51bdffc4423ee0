"""When a supervised program is warned, killed, started again or let go: the supervisor's table, without processes."""

from __future__ import annotations

import itertools

import pytest

from libsam import Policy
from libsam.policy import Settings
from libsam.supervision import TABLE, WARNED_SECONDS, Action, Input, Phase, Supervision, Verdict

INTERVAL = 2.0


def supervision(policy: Policy = Policy.RESTART, *, quorate: bool = True, interval_ms: int = 2000) -> Supervision:
    return Supervision(Settings(interval_ms, policy), quorate=quorate)


def running(policy: Policy = Policy.RESTART, *, interval_ms: int = 2000) -> Supervision:
    """Started at the time 0."""
    state = supervision(policy, interval_ms=interval_ms)
    assert state.step(Input.START, 0.0) == Action.REPLY
    assert state.phase == Phase.RUNNING
    return state


def test_nothing_is_due_before_the_start() -> None:
    assert supervision().deadline is None


def test_a_silent_program_is_warned_after_an_interval_and_killed_after_another() -> None:
    state = running()
    assert state.deadline == INTERVAL
    assert state.step(Input.TIMEOUT, 2.0) == Action.WARN
    assert state.deadline == 2 * INTERVAL
    assert state.step(Input.TIMEOUT, 4.0) == Action.KILL
    assert state.deadline is None
    assert state.verdict() == Verdict.RESTART


@pytest.mark.parametrize("sign", [Input.HEARTBEAT, Input.SETTING])
def test_every_sign_of_life_puts_the_deadline_off(sign: Input) -> None:
    state = running()
    state.step(sign, 1.5)
    assert state.deadline == 1.5 + INTERVAL


def test_a_heartbeat_after_the_warning_keeps_the_program_alive_but_it_is_not_warned_again() -> None:
    state = running()
    state.step(Input.TIMEOUT, 2.0)
    assert state.step(Input.HEARTBEAT, 3.0) == Action.NOTHING
    assert state.deadline == 3.0 + INTERVAL
    assert state.step(Input.TIMEOUT, 5.0) == Action.KILL


def test_without_an_interval_silence_is_allowed() -> None:
    assert running(interval_ms=0).deadline is None


def test_a_program_that_stopped_its_checks_may_be_silent_and_may_end() -> None:
    state = running()
    assert state.step(Input.STOP, 1.0) == Action.REPLY
    assert state.deadline is None
    assert state.verdict() == Verdict.QUIT


def test_a_start_without_quorum_is_answered_when_quorum_comes() -> None:
    state = supervision(Policy.QUORUM_RESTART, quorate=False)
    assert state.step(Input.START, 0.0) == Action.NOTHING
    assert (state.phase, state.deadline) == (Phase.WAITING, None)
    assert state.step(Input.NOT_QUORATE, 1.0) == Action.NOTHING
    assert state.step(Input.QUORATE, 5.0) == Action.REPLY
    assert (state.phase, state.deadline) == (Phase.RUNNING, 5.0 + INTERVAL)


def test_without_the_policy_quorum_nobody_waits_for_it() -> None:
    state = supervision(quorate=False)
    assert state.step(Input.START, 0.0) == Action.REPLY


def test_a_start_is_answered_once() -> None:
    state = supervision(Policy.QUORUM_RESTART | Policy.CMAP, quorate=False)
    actions = [state.step(happened, 0.0) for happened in (Input.START, Input.QUORATE, Input.QUORATE, Input.HEARTBEAT)]
    assert actions.count(Action.REPLY) == 1


def test_a_program_that_ends_while_it_waits_for_quorum_has_not_failed() -> None:
    state = supervision(Policy.QUORUM_RESTART, quorate=False)
    state.step(Input.START, 0.0)
    assert state.verdict() == Verdict.QUIT


def test_lost_quorum_warns_and_no_heartbeat_puts_the_kill_off() -> None:
    state = running(Policy.QUORUM_RESTART)
    assert state.step(Input.NOT_QUORATE, 1.0) == Action.WARN
    for happened in (Input.HEARTBEAT, Input.SETTING, Input.NOT_QUORATE, Input.QUORATE):
        state.step(happened, 2.0)
        assert (state.phase, state.deadline) == (Phase.LEAVING, 1.0 + INTERVAL)
    assert state.step(Input.TIMEOUT, 3.0) == Action.KILL
    assert state.verdict() == Verdict.RESTART


def test_without_an_interval_lost_quorum_kills_all_the_same() -> None:
    state = running(Policy.QUORUM_RESTART, interval_ms=0)
    state.step(Input.NOT_QUORATE, 1.0)
    assert state.deadline == 1.0 + WARNED_SECONDS
    assert state.step(Input.TIMEOUT, 1.0 + WARNED_SECONDS) == Action.KILL


def test_a_program_that_stops_its_checks_at_the_warning_of_lost_quorum_lives() -> None:
    state = running(Policy.QUORUM_RESTART)
    state.step(Input.NOT_QUORATE, 1.0)
    assert state.step(Input.STOP, 1.5) == Action.REPLY
    assert state.deadline is None
    assert state.step(Input.START, 2.0) == Action.NOTHING
    assert state.phase == Phase.WAITING


def test_a_warned_program_that_loses_quorum_is_killed() -> None:
    state = running(Policy.QUORUM_RESTART)
    state.step(Input.TIMEOUT, 2.0)
    assert state.step(Input.NOT_QUORATE, 2.5) == Action.KILL


@pytest.mark.parametrize("policy", [Policy.QUIT, Policy.RESTART])
@pytest.mark.parametrize("started", [False, True])
def test_a_program_marked_failed_is_killed_at_once_and_not_started_again(policy: Policy, started: bool) -> None:
    state = running(policy | Policy.CMAP) if started else supervision(policy | Policy.CMAP)
    assert state.step(Input.MARK_FAILED, 1.0) == Action.KILL
    assert state.verdict() == Verdict.FAIL


def test_a_failure_under_the_policy_quit_is_the_end() -> None:
    assert running(Policy.QUIT).verdict() == Verdict.FAIL


def test_a_command_out_of_place_is_a_breach_and_kills() -> None:
    commands = (Input.START, Input.STOP, Input.HEARTBEAT, Input.SETTING)
    for phase, command in itertools.product(Phase, commands):
        if (phase, command) not in TABLE:
            state = supervision()
            state.phase = phase
            assert state.step(command, 0.0) == Action.KILL


def test_a_killed_program_is_left_alone() -> None:
    for happened in Input:
        state = running()
        state.step(Input.BREACH, 0.0)
        assert state.step(happened, 1.0) == Action.NOTHING
        assert (state.phase, state.deadline) == (Phase.KILLED, None)
