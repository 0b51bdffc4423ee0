"""Writes down what the nodes do: the history for the checkers, the wire for the ring's rules, and the trace for people."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from zlib import crc32

from corosyncd.totem.events import Configuration, ConfigurationKind, RingId
from corosyncd.totem.timeouts import Parameters
from corosyncsim import payload, wiretap
from corosyncsim.checkers.early_accusation import EarlyAccusations
from corosyncsim.checkers.ring_rules import Progress, RingRules
from corosyncsim.history import (
    Delivered,
    Event,
    Failed,
    History,
    Installed,
    Message,
    Note,
    Process,
    Ring,
    RingNames,
    Sent,
    Strike,
    Submitted,
)
from corosyncsim.kernel import Kernel
from corosyncsim.trace import Trace
from corosyncsim.wiretap import BadFrame

_JOIN = bytes((wiretap.JOIN,))


class _Sender:
    """What the wire shows of one process: its two streams of packed frames, ordinary and while it synchronises."""

    __slots__ = ("begun_on", "streams")

    def __init__(self) -> None:
        self.streams = (wiretap.Assembly(), wiretap.Assembly())
        self.begun_on: list[Ring | None] = [None, None]


class Recorder:
    """One for a run; nodes call it at each thing they do."""

    def __init__(self, kernel: Kernel, trace: Trace, parameters: Parameters, *, names_messages: bool = True) -> None:
        """``names_messages``: bodies name themselves; otherwise frames are followed, but not the messages in them."""
        self.history = History()
        self.rules = RingRules(parameters.window_size)
        self.accusations = EarlyAccusations(parameters)
        self._ahead: dict[int, float] = {}
        self.trace = trace
        self._kernel = kernel
        self._names_messages = names_messages
        self._names = RingNames()
        self._senders: dict[Process, _Sender] = {}
        self._order = 0
        self.deliveries = 0

    def _next(self) -> int:
        self._order += 1
        return self._order

    def _add(self, process: Process, event: Event) -> None:
        self.history.events[process].append(event)

    def ring(self, process: Process, ring_id: RingId) -> Ring:
        """The configuration that this ring id means at this process."""
        return self._names.name(ring_id, process.node_id, self.history.storage_losses[process])

    def started(self, process: Process, storage_losses: int) -> None:
        """A life of a node begins."""
        self.history.events[process] = []
        self.history.started[process] = self._kernel.now
        self.history.storage_losses[process] = storage_losses
        self._senders[process] = _Sender()
        self.accusations.started(process.node_id)
        self.trace.write(str(process), "starts")

    def failed(self, process: Process, how: str) -> None:
        """A life of a node ends."""
        self._add(process, Failed(self._next(), self._kernel.now, how))
        self.rules.ended(process.node_id)
        self.trace.write(str(process), how)

    def note(self, process: Process | str, what: str) -> None:
        """Something for people alone."""
        self.history.notes.append(Note(self._kernel.now, str(process), what))
        self.trace.write(str(process), what)

    def resumed(self, process: Process, paused_at: float) -> None:
        """A process that was not scheduled since ``paused_at`` runs again."""
        self.history.pauses.append((process, paused_at, self._kernel.now))
        self.note(process, f"resumes after {self._kernel.now - paused_at:.3f} s")

    def caught_up(self, process: Process) -> None:
        """A process has to find out by itself that it did not run for long: it does so now."""
        self.accusations.awoken(process.node_id, self._clock(process))

    def struck(self, kind: str, nodes: tuple[int, ...], duration: float, text: str) -> None:
        """A fault begins."""
        self.history.strikes.append(Strike(self._kernel.now, self._kernel.now + duration, kind, nodes, text))
        self.trace.write("fault", text)

    def clock_jumped(self, process: Process, ahead: float) -> None:
        """The node's clock is so many seconds ahead of the simulator's."""
        self._ahead[process.node_id] = ahead

    def _clock(self, process: Process) -> float:
        return self._kernel.now + self._ahead.get(process.node_id, 0.0)

    def read(self, process: Process, buffer: bytes, segment_size: int) -> None:
        """A process reads a train of datagrams, or one."""
        if len(buffer) >= wiretap.SMALLEST and buffer.startswith(wiretap.OURS):
            self.accusations.heard(process.node_id, wiretap.sender(buffer))
        for start in range(0, len(buffer), segment_size):
            if buffer[start + wiretap.TYPE_OFFSET : start + wiretap.TYPE_OFFSET + 1] == _JOIN:
                with suppress(BadFrame):
                    self.accusations.join_read(process.node_id, wiretap.join(buffer[start : start + segment_size]))

    def refused(self, process: Process, peer: int, offender: int) -> None:
        """Word came to a process that what it sent to a peer was refused, by the peer's own host or by another (0)."""
        self.accusations.refused(process.node_id, peer, offender, self._clock(process))
        if self.trace.wanted:
            self.trace.frame(str(process), f"hears from {offender or 'the way'} that {peer}'s port is closed")

    def submitted(self, message: Message, body: bytes) -> None:
        """A program at the message's sender handed it over."""
        self.history.submitted[message] = Submitted(self._next(), self._kernel.now, message, len(body), crc32(body))
        if self.trace.wanted:
            self.trace.write(str(message.sender), f"submits {message} {len(body)} B")

    def delivered(self, process: Process, originator: int, body: bytes) -> Message | None:
        """A message came out; who it is."""
        message = payload.identity(body[: payload.SMALLEST])
        self._add(process, Delivered(self._next(), self._kernel.now, message, originator, len(body), crc32(body)))
        self.deliveries += 1
        if self.trace.wanted:
            self.trace.write(str(process), f"delivers {message} {len(body)} B")
        return message

    def installed(self, process: Process, configuration: Configuration) -> None:
        """A configuration came out."""
        ring = self.ring(process, configuration.ring_id)
        self._add(process, Installed(self._next(), self._kernel.now, configuration.kind, ring, configuration.members))
        if configuration.kind is ConfigurationKind.REGULAR:
            self.rules.installed(ring, configuration.members)
            self.accusations.installed(process.node_id, configuration.members)
        if self.trace.wanted:
            joined, left = list(configuration.joined), list(configuration.left)
            what = f"{configuration.kind.value} {ring} members {list(configuration.members)} joined {joined} left {left}"
            self.trace.write(str(process), what)

    def multicast(self, process: Process, frames: Sequence[bytes], synchronising: bool) -> None:
        """Frames leave a process for everybody."""
        for raw in frames:
            if self.trace.wanted:
                self.trace.frame(str(process), f"sends {wiretap.describe(raw)}")
            try:
                kind = wiretap.frame_type(raw)
                if kind == wiretap.MCAST:
                    self._mcast(process, raw, synchronising)
                elif kind == wiretap.JOIN:
                    join = wiretap.join(raw)
                    self.accusations.join_sent(process.node_id, join, self._kernel.now, self._clock(process))
            except BadFrame as error:
                self.rules.unreadable(self._kernel.now, process.node_id, str(error))

    def _mcast(self, process: Process, raw: bytes, synchronising: bool) -> None:
        frame = wiretap.mcast(raw)
        ring = self.ring(process, frame.ring_id)
        if not self.rules.frame_left(self._kernel.now, process.node_id, ring, frame, raw):
            return
        if frame.encapsulates or frame.originator != process.node_id or not self._names_messages:
            return
        sender = self._senders[process]
        stream = int(synchronising)
        continues, messages = sender.streams[stream].completed(raw)
        carried_over = sender.begun_on[stream] if continues else None
        if messages or not continues:
            sender.begun_on[stream] = ring
        for place, message in enumerate(messages):
            begun_on = carried_over if carried_over and not place else ring
            if message is None or message not in self.history.submitted:
                self.rules.unreadable(
                    self._kernel.now, process.node_id, f"frame {frame.seq} of {ring} holds no submitted message"
                )
                continue
            sent = Sent(self._next(), self._kernel.now, message, ring, begun_on, (frame.seq, place))
            if message in self.history.sent:
                self.rules.unreadable(self._kernel.now, process.node_id, f"message {message} is sent a second time")
                continue
            self.history.sent[message] = sent
            self._add(process, sent)

    def unicast(self, process: Process, node_id: int, raw: bytes) -> None:
        """A token or a commit token leaves a process."""
        if self.trace.wanted:
            self.trace.frame(str(process), f"to {node_id}: {wiretap.describe(raw)}")
        try:
            kind = wiretap.frame_type(raw)
            if kind == wiretap.TOKEN:
                token = wiretap.token(raw)
                self.rules.token_left(self._kernel.now, process.node_id, self.ring(process, token.ring_id), token, raw)
            elif kind == wiretap.COMMIT:
                self.ring(process, wiretap.commit_ring_id(raw))
        except BadFrame as error:
            self.rules.unreadable(self._kernel.now, process.node_id, str(error))

    def stepped(self, process: Process, ring_id: RingId, progress: Progress) -> None:
        """A process has taken a step."""
        self.rules.stepped(self._kernel.now, process.node_id, self.ring(process, ring_id), progress)
