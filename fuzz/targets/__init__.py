"""What is fuzzed: one module each, from a single frame to a whole engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fuzz.target import Target
from fuzz.targets.assembly import AssemblyTarget
from fuzz.targets.configuration import ConfigurationTarget
from fuzz.targets.connections import ConnectionsTarget
from fuzz.targets.executive import ExecutiveTarget
from fuzz.targets.files import FilesTarget
from fuzz.targets.frames import FramesTarget
from fuzz.targets.keys import KeysTarget
from fuzz.targets.libraries import LibrariesTarget
from fuzz.targets.link import LinkTarget
from fuzz.targets.link_memory import LinkMemoryTarget
from fuzz.targets.log_records import LogRecordsTarget
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
    "connections": ConnectionsTarget,
    "files": FilesTarget,
    "libraries": LibrariesTarget,
    "stored": StoredTarget,
    "configuration": ConfigurationTarget,
    "log records": LogRecordsTarget,
}
"""By the names of the command line."""
SHARES: Final[dict[str, int]] = {
    "frames": 320,
    "assembly": 80,
    "ring": 60,
    "ring messages": 15,
    "executive": 5,
    "words": 5,
    "requests": 15,
    "keys": 8,
    "link": 242,
    "link memory": 30,
    "rings": 50,
    "connections": 10,
    "files": 12,
    "libraries": 100,
    "stored": 8,
    "configuration": 10,
    "log records": 30,
}
"""Of a thousand inputs: fewer of what takes longer."""
