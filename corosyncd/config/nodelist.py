"""The rules of the nodelist, and the nodes with their resolved addresses and node ids.

Source: reference config sections 5 and 13. The rules that only knet needs (names for several links, node ids below 65536) come
with knet: until then more than one link is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from corosyncd.config.addresses import Address
from corosyncd.config.document import Document, NodeEntry
from corosyncd.config.problems import Place
from corosyncd.config.reader import quoted
from corosyncd.keyspace.values import uint32

DEFAULT_PORT = 5405
HIGH_BIT = 1 << 31

Lookup = Callable[[str], Address | None]


@dataclass(frozen=True, slots=True)
class RingNode:
    """A node of the ring: where its frames go."""

    position: int
    node_id: int
    name: str
    link: int
    written: str
    """The address as the file has it."""
    address: str
    family: int
    """4 or 6."""


def port_of_link(document: Document, link: int) -> int:
    """``totem.interface.<link>.mcastport``; 0 or nothing stands for 5405 and the link's number."""
    return document.reader.number(f"totem.interface.{link}.mcastport") or DEFAULT_PORT + link


def nodes_on_link_0(document: Document) -> int:
    """The node count that the token timeout grows with."""
    return sum(1 for node in document.nodes if 0 in node.addresses)


def ring_nodes(document: Document, lookup: Lookup) -> list[RingNode]:
    """Check the nodelist whole; the nodes that have an address, as far as they are free of errors."""
    link = _check_links(document)
    if link is None:
        return []
    found: list[RingNode] = []
    ids: dict[int, NodeEntry] = {}
    clear_high_bit = document.reader.text("totem.clear_node_high_bit") == "yes"
    for entry in document.nodes:
        if link not in entry.addresses:
            message = "this node has no ring0_addr, so nothing can be sent to it; add its address or remove the node"
            document.reader.problems.warning(entry.fields.place, f"nodelist.node.{entry.position}", message)
            continue
        node = _ring_node(document, entry, link, lookup, clear_high_bit)
        if node is not None and _is_new_id(document, node, ids, entry):
            found.append(node)
    _check_families(document, found, link)
    return found


def _error(document: Document, place: Place, key: str, message: str, found: str = "", allowed: str = "") -> None:
    document.reader.problems.error(place, key, message, found=found, allowed=allowed)


def _check_links(document: Document) -> int | None:
    """The number of the one link that all nodes use; None where the links are wrong."""
    used = {link for node in document.nodes for link in node.addresses}
    if not used:
        message = "no node has an address; list every node under nodelist.node with its ring0_addr"
        _error(document, document.reader.place("nodelist"), "nodelist", message, allowed="at least one node with ring0_addr")
        return None
    if len(used) > 1:
        for node in document.nodes:
            for link in sorted(node.addresses)[1:] or (sorted(node.addresses) if min(node.addresses, default=0) else []):
                key = f"nodelist.node.{node.position}.ring{link}_addr"
                message = f"{len(used)} links are configured, but udpu has one; remove this address"
                _error(document, node.addresses[link].place, key, message, found=node.addresses[link].text, allowed="ring0_addr")
        return None
    link = next(iter(used))
    for other in sorted(document.links.keys() - used):
        message = f"link {other} is configured here, but no node has ring{other}_addr; remove this section"
        _error(document, document.links[other], "totem.interface.linknumber", message, found=str(other), allowed=str(link))
    return link


def _ring_node(document: Document, entry: NodeEntry, link: int, lookup: Lookup, clear_high_bit: bool) -> RingNode | None:
    path = f"nodelist.node.{entry.position}"
    written = entry.addresses[link]
    resolved = lookup(written.text) if written.text else None
    if resolved is None:
        ip_version = document.reader.text("totem.ip_version", "ipv6-4")
        message = f"the address {quoted(written.text)} cannot be resolved (ip_version {ip_version}); give a numeric address,"
        message += " or a name that this host can resolve"
        _error(document, written.place, f"{path}.ring{link}_addr", message, found=written.text, allowed="a resolvable address")
        return None
    numeric = ip_address(resolved.text.partition("%")[0])
    if numeric.is_unspecified or numeric.is_multicast:
        message = f"{resolved.text} is not the address of a node; give the address that the node has on this network"
        _error(document, written.place, f"{path}.ring{link}_addr", message, found=written.text, allowed="a unicast address")
        return None
    node_id = entry.node_id
    if node_id == 0:
        if any(problem.key == f"{path}.nodeid" for problem in document.reader.problems.errors):
            return None  # there is one, and it is refused already
        if resolved.family == 6:
            message = "a node with an IPv6 address needs a nodeid; give each node a number of its own"
            _error(document, written.place, f"{path}.nodeid", message, found="nothing", allowed="a number from 1 to 4294967295")
            return None
        node_id = int(numeric)
        if clear_high_bit:
            node_id &= ~HIGH_BIT
        document.reader.store(f"{path}.nodeid", uint32(node_id), written.place)
    return RingNode(entry.position, node_id, entry.name, link, written.text, resolved.text, resolved.family)


def _is_new_id(document: Document, node: RingNode, ids: dict[int, NodeEntry], entry: NodeEntry) -> bool:
    first = ids.setdefault(node.node_id, entry)
    if first is entry:
        return True
    place = entry.fields.place_of("nodeid")
    how = f" (made from {node.address})" if entry.node_id == 0 else ""
    message = f"the node id {node.node_id}{how} is taken by the node in line {first.fields.place.line}; give each node its own"
    _error(
        document, place, f"nodelist.node.{node.position}.nodeid", message, str(node.node_id), "a number that no other node has"
    )
    return False


def _check_families(document: Document, nodes: list[RingNode], link: int) -> None:
    """One address family in the ring; a warning where two nodes share an address."""
    seen: dict[str, RingNode] = {}
    for node in nodes:
        place = document.nodes[node.position].addresses[link].place
        key = f"nodelist.node.{node.position}.ring{link}_addr"
        if node.family != nodes[0].family:
            other = nodes[0]
            message = f"{node.address} is IPv{node.family}, but {other.address} is IPv{other.family}; use one family"
            _error(document, place, key, message, found=node.address, allowed=f"an IPv{other.family} address")
        first = seen.setdefault(node.address, node)
        if first is not node:
            message = f"the node in line {document.nodes[first.position].fields.place.line} has the same address {node.address}"
            document.reader.problems.warning(place, key, message, found=node.written)
