"""The keys that the daemon itself creates at its start and at membership changes.

Every function returns (name, value) pairs for the caller to set. Source: reference config sections 17.3 and 17.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from coroipc.map_values import ValueType as T
from corosyncd.keyspace.values import Value, int32, number, text, uint16, uint32, uint64

Keys = list[tuple[str, Value]]

DEFAULT_PONG_COUNT = 2

# Published under runtime.config.totem. with their names unchanged, all u32.
PUBLISHED_PARAMETERS = (
    "block_unlisted_ips",
    "cancel_token_hold_on_retransmit",
    "consensus",
    "downcheck",
    "fail_recv_const",
    "heartbeat_failures_allowed",
    "hold",
    "join",
    "max_messages",
    "max_network_delay",
    "merge",
    "miss_count_const",
    "send_join",
    "seqno_unchanged_const",
    "token",
    "token_retransmit",
    "token_retransmits_before_loss_const",
    "token_warning",
    "window_size",
)


class PingTimers(NamedTuple):
    """How often a link is probed and after how long it counts as down, in milliseconds."""

    interval: int
    timeout: int


class KnetParameters(NamedTuple):
    """Settings of the knet layer; published on every transport."""

    knet_compression_level: int = 0
    knet_compression_model: str = "none"
    knet_compression_threshold: int = 0
    knet_mtu: int = 0
    knet_pmtud_interval: int = 30


DEFAULT_KNET = KnetParameters()


def ping_timers(token: int, pong_count: int = 0, interval: int = 0, timeout: int = 0) -> PingTimers:
    """A link's timers from the effective token timeout in milliseconds; 0 asks for the default of a setting."""
    pongs = pong_count or DEFAULT_PONG_COUNT
    return PingTimers(interval or token // (pongs * 2), timeout or token // pongs)


def totem_parameters(parameters: Mapping[str, int], links: Mapping[int, PingTimers], knet: KnetParameters = DEFAULT_KNET) -> Keys:
    """``runtime.config.totem.*``: the values in force.

    ``parameters`` holds every one of PUBLISHED_PARAMETERS and may hold more.
    """
    prefix = "runtime.config.totem."
    keys = [(prefix + name, uint32(parameters[name])) for name in PUBLISHED_PARAMETERS]
    for link, timers in links.items():
        keys.append((f"{prefix}interface.{link}.knet_ping_interval", uint32(timers.interval)))
        keys.append((f"{prefix}interface.{link}.knet_ping_timeout", uint32(timers.timeout)))
    keys += [
        (prefix + "knet_compression_level", int32(knet.knet_compression_level)),
        (prefix + "knet_compression_model", text(knet.knet_compression_model)),
        (prefix + "knet_compression_threshold", uint32(knet.knet_compression_threshold)),
        (prefix + "knet_mtu", uint32(knet.knet_mtu)),
        (prefix + "knet_pmtud_interval", uint32(knet.knet_pmtud_interval)),
    ]
    return keys


def service(service_id: int, load_name: str, name: str, functions: int, version: int = 0) -> Keys:
    """What a loaded engine brings: its names and its counters of ring messages, one pair for each of its ``functions``."""
    loaded = f"internal_configuration.service.{service_id}."
    keys = [
        (loaded + "name", text(load_name)),
        (loaded + "ver", uint32(version)),
        (f"runtime.services.{name}.service_id", uint16(service_id)),
    ]
    for function in range(functions):
        keys += [(message_counter(name, function, "tx"), uint64(0)), (message_counter(name, function, "rx"), uint64(0))]
    return keys


def message_counter(service_name: str, function: int, direction: str) -> str:
    """Name of an engine's counter of ring messages; ``direction`` is "tx" or "rx"."""
    return f"runtime.services.{service_name}.{function}.{direction}"


def engine_deaths(name: str) -> str:
    """Name of the count of an engine's deaths since the node's start; the key appears with the first."""
    return f"runtime.engines.{name}.deaths"


def service_names(service_id: int) -> list[str]:
    """The keys to delete when an engine is unloaded; its counters stay."""
    return [f"internal_configuration.service.{service_id}.{leaf}" for leaf in ("name", "ver")]


def triggers() -> Keys:
    """Keys that clients set to make the daemon act: dump the flight recorder, dump state, form the ring anew."""
    idle = text("no")
    return [("runtime.blackbox.dump_flight_data", idle), ("runtime.blackbox.dump_state", idle), ("runtime.force_gather", idle)]


def local_node(position: int, link_addresses: Mapping[int, str]) -> Keys:
    """Where this node stands in the nodelist, and the address it binds on each link."""
    keys = [("nodelist.local_node_pos", uint32(position))]
    keys += [(f"totem.interface.{link}.bindnetaddr", text(address)) for link, address in link_addresses.items()]
    return keys


def ring_addresses(link_addresses: Mapping[int, str]) -> str:
    """A member's addresses as the map and cmap users show them: ``r(0) ip(10.84.0.1) r(1) ip(10.84.1.1) ``."""
    return "".join(f"r({link}) ip({address}) " for link, address in sorted(link_addresses.items()))


def member(node_id: int, link_addresses: Mapping[int, str], joined: bool, join_count: int) -> Keys:
    """``runtime.members.<id>.*`` but for the configuration version, which the cmap engine learns from the ring."""
    prefix = f"runtime.members.{node_id}."
    return [
        (prefix + "ip", text(ring_addresses(link_addresses))),
        (prefix + "join_count", uint32(join_count)),
        (prefix + "status", text("joined" if joined else "left")),
    ]


def reload_progress(totem_reading: bool, reloading: bool) -> Keys:
    """The two flags that listeners watch while a reload runs."""
    return [
        ("config.totemconfig_reload_in_progress", number(T.UINT8, totem_reading)),
        ("config.reload_in_progress", number(T.UINT8, reloading)),
    ]


def granted_users(kind: str, identifiers: Iterable[int]) -> Keys:
    """``uidgid.config.uid.N`` or ``.gid.N``: who may connect; ``kind`` is "uid" or "gid"."""
    return [(f"uidgid.config.{kind}.{identifier}", number(T.UINT8, 1)) for identifier in identifiers]
