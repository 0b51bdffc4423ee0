"""The configuration service: link status, kills, orderly shutdown, reload."""

from corosyncd.engines.cfg.engine import CfgEngine

__all__ = ["CfgEngine"]
