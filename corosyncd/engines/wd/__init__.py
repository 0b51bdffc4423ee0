"""The watchdog service: it keeps the machine's watchdog quiet as long as this node and the watched resources are well."""

from corosyncd.engines.wd.engine import WdEngine

__all__ = ["WdEngine"]
