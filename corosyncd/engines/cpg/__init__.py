"""Closed process groups: ordered messages and membership for groups of programs on all nodes."""

from corosyncd.engines.cpg.engine import CpgEngine

__all__ = ["CpgEngine"]
