"""The executive's part of the statistics map: counters of the ring, of the transport and of the scheduler, as typed values.

Names and types: reference totem section 7, client-api section 2.5; docs/statistics.md for those that stock does not have.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from coroipc.map_values import ValueType
from corosyncd.keyspace.values import Value, number, uint8, uint32, uint64
from corosyncd.totem.broken_pairs import Standing
from corosyncd.totem.statistics import COUNTERS, OWN_COUNTERS, Statistics
from corosyncd.totem.wire import Reason
from corosyncd.transport.udpu import Counters

DELAYS_KEPT: Final = 10
DELAY_FRACTION: Final = 0.8
"""Of the token timeout: a pause longer than this is worth a key, as in stock."""

_TRANSPORT: Final = ("foreign_source", "send_full", "send_refused", "send_unreachable", "truncated")
_U32: Final = ("continuous_gather", "continuous_sendmsg_failures", "mtt_rx_token", "avg_token_workload", "avg_backlog_calc")


def ring_keys(statistics: Statistics, reserved: int) -> dict[str, list[Any]]:
    """``stats.srp.*``, ``stats.pg.*``, and counters under ``stats.totem.*``, which stock does not have.

    ``reserved`` is the number of frames set aside for requests under way.
    """
    keys: dict[str, Value] = {f"stats.srp.{name}": uint64(getattr(statistics, name)) for name in COUNTERS}
    keys |= {f"stats.totem.{name}": uint64(getattr(statistics, name)) for name in OWN_COUNTERS}
    keys["stats.srp.time_since_token_last_received"] = uint64(statistics.time_since_token_last_received)
    keys |= {f"stats.srp.{name}": uint32(getattr(statistics, name)) for name in _U32}
    keys["stats.srp.firewall_enabled_or_nic_failure"] = uint8(statistics.firewall_enabled_or_nic_failure)
    # Stock never updates the first of these two; tools that compare the maps expect both.
    keys["stats.pg.msg_queue_avail"] = uint32(0)
    keys["stats.pg.msg_reserved"] = uint32(reserved)
    keys |= {f"stats.srp.dropped.{reason}": uint64(statistics.dropped.get(reason, 0)) for reason in Reason}
    return _wire(keys)


def transport_keys(counters: Counters) -> dict[str, list[Any]]:
    """``stats.net.*``: what the transport could not receive or send."""
    return _wire({f"stats.net.{name}": uint64(getattr(counters, name)) for name in _TRANSPORT})


class Delays:
    """``stats.schedmiss.*``: the last times that the kernel let this process wait for long, the newest first."""

    def __init__(self, token_timeout: float, clock: Callable[[], float]) -> None:
        """``clock`` gives seconds since the epoch."""
        self._shortest = token_timeout * DELAY_FRACTION
        self._clock = clock
        self._seen: deque[tuple[float, float]] = deque(maxlen=DELAYS_KEPT)

    def paused(self, seconds: float) -> None:
        """The process did nothing for so long; short pauses are not noted."""
        if seconds > self._shortest:
            self._seen.appendleft((self._clock(), seconds))

    def clear(self) -> None:
        """Forget them."""
        self._seen.clear()

    def keys(self) -> dict[str, list[Any]]:
        """Two keys a delay, milliseconds both."""
        keys: dict[str, Value] = {}
        for position, (at, seconds) in enumerate(self._seen):
            keys[f"stats.schedmiss.{position}.timestamp"] = uint64(int(at * 1000))
            keys[f"stats.schedmiss.{position}.delay"] = number(ValueType.FLOAT, seconds * 1000)
        return _wire(keys)


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
    return _wire(keys)


def _wire(keys: Mapping[str, Value]) -> dict[str, list[Any]]:
    return {name: [value.type, value.data] for name, value in keys.items()}
