"""From the total order to the application: frames and configurations in sequence, with a stop at each possible barrier.

A synchronisation round ends with a barrier message, and frames behind the last barrier belong to the other assembly set
(§2.4). Only the executive knows which barrier is the last. So, while a round runs, delivery stops behind every frame with a
message of the sync group until the driver has taken the outputs: by then ``Ring.synchronization_complete`` was called or not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from corosyncd.totem.assembly import NORMAL_SET, SYNC_SET, Assembly
from corosyncd.totem.events import Configuration, ConfigurationKind, Queue
from corosyncd.totem.ordering import SortQueue
from corosyncd.totem.outbox import Outbox
from corosyncd.totem.packing import Packer
from corosyncd.totem.sequence import MASK
from corosyncd.totem.statistics import Statistics


class Delivery:
    """Feeds the assembly and keeps the packer's queue in step with it."""

    __slots__ = ("_assembly", "_outbox", "_packer", "_pending", "_resumable", "stopped")

    def __init__(self, outbox: Outbox, packer: Packer, statistics: Statistics) -> None:
        self._outbox = outbox
        self._packer = packer
        self._assembly = Assembly(outbox, statistics)
        self._pending: deque[bytes | Configuration] = deque()
        """The end of the old ring and the new configurations, when a barrier stands among them."""
        self.stopped = False
        self._resumable = False

    def contiguous(self, queue: SortQueue) -> None:
        """Deliver a ring's frames up to its aru."""
        if self.stopped:
            return
        assembly = self._assembly
        seq, aru, frames, accept = queue.high_delivered, queue.aru, queue.frames, assembly.accept
        while seq != aru:
            seq = (seq + 1) & MASK
            accept(frames[seq])
            if assembly.barrier_seen:
                assembly.barrier_seen = False
                self.stopped = True
                break
        queue.high_delivered = seq

    def install(self, first: Sequence[bytes], transitional: Configuration, rest: Sequence[bytes], regular: Configuration) -> None:
        """The change of configuration (§3.8): frames to the first gap, transitional, frames behind it, regular."""
        self._pending += first
        self._pending.append(transitional)
        self._pending += rest
        self._pending.append(regular)
        self._drain()

    @property
    def installing(self) -> bool:
        """Whether the ring is installed but its configurations stand behind a barrier: nothing may be sent on it yet."""
        return bool(self._pending)

    def outputs_taken(self) -> None:
        """The driver has acted, or will before the next step, on everything that came out."""
        self._resumable = self.stopped

    @property
    def due(self) -> bool:
        """Whether ``resume`` has something to do."""
        return self._resumable

    def resume(self) -> None:
        """Go on behind a barrier."""
        self._resumable = self.stopped = False
        self._drain()

    def synchronization_complete(self) -> None:
        """The round is over at this place of the order."""
        self._packer.use(Queue.NORMAL)
        self._assembly.use(NORMAL_SET)

    def _drain(self) -> None:
        pending = self._pending
        while pending and not self.stopped:
            item = pending.popleft()
            if not isinstance(item, Configuration):
                self._assembly.accept(item)
                self.stopped = self._assembly.barrier_seen
                self._assembly.barrier_seen = False
            elif item.kind is ConfigurationKind.TRANSITIONAL:
                self._packer.use(Queue.SYNC)
                # Here, not when the executive hears of it: the token that opens the ring takes frames along at once.
                self._packer.end_round()
                self._assembly.forget(item.left)
                self._outbox.configuration(item)
            else:
                self._assembly.use(SYNC_SET)
                self._outbox.configuration(item)
