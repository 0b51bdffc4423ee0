"""The keys runtime.members.<nodeid>.*: who was seen, at which address, how often, and whether it is here.

Source: reference services section 1.2 and config section 17.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from corosyncd.keyspace import runtime_keys
from corosyncd.keyspace.values import Value, text, uint32


class Members:
    """Every node that was ever a member since the start, and the keys that are not published yet."""

    def __init__(self, addresses: Mapping[int, str]) -> None:
        """``addresses``: node id to its printable addresses (one a link), as the configuration names them."""
        self._addresses = addresses
        self._join_counts: dict[int, int] = {}
        self._keys: list[tuple[str, Value]] = []

    def joined(self, nodes: Iterable[int]) -> None:
        """Nodes of the joined list of a regular configuration."""
        for node in nodes:
            count = self._join_counts.get(node, 0) + 1
            self._join_counts[node] = count
            prefix = f"runtime.members.{node}"
            self._keys += [
                (f"{prefix}.ip", text(runtime_keys.ring_addresses({0: self._addresses.get(node, "")}))),
                (f"{prefix}.join_count", uint32(count)),
                (f"{prefix}.status", text("joined")),
            ]

    def left(self, nodes: Iterable[int]) -> None:
        """Nodes of the left list of a transitional configuration."""
        for node in nodes:
            self._keys.append((f"runtime.members.{node}.status", text("left")))

    def take_keys(self) -> list[tuple[str, Value]]:
        """Keys to publish, taken once."""
        keys, self._keys = self._keys, []
        return keys
