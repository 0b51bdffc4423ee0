"""The load generator of the stock daemon: a given number of messages from every node, then the end of every daemon."""

from corosyncd.engines.pload.engine import PloadEngine

__all__ = ["PloadEngine"]
