"""Which keys clients may not set, adjust or delete; the daemon itself may change every key.

Source: cmap_keys(8), reference client-api section 2.4 and config section 17.1.
"""

from __future__ import annotations

from collections.abc import Container

EXPECTED_VOTES_BARRIER = "runtime.votequorum.ev_tracking_barrier"
"""The highest expected votes ever seen. Stored on disk, and therefore not a client's to write, though it is on stock nodes."""
EXPECTED_VOTES_TRACKING_KEYS = ("quorum.expected_votes_tracking", "quorum.allow_downscale")
"""Either switches the tracking of expected votes on: who may shrink has to know how many it once was (votequorum(5))."""

READ_ONLY_PREFIXES = (
    "internal_configuration.",
    "runtime.services.",
    "runtime.engines.",
    "runtime.config.",
    "runtime.totem.",
    "uidgid.config.",
    "system.",
    "nodelist.",
)

READ_ONLY_KEYS = frozenset(
    {
        "config.reload_in_progress",
        "config.totemconfig_reload_in_progress",
        "totem.clear_node_high_bit",
        "totem.cluster_name",
        "totem.crypto_cipher",
        "totem.crypto_hash",
        "totem.crypto_model",
        "totem.ip_dscp",
        "totem.ip_version",
        "totem.key",
        "totem.keyfile",
        "totem.netmtu",
        "totem.nodeid",
        "totem.rrp_mode",
        "totem.secauth",
        "totem.threads",
        "totem.transport",
        "totem.version",
    }
)

# votequorum adds these when it is the quorum provider; without it they are ordinary keys.
VOTEQUORUM_READ_ONLY_KEYS = frozenset(
    {
        "quorum.auto_tie_breaker",
        "quorum.auto_tie_breaker_node",
        "quorum.last_man_standing",
        "quorum.last_man_standing_window",
        "quorum.wait_for_all",
        *EXPECTED_VOTES_TRACKING_KEYS,
        EXPECTED_VOTES_BARRIER,
    }
)


def writable_by_clients(name: str, service_keys: Container[str] = VOTEQUORUM_READ_ONLY_KEYS) -> bool:
    """Whether a client may change the key; ``service_keys`` are those that the running engines have protected."""
    return not (name.startswith(READ_ONLY_PREFIXES) or name in READ_ONLY_KEYS or name in service_keys)
