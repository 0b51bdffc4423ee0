"""The bare ring's user: messages that name themselves, and one barrier a configuration instead of a synchronisation round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct

from corosyncd.totem.events import Configuration, ConfigurationKind, Group, Queue
from corosyncsim import payload
from corosyncsim.history import Message
from corosyncsim.node import Core, Power, SimulatedNode
from corosyncsim.recorder import Recorder

_BARRIER_RING = Struct("<IQ")
"""A barrier names the ring that it closes the synchronisation of, so that one of an earlier ring is not mistaken for it."""


class Bare:
    """What one life of a node sends and gets, without executive and engines."""

    def __init__(
        self,
        recorder: Recorder,
        node: SimulatedNode,
        core: Core,
        on_delivery: Callable[[Bare, Message], None],
        *,
        barrier: bool,
    ) -> None:
        """``barrier``: synchronisation lasts until every member's barrier was delivered; otherwise it takes no time."""
        self.waiting: dict[Message, None] = {}
        """Submitted in this life and not yet delivered here, in order of submission."""
        self.delivered: set[Message] = set()
        """Delivered in this life."""
        self.synchronising = True
        self._recorder = recorder
        self._node = node
        self._core = core
        self._on_delivery = on_delivery
        self._barrier = barrier
        self._barriers: set[int] = set()
        self._numbers = 0
        self._news: list[Message] = []

    @property
    def node_id(self) -> int:
        """Whose ring it uses."""
        return self._node.node_id

    def submit(self, size: int, queue: Queue = Queue.NORMAL) -> Message | None:
        """A program's message; None while the node cannot take one."""
        if self._node.power is not Power.UP:
            return None
        message = Message(self._node.process, self._numbers)
        self._hand_over(Group.ENGINES, queue, message, payload.body(message, size))
        self._node.step()
        return message

    def _hand_over(self, group: Group, queue: Queue, message: Message, body: bytes) -> None:
        self._numbers += 1
        self._recorder.submitted(message, body)
        self.waiting[message] = None
        self._core.submit(group, [body], queue, 0, self._node.now())

    # What the node's driver calls.

    def start(self, now: float) -> None:
        """The ring starts at once."""
        self._node.start_ring()

    def deliver(self, messages: Sequence[tuple[int, Group, bytes]], now: float) -> bool:
        """True with the last barrier."""
        complete = False
        for originator, group, body in messages:
            message = self._recorder.delivered(self._node.process, originator, bytes(body))
            if message is None:
                continue
            self.waiting.pop(message, None)
            self.delivered.add(message)
            if group is Group.SYNC:
                complete = self._barrier_from(originator, bytes(body)) or complete
            else:
                self._news.append(message)
        return complete

    def install(self, configuration: Configuration, now: float) -> bool:
        """Synchronisation begins with a regular configuration; True where it ends at once."""
        if configuration.kind is ConfigurationKind.TRANSITIONAL:
            return False
        self.synchronising = True
        self._barriers.clear()
        if not self._barrier:
            return True
        message = Message(self._node.process, self._numbers)
        body = payload.body(message, payload.SMALLEST) + _BARRIER_RING.pack(*configuration.ring_id)
        self._hand_over(Group.SYNC, Queue.SYNC, message, body)
        return False

    def _barrier_from(self, originator: int, body: bytes) -> bool:
        configuration = self._node.configuration
        if configuration is None:
            return False
        if body[payload.SMALLEST :] == _BARRIER_RING.pack(*configuration.ring_id):
            self._barriers.add(originator)
        return self.synchronising and self._barriers >= set(configuration.members)

    def advance(self, now: float) -> None:
        """Programs see what has come."""
        news, self._news = self._news, []
        for message in news:
            self._on_delivery(self, message)

    def next_timer(self) -> float | None:
        """There is none."""
        return None

    def handle_timer(self, now: float) -> None:
        """There is none."""

    def has_work(self) -> bool:
        """Never."""
        return False

    def work(self, now: float) -> None:
        """There is none."""

    def leave(self, now: float) -> None:
        """The ring is all that has to be left."""
        self._core.leave(now)
        self._node.step()
        self._node.stop("leaves")

    def end(self, *, machine: bool) -> None:
        """The life has ended; what waited is lost."""
