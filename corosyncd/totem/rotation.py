"""Rotation: the token's visits, the frames between them, and the token that rests while nobody has work.

Source: Amir et al. 1995, section 4; reference totem.md §3.7, §3.9.
"""

from __future__ import annotations

from typing import Final

from corosyncd.totem import failover
from corosyncd.totem.core import Core
from corosyncd.totem.events import RingId
from corosyncd.totem.forming import install
from corosyncd.totem.gathering import enter_gather, foreign
from corosyncd.totem.membership import GatherReason
from corosyncd.totem.ordering import WINDOW, FrameSource, SortQueue
from corosyncd.totem.sequence import MASK, precedes
from corosyncd.totem.timers import STOPPED
from corosyncd.totem.wire import (
    ENCAPSULATED,
    MAXIMUM_FRAME_SIZE,
    MCAST,
    MalformedFrame,
    Reason,
    TokenHoldCancel,
    decode_orf_token,
    decode_token_hold_cancel,
    encode_orf_token,
    encode_token_hold_cancel,
    ring_id,
)

RETRANSMIT_NOTICE_INTERVAL: Final = 1.0
"""Seconds between two ``Retransmit List`` lines; a lossy network would write thousands."""


class _Nothing:
    """What a node sends while its application has not seen the configuration yet that its frames would belong to."""

    def backlog(self) -> int:
        return 0

    def take(self, limit: int, seq: int, this_seqno: int, ring: RingId) -> list[bytes]:
        return []


NOTHING: Final = _Nothing()

_PLACE: Final = tuple(
    MCAST.partial("encapsulated", "system_from", "seq", "ring_representative", "ring_sequence", swapped=swapped)
    for swapped in (False, True)
)


def mcast_operational(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """A frame of the installed ring takes its place; one of another ring shows that there is one."""
    core.statistics.mcast_rx += 1
    size = len(frame)
    if size < MCAST.size or size > MAXIMUM_FRAME_SIZE:
        raise MalformedFrame(Reason.SHORT_FRAME if size < MCAST.size else Reason.LONG_FRAME)
    encapsulated, node, seq, representative, sequence = _PLACE[swapped].unpack_from(frame)
    queue = core.queue
    if queue.ring_id != (representative, sequence):
        foreign(core, node, RingId(representative, sequence), GatherReason.FOREIGN_MCAST_OPERATIONAL, now)
    elif encapsulated == ENCAPSULATED:
        core.statistics.drop(Reason.NOT_RECOVERING)
    elif not queue.insert(seq, frame):
        core.statistics.drop(Reason.DUPLICATE_OR_OUTSIDE_WINDOW)
        core.diagnosis.repeated(node, now)


def mcast_gather(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """The ring that is breaking up may still complete its frames, until a commit token reports them."""
    core.statistics.mcast_rx += 1
    encapsulated, node, seq, ring = _place(frame, swapped)
    if ring != core.ring_id:
        foreign(core, node, ring, GatherReason.FOREIGN_MCAST_GATHER, now)
    elif ring != core.queue.ring_id or encapsulated == ENCAPSULATED or not core.queue.insert(seq, frame):
        core.statistics.drop(Reason.NOT_OPERATIONAL)


def mcast_commit(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """Neither ring takes frames now."""
    core.statistics.mcast_rx += 1
    _, _, _, ring = _place(frame, swapped)
    _drop_mcast(core, ring)


def mcast_recovery(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """Only old frames inside new ones belong here. Stock takes an ordinary frame into its old queue: see §8, 6."""
    core.statistics.mcast_rx += 1
    encapsulated, _, seq, ring = _place(frame, swapped)
    recovery = core.recovery
    if recovery is None or ring != core.ring_id or encapsulated != ENCAPSULATED:
        _drop_mcast(core, ring)
    elif not recovery.accept(seq, frame):
        core.statistics.drop(Reason.DUPLICATE_OR_OUTSIDE_WINDOW)


def _drop_mcast(core: Core, ring: RingId) -> None:
    if ring == core.ring_id:
        core.statistics.drop(Reason.NOT_OPERATIONAL)
    else:
        core.statistics.rx_msg_dropped += 1
        core.statistics.drop(Reason.FOREIGN_MCAST)


def _place(frame: bytes, swapped: bool) -> tuple[int, int, int, RingId]:
    if len(frame) < MCAST.size:
        raise MalformedFrame(Reason.SHORT_FRAME)
    encapsulated, node, seq, representative, sequence = _PLACE[swapped].unpack_from(frame)
    return encapsulated, node, seq, RingId(representative, sequence)


def token(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """A visit (§3.7): the hottest path of the daemon."""
    statistics, ordering, recovery = core.statistics, core.ordering, core.recovery
    statistics.orf_token_rx += 1
    visitor = decode_orf_token(frame, swapped)
    queue = core.queue if recovery is None else recovery.queue
    if queue.ring_id != (visitor.ring_representative, visitor.ring_sequence):
        statistics.drop(Reason.TOKEN_FOREIGN)
        return
    if not precedes(ordering.token_seq_seen, visitor.token_seq):
        statistics.drop(Reason.TOKEN_DUPLICATE)
        return
    if ((visitor.seq - queue.aru) & MASK) >= WINDOW:
        statistics.drop(Reason.TOKEN_RANGE)
        return
    representative = queue.ring_id[0] == core.node_id
    timers = core.timers
    if ordering.note(visitor.seq, representative):
        timers.merge = timers.hold = STOPPED
    elif timers.merge == STOPPED:
        timers.merge = now + core.parameters.merge
    source: FrameSource = recovery if recovery is not None else NOTHING if core.delivery.installing else core.packer
    frames, visitor = ordering.visit(visitor, queue, source, core.target, recovery is None)
    if frames:
        statistics.mcast_rx += len(frames)
        core.outbox.multicast(frames)
        core.port_watch.multicast_at = now
    if ordering.missing or core.diagnosis.until > now:
        _diagnose_losses(core, queue, now)
    if ordering.failed_to_receive:
        _fail_to_receive(core, now)
        return
    if recovery is not None:
        visitor = recovery.visit(visitor)
    _pass_on(core, encode_orf_token(visitor), representative and ordering.held, now)
    statistics.token_received(ordering.backlog_reported, now)
    if recovery is not None and recovery.complete:
        install(core, recovery, now)
        failover.start(core, now)


def _pass_on(core: Core, frame: bytes, keep: bool, now: float) -> None:
    """Steps I and J: store the token, send it unless the representative holds it, and restart the timers."""
    timers, parameters = core.timers, core.parameters
    core.stored_token = frame
    if keep:
        timers.hold = now + parameters.hold
    elif core.token_delay:
        timers.forward = now + core.token_delay
    else:
        core.outbox.unicast(core.target, frame)
        core.statistics.orf_token_tx += 1
        core.port_watch.token_at = now
    core.start_token_timers(now)
    if parameters.heartbeat:
        timers.heartbeat = STOPPED if keep else now + parameters.heartbeat


def token_discarded(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """Between two rings every token is of the past, also one with the right ring id."""
    core.statistics.orf_token_rx += 1
    core.statistics.drop(Reason.TOKEN_DISCARDED)


def warn_of_token(core: Core, now: float) -> None:
    """The token is late: a line in the log, nothing else."""
    parameters = core.parameters
    silence = now - (core.timers.warning - parameters.token_warning)
    core.outbox.notice("notice", f"Token has not been received in {int(silence * 1000)} ms ")
    core.timers.warning = STOPPED


def _fail_to_receive(core: Core, now: float) -> None:
    core.diagnosis.failed_to_receive(core.node_id, now)
    core.ordering.failed_to_receive = False
    core.membership.failed_to_receive = True
    core.membership.failed[core.node_id] = None
    enter_gather(core, GatherReason.FAILED_TO_RECEIVE, now)


def _diagnose_losses(core: Core, queue: SortQueue, now: float) -> None:
    missing = core.ordering.missing
    if missing:
        core.diagnosis.lacks((request.seq for request in missing), now)
    core.diagnosis.look(queue, core.parameters.token, now)
    if missing and now - core.retransmits_listed_at >= RETRANSMIT_NOTICE_INTERVAL:
        core.retransmits_listed_at = now
        core.outbox.notice("debug", f"Retransmit List: {''.join(f'{request.seq:x} ' for request in missing)}")


def cancel_hold(core: Core) -> None:
    """There is work: ask the representative, who may be me, to let the token go."""
    core.ordering.held = False
    cancel = TokenHoldCancel(0, core.node_id, 0, *core.ring_id)
    core.outbox.multicast_and_loop(encode_token_hold_cancel(cancel))
    core.statistics.token_hold_cancel_tx += 1


def hold_cancel(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """Somebody has work: stop counting quiet visits, and let the token go if it is mine to keep."""
    cancel = decode_token_hold_cancel(frame, swapped)
    core.statistics.token_hold_cancel_rx += 1
    if ring_id(cancel) != core.ring_id:
        return
    core.ordering.unchanged = 0
    timers = core.timers
    # A token that the throttle delays is on its way already.
    if core.ring_id[0] == core.node_id and timers.forward == STOPPED:
        core.send_stored_token()
        timers.retransmit = now + core.parameters.token_retransmit


def ignore_hold_cancel(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """No token to let go."""
    core.statistics.token_hold_cancel_rx += 1
