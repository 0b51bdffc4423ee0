"""The executive's process at work: sockets, links and timers around the core, on one asyncio loop.

The driver feeds the ring and the executive, and carries out what comes out: frames to the transport, entries to the links,
actions to the world. It decides nothing. Design: "The core has no I/O", "Life cycle".
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from corosyncd.daemon.engine_links import EngineLinks
from corosyncd.daemon.notify import notify
from corosyncd.daemon.number_store import NumberStore, StoreError
from corosyncd.daemon.priority import Priority
from corosyncd.daemon.statistics_keys import Delays
from corosyncd.daemon.surroundings import Surroundings
from corosyncd.executive.actions import (
    Exit,
    KillEngine,
    Log,
    Ready,
    ReloadConfiguration,
    ReopenLogs,
    SettingsChanged,
    SpawnEngine,
    StartRing,
    StoreExpectedVotes,
)
from corosyncd.executive.executive import Executive
from corosyncd.keyspace.values import Value
from corosyncd.link.frames import Frame
from corosyncd.totem.events import Configuration, Deliver, Multicast, Notice, StoreRingSequence, Unicast
from corosyncd.totem.ring import PAUSE_FRACTION, Ring
from corosyncd.transport.udpu import UdpuTransport

EXIT_FAILED = 15
"""After an error of the executive's own."""
EXIT_RING_STORE = 21
DRY_LIMIT = 64
"""Reads before an expired timer is looked at even though datagrams keep coming."""
FULL_COLLECTION = 200
"""Every so many looks the whole of the young heap is collected, otherwise its youngest generations."""
WATCH_PERIODS = 2
"""How often the driver looks whether it was scheduled, within the shortest pause that it must notice."""

Logger = Callable[[str, str, str], None]
"""subsystem, priority word, text."""


@dataclass(slots=True)
class Parts:
    """What boot has made for the node."""

    ring: Ring
    executive: Executive
    transport: UdpuTransport
    ring_store: NumberStore
    votes_store: NumberStore | None
    """With expected_votes_tracking."""
    links: EngineLinks
    priority: Priority
    log: Logger
    reload: Callable[[Callable[[int], None]], None]
    """Reads the configuration again in a helper and calls back with a status."""
    reopen_logs: Callable[[], None]
    apply_settings: Callable[[Sequence[tuple[str, Value]]], None]
    """Logs, and runs the ring, by other settings."""
    delays: Delays
    """Is told when this process was not scheduled."""


class Node:
    """One running node; ``run`` returns the daemon's exit status."""

    def __init__(self, loop: asyncio.AbstractEventLoop, parts: Parts) -> None:
        """Nothing starts before ``run``."""
        self._loop = loop
        self._parts = parts
        self._ring = parts.ring
        self._executive = parts.executive
        self._transport = parts.transport
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._status: int | None = None
        transport = parts.transport
        self._surroundings = Surroundings(parts.ring, transport.counters, lambda: transport.node_ids, transport.port)
        self._pause_limit = parts.ring.parameters.token * PAUSE_FRACTION
        self._reading = False
        self._alive_at = loop.time()
        self._watches = 0
        self._watch_due = self._alive_at
        self._soon = False

    def run(self) -> int:
        """Start the engines and work until an exit is decided."""
        loop = self._loop
        loop.set_exception_handler(self._failed)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, self._on_signal, number)
        self._parts.links.start(self._on_frames, self._on_engine_death)
        loop.add_reader(self._parts.ring_store.fileno(), self._on_ring_store_lost)
        if self._parts.votes_store is not None:
            loop.add_reader(self._parts.votes_store.fileno(), self._on_votes_store_lost)
        gc.collect()
        gc.freeze()
        gc.disable()
        now = loop.time()
        self._executive.start(now)
        self._pump(now)
        self._watch_due = loop.time()
        self._watch()
        loop.run_forever()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.remove_signal_handler(number)
        return EXIT_FAILED if self._status is None else self._status

    # What comes in.

    def _on_datagrams(self) -> None:
        now = self._now()
        statistics = self._ring.statistics
        tokens = statistics.orf_token_rx
        self._feed(now)
        if self._speak(now):
            self._settle(now)
        else:
            self._arm(now)  # a sign of life: the executive has nothing to do
        if statistics.orf_token_rx != tokens:
            statistics.token_worked(self._loop.time() - now)

    def _feed(self, now: float) -> bool:
        if not self._reading:
            return False  # the ring has not begun: what comes before waits in the socket
        received = self._transport.receive()
        receive = self._ring.receive
        for content, segment in received:
            receive(content, segment, now)
        return bool(received)

    def _on_timer(self) -> None:
        self._timer = None
        now = self._now()
        self._read_dry(now)
        due = self._ring.next_timer()
        if due is not None and due <= now:
            self._ring.handle_timer(now)
        if self._executive.next_timer() <= now:
            self._executive.handle_timer(now)
        self._pump(now)

    def _read_dry(self, now: float) -> None:
        """Datagrams that wait come before a timer that has expired: they may be the token it misses."""
        for _ in range(DRY_LIMIT):
            if not self._feed(now):
                break
            self._pump(now)

    def _on_refusals(self) -> None:
        now = self._now()
        for peer, offender in self._transport.refusals():
            self._ring.peer_port_refused(peer, offender, now)
        self._pump(now)

    def _on_soon(self) -> None:
        self._soon = False
        now = self._now()
        self._feed(now)
        self._ring.handle_timer(now)
        self._pump(now)

    def _on_frames(self, name: str, frames: list[Frame]) -> None:
        now = self._now()
        try:
            for frame in frames:
                self._executive.receive(name, frame.ring_id, frame.entries, frame.bodies, now)
        except ValueError as error:
            self._parts.log("SERV", "error", str(error))
            self._parts.links.kill(name)
        self._pump(now)

    def _on_engine_death(self, name: str, reason: str) -> None:
        now = self._now()
        self._executive.engine_died(name, reason, now)
        self._pump(now)

    def _on_signal(self, number: int) -> None:
        self._parts.log("MAIN", "notice", "Node was shut down by a signal")
        now = self._now()
        self._executive.shutdown(signal.Signals(number).name, now)
        self._pump(now)

    def _on_ring_store_lost(self) -> None:
        self._loop.remove_reader(self._parts.ring_store.fileno())
        self._stop(EXIT_RING_STORE, "the ring id could not be stored: check the state directory and its disk")

    def _on_votes_store_lost(self) -> None:
        assert self._parts.votes_store is not None
        self._loop.remove_reader(self._parts.votes_store.fileno())
        self._parts.votes_store = None
        text = "expected votes can no longer be stored, and are forgotten by a restart: check the state directory and its disk"
        self._parts.log("VOTEQ", "error", text)

    def _now(self) -> float:
        now = self._loop.time()
        gap = now - self._alive_at
        self._alive_at = now
        if gap > self._pause_limit and self._reading:
            self._catch_up(gap, now)
        return now

    def _catch_up(self, gap: float, now: float) -> None:
        self._parts.delays.paused(gap)
        self._ring.catch_up(gap, now, lambda: self._read_dry(now))
        self._pump(now)

    def _watch(self) -> None:
        """Keep ``_alive_at`` young on an idle ring, so that only a real pause looks like one; collect garbage between tokens.

        The hot path makes no cycles, so the collector runs here and never in the middle of a visit.
        """
        now = self._now()
        self._parts.priority.timer_came(now - self._watch_due, now)
        self._surroundings.look(now)
        self._pump(now)
        self._watches += 1
        gc.collect(2 if self._watches % FULL_COLLECTION == 0 else 1)
        self._watch_due = now + self._pause_limit / WATCH_PERIODS
        self._loop.call_at(self._watch_due, self._watch)

    # What goes out.

    def _pump(self, now: float) -> None:
        """Carry out everything that the ring and the executive have to say."""
        self._speak(now)
        self._settle(now)

    def _speak(self, now: float) -> bool:
        """Carry out what the ring has to say; whether that was anything."""
        ring, transport = self._ring, self._transport
        spoken = False
        while True:
            outputs = ring.outputs()
            if not outputs:
                return spoken
            spoken = True
            frames: list[bytes] = []
            for output in outputs:
                kind = type(output)
                if kind is Multicast:
                    frames += output.frames  # type: ignore[union-attr]
                elif kind is Unicast:
                    transport.send(frames, output.node_id, output.frame)  # type: ignore[union-attr]
                    frames = []
                else:
                    if frames:
                        transport.send(frames)
                        frames = []
                    self._hand_up(output, now)
            if frames:
                transport.send(frames)

    def _settle(self, now: float) -> None:
        """Carry out what the executive has to say, and set the timer."""
        self._executive.ring_advanced(now)
        self._carry_out(now)
        self._arm(now)

    def _hand_up(self, output: object, now: float) -> None:
        if isinstance(output, Deliver):
            self._executive.deliver(output.messages, now)
        elif isinstance(output, Configuration):
            self._executive.configuration(output, now)
            self._surroundings.configuration(output, now)
        elif isinstance(output, StoreRingSequence):
            try:
                self._parts.ring_store.store(output.sequence)
            except StoreError as error:
                self._stop(EXIT_RING_STORE, str(error))
        elif isinstance(output, Notice):
            self._parts.log("TOTEM", output.level, output.text)

    def _carry_out(self, now: float) -> None:
        links = self._parts.links
        executive = self._executive
        while True:
            actions = executive.actions()
            for action in actions:
                if isinstance(action, Log):
                    self._parts.log(action.subsystem, action.level, action.text)
                elif isinstance(action, SpawnEngine):
                    links.spawn(action.name, action.kept, action.serves_later)
                elif isinstance(action, KillEngine):
                    self._parts.log("SERV", "error", f"Engine {action.name} is ended: {action.reason}")
                    links.kill(action.name)
                elif isinstance(action, StartRing):
                    self._reading = True
                    self._loop.add_reader(self._transport.fileno(), self._on_datagrams)
                    self._loop.add_reader(self._transport.errors_fileno(), self._on_refusals)
                    self._ring.start(now)
                    self._loop.call_soon(self._on_timer)
                elif isinstance(action, Ready):
                    notify("READY=1")
                elif isinstance(action, ReloadConfiguration):
                    self._reload(action.token)
                elif isinstance(action, ReopenLogs):
                    self._parts.reopen_logs()
                elif isinstance(action, SettingsChanged):
                    self._parts.apply_settings(action.keys)
                    self._pause_limit = self._ring.parameters.token * PAUSE_FRACTION
                elif isinstance(action, StoreExpectedVotes):
                    self._store_votes(action.expected_votes)
                elif isinstance(action, Exit):
                    self._exit(action)
            for engine in executive.engines.values():
                if engine.outbox:
                    entries, engine.outbox = engine.outbox, []
                    links.send(engine.name, entries)
            if not actions:
                break
        links.flush()

    def _store_votes(self, expected_votes: int) -> None:
        # A writer that is gone is told of by its descriptor.
        if self._parts.votes_store is not None:
            with contextlib.suppress(StoreError):
                self._parts.votes_store.store(expected_votes)

    def _reload(self, token: int) -> None:
        def answer(status: int) -> None:
            now = self._now()
            self._executive.configuration_read(token, status, now)
            self._pump(now)

        self._parts.reload(answer)

    def _exit(self, action: Exit) -> None:
        notify("STOPPING=1")
        if action.status == 0:
            self._stop(0, "")
        else:
            self._stop(action.status, action.reason)

    def _stop(self, status: int, reason: str) -> None:
        if self._status is not None:
            return
        self._status = status
        if reason:
            self._parts.log("MAIN", "error", f"Corosync Cluster Engine exiting with status {status}: {reason}")
        else:
            self._parts.log("MAIN", "notice", "Corosync Cluster Engine exiting normally")
        # What the ring still has to say (the leave) is sent by the pump that led here.
        self._loop.call_soon(self._finish)

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error of our own in the middle of a step: what it left out, this node can no longer agree on with the others.

        So it falls silent at once; the others go on, and the init system starts it again.
        """
        error = context.get("exception")
        if error is None:
            self._parts.log("MAIN", "error", str(context.get("message")))  # a complaint of the loop's: no step was lost
            return
        text = "".join(traceback.format_exception(error))
        self._parts.log("MAIN", "crit", f"Corosync Cluster Engine has failed and exits with status {EXIT_FAILED}:\n{text}")
        self._status = EXIT_FAILED
        loop.stop()

    def _finish(self) -> None:
        with contextlib.suppress(OSError):
            frames = [frame for output in self._ring.outputs() if isinstance(output, Multicast) for frame in output.frames]
            if frames:
                self._transport.send(frames)
        self._loop.stop()

    def _arm(self, now: float) -> None:
        due = self._executive.next_timer()
        ring_due = self._ring.next_timer()
        if ring_due is not None:
            if ring_due <= now:
                if not self._soon:
                    self._soon = True
                    self._loop.call_soon(self._on_soon)
                ring_due = None
            elif ring_due < due:
                due = ring_due
        if self._timer is not None:
            if due >= self._timer_at:
                return  # a timer that fires early only looks again
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._loop.call_at(due, self._on_timer)
