"""Deliberate defects by name, those of the ring and those above it: what they change in a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from corosyncsim import defects as ring
from corosyncsim.cluster import Cluster
from corosyncsim.node import MakeCore
from corosyncsim.services import defects as above

NAMES: Final = (*ring.DEFECTS, *above.DEFECTS)
Spoilt = tuple[str, int]
"""The name of a defect, and the node that has it."""
Changes = tuple[Callable[[MakeCore], MakeCore] | None, Callable[[Cluster], None]]
"""What is done to the cores of a cluster, and to the cluster before anything runs."""


def changes(spoilt: Spoilt | None) -> Changes:
    """What the defect changes, nothing without one; raises KeyError for a name that is none of ``NAMES``."""
    if spoilt is None:
        return None, lambda cluster: None
    name, node_id = spoilt
    if name in ring.DEFECTS:
        return ring.DEFECTS[name].adapt(node_id), lambda cluster: None
    return None, above.DEFECTS[name].spoil(node_id)


def needs_services(name: str) -> bool:
    """Whether the defect is in what stands on the ring."""
    return name in above.DEFECTS
