"""What the driver sees round its ring that the ring cannot: strangers' addresses, members that no node list names, solitude.

Only looks and warns; how often a warning is told, the ring's ``Diagnosis`` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from corosyncd.totem.events import Configuration, ConfigurationKind
from corosyncd.totem.ring import Ring
from corosyncd.transport.udpu import Counters

LONELY: Final = 30.0
"""Seconds alone, with others in the node list, after which an operator is told where to look."""


class Surroundings:
    """Watches one node's counters and configurations."""

    __slots__ = ("_alone_since", "_counters", "_listed", "_node_id", "_port", "_ring", "_strangers", "_unsent")

    def __init__(self, ring: Ring, counters: Counters, listed: Callable[[], Collection[int]], port: int) -> None:
        """``listed``: the node ids of the present node list; ``port``: the ring's UDP port."""
        self._ring = ring
        self._counters = counters
        self._listed = listed
        self._port = port
        self._node_id = ring.node_id
        self._strangers = 0
        self._unsent = 0
        self._alone_since: float | None = None

    def configuration(self, configuration: Configuration, now: float) -> None:
        """A configuration was installed."""
        if configuration.kind is not ConfigurationKind.REGULAR:
            return
        members = configuration.members
        listed = self._listed()
        strangers = sorted(set(members).difference(listed))
        if strangers:
            text = (
                f"The ring has members that this node's node list lacks: {_numbers(strangers)}. Nothing is sent to them from "
                "here, so the ring will break. The node lists differ: give all nodes the same one, and reload."
            )
            self._ring.warn("unlisted members", text, now)
        alone = len(members) == 1 and len(listed) > 1
        self._alone_since = (self._alone_since if self._alone_since is not None else now) if alone else None

    def look(self, now: float) -> None:
        """What has happened since the last look."""
        counters = self._counters
        # They may have been cleared meanwhile.
        strangers, self._strangers = self._strangers, counters.foreign_source
        if counters.foreign_source > strangers:
            text = (
                f"Datagrams from {counters.foreign_address} are dropped: no node of the node list has that address. Another "
                f"cluster uses the port ({self._port}, totem.interface.mcastport), or the node list here lacks that node or its "
                "address."
            )
            self._ring.warn(f"foreign {counters.foreign_address}", text, now)
        unsent, self._unsent = self._unsent, counters.send_unreachable
        if counters.send_unreachable > unsent:
            text = (
                f"Datagrams could not be sent: {counters.unreachable_reason}. Look at the addresses and routes of this host (ip "
                "address, ip route get <node>) and at its own firewall."
            )
            self._ring.warn("unsent", text, now)
        if self._alone_since is not None and now - self._alone_since >= LONELY:
            others = sorted(set(self._listed()) - {self._node_id})
            text = (
                f"Node {self._node_id} (this one) has been alone for {now - self._alone_since:.0f} s: no ring with "
                f"{_numbers(others)}. See that they run, that firewalls let UDP port {self._port} pass both ways, and that the "
                "node lists agree."
            )
            self._ring.warn("alone", text, now)


def _numbers(nodes: Collection[int]) -> str:
    return f"node{'s' if len(nodes) > 1 else ''} {', '.join(map(str, nodes))}"
