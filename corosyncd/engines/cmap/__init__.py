"""The configuration map's face to clients, and the agreement on one configuration version in the cluster."""

from corosyncd.engines.cmap.engine import CmapEngine

__all__ = ["CmapEngine"]
