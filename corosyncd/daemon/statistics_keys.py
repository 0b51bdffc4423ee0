"""The executive's part of the statistics map: counters of the ring and of the transport, as typed values.

Names and types: reference totem section 7, client-api section 2.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from corosyncd.keyspace.values import Value, uint8, uint32, uint64
from corosyncd.totem.broken_pairs import Standing
from corosyncd.totem.statistics import COUNTERS, Statistics

_U32: Final = ("continuous_gather", "continuous_sendmsg_failures", "mtt_rx_token", "avg_token_workload", "avg_backlog_calc")


def ring_keys(statistics: Statistics, reserved: int) -> dict[str, list[Any]]:
    """``stats.srp.*`` and ``stats.pg.*``; ``reserved`` is the number of frames set aside for requests under way."""
    keys: dict[str, Value] = {f"stats.srp.{name}": uint64(getattr(statistics, name)) for name in COUNTERS}
    keys["stats.srp.time_since_token_last_received"] = uint64(statistics.time_since_token_last_received)
    keys |= {f"stats.srp.{name}": uint32(getattr(statistics, name)) for name in _U32}
    keys["stats.srp.firewall_enabled_or_nic_failure"] = uint8(statistics.firewall_enabled_or_nic_failure)
    # Stock never updates the first of these two; tools that compare the maps expect both.
    keys["stats.pg.msg_queue_avail"] = uint32(0)
    keys["stats.pg.msg_reserved"] = uint32(reserved)
    return {name: [value.type, value.data] for name, value in keys.items()}


def link_keys(links: Sequence[Standing]) -> dict[str, list[Any]]:
    """``stats.totem.broken_pair.*`` and ``stats.totem.silent_node.*``, which stock does not have."""
    keys = {"stats.totem.broken_pairs": uint32(sum(not link.silent for link in links))}
    for link in links:
        low, high = link.ends
        name = f"stats.totem.silent_node.{link.victim}" if link.silent else f"stats.totem.broken_pair.{low}-{high}"
        if not link.silent:
            keys[f"{name}.victim"] = uint32(link.victim)
        keys[f"{name}.backoff"] = uint32(link.backoff)
        keys[f"{name}.left"] = uint32(link.left)
    return {name: [value.type, value.data] for name, value in keys.items()}
