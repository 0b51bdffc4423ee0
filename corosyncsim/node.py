"""A simulated node: the protocol core, the disk that survives its crashes, and a driver like the daemon's.

The driver follows the rules of a real one: it reads waiting datagrams dry before it acts on a token or an expired timer, it
executes the core's outputs in their order, it stores a ring sequence number before anything that came out later is sent, and it
tells the core when it was not scheduled for long. A crash may fall between any two outputs of one step. What uses the ring
(``Upper``) is the bare ring's messages and barriers, or the executive with its engines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
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
from corosyncsim import wiretap
from corosyncsim.checkers.ring_rules import Progress
from corosyncsim.history import Process
from corosyncsim.kernel import Kernel
from corosyncsim.network import FRAME_TYPE_OFFSET, Network
from corosyncsim.recorder import Recorder

RECEIVE_BUFFER_BYTES: Final = 1 << 20
"""What a node's sockets hold while it is busy or paused; more is dropped, as by a kernel."""


class Core(Protocol):
    """The face of ``corosyncd.totem.ring.Ring`` that a driver and an executive use."""

    token_delay: float

    @property
    def ring_id(self) -> RingId: ...
    @property
    def members(self) -> Sequence[int]: ...
    def start(self, now: float) -> None: ...
    def receive(self, buffer: bytes, segment_size: int, now: float) -> None: ...
    def handle_timer(self, now: float) -> None: ...
    def next_timer(self) -> float | None: ...
    def outputs(self) -> list[Output]: ...
    def submit(self, group: Group, messages: Sequence[bytes], queue: Queue = ..., tag: int = ..., now: float = ...) -> None: ...
    def withdraw(self, tag: int) -> int: ...
    def queued_bytes(self, tag: int) -> int: ...
    def synchronization_complete(self, now: float) -> None: ...
    def leave(self, now: float) -> None: ...
    def force_gather(self, now: float) -> None: ...
    def catch_up(self, gap: float, now: float, read_dry: Callable[[], None]) -> None: ...
    def peer_port_refused(self, node: int, offender: int, now: float) -> None: ...


class Power(Enum):
    """Whether the node's process exists and is scheduled."""

    DOWN = "down"
    UP = "up"
    PAUSED = "paused"


class Upper(Protocol):
    """What uses the ring during one life of the node."""

    synchronising: bool
    """Whether the ring serves the queue of the round."""

    def start(self, now: float) -> None:
        """The life begins. Whenever it is ready, ``SimulatedNode.start_ring`` follows."""

    def deliver(self, messages: Sequence[tuple[int, Group, bytes]], now: float) -> bool:
        """Messages in total order; whether ``synchronization_complete`` is due behind them."""

    def install(self, configuration: Configuration, now: float) -> bool:
        """A configuration; whether ``synchronization_complete`` is due at once."""

    def advance(self, now: float) -> None:
        """All outputs of a step are carried out."""

    def next_timer(self) -> float | None:
        """When ``handle_timer`` is wanted."""

    def handle_timer(self, now: float) -> None:
        """The time has come."""

    def has_work(self) -> bool:
        """Whether something waits that comes behind datagrams and before timers."""

    def work(self, now: float) -> None:
        """Take one piece of it."""

    def leave(self, now: float) -> None:
        """The node is to stop in order: ``SimulatedNode.stop`` follows when it has."""

    def end(self, *, machine: bool) -> None:
        """The life has ended, with its whole machine or without."""


MakeCore = Callable[[int, int, float], Core]
"""Makes a core from node id, stored ring sequence number and the time."""
MakeUpper = Callable[["SimulatedNode", Core], Upper]
"""Makes what uses the ring, at each start of a node."""


class SimulatedNode:
    """One node of the cluster, over all its lives."""

    def __init__(
        self,
        kernel: Kernel,
        network: Network,
        recorder: Recorder,
        node_id: int,
        make_core: MakeCore,
        make_upper: MakeUpper,
        progress: Callable[[Core], tuple[RingId, Progress] | None],
        pause_limit: float,
    ) -> None:
        self.node_id = node_id
        self.power = Power.DOWN
        self.life = 0
        self.storage_losses = 0
        self.stored_sequence = 0
        self.step_cost = 0.0
        self.core: Core | None = None
        self.upper: Upper | None = None
        self.configuration: Configuration | None = None
        self._kernel = kernel
        self._network = network
        self._recorder = recorder
        self._make_core = make_core
        self._make_upper = make_upper
        self._progress = progress
        self._pause_limit = pause_limit
        self._listening = False
        self._data: deque[tuple[bytes, int]] = deque()
        self._tokens: deque[tuple[bytes, int]] = deque()
        self._waiting_bytes = 0
        self._paused_at = 0.0
        self._fell_asleep = 0.0
        """The same by the node's own clock."""
        self._busy_until = 0.0
        self._serving = False
        self._armed: float | None = None
        self.clock_ahead = 0.0
        self._host_up = True
        self._rebuilding = 0
        self._refusals: list[tuple[int, int]] = []
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
        self._host_up = True
        self._busy_until = 0.0
        self._recorder.started(self.process, self.storage_losses)
        self.core = self._make_core(self.node_id, self.stored_sequence, self.now())
        self.upper = self._make_upper(self, self.core)
        self.upper.start(self.now())
        self.step()

    def start_ring(self) -> None:
        """Begin to look for others; datagrams that came before wait in the socket."""
        if self.core is not None:
            self._listening = True
            self.core.start(self.now())
            self.wake()

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

    def host_down(self) -> None:
        """The whole machine goes: nobody says any more that a port is closed, until the next life."""
        if self.power is not Power.DOWN:
            self._end("goes down with its machine", machine=True)
        self._host_up = False

    def close_socket(self) -> None:
        """The live process rebuilds its socket: for a moment nobody listens."""
        self._rebuilding += 1

    def open_socket(self) -> None:
        """Undo one ``close_socket``."""
        self._rebuilding -= 1

    def leave(self) -> None:
        """End this life in order: the others are told."""
        if self.power is Power.UP and self.upper is not None:
            self.upper.leave(self.now())
            self.step()

    def stop(self, how: str) -> None:
        """End this life, after what the core had to say."""
        if self.core is not None:
            self._end(how)

    def pause(self) -> None:
        """Stop being scheduled; datagrams wait in the sockets as far as they fit."""
        if self.power is Power.UP:
            self.power = Power.PAUSED
            self._paused_at, self._fell_asleep = self._kernel.now, self.now()
            self._recorder.note(self.process, "pauses")

    def resume(self) -> None:
        """Be scheduled again."""
        if self.power is not Power.PAUSED or self.core is None:
            return
        self.power = Power.UP
        self._recorder.resumed(self.process, self._paused_at)
        self._missed(self.core, self.now() - self._fell_asleep)

    def jump_clock(self, seconds: float) -> None:
        """This node's clock leaps ahead, as a monotonic clock may after its machine was moved or suspended."""
        self.clock_ahead += seconds
        self._recorder.clock_jumped(self.process, self.clock_ahead)
        self._recorder.note(self.process, f"has a clock that jumps {seconds:.3f} s ahead")
        if self.power is Power.UP and self.core is not None:
            self._armed = None
            self._missed(self.core, seconds)

    def _missed(self, core: Core, gap: float) -> None:
        """By its own clock the node did not run for ``gap`` seconds."""
        if gap > self._pause_limit and self._listening:
            self._recorder.caught_up(self.process)
            core.catch_up(gap, self.now(), self._read_dry)
            self.step()
        self._serve()
        while self._refusals and self.power is Power.UP:
            self.refused(*self._refusals.pop(0))

    def now(self) -> float:
        """The time by this node's clock."""
        return self._kernel.now + self.clock_ahead

    def force_gather(self) -> None:
        """Form the ring anew, as the executive does when an engine of its comes back."""
        if self.power is Power.UP and self.core is not None:
            self.core.force_gather(self.now())
            self.step()

    def _end(self, how: str, *, machine: bool = False) -> None:
        self.power = Power.DOWN
        self.core = None
        self.configuration = None
        self._crash_after = None
        self._armed = None
        self._data.clear()
        self._tokens.clear()
        self._waiting_bytes = 0
        self._listening = False
        upper, self.upper = self.upper, None
        if upper is not None:
            upper.end(machine=machine)
        self._refusals.clear()
        self._recorder.failed(self.process, how)

    # The driver.

    def port_closed(self) -> bool:
        """Whether this node's host answers that nobody listens."""
        return self._host_up and (self.power is Power.DOWN or self._rebuilding > 0)

    def refused(self, peer: int, offender: int) -> None:
        """The network brings word that a datagram for ``peer`` was refused."""
        if self.power is Power.PAUSED:
            self._refusals.append((peer, offender))
        elif self.core is not None:
            self._recorder.refused(self.process, peer, offender)
            self.core.peer_port_refused(peer, offender, self.now())
            self.step()

    def arrive(self, buffer: bytes, segment_size: int) -> None:
        """A datagram, or a train of equal ones, reaches this node's socket."""
        if self.power is Power.DOWN:
            return
        if self.power is Power.UP and self._listening and self._kernel.now >= self._busy_until and not self._waiting_bytes:
            self._feed(buffer, segment_size)
            return
        if self._waiting_bytes + len(buffer) > RECEIVE_BUFFER_BYTES:
            self.dropped += 1
            return
        self._waiting_bytes += len(buffer)
        is_token = len(buffer) > FRAME_TYPE_OFFSET and buffer[FRAME_TYPE_OFFSET] in (wiretap.TOKEN, wiretap.COMMIT)
        (self._tokens if is_token else self._data).append((buffer, segment_size))
        if self._listening:
            self.wake()

    def wake(self) -> None:
        """Something waits to be read."""
        if self.power is Power.UP and not self._serving:
            self._serving = True
            self._kernel.at(self._busy_until, self._serve)

    def _serve(self) -> None:
        """Read the sockets: everything else before tokens, tokens before timers, as far as the processor allows."""
        self._serving = False
        while self.power is Power.UP and self.upper is not None:
            if self._kernel.now < self._busy_until:
                self.wake()
                return
            waiting = (self._data or self._tokens) if self._listening else None
            if waiting:
                buffer, segment_size = waiting.popleft()
                self._waiting_bytes -= len(buffer)
                self._feed(buffer, segment_size)
            elif self.upper.has_work():
                self._busy_until = self._kernel.now + self.step_cost
                self.upper.work(self.now())
                self.step()
            else:
                self._expire()
                return

    def _read_dry(self) -> None:
        """Read all that waits in the sockets, at one moment; the processor is busy for as long as it takes."""
        waiting = len(self._data) + len(self._tokens)
        while (self._data or self._tokens) and self.core is not None:
            buffer, segment_size = (self._data or self._tokens).popleft()
            self._waiting_bytes -= len(buffer)
            self._feed(buffer, segment_size)
        self._busy_until = self._kernel.now + waiting * self.step_cost

    def _feed(self, buffer: bytes, segment_size: int) -> None:
        if self.core is None:
            return
        self._busy_until = self._kernel.now + self.step_cost
        self._recorder.read(self.process, buffer, segment_size)
        self.core.receive(buffer, segment_size, self.now())
        self.step()

    def _expire(self) -> None:
        """The timer that was armed comes due, or the node has caught up after being late."""
        if self.power is not Power.UP or self.core is None or self.upper is None:
            return
        now = self._kernel.now
        if now < self._busy_until or (self._waiting_bytes and self._listening) or self.upper.has_work():
            self.wake()
            return
        due, upper_due = self.core.next_timer(), self.upper.next_timer()
        # Compared as they were armed: a sum of two times may round to just below what it was made from.
        ring_is_due = due is not None and due - self.clock_ahead <= now
        upper_is_due = upper_due is not None and upper_due - self.clock_ahead <= now
        if due is not None and ring_is_due:
            self.core.handle_timer(max(due, self.now()))
        if upper_due is not None and upper_is_due:
            self.upper.handle_timer(max(upper_due, self.now()))
        if ring_is_due or upper_is_due:
            self.step()
        else:
            self._arm()

    def _timer(self, life: int, armed: float) -> None:
        if life == self.life and armed == self._armed:
            self._armed = None
            self._expire()

    def _arm(self) -> None:
        """Look at the timers no later than they want; that they have moved on is noticed when they come due."""
        if self.core is None or self.upper is None:
            return
        due, upper_due = self.core.next_timer(), self.upper.next_timer()
        if due is None or (upper_due is not None and upper_due < due):
            due = upper_due
        if due is None:
            return
        due -= self.clock_ahead
        if self._armed is None or due < self._armed:
            self._armed = max(due, self._kernel.now)
            self._kernel.at(self._armed, self._timer, self.life, self._armed)

    def step(self) -> None:
        """Do what the core and its user asked for until they ask for nothing more."""
        while self.core is not None and self.upper is not None:
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
                complete = self._perform(self.upper, output) or complete
            if complete:
                self.core.synchronization_complete(self.now())
                self.upper.synchronising = False
        if self.core is None or self.upper is None:
            return
        progress = self._progress(self.core)
        if progress is not None:
            self._recorder.stepped(self.process, *progress)
        self.upper.advance(self.now())
        self._arm()

    def _perform(self, upper: Upper, output: Output) -> bool:
        """Carry out one output; whether synchronisation is complete with it."""
        process = self.process
        match output:
            case Multicast(frames=frames):
                self._recorder.multicast(process, frames, upper.synchronising)
                self._network.multicast(self.node_id, frames)
            case Unicast(node_id=node_id, frame=frame):
                self._recorder.unicast(process, node_id, frame)
                self._network.unicast(self.node_id, node_id, frame)
            case Deliver(messages=messages):
                return upper.deliver(messages, self.now())
            case Configuration():
                self._recorder.installed(process, output)
                if output.kind is ConfigurationKind.REGULAR:
                    self.configuration = output
                return upper.install(output, self.now())
            case StoreRingSequence(sequence=sequence):
                self.stored_sequence = sequence
                self._recorder.note(process, f"stores ring sequence {sequence:x}")
            case Notice(level=level, text=text):
                self._recorder.note(process, f"{level}: {text}")
        return False
