"""The configuration map without I/O: typed keys, read-only rules, the firing order of trackers, and the daemon's own keys."""

from corosyncd.keyspace.changes import Change, Track
from corosyncd.keyspace.key_space import KeySpace
from corosyncd.keyspace.trackers import Trackers
from corosyncd.keyspace.values import NO_VALUE, Value, ValueType

__all__ = ["NO_VALUE", "Change", "KeySpace", "Track", "Trackers", "Value", "ValueType"]
