"""What mon writes and wd reads below ``resources.``: the states of a resource, and its poll period.

Sources: cmap_keys(8), reference services sections 6.5 and 6.7.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from corosyncd.keyspace.values import Value

PREFIX: Final = "resources."
RUNNING: Final = "running"
STOPPED: Final = "stopped"
FAILED: Final = "failed"
PERIOD_MINIMUM_MS: Final = 500
PERIOD_MAXIMUM_MS: Final = 120_000
NANOSECONDS: Final = 1_000_000_000

_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", re.ASCII)


def leading_number(value: Value | None) -> float | None:
    """The number that a value is, or that its text begins with ("80 %" is 80); None where there is none."""
    if value is None:
        return None
    plain = value.python()
    if isinstance(plain, int | float):
        return float(plain)
    match = _NUMBER.match(plain) if isinstance(plain, str) else None
    return float(match[1]) if match else None


def poll_period(value: Value | None, default: int, warn: Callable[[str], None]) -> int:
    """The poll period in milliseconds that a key asks for, or ``default``, with a warning for one that cannot be had.

    Stock takes only texts for one resource and only u64 for another; here every number counts.
    """
    if value is None:
        return default
    number = leading_number(value)
    if number is None or not PERIOD_MINIMUM_MS <= number <= PERIOD_MAXIMUM_MS:
        shown = value.python()
        warn(f"poll_period {shown!r} is not used: it must be {PERIOD_MINIMUM_MS} to {PERIOD_MAXIMUM_MS} (milliseconds)")
        return default
    return int(number)
