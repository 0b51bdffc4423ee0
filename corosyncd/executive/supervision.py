"""The engines' lives: start, silence, death, successor, and the orderly stop.

Design: "What happens when something dies" (engine death, step by step) and "Life cycle".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from corosyncd.executive.actions import Exit, KillEngine, SpawnEngine
from corosyncd.executive.record import (
    DEATH_LIMIT,
    DEATH_WINDOW,
    PROGRESS_LIMIT,
    READY_LIMIT,
    SYNC_TAG,
    EngineRecord,
    Phase,
)
from corosyncd.executive.sync import Phase as Round
from corosyncd.keyspace.runtime_keys import engine_deaths
from corosyncd.keyspace.values import uint32
from corosyncd.link.vocabulary import ToEngine
from corosyncd.totem.events import NO_RING

if TYPE_CHECKING:
    from corosyncd.executive.executive import Executive

START_LIMIT = 20.0
"""Seconds that the first start of all engines may take."""
STOP_LIMIT = 2.0
"""Seconds that one engine may take to close its clients."""
CHECK_PERIOD = 0.25
"""Seconds between two looks at the engines. One that is late by as much again shows that this process itself was away."""
EXIT_FATAL = 15


class Supervision:
    """Decides over engines. All waiting is by deadlines that ``handle_timer`` looks at."""

    __slots__ = (
        "_away",
        "_executive",
        "_leave_at",
        "_next_check",
        "_reason",
        "_reform",
        "_status",
        "_stop_deadline",
        "_stopping",
        "_token_timeout",
        "_waiting",
        "ran",
    )

    def __init__(self, executive: Executive, token_timeout: float) -> None:
        """``token_timeout`` bounds the wait for last words to be delivered (seconds)."""
        self._executive = executive
        self._token_timeout = token_timeout
        self.ran: Callable[[str], float | None] = lambda _engine: None
        """The processor time (seconds) of an engine that is ready to run; None for one that is not. The driver knows."""
        self._waiting: dict[str, float] = {}
        """Engine name to the time by which it must be ready."""
        self._reform = False
        self._next_check = 0.0
        self._away = False
        """Whether the last look was late."""
        self._stopping: list[EngineRecord] | None = None
        self._stop_deadline = 0.0
        self._leave_at: float | None = None
        self._status = 0
        self._reason = ""

    # Starting.

    def spawn(self, engine: EngineRecord) -> None:
        """Ask for a process, with what its predecessor had handed over."""
        executive = self._executive
        first = not engine.deaths
        engine.phase = Phase.STARTING
        self._waiting[engine.name] = executive.now + (START_LIMIT if first else READY_LIMIT)
        executive.act(SpawnEngine(engine.name, engine.kept, executive.has_served))

    def ready(self, engine: EngineRecord) -> None:
        """A process said READY: a successor gets what waited for it, and a synchronised one a new ring."""
        executive = self._executive
        self._waiting.pop(engine.name, None)
        if not engine.deaths:
            return
        for batch, _size in list(engine.outstanding):
            triples: list[int] = []
            for source, function, body in batch:
                triples += (source, function, len(body))
            engine.put(ToEngine.DELIVER, triples, bodies=[message[2] for message in batch])
        if engine.outstanding:
            engine.owes_since = executive.now
        executive.log("SERV", "notice", f"Engine {engine.name} is back after {len(engine.deaths)} death(s) in its recent past")
        if engine.synchronised:
            executive.ring.force_gather(executive.now)
        elif executive.sync.ring_id != NO_RING:
            # Its predecessor may have died with its gate still to be closed: an open round waits for the answer.
            executive.tell_configuration(engine)
            if not executive.sync.in_process:
                engine.put(ToEngine.SYNC_COMPLETE)

    def missing(self) -> bool:
        """Whether a synchronised engine is away: then this node sends no barrier."""
        return any(engine.synchronised and not engine.running for engine in self._executive.engines.values())

    def round_complete(self) -> None:
        """A round was completed; after an engine died in an aborted one the ring is formed once more."""
        if self._reform:
            self._reform = False
            self._executive.log("SERV", "notice", "An engine died in the middle of a synchronisation: forming the ring once more")
            self._executive.ring.force_gather(self._executive.now)

    # Silence and death.

    def owes(self, engine: EngineRecord) -> None:
        """An answer is expected from it, soon."""
        if engine.owes_since is None:
            engine.owes_since = self._executive.now

    def alive(self, engine: EngineRecord) -> None:
        """It has answered the question whether it is."""
        engine.asked_since = None

    def owes_nothing(self, engine: EngineRecord) -> None:
        """It has answered; deliveries may still be under way."""
        engine.owes_since = self._executive.now if engine.outstanding_bytes else None

    def died(self, engine: EngineRecord, reason: str) -> None:
        """Its process is gone: take back what has not left, start a successor, or give up."""
        executive = self._executive
        if engine.phase in (Phase.ABSENT, Phase.STOPPED):
            return
        was_stopping = engine.phase is Phase.STOPPING
        executive.log("SERV", "error", f"Engine {engine.name} has died: {reason}")
        engine.phase = Phase.ABSENT
        executive.ring.withdraw(engine.service_id)
        executive.ring.withdraw(SYNC_TAG + engine.service_id)
        if executive.sync.in_process and engine.sync_data_sent:
            self._reform = True
        kept_on = engine.reset_link()
        executive.keys.engine_gone(engine)
        executive.gate_is_open(engine)
        executive.snapshots.engine_gone(engine, executive.now)
        executive.connections.engine_gone(engine)
        if was_stopping or self._stopping is not None:
            self.stopped(engine)
            return
        if kept_on:
            engine.hand_over(kept_on, sum(len(body) for _source, _function, body in kept_on), executive.now)
            engine.owes_since = None
        engine.deaths.append(executive.now)
        engine.deaths_in_all += 1
        executive.keys.publish([(engine_deaths(engine.name), uint32(engine.deaths_in_all))])
        if engine.crash_policy == "leave":
            self.shutdown(f"engine {engine.name} died and its crash policy is to leave", EXIT_FATAL)
        elif len(engine.deaths) >= DEATH_LIMIT and executive.now - engine.deaths[0] < DEATH_WINDOW:
            self.shutdown(f"engine {engine.name} died {DEATH_LIMIT} times within {DEATH_WINDOW:.0f} s", EXIT_FATAL)
        else:
            self.spawn(engine)

    # The clock.

    def start(self, now: float) -> None:
        """Begin to look, and ask for every engine."""
        self._next_check = now + CHECK_PERIOD
        for engine in self._executive.engines.values():
            self.spawn(engine)

    def next_timer(self) -> float:
        """When silence has to be looked at again."""
        if self._leave_at is not None:
            return self._leave_at
        return self._next_check

    def handle_timer(self, now: float) -> None:
        """Look for engines that are late, and move an orderly stop on."""
        if now < self.next_timer():
            return
        late, self._next_check = now - self._next_check, now + CHECK_PERIOD
        executive = self._executive
        if self._leave_at is not None:
            self._leave()
            return
        was_away, self._away = self._away, late > CHECK_PERIOD
        if self._away:
            self._forgive(late, now)
            if not was_away:
                return  # what engines have said meanwhile is read before they are judged; once, or a busy node would never judge
        if self._stopping is not None:
            if now >= self._stop_deadline and self._stopping:
                engine = self._stopping[0]
                executive.act(KillEngine(engine.name, f"did not stop within {STOP_LIMIT:.0f} s"))
                self.stopped(engine)
            return
        judged = CHECK_PERIOD if self._away else CHECK_PERIOD + late
        for engine in executive.engines.values():
            self._look_at(engine, now, judged)

    def _forgive(self, late: float, now: float) -> None:
        """This process did not run, or was busy, for so many seconds: what engines owe it, it could not take."""
        for engine in self._executive.engines.values():
            engine.excuse(late, now)
        for name in self._waiting:
            self._waiting[name] += late
        self._stop_deadline += late

    def _look_at(self, engine: EngineRecord, now: float, judged: float) -> None:
        """``judged``: the seconds since the last look that are not forgiven yet."""
        deadline = self._waiting.get(engine.name)
        if deadline is not None and now >= deadline:
            del self._waiting[engine.name]
            reason = f"engine {engine.name} was not ready in time"
            self._executive.act(KillEngine(engine.name, reason))
            self.shutdown(reason, EXIT_FATAL)
        elif not engine.running:
            return
        elif engine.owes_since is None and engine.asked_since is None:
            engine.ran = None
            if self._waited_for(engine):
                engine.put(ToEngine.ALIVE)
                engine.asked_since = now
        else:
            engine.excuse(self._starved(engine, judged), now)
            if any(since is not None and now - since > PROGRESS_LIMIT for since in (engine.owes_since, engine.asked_since)):
                engine.owes_since = engine.asked_since = None
                self._executive.act(KillEngine(engine.name, f"made no progress for {PROGRESS_LIMIT:.0f} s"))

    def _starved(self, engine: EngineRecord, judged: float) -> float:
        """Seconds since the last look in which others had the processor that it was ready for: it is slow, it does not hang."""
        before, engine.ran = engine.ran, self.ran(engine.name)
        if before is None or engine.ran is None:
            return 0.0
        return max(0.0, judged - (engine.ran - before))

    def _waited_for(self, engine: EngineRecord) -> bool:
        """Whether somebody waits for a word of it, however long that may rightly take: then it must at least be alive."""
        executive = self._executive
        return (
            (executive.sync.phase is Round.CLOSING_GATES and engine.gated and engine.gate_ring != executive.ring_id)
            or engine.name in executive.opening
            or executive.sync.waits_for(engine.service_id)
            or executive.quorum_step.waits_for(engine)
            or executive.keys.waits_for(engine)
            or executive.snapshots.waits_for(engine)
        )

    # The orderly stop.

    def shutdown(self, reason: str, status: int) -> None:
        """Stop engine after engine, then leave the ring; a second call changes nothing."""
        if self._stopping is not None:
            return
        executive = self._executive
        executive.log("SERV", "notice" if status == 0 else "error", f"Unloading all Corosync service engines: {reason}")
        self._status = status
        self._reason = reason
        self._waiting.clear()
        order = [engine for engine in executive.engines.values() if engine.running]
        self._stopping = sorted(order, key=lambda engine: (-engine.priority, engine.service_id))
        self._stop_next()

    def stopped(self, engine: EngineRecord) -> None:
        """An engine has said its last words (or died over them)."""
        engine.phase = Phase.STOPPED
        self._executive.log("SERV", "notice", f"Service engine unloaded: {engine.title}")
        if self._stopping is not None and engine in self._stopping:
            first = self._stopping[0] is engine
            self._stopping.remove(engine)
            if first:
                self._stop_next()

    def _stop_next(self) -> None:
        executive = self._executive
        if self._stopping:
            engine = self._stopping[0]
            engine.phase = Phase.STOPPING
            self._stop_deadline = executive.now + STOP_LIMIT
            engine.put(ToEngine.STOP)
        else:
            self._leave_at = executive.now + (self._token_timeout if self._words_wait() else 0.0)

    def words_delivered(self) -> None:
        """The ring has worked: leave as soon as the last words are out."""
        if self._leave_at is not None and not self._words_wait():
            self._leave_at = self._executive.now

    def _words_wait(self) -> bool:
        executive = self._executive
        return any(executive.ring.queued_bytes(engine.service_id) for engine in executive.engines.values())

    def _leave(self) -> None:
        executive = self._executive
        self._leave_at = float("inf")
        executive.ring.leave(executive.now)
        executive.act(Exit(self._status, self._reason))
