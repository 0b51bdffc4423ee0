"""One change of a map, and the numbers that name its kind in requests and notifications.

Source: cmap_track_add(3), reference client-api section 2.3.
"""

from __future__ import annotations

from enum import IntFlag
from typing import NamedTuple

from corosyncd.keyspace.values import Value


class Track(IntFlag):
    """Kinds of change, and PREFIX, which only a tracker's flags hold."""

    DELETE = 1
    MODIFY = 2
    ADD = 4
    PREFIX = 8


EVENTS = Track.DELETE | Track.MODIFY | Track.ADD
FLAGS = EVENTS | Track.PREFIX


class Change(NamedTuple):
    """``event`` is one of Track's ADD, MODIFY and DELETE; a missing side is ``NO_VALUE``."""

    event: int
    name: str
    new: Value
    old: Value
