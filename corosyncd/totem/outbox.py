"""What the core has to say, in the order in which the driver must act on it.

Within one configuration frames come before deliveries: whatever an application does with a message, the token does not wait
for it. A configuration stays behind everything that belongs to the one before.
"""

from __future__ import annotations

from collections import deque

from corosyncd.totem.events import Configuration, Deliver, Group, Multicast, Notice, Output, StoreRingSequence, Unicast


class Outbox:
    """Collects outputs, and the node's own frames on their way back to itself."""

    __slots__ = ("_frames", "_node_id", "_outputs", "looped", "messages")

    def __init__(self, node_id: int) -> None:
        self._node_id = node_id
        self._outputs: list[Output] = []
        self._frames: list[bytes] | None = None
        """The frames of the last output, if that is a multicast: more can join it."""
        self.messages: list[tuple[int, Group, bytes]] = []
        """Deliveries of the current configuration, put into ``Deliver`` when the outputs are drained."""
        self.looped: deque[bytes] = deque()
        """Frames to this node itself; the core receives them in its next step."""

    def multicast(self, frames: list[bytes]) -> None:
        """Frames for every other configured node."""
        if self._frames is None:
            self._frames = frames
            self._outputs.append(Multicast(frames))
        else:
            self._frames += frames

    def multicast_and_loop(self, frame: bytes) -> None:
        """A frame that this node must receive as well: a join, or a hold cancel."""
        self.multicast([frame])
        self.looped.append(frame)

    def unicast(self, node_id: int, frame: bytes) -> None:
        """A token, for another node or for this one."""
        if node_id == self._node_id:
            self.looped.append(frame)
            return
        self._frames = None
        self._outputs.append(Unicast(node_id, frame))

    def configuration(self, configuration: Configuration) -> None:
        """Close the deliveries of the configuration so far."""
        self._close_deliveries()
        self._outputs.append(configuration)
        self._frames = None

    def store(self, sequence: int) -> None:
        """The ring sequence number to keep before any later frame."""
        self._outputs.append(StoreRingSequence(sequence))
        self._frames = None

    def notice(self, level: str, text: str) -> None:
        """One sentence for the log."""
        self._outputs.append(Notice(level, text))
        self._frames = None

    @property
    def speaks(self) -> bool:
        """Whether frames wait to be sent."""
        return bool(self._outputs)

    def _close_deliveries(self) -> None:
        if self.messages:
            self._outputs.append(Deliver(self.messages))
            self.messages = []

    def drain(self) -> list[Output]:
        """Everything so far; the outbox is empty afterwards, but for the looped frames."""
        self._close_deliveries()
        outputs = self._outputs
        if outputs:
            self._outputs = []
            self._frames = None
        return outputs
