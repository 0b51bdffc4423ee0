"""The parameters of the ring: what the totem section sets, what is derived from it, and the limits that stock enforces.

Source: reference totem.md §3.1, config.md §3 and §3.2 (texts); corosync.conf(5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

MINIMUM_TIMEOUT: Final = 30
MINIMUM_HOLD: Final = 14
MINIMUM_NETMTU: Final = 256
MAXIMUM_NETMTU: Final = 65536
MAXIMUM_WINDOW: Final = 2048
"""Frames: the members' queues hold 16384, half of them new ones, and what is sent stays there for up to three rotations."""
LARGEST: Final = 0xFFFFFFFF
"""The keys that show the values in force have 32 bits."""
FRAME_OVERHEAD: Final = 2 * 45
"""Room that every frame leaves for two mcast headers, so that recovery can encapsulate it (§2.2)."""

DEFAULTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "token": 3000,
        "token_coefficient": 650,
        "token_retransmits_before_loss_const": 4,
        "token_warning": 75,
        "join": 50,
        "send_join": 0,
        "merge": 200,
        "downcheck": 1000,
        "fail_recv_const": 2500,
        "seqno_unchanged_const": 30,
        "miss_count_const": 5,
        "window_size": 50,
        "max_messages": 17,
        "heartbeat_failures_allowed": 0,
        "max_network_delay": 50,
        "cancel_token_hold_on_retransmit": 0,
        "fast_failover": 1,
        "netmtu": 1500,
    }
)
"""Values in milliseconds, counts, or per cent, by their names in the totem section."""
ZERO_IS_A_VALUE: Final = frozenset(
    (
        "token_warning",
        "token_coefficient",
        "send_join",
        "heartbeat_failures_allowed",
        "cancel_token_hold_on_retransmit",
        "fast_failover",
    )
)
"""For all other keys 0 asks for the default."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The ring's parameters in force. Times are seconds; a time of 0 switches its feature off."""

    token: float
    token_retransmit: float
    token_warning: float
    hold: float
    join: float
    send_join: float
    consensus: float
    merge: float
    heartbeat: float
    fail_recv_const: int
    seqno_unchanged_const: int
    miss_count_const: int
    window_size: int
    max_messages: int
    cancel_token_hold_on_retransmit: bool
    fast_failover: bool
    net_mtu: int
    """Bytes of payload in an ordinary frame, behind the mcast header."""
    published: Mapping[str, int]
    """The raw values for ``runtime.config.totem.*``, milliseconds where they are times."""


def derive(settings: Mapping[str, int], node_count: int) -> Parameters:
    """The parameters that follow from the keys of the totem section, for a node list with ``node_count`` nodes on link 0.

    Raises ValueError with stock's text (without its ``parse error in config:`` prefix) for a value below its limit.
    """
    values = {name: _setting(settings, name, default) for name, default in DEFAULTS.items()}
    token = values["token"] + max(0, node_count - 2) * values["token_coefficient"]
    retransmit = settings.get("token_retransmit", 0)
    values["token"] = token
    values["token_retransmit"] = retransmit or int(token / (values["token_retransmits_before_loss_const"] + 0.2))
    values["hold"] = settings.get("hold", 0) or int(values["token_retransmit"] * 0.8 - 10)
    values["consensus"] = settings.get("consensus", 0) or int(1.2 * token)
    _check(values, bool(retransmit))
    return _parameters(values)


def _setting(settings: Mapping[str, int], name: str, default: int) -> int:
    value = settings.get(name, default)
    return value if value or name in ZERO_IS_A_VALUE else default


def _check(values: Mapping[str, int], retransmit_is_set: bool) -> None:
    _at_least("max_network_delay", values["max_network_delay"])
    _at_least("token timeout", values["token"])
    if retransmit_is_set:
        _at_least("token retransmit timeout", values["token_retransmit"])
    elif values["token_retransmit"] < MINIMUM_TIMEOUT:
        raise ValueError("Not appropriate token or token_retransmits_before_loss_const value set")
    _at_least("token hold timeout", values["hold"], MINIMUM_HOLD)
    _at_least("join timeout", values["join"])
    _at_least("consensus timeout", values["consensus"])
    if values["consensus"] < values["join"]:
        raise ValueError(
            f"The consensus timeout parameter ({values['consensus']} ms) may not be less than join timeout ({values['join']} ms)."
        )
    _at_least("merge timeout", values["merge"])
    _at_least("downcheck timeout", values["downcheck"])
    if not 0 <= values["token_warning"] <= 100:
        raise ValueError(f"The token warning parameter ({values['token_warning']}%) must be between 0 (disabled) and 100.")
    if not MINIMUM_NETMTU <= values["netmtu"] <= MAXIMUM_NETMTU:
        # Stock does not check; a smaller frame has no room for a header, a larger one makes a stock peer abort.
        raise ValueError(
            f"The netmtu parameter ({values['netmtu']} bytes) must be between {MINIMUM_NETMTU} and {MAXIMUM_NETMTU}."
        )

    if not 1 <= values["window_size"] <= MAXIMUM_WINDOW:
        # Stock does not check; with a window larger than the queues nobody may ever send.
        raise ValueError(f"The window_size parameter ({values['window_size']} frames) must be between 1 and {MAXIMUM_WINDOW}.")
    for name, value in values.items():
        if value > LARGEST:
            raise ValueError(f"The {name} parameter ({value}) may not be more than {LARGEST}.")


def _at_least(name: str, value: int, minimum: int = MINIMUM_TIMEOUT) -> None:
    if value < minimum:
        raise ValueError(f"The {name} parameter ({value} ms) may not be less than ({minimum} ms).")


def _parameters(values: Mapping[str, int]) -> Parameters:
    heartbeat = 0
    if values["heartbeat_failures_allowed"]:
        heartbeat = values["heartbeat_failures_allowed"] * values["token_retransmit"] + values["max_network_delay"]
        if heartbeat >= values["token"]:
            heartbeat = 0
    return Parameters(
        token=values["token"] / 1000,
        token_retransmit=values["token_retransmit"] / 1000,
        token_warning=values["token_warning"] * values["token"] / 100_000,
        hold=values["hold"] / 1000,
        join=values["join"] / 1000,
        send_join=values["send_join"] / 1000,
        consensus=values["consensus"] / 1000,
        merge=values["merge"] / 1000,
        heartbeat=heartbeat / 1000,
        fail_recv_const=values["fail_recv_const"],
        seqno_unchanged_const=values["seqno_unchanged_const"],
        miss_count_const=values["miss_count_const"],
        window_size=values["window_size"],
        max_messages=values["max_messages"],
        cancel_token_hold_on_retransmit=bool(values["cancel_token_hold_on_retransmit"]),
        fast_failover=bool(values["fast_failover"]),
        net_mtu=values["netmtu"] - FRAME_OVERHEAD,
        published=MappingProxyType(
            {name: value for name, value in values.items() if name not in ("token_coefficient", "netmtu", "fast_failover")}
        ),
    )
