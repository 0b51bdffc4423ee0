"""Client library for the cmap service: the configuration map and the statistics.

with Cmap() as cmap:
    cmap.set("example.answer", 42)
    print(cmap.get("example.answer"))
    for key, value in cmap.items("runtime."):
        print(key, value.value)
"""

from coroipc.map_values import ValueType
from libcmap.api import AsyncCmap, Cmap
from libcmap.messages import IterationNextResponse, Map, Track
from libcmap.session import KeyChange, Tracker
from libcmap.values import Plain, Value

__all__ = [
    "AsyncCmap",
    "Cmap",
    "IterationNextResponse",
    "KeyChange",
    "Map",
    "Plain",
    "Track",
    "Tracker",
    "Value",
    "ValueType",
]
