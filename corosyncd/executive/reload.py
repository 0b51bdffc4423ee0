"""What a configuration that was read again changes in the map: ours is taken over whole or not at all.

Source: reference config section 15, steps 4, 5 and 8; stock's partial application after an error is not copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from corosyncd.keyspace.values import Value

PRUNED = ("logging.", "totem.", "nodelist.", "quorum.", "uidgid.config.")
"""Keys below these vanish when the new file lacks them."""
KEPT = ("nodelist.local_node_pos",)
FIXED = frozenset(
    (
        "totem.version",
        "totem.threads",
        "totem.ip_version",
        "totem.netmtu",
        "totem.transport",
        "totem.cluster_name",
        "quorum.provider",
        "system.move_to_root_cgroup",
        "system.allow_knet_handle_fallback",
        "system.sched_rr",
        "system.priority",
        "system.qb_ipc_type",
        "system.state_dir",
        "system.run_dir",
        "system.log_dir",
        "system.socket_dir",
        "system.instance",
        "system.link_semaphores",
        "system.client_queue_limit",
        "system.user_connection_limit",
        "system.local_node",
    )
)
"""Taken at the start only: a changed value is named in the log and not taken over."""


class Plan(NamedTuple):
    """Names to delete, pairs to set, names whose change was refused."""

    removed: list[str]
    changed: list[tuple[str, Value]]
    refused: list[str]


def plan(current: Mapping[str, Value], wanted: Mapping[str, Value]) -> Plan:
    """Compare the map with what the new file says."""
    refused = sorted(name for name in FIXED if name in wanted and wanted[name] != current.get(name))
    removed = [
        name for name in current if name.startswith(PRUNED) and name not in wanted and name not in KEPT and name not in FIXED
    ]
    changed = [(name, value) for name, value in wanted.items() if name not in FIXED and current.get(name) != value]
    return Plan(removed, changed, refused)
