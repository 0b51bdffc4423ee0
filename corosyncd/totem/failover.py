"""Fast failover: probes for members that hear nothing else from this node, and the accusation of one whose port is closed.

A probe is a merge-detect of the current ring, which every member, ours or stock, ignores. An accusation is an ordinary one, as
after a consensus timeout: the member joins my failed set, I gather, and who shares my history takes the accusation over, so that
all who live agree at once. Both happen in OPERATIONAL only. The rule is in ``port_watch``; ``totem.fast_failover`` switches it.
"""

from __future__ import annotations

from math import inf
from typing import Final

from corosyncd.totem import gathering
from corosyncd.totem.core import Core, State
from corosyncd.totem.membership import GatherReason
from corosyncd.totem.timers import STOPPED
from corosyncd.totem.wire import MergeDetect, encode_merge_detect

PROBE_INTERVAL: Final = 0.1
"""Seconds of silence towards a member, after which it is sent a probe."""
COMPANY: Final = 0.5
"""Of the interval: who has waited so long is probed together with one that is due, or as soon as another node's probe wakes this

process up. So all nodes of a ring soon probe at the same moments, and each wakes up once for all of it.
"""
VERDICT_DELAY: Final = 0.01
"""Seconds from the last proof to the accusation: those that died together are accused together, and what waits is read first."""
ALL_PROBE_ALL: Final = 16
"""Members; in a larger ring each node probes its ring successor only."""


def start(core: Core, now: float) -> None:
    """Watch the ring that stands now, if it has other members and the feature is on; else watch nobody."""
    core.port_watch.restart(now)
    watched = core.parameters.fast_failover and core.state is State.OPERATIONAL and len(core.membership.members) > 1
    core.timers.probe = now + PROBE_INTERVAL if watched else STOPPED


def merge_detect(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """A probe, or the representative of another ring."""
    gathering.merge_detect(core, frame, swapped, now)
    # With a suspect the timer may be set for the verdict.
    if core.timers.probe <= now + PROBE_INTERVAL * COMPANY and not core.port_watch.suspects:
        _probe(core, now + PROBE_INTERVAL * COMPANY, now)


def expire(core: Core, now: float) -> None:
    """The probe timer: accuse who is found to be gone, else show signs of life."""
    watch = core.port_watch
    if watch.suspects and (gone := watch.gone(now, core.parameters.token)):
        _accuse(core, gone, now)
    else:
        _probe(core, now, now)


def _probe(core: Core, until: float, now: float) -> None:
    """Show a sign of life to every watched member that needs one, if one of them needs it by ``until``."""
    watch, members, me = core.port_watch, core.membership.members, core.node_id
    watched = [node for node in members if node != me] if len(members) <= ALL_PROBE_ALL else [core.target]
    due = {node: watch.sent_at(node, core.target) + PROBE_INTERVAL for node in watched}
    first = core.timers.probe = min(due.values(), default=inf)
    if first > until:
        return
    frame = encode_merge_detect(MergeDetect(0, me, 0, me, *core.ring_id))
    for node, time in due.items():
        if time <= now + PROBE_INTERVAL * COMPANY:
            core.outbox.unicast(node, frame)
            core.statistics.probe_tx += 1
            watch.unicast_at[node] = now
            due[node] = now + PROBE_INTERVAL
    core.timers.probe = min(due.values())


def port_refused(core: Core, node: int, offender: int, now: float) -> None:
    """The host of ``offender`` says that nobody listens where a datagram for ``node`` went."""
    core.statistics.port_refused += 1
    if core.timers.probe == STOPPED or core.state is not State.OPERATIONAL:
        return
    if offender != node or node == core.node_id or node not in core.membership.members:
        return
    watch = core.port_watch
    watch.refused(node, watch.sent_at(node, core.target))
    if watch.gone(now, core.parameters.token):
        core.timers.probe = min(core.timers.probe, now + VERDICT_DELAY)


def _accuse(core: Core, gone: list[int], now: float) -> None:
    for node in gone:
        core.statistics.early_accusations += 1
        text = f"A processor failed, forming new configuration: the host of node {node} says that the port of its ring is closed."
        core.outbox.notice("notice", text)
        core.membership.failed[node] = None
    gathering.enter_gather(core, GatherReason.PORT_REFUSED, now)
