"""The ring's settings as the map has them."""

from __future__ import annotations

import pytest

from corosyncd.daemon.totem_keys import totem_settings
from corosyncd.keyspace.values import Value, text, uint8, uint32, uint64


def test_numbers_and_flags_of_the_ring_are_taken_and_nothing_else() -> None:
    keys = [
        ("totem.token", uint64(5000)),
        ("totem.hold", uint32(7)),
        ("totem.fast_failover", text("no")),
        ("totem.cancel_token_hold_on_retransmit", text("yes")),
        ("totem.version", uint32(2)),
        ("totem.interface.0.mcastport", uint32(1)),
        ("runtime.config.totem.token", uint32(1)),
        ("token", uint8(1)),
    ]
    assert totem_settings(keys) == {"token": 5000, "hold": 7, "fast_failover": 0, "cancel_token_hold_on_retransmit": 1}


@pytest.mark.parametrize("value", [text("soon"), text(""), Value(9, bytes(4)), Value(5, b"\xff\xff\xff\xff")])
def test_what_is_no_setting_is_named(value: Value) -> None:
    with pytest.raises(ValueError, match=r"^totem\.token is .* neither a number nor yes or no\.$"):
        totem_settings([("totem.token", value)])
