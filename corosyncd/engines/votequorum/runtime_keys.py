"""``runtime.votequorum.*``: what votequorum shows of itself in the map. Each key appears when it first has a meaning.

Source: reference config section 17.3, services section 4.2.
"""

from __future__ import annotations

from typing import Final

from corosyncd.engines.engine import Host, KeyOperation
from corosyncd.engines.votequorum.configuration import Settings
from corosyncd.engines.votequorum.decision import UNKNOWN_NODE, TieBreaker, Votes
from corosyncd.keyspace.rules import EXPECTED_VOTES_BARRIER
from corosyncd.keyspace.values import Value, uint8, uint32

PREFIX: Final = "runtime.votequorum."


class RuntimeKeys:
    """Writes the keys whose values have changed."""

    def __init__(self, host: Host) -> None:
        """Nothing is shown yet; what a predecessor has shown is simply written again."""
        self._host = host
        self._shown: dict[str, Value] = {}
        self._device_seen = False

    def show(self, votes: Votes, settings: Settings, *, again: bool) -> None:
        """Bring the map up to date. ``again``: the configuration was re-read, which makes atb_type appear in any case."""
        self._device_seen = self._device_seen or settings.device_configured
        wanted = self._wanted(votes, settings, again)
        changed = [KeyOperation("set", name, value, permission=False) for name, value in wanted.items() if self._new(name, value)]
        self._shown.update(wanted)
        if changed:
            self._host.change_keys(changed)

    def _new(self, name: str, value: Value) -> bool:
        return self._shown.get(name) != value

    def _wanted(self, votes: Votes, settings: Settings, again: bool) -> dict[str, Value]:
        rules = votes.rules
        atb_type = PREFIX + "atb_type"
        keys = {
            PREFIX + "this_node_id": uint32(votes.own_id),
            PREFIX + "two_node": uint8(rules.two_node),
            PREFIX + "ev_barrier": uint32(votes.expected_barrier),
        }
        if again or settings.initial_tie_breaker is not TieBreaker.NONE or atb_type in self._shown:
            keys[atb_type] = uint32(rules.tie_breaker)
        if rules.wait_for_all or PREFIX + "wait_for_all_status" in self._shown:
            keys[PREFIX + "wait_for_all_status"] = uint8(votes.waiting)
        if rules.expected_votes_tracking:
            keys[EXPECTED_VOTES_BARRIER] = uint32(votes.tracking_barrier)
        if votes.lowest_id != UNKNOWN_NODE:
            keys[PREFIX + "lowest_node_id"] = uint32(votes.lowest_id)
            keys[PREFIX + "highest_node_id"] = uint32(votes.highest_id)
        if self._device_seen:
            keys[PREFIX + "qdevice_can_operate"] = uint8(settings.device_usable)
        if rules.device_master_wins or PREFIX + "qdevice_master_wins" in self._shown:
            keys[PREFIX + "qdevice_master_wins"] = uint8(rules.device_master_wins)
        return keys
