"""What the executive knows of one engine: its description, the phase of its life, and what is under way between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from corosyncd.totem.events import NO_RING, RingId
from corosyncd.totem.packing import ROUND_TAG

CREDIT_LIMIT = 2 * 1024 * 1024 + 256 * 1024
"""Bytes of NORMAL messages that one engine may have waiting for the ring: two of the largest messages and room for small ones."""
CREDIT_QUANTUM = 128 * 1024
"""Credit is handed out in pieces of at least this size, so that it does not cost a link message a client message."""
OUTSTANDING_HIGH_MARK = 8 * 1024 * 1024
"""Delivered bytes that an engine has not worked off: past this the token is slowed down."""
PROGRESS_LIMIT = 1.0
"""Seconds without any progress of an engine that owes some, after which it counts as dead."""
READY_LIMIT = 5.0
"""Seconds that a successor may take to be ready while a synchronisation waits for it."""
DEATH_LIMIT = 3
"""So many deaths of one engine within ``DEATH_WINDOW`` seconds end the node."""
DEATH_WINDOW = 60.0
SYNC_TAG = ROUND_TAG
"""Tags of queued messages: a service id for ordinary ones, this plus the service id for those of a round."""
BARRIER_TAG = SYNC_TAG + 64


class Phase(Enum):
    """The life of an engine's process."""

    ABSENT = auto()
    """Not started yet, or dead and not started again."""
    STARTING = auto()
    """Its process was asked for; it has not said a word."""
    GREETED = auto()
    """It has said HELLO: key changes go to it; it has not said READY."""
    RUNNING = auto()
    STOPPING = auto()
    STOPPED = auto()
    """It has closed its clients and said its last words."""


class EngineRecord:
    """One engine. The counters ``rx`` and ``tx`` are by ring message function."""

    __slots__ = (
        "asked_since",
        "crash_policy",
        "credit_granted",
        "credit_taken",
        "deaths",
        "deaths_in_all",
        "functions",
        "gate_ring",
        "kept",
        "load_name",
        "name",
        "outbox",
        "outstanding",
        "outstanding_bytes",
        "owes_since",
        "phase",
        "priority",
        "published",
        "ran",
        "requests",
        "ring_id",
        "rx",
        "service_id",
        "sync_data_sent",
        "synchronised",
        "title",
        "tracked",
        "tx",
    )

    def __init__(self, name: str, crash_policy: str = "restart") -> None:
        """``crash_policy``: "restart" starts a successor, "leave" stops the node."""
        self.name = name
        self.crash_policy = crash_policy
        self.phase = Phase.ABSENT
        self.service_id = -1
        self.load_name = name
        self.title = name
        self.functions = 0
        self.requests = 0
        self.synchronised = False
        self.priority = 1
        self.tracked: tuple[str, ...] = ()
        self.outbox: list[tuple[RingId, list[Any], list[bytes]]] = []
        """(ring id as this node saw it then, entry, bodies) for the link, in order; the driver takes them after each step."""
        self.ring_id: RingId = NO_RING
        self.credit_granted = 0
        self.credit_taken = 0
        self.outstanding: deque[tuple[list[tuple[int, int, bytes]], int]] = deque()
        """Batches handed over and not confirmed: [(source, function, body)], bytes. What a successor is handed on."""
        self.outstanding_bytes = 0
        self.gate_ring: RingId = NO_RING
        """The ring for which its gate to clients is closed."""
        self.owes_since: float | None = None
        """When it was first asked for the thing it still owes; None when it owes nothing."""
        self.asked_since: float | None = None
        """When it was asked whether it is alive; None when it has answered."""
        self.ran: float | None = None
        """Where it was silent at the last look and ready to run: the processor time that it had had by then (seconds)."""
        self.deaths: deque[float] = deque(maxlen=DEATH_LIMIT)
        self.deaths_in_all = 0
        self.kept: bytes | None = None
        self.rx: list[int] = []
        self.tx: list[int] = []
        self.published: list[int] = []
        """Counters (rx then tx) as the map shows them."""
        self.sync_data_sent = False
        """Whether it handed over sync data in the open round (then a death calls for one more round)."""

    @property
    def running(self) -> bool:
        """Whether it takes part: deliveries, key changes and sync steps go to it."""
        return self.phase is Phase.RUNNING or self.phase is Phase.STOPPING

    @property
    def listening(self) -> bool:
        """Whether key changes go to it."""
        return self.phase is Phase.GREETED or self.running

    @property
    def gated(self) -> bool:
        """Whether a round waits for its gate: it serves programs, or has a step of its own."""
        return bool(self.requests) or self.synchronised

    def describe(self, fields: Mapping[str, Any]) -> None:
        """Take over what HELLO says. Raises ValueError when a field is missing or impossible."""
        try:
            service_id = int(fields["service_id"])
            functions = int(fields["functions"])
            if not 0 <= service_id <= 63 or not 0 <= functions <= 64:
                raise ValueError(f"service id {service_id} (0 to 63) or {functions} functions (0 to 64)")
            self.service_id = service_id
            self.functions = functions
            self.load_name = str(fields["load_name"])
            self.title = str(fields["title"])
            self.requests = int(fields["requests"])
            self.synchronised = bool(fields["synchronised"])
            self.priority = int(fields["priority"])
            self.tracked = tuple(str(prefix) for prefix in fields["tracked"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"engine {self.name} described itself badly: {error!r}") from error
        if len(self.rx) != functions:
            self.rx = [0] * functions
            self.tx = [0] * functions
            self.published = [0] * (2 * functions)

    def tracks(self, key: str) -> bool:
        """Whether a change of that key concerns it."""
        return any(key.startswith(prefix) for prefix in self.tracked)

    def put(self, *entry: Any, bodies: list[bytes] | None = None) -> None:
        """Queue one entry for its link."""
        self.outbox.append((self.ring_id, list(entry), bodies or []))

    def hand_over(self, batch: list[tuple[int, int, bytes]], size: int, now: float) -> None:
        """Note deliveries as outstanding until the engine confirms them."""
        self.outstanding.append((batch, size))
        self.outstanding_bytes += size
        if self.owes_since is None:
            self.owes_since = now

    def excuse(self, seconds: float, now: float) -> None:
        """It could not speak, or not be heard, for so long: what it owes it may say that much later."""
        if self.owes_since is not None:
            self.owes_since = min(now, self.owes_since + seconds)
        if self.asked_since is not None:
            self.asked_since = min(now, self.asked_since + seconds)

    def consumed(self, size: int, now: float) -> None:
        """The engine has worked off that many bytes of deliveries, in order."""
        self.owes_since = now if self.outstanding_bytes > size else None
        self.outstanding_bytes = max(0, self.outstanding_bytes - size)
        while self.outstanding and size >= self.outstanding[0][1]:
            size -= self.outstanding.popleft()[1]
        if size and self.outstanding:
            batch, total = self.outstanding[0]
            self.outstanding[0] = (batch, total - size)

    def reset_link(self) -> list[tuple[int, int, bytes]]:
        """Its process has died: forget what was under way, and return the deliveries that a successor is handed on.

        The batch at the head was not confirmed and may hold the message that killed it: it is not handed on.
        """
        self.outbox.clear()
        batches = list(self.outstanding)[1:]
        self.outstanding.clear()
        self.outstanding_bytes = 0
        self.credit_granted = 0
        self.credit_taken = 0
        self.gate_ring = NO_RING
        self.owes_since = self.asked_since = self.ran = None
        return [message for batch, _size in batches for message in batch]
