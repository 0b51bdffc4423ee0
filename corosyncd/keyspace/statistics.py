"""Rules of the statistics map: read-only but for the keys that reset counters; trackers only of some kinds.

Source: reference client-api section 2.5, cmap_keys(8).
"""

from __future__ import annotations

from coroipc.errors import Status
from corosyncd.keyspace.changes import FLAGS, Track

CLEAR_PREFIX = "stats.clear."
CLEARABLE = frozenset({"knet", "ipc", "totem", "schedmiss", "all"})

REFRESH_SECONDS = 1.5
"""How often trackers of single keys compare values."""


def cleared_by_set(name: str) -> tuple[int, str]:
    """What setting this key resets: a status and one of CLEARABLE ("" where the status is not OK)."""
    if not name.startswith(CLEAR_PREFIX):
        return Status.ACCESS, ""
    what = name[len(CLEAR_PREFIX) :]
    return (Status.OK, what) if what in CLEARABLE else (Status.NOT_SUPPORTED, "")


def status_of_other_change(name: str) -> int:
    """The answer to deleting or adjusting a statistics key: never possible."""
    return Status.NOT_SUPPORTED if name.startswith(CLEAR_PREFIX) else Status.ACCESS


def status_of_tracker(flags: int) -> int:
    """Whether a tracker of these flags can be had: a prefix only with ADD and DELETE together."""
    if flags & ~int(FLAGS):
        return Status.INVALID_PARAM
    both = Track.ADD | Track.DELETE
    if flags & Track.PREFIX and flags & both != both:
        return Status.NOT_SUPPORTED
    return Status.OK
