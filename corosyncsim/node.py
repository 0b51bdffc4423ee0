"""A simulated node: the protocol core, the disk that survives its crashes, and a driver like the daemon's.

The driver follows the rules of a real one: it reads waiting datagrams dry before it acts on a token or an expired timer, it
executes the core's outputs in their order, it stores a ring sequence number before anything that came out later is sent, and it
tells the core when it was not scheduled for long. A crash may fall between any two outputs of one step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from struct import Struct
from typing import Final, Protocol

from corosyncd.totem.events import (
    Configuration,
    ConfigurationKind,
    Deliver,
    Group,
    Multicast,
    Notice,
    Output,
    Queue,
    RingId,
    StoreRingSequence,
    Unicast,
)
from corosyncsim import payload, wiretap
from corosyncsim.checkers.ring_rules import Progress
from corosyncsim.history import Message, Process
from corosyncsim.kernel import Kernel
from corosyncsim.network import FRAME_TYPE_OFFSET, Network
from corosyncsim.recorder import Recorder

RECEIVE_BUFFER_BYTES: Final = 1 << 20
"""What a node's sockets hold while it is busy or paused; more is dropped, as by a kernel."""

_BARRIER_RING = Struct("<IQ")
"""A barrier names the ring that it closes the synchronisation of, so that one of an earlier ring is not mistaken for it."""


class Core(Protocol):
    """The face of ``corosyncd.totem.ring.Ring`` that a driver uses."""

    @property
    def ring_id(self) -> RingId: ...
    @property
    def members(self) -> Sequence[int]: ...
    def start(self, now: float) -> None: ...
    def receive(self, buffer: bytes, segment_size: int, now: float) -> None: ...
    def handle_timer(self, now: float) -> None: ...
    def next_timer(self) -> float | None: ...
    def outputs(self) -> list[Output]: ...
    def submit(self, group: Group, messages: Sequence[bytes], queue: Queue, tag: int, now: float) -> object: ...
    def synchronization_complete(self, now: float) -> None: ...
    def leave(self, now: float) -> None: ...
    def force_gather(self, now: float) -> None: ...
    def not_scheduled(self, gap: float, now: float) -> None: ...


class Power(Enum):
    """Whether the node's process exists and is scheduled."""

    DOWN = "down"
    UP = "up"
    PAUSED = "paused"


MakeCore = Callable[[int, int, float], Core]
"""Makes a core from node id, stored ring sequence number and the time."""


class SimulatedNode:
    """One node of the cluster, over all its lives."""

    def __init__(
        self,
        kernel: Kernel,
        network: Network,
        recorder: Recorder,
        node_id: int,
        make_core: MakeCore,
        progress: Callable[[Core], tuple[RingId, Progress] | None],
        pause_limit: float,
        *,
        barrier: bool,
    ) -> None:
        self.node_id = node_id
        self.power = Power.DOWN
        self.life = 0
        self.storage_losses = 0
        self.stored_sequence = 0
        self.step_cost = 0.0
        self.waiting: dict[Message, None] = {}
        """Submitted in this life and not yet delivered here, in order of submission."""
        self.delivered: set[Message] = set()
        """Delivered in this life."""
        self.on_delivery: Callable[[SimulatedNode, Message], None] = lambda node, message: None
        self.core: Core | None = None
        self.configuration: Configuration | None = None
        self._kernel = kernel
        self._network = network
        self._recorder = recorder
        self._make_core = make_core
        self._progress = progress
        self._pause_limit = pause_limit
        self._barrier = barrier
        self._synchronising = True
        self._barriers: set[int] = set()
        self._numbers = 0
        self._data: deque[tuple[bytes, int]] = deque()
        self._tokens: deque[tuple[bytes, int]] = deque()
        self._waiting_bytes = 0
        self._paused_at = 0.0
        self._busy_until = 0.0
        self._serving = False
        self._armed: float | None = None
        self._clock_ahead = 0.0
        self._crash_after: int | None = None
        self.dropped = 0

    @property
    def process(self) -> Process:
        """The present life, or the last one."""
        return Process(self.node_id, self.life)

    # Faults.

    def start(self) -> None:
        """Begin a new life with whatever is on the disk; nothing happens if one is under way."""
        if self.power is not Power.DOWN:
            return
        self.life += 1
        self.power = Power.UP
        self._synchronising = True
        self._numbers = 0
        self._busy_until = 0.0
        self._recorder.started(self.process, self.storage_losses)
        self.core = self._make_core(self.node_id, self.stored_sequence, self._now())
        self.core.start(self._now())
        self._execute()

    def crash(self) -> None:
        """End this life at once: whatever was in memory is gone."""
        if self.power is not Power.DOWN:
            self._end("crashes")

    def crash_during_step(self, outputs: int | None) -> None:
        """End this life after ``outputs`` more outputs of the core, perhaps in the middle of a step; None calls it off."""
        if self.power is not Power.DOWN:
            self._crash_after = outputs

    def lose_storage(self) -> None:
        """The disk of a node that is down comes back empty."""
        if self.power is Power.DOWN:
            self.stored_sequence = 0
            self.storage_losses += 1
            self._recorder.note(self.process, "has lost its stored ring sequence")

    def leave(self) -> None:
        """End this life in order: the others are told."""
        if self.power is Power.UP and self.core is not None:
            self.core.leave(self._now())
            self._execute()
            if self.core is not None:
                self._end("leaves")

    def pause(self) -> None:
        """Stop being scheduled; datagrams wait in the sockets as far as they fit."""
        if self.power is Power.UP:
            self.power = Power.PAUSED
            self._paused_at = self._kernel.now
            self._recorder.note(self.process, "pauses")

    def resume(self) -> None:
        """Be scheduled again."""
        if self.power is not Power.PAUSED or self.core is None:
            return
        self.power = Power.UP
        gap = self._kernel.now - self._paused_at
        self._recorder.note(self.process, f"resumes after {gap:.3f} s")
        self._missed(self.core, gap)

    def jump_clock(self, seconds: float) -> None:
        """This node's clock leaps ahead, as a monotonic clock may after its machine was moved or suspended."""
        self._clock_ahead += seconds
        self._recorder.note(self.process, f"has a clock that jumps {seconds:.3f} s ahead")
        if self.power is Power.UP and self.core is not None:
            self._armed = None
            self._missed(self.core, seconds)

    def _missed(self, core: Core, gap: float) -> None:
        """By its own clock the node did not run for ``gap`` seconds."""
        if gap > self._pause_limit:
            core.not_scheduled(gap, self._now())
            self._execute()
        self._serve()

    def _now(self) -> float:
        """The time by this node's clock."""
        return self._kernel.now + self._clock_ahead

    def force_gather(self) -> None:
        """Form the ring anew, as the executive does when an engine of its comes back."""
        if self.power is Power.UP and self.core is not None:
            self.core.force_gather(self._now())
            self._execute()

    def _end(self, how: str) -> None:
        self.power = Power.DOWN
        self.core = None
        self.configuration = None
        self._crash_after = None
        self._armed = None
        self._data.clear()
        self._tokens.clear()
        self._waiting_bytes = 0
        self.waiting.clear()
        self.delivered.clear()
        self._barriers.clear()
        self._recorder.failed(self.process, how)

    # Programs.

    def submit(self, size: int, queue: Queue = Queue.NORMAL) -> Message | None:
        """A program's message; None while the node cannot take one."""
        if self.power is not Power.UP or self.core is None:
            return None
        message = Message(self.process, self._numbers)
        self._hand_over(self.core, Group.ENGINES, queue, message, payload.body(message, size))
        self._execute()
        return message

    def _hand_over(self, core: Core, group: Group, queue: Queue, message: Message, body: bytes) -> None:
        self._numbers += 1
        self._recorder.submitted(message, body)
        self.waiting[message] = None
        core.submit(group, [body], queue, 0, self._now())

    # The driver.

    def arrive(self, buffer: bytes, segment_size: int) -> None:
        """A datagram, or a train of equal ones, reaches this node's socket."""
        if self.power is Power.DOWN:
            return
        if self.power is Power.UP and self._kernel.now >= self._busy_until and not self._waiting_bytes:
            self._feed(buffer, segment_size)
            return
        if self._waiting_bytes + len(buffer) > RECEIVE_BUFFER_BYTES:
            self.dropped += 1
            return
        self._waiting_bytes += len(buffer)
        is_token = len(buffer) > FRAME_TYPE_OFFSET and buffer[FRAME_TYPE_OFFSET] in (wiretap.TOKEN, wiretap.COMMIT)
        (self._tokens if is_token else self._data).append((buffer, segment_size))
        self._serve_later()

    def _serve_later(self) -> None:
        if self.power is Power.UP and not self._serving:
            self._serving = True
            self._kernel.at(self._busy_until, self._serve)

    def _serve(self) -> None:
        """Read the sockets: everything else before tokens, tokens before timers, as far as the processor allows."""
        self._serving = False
        while self.power is Power.UP:
            if self._kernel.now < self._busy_until:
                self._serve_later()
                return
            waiting = self._data or self._tokens
            if not waiting:
                self._expire()
                return
            buffer, segment_size = waiting.popleft()
            self._waiting_bytes -= len(buffer)
            self._feed(buffer, segment_size)

    def _feed(self, buffer: bytes, segment_size: int) -> None:
        if self.core is None:
            return
        self._busy_until = self._kernel.now + self.step_cost
        self.core.receive(buffer, segment_size, self._now())
        self._execute()

    def _expire(self) -> None:
        """The timer that was armed comes due, or the node has caught up after being late."""
        if self.power is not Power.UP or self.core is None:
            return
        if self._kernel.now < self._busy_until or self._waiting_bytes:
            self._serve_later()
            return
        due = self.core.next_timer()
        # Compared as it was armed: a sum of two times may round to just below what it was made from.
        if due is not None and due - self._clock_ahead <= self._kernel.now:
            self.core.handle_timer(max(due, self._now()))
            self._execute()
        else:
            self._arm()

    def _timer(self, life: int, armed: float) -> None:
        if life == self.life and armed == self._armed:
            self._armed = None
            self._expire()

    def _arm(self) -> None:
        """Look at the timer no later than the core wants; that it has moved on is noticed when it comes due."""
        if self.core is None:
            return
        due = self.core.next_timer()
        if due is None:
            return
        due -= self._clock_ahead
        if self._armed is None or due < self._armed:
            self._armed = max(due, self._kernel.now)
            self._kernel.at(self._armed, self._timer, self.life, self._armed)

    def _execute(self) -> None:
        """Do what the core asked for until it asks for nothing more."""
        delivered: list[Message] = []
        while self.core is not None:
            outputs = self.core.outputs()
            if not outputs:
                break
            complete = False
            for output in outputs:
                if self._crash_after is not None:
                    if self._crash_after == 0:
                        self._end("crashes in the middle of a step")
                        return
                    self._crash_after -= 1
                complete = self._perform(output, delivered) or complete
            if complete and self.core is not None:
                self._synchronising = False
                self.core.synchronization_complete(self._now())
        if self.core is None:
            return
        progress = self._progress(self.core)
        if progress is not None:
            self._recorder.stepped(self.process, *progress)
        self._arm()
        for message in delivered:
            self.on_delivery(self, message)

    def _perform(self, output: Output, delivered: list[Message]) -> bool:
        """Carry out one output; whether synchronisation is complete with it."""
        process = self.process
        match output:
            case Multicast(frames=frames):
                self._recorder.multicast(process, frames, self._synchronising)
                self._network.multicast(self.node_id, frames)
            case Unicast(node_id=node_id, frame=frame):
                self._recorder.unicast(process, node_id, frame)
                self._network.unicast(self.node_id, node_id, frame)
            case Deliver(messages=messages):
                return self._deliver(process, messages, delivered)
            case Configuration():
                return self._install(process, output)
            case StoreRingSequence(sequence=sequence):
                self.stored_sequence = sequence
                self._recorder.note(process, f"stores ring sequence {sequence:x}")
            case Notice(level=level, text=text):
                self._recorder.note(process, f"{level}: {text}")
        return False

    def _deliver(self, process: Process, messages: Sequence[tuple[int, Group, bytes]], delivered: list[Message]) -> bool:
        complete = False
        for originator, group, body in messages:
            message = self._recorder.delivered(process, originator, bytes(body))
            if message is None:
                continue
            self.waiting.pop(message, None)
            self.delivered.add(message)
            if group is Group.SYNC:
                complete = self._barrier_from(originator, bytes(body)) or complete
            else:
                delivered.append(message)
        return complete

    def _install(self, process: Process, configuration: Configuration) -> bool:
        self._recorder.installed(process, configuration)
        if configuration.kind is ConfigurationKind.TRANSITIONAL:
            return False
        self.configuration = configuration
        self._synchronising = True
        self._barriers.clear()
        if not self._barrier or self.core is None:
            return True
        message = Message(self.process, self._numbers)
        body = payload.body(message, payload.SMALLEST) + _BARRIER_RING.pack(*configuration.ring_id)
        self._hand_over(self.core, Group.SYNC, Queue.SYNC, message, body)
        return False

    def _barrier_from(self, originator: int, body: bytes) -> bool:
        if self.configuration is not None and body[payload.SMALLEST :] == _BARRIER_RING.pack(*self.configuration.ring_id):
            self._barriers.add(originator)
        return self._synchronising and self.configuration is not None and self._barriers >= set(self.configuration.members)
