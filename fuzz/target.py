"""The claims that hold for every hostile input, and the interface of what is fuzzed.

A target takes one input as bytes and raises nothing but ``Finding``. Whatever else escapes is a finding too. Each input begins
from the same state, so an input alone reproduces what it did. Bounds have names; time is the processor time of this thread, which
other load on the machine does not touch.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final, Protocol

LONGEST_CPU_SECONDS: Final = 2.0
"""For one input of at most LARGEST_INPUT bytes. An input that hangs is found; how fast one is handled is for ``bench``."""
LARGEST_INPUT: Final = 65_536
"""A datagram."""
MEMORY_GROWTH_KIB: Final = 96 << 10
"""Of this process over a run of any length."""


class Finding(AssertionError):
    """A claim that did not hold; the text says which."""


class Target(Protocol):
    """Something that decodes what it is sent."""

    seeds: list[bytes]
    """Valid inputs, from which mutation starts."""
    dropped: Counter[str]
    """What the code under test has dropped, by the reasons that it counts."""

    def run(self, data: bytes) -> None:
        """One input. Raises Finding."""


def claim(holds: bool, what: str) -> None:
    """Raise Finding where a claim does not hold."""
    if not holds:
        raise Finding(what)


def without_numbers(reason: str) -> str:
    """A reason that holds numbers and details, as one to be counted by."""
    return re.sub(r" at word.*| a ring of.*|:.*|-?\b[0-9]+ ?", "", reason).strip()
