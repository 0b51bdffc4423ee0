"""Gather: how a node learns that the membership must change, and agrees with the others on the next one.

Source: Amir et al. 1995, section 5; reference totem.md §3.4. The sets themselves are in ``membership``.
"""

from __future__ import annotations

from typing import Final

from corosyncd.totem import victims
from corosyncd.totem.core import Core, State
from corosyncd.totem.events import RingId
from corosyncd.totem.forming import enter_commit
from corosyncd.totem.membership import GatherReason, Verdict
from corosyncd.totem.sequence import MASK
from corosyncd.totem.timers import STOPPED
from corosyncd.totem.wire import (
    MembJoin,
    MergeDetect,
    Reason,
    decode_memb_join,
    decode_merge_detect,
    encode_memb_join,
    encode_merge_detect,
    ring_id,
)

CONTINUOUS_GATHER_LIMIT: Final = 3
"""Gathers in a row without a ring, above which an operator is told to look at the firewall."""
GOLDEN_RATIO: Final = 0x9E3779B1
"""Of 2**32: its multiples, modulo 2**32, are spread evenly."""


def enter_gather(core: Core, reason: GatherReason, now: float) -> None:
    """§3.4: tell my sets, and wait for the others to repeat them."""
    if core.state is State.OPERATIONAL:
        core.delivery.contiguous(core.queue)
    core.recovery = None
    core.membership.restart()
    victims.leave_out(core, now)
    core.diagnosis.lacking.clear()
    core.port_watch.gather(core.membership.accused(), now)
    timers = core.timers
    timers.stop_ring()
    timers.consensus = now + core.parameters.consensus
    core.state = State.GATHER
    schedule_join(core, now)
    core.statistics.gather_entered += 1
    core.outbox.notice("debug", f"entering GATHER state from {reason.value} ({reason.name.lower()})")


def schedule_join(core: Core, now: float) -> None:
    """Send my join, after this node's part of the ``send_join`` time, and again each ``join`` time; later while I owe silence."""
    core.joins_sent += 1
    if now < core.no_join_before:
        core.timers.join, core.timers.send_join = core.no_join_before, STOPPED
        return
    core.timers.join = now + core.parameters.join
    if not core.parameters.send_join:
        send_join(core)
        return
    # Stock draws a random time. Multiples of the golden ratio spread nodes and repetitions as evenly, and repeatably.
    spread = ((core.node_id + 7 * core.joins_sent) * GOLDEN_RATIO & MASK) / (MASK + 1)
    core.timers.send_join = now + core.parameters.send_join * spread


def send_join(core: Core) -> None:
    """Tell my sets."""
    membership = core.membership
    join = MembJoin(0, core.node_id, 0, core.node_id, core.ring_id.sequence, tuple(membership.proc), tuple(membership.failed))
    # My own join must come back: a lone node forms its ring by it, after the joins of others that came first.
    core.outbox.multicast_and_loop(encode_memb_join(join))
    core.statistics.memb_join_tx += 1


def send_leave(core: Core) -> None:
    """§3.10: a join that accuses this node itself, and names no sender in its header."""
    node, membership = core.node_id, core.membership
    proc = tuple(other for other in membership.proc if other != node)
    failed = (*(other for other in membership.failed if other != node), node)
    core.outbox.multicast([encode_memb_join(MembJoin(0, 0, 0, node, core.ring_id.sequence, proc, failed))])
    core.statistics.memb_join_tx += 1


def _suspect_firewall(core: Core, silent: tuple[int, ...], now: float) -> None:
    statistics = core.statistics
    statistics.continuous_gather += 1
    if statistics.continuous_gather > CONTINUOUS_GATHER_LIMIT:
        statistics.firewall_enabled_or_nic_failure = 1
        heard = set(silent).difference(core.accusations.never_heard(silent))
        core.diagnosis.no_ring(statistics.continuous_gather, silent, heard, now)


def _join(core: Core, frame: bytes, swapped: bool, now: float) -> MembJoin | None:
    """Decode a join and remember its ring sequence, whatever else becomes of it; None if it tells of the past."""
    join = decode_memb_join(frame, swapped)
    core.statistics.memb_join_rx += 1
    if core.drop_joins:
        core.statistics.drop(Reason.STALE_JOIN)
        return None
    core.membership.hear(join.ring_seq)
    core.diagnosis.joined(join.system_from, now)
    if join.nodeid and join.system_from in join.failed and join.system_from != core.node_id:
        core.diagnosis.failed_to_receive(join.system_from, now)
    return join if victims.observe(core, join, now) else None


def join_operational(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """A node gathers, so do I, unless the join is late or shuts me out."""
    join = _join(core, frame, swapped, now)
    if join is None:
        return
    membership = core.membership
    known = join.system_from in membership.members
    # A stranger's leave changes nothing here; a member's join from before this ring is late.
    stale = join.ring_seq < core.ring_id.sequence if known else not join.nodeid
    if core.node_id in join.failed:
        core.port_watch.declare((node for node in membership.members if node in join.proc and node not in join.failed), now)
    if core.node_id in join.failed or stale:
        core.statistics.drop(Reason.JOIN_IGNORED)
        return
    verdict = membership.consider(join)
    reason = GatherReason.JOIN_CHANGED_SETS if verdict is Verdict.CHANGED else GatherReason.JOIN_OPERATIONAL
    _gather_with(core, join, reason, now)


def join_gather(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """The round of joins."""
    join = _join(core, frame, swapped, now)
    if join is None:
        if victims.leave_out(core, now):
            enter_gather(core, GatherReason.JOIN_CHANGED_SETS, now)
        return
    verdict = core.membership.consider(join)
    if victims.leave_out(core, now, join) or verdict is Verdict.CHANGED:
        _gather_with(core, join, GatherReason.JOIN_CHANGED_SETS, now)
    else:
        follow(core, verdict, now)


def _gather_with(core: Core, join: MembJoin, reason: GatherReason, now: float) -> None:
    """Gather because of a join. If it has the very sets that I have just sent, its sender agrees with me.

    Stock waits for its repetition, one join time later.
    """
    enter_gather(core, reason, now)
    follow(core, core.membership.consider(join), now)


def follow(core: Core, verdict: Verdict, now: float) -> None:
    """Act on what an agreement, or the lack of one, meant."""
    if verdict is Verdict.CREATE_RING:
        enter_commit(core, core.membership.create_commit_token(), now)
    elif verdict is Verdict.CREATE_ALONE:
        core.membership.alone()
        enter_commit(core, core.membership.create_commit_token(), now)


def join_forming(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """A member of the forming ring gathers again: so must I."""
    join = _join(core, frame, swapped, now)
    if core.state is State.COMMIT and victims.leave_out(core, now):
        # The ring that is being formed needs a link that has just been found broken.
        enter_gather(core, GatherReason.JOIN_COMMIT, now)
        return
    if join is None:
        return
    membership = core.membership
    if join.system_from not in core.new_members:
        core.statistics.drop(Reason.JOIN_IGNORED)
        return
    if join.ring_seq >= core.ring_id.sequence:
        membership.reopen(join)
    elif core.state is not State.COMMIT or not membership.asks_for_more(join):
        core.statistics.drop(Reason.JOIN_IGNORED)
        return
    membership.consider(join)
    victims.leave_out(core, now, join)
    if core.state is State.RECOVERY:
        core.statistics.recovery_token_lost += 1
        enter_gather(core, GatherReason.JOIN_RECOVERY, now)
    else:
        enter_gather(core, GatherReason.JOIN_COMMIT, now)


def expire_consensus(core: Core, reason: GatherReason, now: float) -> None:
    """The consensus timer, and the token timer in GATHER."""
    core.statistics.consensus_timeouts += 1
    membership = core.membership
    silent = membership.silent()
    agreed = membership.expire_consensus()
    if agreed and reason is GatherReason.CONSENSUS_TIMEOUT:
        # Only the commit token is still to come.
        core.timers.token = now + core.parameters.token
    elif membership.failed_to_receive and not membership.candidates():
        # Nobody is left to ask, and a join that accuses everybody would make a stock node abort.
        follow(core, Verdict.CREATE_ALONE, now)
    else:
        victims.give_up(core, silent, now)
        enter_gather(core, reason, now)
        if reason is GatherReason.CONSENSUS_TIMEOUT_EXPIRED:
            _suspect_firewall(core, silent, now)


def foreign(core: Core, node: int, ring: RingId, reason: GatherReason, now: float) -> None:
    """Somebody of another ring has shown himself."""
    membership = core.membership
    if not node:
        core.statistics.drop(Reason.NODE_ID)
    elif node in membership.members and ring.sequence < core.ring_id.sequence:
        # A member's ring numbers only grow: this comes late, from a ring that we both have left.
        core.statistics.drop(Reason.STALE_RING)
    elif not victims.hear(core, node, now):
        core.statistics.drop(Reason.IGNORED_NODE)
    elif membership.add(node) or core.state is State.OPERATIONAL:
        enter_gather(core, reason, now)


def lose_token(core: Core, now: float) -> None:
    """The token timer, in any state."""
    statistics, timers = core.statistics, core.timers
    timers.token = timers.heartbeat = STOPPED
    if core.state is State.OPERATIONAL:
        statistics.operational_token_lost += 1
        core.diagnosis.token_lost(core.membership.members)
        token, consensus = core.parameters.published["token"], core.parameters.published["consensus"]
        core.outbox.notice(
            "notice",
            f"A processor failed, forming new configuration: token timed out ({token}ms), waiting {consensus}ms for consensus.",
        )
        enter_gather(core, GatherReason.TOKEN_LOST_OPERATIONAL, now)
    elif core.state is State.GATHER:
        statistics.gather_token_lost += 1
        expire_consensus(core, GatherReason.CONSENSUS_TIMEOUT_EXPIRED, now)
    elif core.state is State.COMMIT:
        statistics.commit_token_lost += 1
        enter_gather(core, GatherReason.TOKEN_LOST_COMMIT, now)
    else:
        statistics.recovery_token_lost += 1
        enter_gather(core, GatherReason.TOKEN_LOST_RECOVERY, now)


def detect_merge(core: Core) -> None:
    """The representative of an idle ring shows itself to others; on a busy one the frames do."""
    if core.state is State.OPERATIONAL and core.ring_id[0] == core.node_id:
        merge = MergeDetect(0, core.node_id, 0, core.node_id, *core.ring_id)
        core.outbox.multicast_and_loop(encode_merge_detect(merge))
        core.statistics.memb_merge_detect_tx += 1


def merge_detect(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """The representative of some ring shows itself."""
    merge = decode_merge_detect(frame, swapped)
    core.statistics.memb_merge_detect_rx += 1
    ring = ring_id(merge)
    if ring != core.ring_id:
        operational = core.state is State.OPERATIONAL
        reason = GatherReason.MERGE_OPERATIONAL if operational else GatherReason.MERGE_GATHER
        foreign(core, merge.system_from, ring, reason, now)


def ignore_merge_detect(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """A ring is being formed: others must wait until it is."""
    core.statistics.memb_merge_detect_rx += 1
