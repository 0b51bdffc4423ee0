"""The resource monitor: memory and load of this host as keys, and whether they are above their limits."""

from corosyncd.engines.mon.engine import MonEngine

__all__ = ["MonEngine"]
