"""From the configuration file to everything that the daemon needs: keys of the map, this node, its peers, settings of the host.

The order of the steps is that of a stock daemon (reference config section 14), but every step reports all it finds.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from corosyncd.config import local_node, rules
from corosyncd.config.addresses import Address, SystemResolver, interface_addresses
from corosyncd.config.document import Document, grant, read_document, read_users, wants_strict
from corosyncd.config.nodelist import RingNode, nodes_on_link_0, port_of_link, ring_nodes
from corosyncd.config.problems import Place, Problem, Problems
from corosyncd.config.yaml_file import read
from corosyncd.keyspace import runtime_keys
from corosyncd.keyspace.values import Value

DEFAULT_STATE_DIRECTORY = "/var/lib/corosync"
DEFAULT_RUN_DIRECTORY = "/run"
DEFAULT_LOG_DIRECTORY = "/var/log/corosync"
DEFAULT_IP_VERSION = "ipv6-4"
USERS_DIRECTORY = "uidgid.d"


class HostResolver(local_node.Resolver, Protocol):
    """Name resolution under one ``ip_version``."""

    def lookup(self, name: str) -> Address | None:
        """The address that a node's frames go to."""


def _user_id(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the configuration is held against; the defaults ask the real host."""

    name: Callable[[], str] = socket.gethostname
    addresses: Callable[[], list[str]] = interface_addresses
    resolver: Callable[[str], HostResolver] = SystemResolver
    user_id: Callable[[str], int | None] = _user_id
    group_id: Callable[[str], int | None] = _group_id
    state_directory: Callable[[], str] = lambda: os.environ.get("STATE_DIRECTORY", "").split(":")[0] or DEFAULT_STATE_DIRECTORY


THIS_HOST = HostFacts()


@dataclass(slots=True)
class Loaded:
    """The outcome. With errors the rest is what could be made out, for a report only."""

    keys: list[tuple[str, Value]]
    warnings: list[Problem]
    errors: list[Problem]
    local: dict[str, Any] | None = None
    """node_id, position, address, family (4 or 6), port."""
    nodes: list[dict[str, Any]] = field(default_factory=list)
    """Every node of the ring in nodelist order: node_id, name, address, family, position."""
    settings: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As plain data for the helper's answer."""
        return {
            "keys": [[name, value.type, value.data] for name, value in self.keys],
            "warnings": [problem.document() for problem in self.warnings],
            "errors": [problem.document() for problem in self.errors],
            "local": self.local,
            "nodes": self.nodes,
            "settings": self.settings,
        }


def load(path: str, *, strict: bool = False, hint: str = "", host: HostFacts = THIS_HOST) -> Loaded:
    """Read, check and resolve a configuration file. ``hint`` says which node is local and overrides ``system.local_node``."""
    problems = Problems()
    tree = read(path, problems)
    if problems.errors:
        errors, warnings = problems.finished()
        return Loaded([], warnings, errors)
    document = read_document(tree, problems, strict or wants_strict(tree))
    _read_users_directory(document, path)
    grant(document, {"uid": host.user_id, "gid": host.group_id})
    rules.check(document, nodes_on_link_0(document))
    state_directory = document.reader.text("system.state_dir") or host.state_directory()
    rules.check_files(document, state_directory)
    resolver = host.resolver(document.reader.text("totem.ip_version", DEFAULT_IP_VERSION))
    nodes = ring_nodes(document, resolver.lookup)
    local = _find_local(document, nodes, hint, host, resolver)
    errors, warnings = problems.finished()
    return Loaded(
        keys=list(document.reader.values.items()),
        warnings=warnings,
        errors=errors,
        local=local,
        nodes=[
            {"node_id": n.node_id, "name": n.name, "address": n.address, "family": n.family, "position": n.position}
            for n in nodes
        ],
        settings=_settings(document, state_directory),
    )


def _read_users_directory(document: Document, path: str) -> None:
    """``uidgid.d/*.yaml`` beside the file: each may hold a uidgid section and nothing else."""
    directory = Path(path).absolute().parent / USERS_DIRECTORY
    problems = document.reader.problems
    try:
        files = sorted(entry for entry in directory.iterdir() if entry.is_file())
    except OSError:
        return
    for file in files:
        if file.suffix not in (".yaml", ".yml"):
            problems.warning(Place(str(file)), "", "this file is not read: only names that end in .yaml are")
            continue
        if not os.access(file, os.R_OK):
            problems.warning(Place(str(file)), "", "this file is not read: it is not readable for this user")
            continue
        for key, node in read(str(file), problems).entries:
            if key.text == "uidgid":
                read_users(document, node)
            else:
                message = "only a uidgid section may stand in this file; move everything else to the main file"
                problems.error(key.place, key.text, message, found=key.text, allowed="uidgid")


def _find_local(
    document: Document, nodes: list[RingNode], hint: str, host: HostFacts, resolver: HostResolver
) -> dict[str, Any] | None:
    """This host's node, written into the map too."""
    reader = document.reader
    if not any(entry.addresses for entry in document.nodes):
        return None
    hint = hint or reader.text("system.local_node")
    ids = {node.position: node.node_id for node in nodes}
    candidates = [
        local_node.Candidate(
            entry.name,
            entry.addresses[0].text if 0 in entry.addresses else "",
            ids.get(entry.position, entry.node_id),
            tuple(scalar.text for scalar in entry.addresses.values()),
        )
        for entry in document.nodes
    ]
    if hint:
        position = local_node.find_hinted(candidates, hint)
        missing = f'no node has the name, address or node id "{hint}" that says which node is this host'
    else:
        position = local_node.find(candidates, host.name(), host.addresses(), resolver)
        missing = f'no node is this host ("{host.name()}"): neither its name nor one of its addresses is in the nodelist'
    if position is None:
        place = reader.place("system.local_node" if "system.local_node" in reader.values else "nodelist")
        message = f"{missing}; correct the nodelist, or set system.local_node to a name, an address or a node id"
        reader.problems.error(place, "nodelist", message, found=hint or host.name(), allowed="a node of the nodelist")
        return None
    node = next((node for node in nodes if node.position == position), None)
    if node is None:
        if not document.nodes[position].addresses:
            place = document.nodes[position].fields.place
            message = "this node is the local one, and it has no address; add its ring0_addr"
            reader.problems.error(place, f"nodelist.node.{position}.ring0_addr", message)
        return None  # its address or node id is refused already
    for name, value in runtime_keys.local_node(position, {node.link: node.written}):
        reader.store(name, value, document.nodes[position].fields.place)
    return {
        "node_id": node.node_id,
        "position": position,
        "address": node.address,
        "family": node.family,
        "port": port_of_link(document, node.link),
    }


def _settings(document: Document, state_directory: str) -> dict[str, Any]:
    """What the daemon needs before it has a map, with defaults filled in.

    ``priority`` None: leave the nice value; a limit of None: the IPC server's own.
    """
    text, number = document.reader.text, document.reader.number
    return {
        "instance": text("system.instance"),
        "run_dir": text("system.run_dir", DEFAULT_RUN_DIRECTORY),
        "state_dir": state_directory,
        "log_dir": text("system.log_dir", DEFAULT_LOG_DIRECTORY),
        "socket_dir": text("system.socket_dir"),
        "link_semaphores": text("system.link_semaphores", "posix"),
        "client_queue_limit": number("system.client_queue_limit") or None,
        "user_connection_limit": number("system.user_connection_limit") or None,
        "sched_rr": text("system.sched_rr", "auto"),
        "priority": text("system.priority") or None,
        "move_to_root_cgroup": text("system.move_to_root_cgroup", "auto"),
        "quorum_provider": text("quorum.provider"),
        "cluster_name": text("totem.cluster_name"),
        "transport": text("totem.transport", "knet"),
        "ip_version": text("totem.ip_version", DEFAULT_IP_VERSION),
        "totem": rules.totem_settings(document),
        "node_count": nodes_on_link_0(document),
        "engines": document.engines,
    }
