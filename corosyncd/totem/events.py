"""What comes out of the protocol core: frames to send, messages to deliver, configurations to install.

Sources: Amir et al., "The Totem Single-Ring Ordering and Membership Protocol" (ACM TOCS 13(4), 1995); Moser et al.,
"Extended Virtual Synchrony" (ICDCS 1994).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NamedTuple


class RingId(NamedTuple):
    """Names one configuration: the node id of its representative and a sequence number that only grows."""

    representative: int
    sequence: int

    def __str__(self) -> str:
        """Both numbers in hexadecimal, as the logs and tools of this field print them (``1.d``)."""
        return f"{self.representative:x}.{self.sequence:x}"


NO_RING = RingId(0, 0)


class Group(IntEnum):
    """The totem process groups in use: all service engines, and the sync barrier."""

    ENGINES = 0
    SYNC = 1


class Queue(IntEnum):
    """Which of the two send queues takes a message.

    NORMAL waits while a synchronisation runs; SYNC is served instead of it from the installation of a configuration until
    ``Ring.synchronization_complete``.
    """

    NORMAL = 0
    SYNC = 1


class ConfigurationKind(Enum):
    """Extended virtual synchrony has two: the transitional one closes the old ring, the regular one opens the new."""

    TRANSITIONAL = "transitional"
    REGULAR = "regular"


@dataclass(frozen=True, slots=True)
class Multicast:
    """Send every frame, in order, to every other configured node (never to this node: the core loops its own)."""

    frames: list[bytes]


@dataclass(frozen=True, slots=True)
class Unicast:
    """Send one frame (a token or a commit token) to one node, after all multicasts that came out before it."""

    node_id: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Deliver:
    """Messages in total order: (originator's node id, group, body without the group header)."""

    messages: list[tuple[int, Group, bytes]]


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration was installed; everything that comes out later belongs to it."""

    kind: ConfigurationKind
    ring_id: RingId
    members: tuple[int, ...]
    joined: tuple[int, ...]
    left: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoreRingSequence:
    """Keep this ring sequence number where a restart finds it, before any frame that comes out later is sent."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that an operator wants to read: level is a stock priority word, text one sentence."""

    level: str
    text: str


Output = Multicast | Unicast | Deliver | Configuration | StoreRingSequence | Notice
