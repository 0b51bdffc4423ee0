"""What is fuzzed: one module each, from a single frame to a whole engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fuzz.target import Target
from fuzz.targets.assembly import AssemblyTarget
from fuzz.targets.executive import ExecutiveTarget
from fuzz.targets.frames import FramesTarget
from fuzz.targets.keys import KeysTarget
from fuzz.targets.link import LinkTarget
from fuzz.targets.link_memory import LinkMemoryTarget
from fuzz.targets.requests import RequestsTarget
from fuzz.targets.ring import RingTarget
from fuzz.targets.ring_messages import RingMessagesTarget
from fuzz.targets.rings import RingsTarget
from fuzz.targets.stored import StoredTarget
from fuzz.targets.words import WordsTarget

TARGETS: Final[dict[str, Callable[[], Target]]] = {
    "frames": FramesTarget,
    "assembly": AssemblyTarget,
    "ring": RingTarget,
    "ring messages": RingMessagesTarget,
    "executive": ExecutiveTarget,
    "words": WordsTarget,
    "requests": RequestsTarget,
    "keys": KeysTarget,
    "link": LinkTarget,
    "link memory": LinkMemoryTarget,
    "rings": RingsTarget,
    "stored": StoredTarget,
}
"""By the names of the command line."""
SHARES: Final[dict[str, int]] = {
    "frames": 35,
    "assembly": 10,
    "ring": 16,
    "ring messages": 3,
    "executive": 1,
    "words": 1,
    "requests": 4,
    "keys": 2,
    "link": 25,
    "link memory": 3,
    "rings": 3,
    "stored": 1,
}
"""Of a hundred inputs, so that each target takes about the same time."""
