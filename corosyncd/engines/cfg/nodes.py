"""What the map says about the cluster's nodes and the links to them.

Addresses come from ``runtime.members.<id>.ip``, where the ring put the resolved ones, or else from the node list, as far as it
holds addresses and not host names. Sources: reference services section 6.4, tools section 3.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from coroipc.map_values import ValueType
from corosyncd.engines.engine import Host
from corosyncd.keyspace.values import Value
from libcfg.messages import LINK_SLOTS, LinkStatus, NodeStatus

DEFAULT_NETMTU = 1500
UDP_OVERHEAD = 90
"""Bytes of each datagram that totem cannot use on the udp and udpu transports."""

_NODE_ID_KEY = re.compile(r"nodelist\.node\.(\d+)\.nodeid")
_LINK_ADDRESS = re.compile(r"r\((\d+)\) ip\(([^)]+)\)")
_NUMBERS = frozenset(range(ValueType.INT8, ValueType.UINT64 + 1))


def unsigned(value: Value | None, default: int) -> int:
    """An integer key's number, ``default`` where there is none."""
    return int(value.python()) if value is not None and value.type in _NUMBERS else default


def text(value: Value | None) -> str:
    """A string key's text, empty where there is none."""
    return str(value.python()) if value is not None and value.type == ValueType.STRING else ""


def positions(host: Host) -> dict[int, int]:
    """Where each node stands in the node list, by node id."""
    found = {}
    for name, value in host.keys("nodelist.node."):
        match = _NODE_ID_KEY.fullmatch(name)
        if match is not None:
            found[unsigned(value, 0)] = int(match[1])
    local = host.key("nodelist.local_node_pos")
    if local is not None:
        found.setdefault(host.node_id, unsigned(local, 0))
    return found


def uses_knet(host: Host) -> bool:
    """Whether links have states of their own; udp and udpu have one link that is as good as the membership."""
    return text(host.key("totem.transport")) not in ("udp", "udpu")


def joined(host: Host, node_id: int) -> bool:
    """Whether the node is on our ring."""
    return text(host.key(f"runtime.members.{node_id}.status")) == "joined"


def link_addresses(host: Host, node_id: int) -> dict[int, str]:
    """The node's address on each link, by link number; empty for an unknown node."""
    resolved = dict(_LINK_ADDRESS.findall(text(host.key(f"runtime.members.{node_id}.ip"))))
    found = {int(link): address for link, address in resolved.items() if _is_address(address)}
    position = positions(host).get(node_id)
    if position is not None:
        for link in range(LINK_SLOTS):
            address = text(host.key(f"nodelist.node.{position}.ring{link}_addr"))
            if link not in found and _is_address(address):
                found[link] = address
    return dict(sorted(found.items()))


def udp_node_status(host: Host, node_id: int) -> NodeStatus:
    """One link, whose "source" is the peer's address (as the stock daemon shows it on these transports)."""
    reachable = joined(host, node_id)
    mtu = unsigned(host.key("totem.netmtu"), DEFAULT_NETMTU) - UDP_OVERHEAD
    link = LinkStatus(True, reachable, False, max(mtu, 0), link_addresses(host, node_id).get(0, ""))
    return NodeStatus(node_id, reachable, links=_slots({0: link}))


def knet_node_status(host: Host, node_id: int, statistics: Mapping[str, Value]) -> NodeStatus:
    """Every link between the two nodes, with the state that knet counts for it."""
    own = link_addresses(host, host.node_id)
    links = {}
    for number, address in link_addresses(host, node_id).items():
        if number < LINK_SLOTS:
            prefix = f"stats.knet.node{node_id}.link{number}."
            enabled, connected, mtu = (unsigned(statistics.get(prefix + name), 0) for name in ("enabled", "connected", "mtu"))
            links[number] = LinkStatus(bool(enabled), bool(connected), False, mtu, own.get(number, ""), address)
    return NodeStatus(node_id, joined(host, node_id), links=_slots(links))


def knet_link_flags(host: Host, link: int, statistics: Mapping[str, Value]) -> str:
    """One character a node in id order: ``n`` this node, else 1 (enabled) + 2 (connected)."""
    flags = ""
    for node_id in sorted(positions(host)):
        prefix = f"stats.knet.node{node_id}.link{link}."
        enabled, connected = (unsigned(statistics.get(prefix + name), 0) for name in ("enabled", "connected"))
        flags += "n" if node_id == host.node_id else str(bool(enabled) + 2 * bool(connected))
    return flags


def _slots(links: Mapping[int, LinkStatus]) -> tuple[LinkStatus, ...]:
    return tuple(links.get(number, LinkStatus()) for number in range(LINK_SLOTS))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
