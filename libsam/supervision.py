"""When a program is warned, killed, started again or let go: one table, without I/O or a clock.

Where this differs from the C library, it is on purpose: a program that was warned because quorum was lost cannot put off its end
with heartbeats; without an interval it gets WARNED_SECONDS; and checks that are started again begin afresh.

Source: sam_overview(3), reference client-api section 7.2, services section 7.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from libsam.policy import Policy, Settings

WARNED_SECONDS: Final = 1.0
"""How long a program that lost quorum may live on after its warning, where no interval says it."""


class Phase(Enum):
    """What the supervisor knows of one instance of the program."""

    STOPPED = "its health is not checked"
    WAITING = "its start waits for quorum"
    RUNNING = "its health is checked"
    WARNED = "as RUNNING, but it was silent once and got the warning signal"
    LEAVING = "quorum was lost, and it got the warning signal"
    KILLED = "it got SIGKILL"


class Input(Enum):
    """What happens to an instance."""

    START = "it asks for checks"
    STOP = "it asks for no more checks"
    HEARTBEAT = "it says that it is well"
    SETTING = "it changes its data or its warning signal"
    MARK_FAILED = "it gives up"
    BREACH = "it says what is not understood"
    TIMEOUT = "the deadline has passed"
    QUORATE = "the partition is quorate"
    NOT_QUORATE = "the partition is not quorate, or the daemon has gone"


class Action(Enum):
    """What the supervisor has to do."""

    NOTHING = "nothing"
    REPLY = "answer the command"
    WARN = "send the warning signal"
    KILL = "send SIGKILL"


class Verdict(Enum):
    """What follows the end of an instance."""

    RESTART = "the next instance"
    QUIT = "the end: the program had no checks on"
    FAIL = "the end: the program failed"


_PHASES_THAT_TALK: Final = (Phase.STOPPED, Phase.RUNNING, Phase.WARNED, Phase.LEAVING)
_CHECKED: Final = (Phase.RUNNING, Phase.WARNED, Phase.LEAVING)

TABLE: Final[dict[tuple[Phase, Input], tuple[Phase, Action]]] = {
    (Phase.STOPPED, Input.START): (Phase.WAITING, Action.NOTHING),
    # The handler of a signal may send one while ``stop`` waits for its answer.
    (Phase.STOPPED, Input.HEARTBEAT): (Phase.STOPPED, Action.NOTHING),
    (Phase.STOPPED, Input.QUORATE): (Phase.STOPPED, Action.NOTHING),
    (Phase.STOPPED, Input.NOT_QUORATE): (Phase.STOPPED, Action.NOTHING),
    (Phase.WAITING, Input.QUORATE): (Phase.RUNNING, Action.REPLY),
    (Phase.WAITING, Input.NOT_QUORATE): (Phase.WAITING, Action.NOTHING),
    (Phase.RUNNING, Input.TIMEOUT): (Phase.WARNED, Action.WARN),
    (Phase.RUNNING, Input.NOT_QUORATE): (Phase.LEAVING, Action.WARN),
    (Phase.WARNED, Input.TIMEOUT): (Phase.KILLED, Action.KILL),
    (Phase.WARNED, Input.NOT_QUORATE): (Phase.KILLED, Action.KILL),
    (Phase.LEAVING, Input.TIMEOUT): (Phase.KILLED, Action.KILL),
    (Phase.LEAVING, Input.NOT_QUORATE): (Phase.LEAVING, Action.NOTHING),
    **{(phase, Input.QUORATE): (phase, Action.NOTHING) for phase in _CHECKED},
    **{(phase, Input.HEARTBEAT): (phase, Action.NOTHING) for phase in _CHECKED},
    **{(phase, Input.STOP): (Phase.STOPPED, Action.REPLY) for phase in _CHECKED},
    **{(phase, Input.SETTING): (phase, Action.REPLY) for phase in _PHASES_THAT_TALK},
    **{(phase, each): (Phase.KILLED, Action.KILL) for phase in Phase for each in (Input.MARK_FAILED, Input.BREACH)},
    **{(Phase.KILLED, each): (Phase.KILLED, Action.NOTHING) for each in Input},
}
"""What each input leads to. A command that is missing for a phase is a breach."""

_SIGNS_OF_LIFE: Final = frozenset({Input.START, Input.STOP, Input.HEARTBEAT, Input.SETTING})
_REARMED: Final = (Phase.RUNNING, Phase.WARNED)


class Supervision:
    """The supervisor's view of one instance, from its fork to its end."""

    def __init__(self, settings: Settings, *, quorate: bool) -> None:
        """``quorate``: the partition's state; without the policy QUORUM it does not matter."""
        self._settings = settings
        self._marked_failed = False
        self.quorate = quorate or not settings.policy & Policy.QUORUM
        self.phase = Phase.STOPPED
        self.deadline: float | None = None
        """When TIMEOUT is due, on the clock of ``step``."""

    def step(self, happened: Input, now: float) -> Action:
        """Take an input at the time ``now`` (seconds)."""
        if happened in (Input.QUORATE, Input.NOT_QUORATE):
            self.quorate = happened == Input.QUORATE
        self._marked_failed |= happened == Input.MARK_FAILED
        before = self.phase
        self.phase, action = TABLE.get((before, happened), TABLE[before, Input.BREACH])
        if self.phase != before or (happened in _SIGNS_OF_LIFE and self.phase in _REARMED):
            self._rearm(now)
        if self.phase == Phase.WAITING and self.quorate:
            return self.step(Input.QUORATE, now)
        return action

    def verdict(self) -> Verdict:
        """What follows, now that the instance has ended."""
        if self.phase in (Phase.STOPPED, Phase.WAITING):
            return Verdict.QUIT
        restart = self._settings.policy & Policy.RESTART and not self._marked_failed
        return Verdict.RESTART if restart else Verdict.FAIL

    def _rearm(self, now: float) -> None:
        interval = self._settings.interval
        if self.phase == Phase.LEAVING:
            self.deadline = now + (interval or WARNED_SECONDS)
        else:
            self.deadline = now + interval if interval and self.phase in _REARMED else None
