"""The map of typed keys (icmap): values, read-only rules, tracking order."""

from coroipc.map_values import ValueType
from corosyncd.keyspace.changes import Change, Track
from corosyncd.keyspace.key_space import KeySpace
from corosyncd.keyspace.trackers import Trackers
from corosyncd.keyspace.values import NO_VALUE, Value

__all__ = ["NO_VALUE", "Change", "KeySpace", "Track", "Trackers", "Value", "ValueType"]
