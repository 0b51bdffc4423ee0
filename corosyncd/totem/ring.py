"""One node's side of the Totem single-ring protocol: frames and the time go in; outputs and the next deadline come out.

Source: Amir et al., "The Totem Single-Ring Ordering and Membership Protocol" (ACM TOCS 13(4), 1995); reference totem.md §3.
What a frame does in each state is the table ``TRANSITIONS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from corosyncd.totem import failover, forming, gathering, rotation
from corosyncd.totem.broken_pairs import Standing
from corosyncd.totem.core import Core, State
from corosyncd.totem.events import Group, Output, Queue, RingId
from corosyncd.totem.membership import GatherReason
from corosyncd.totem.statistics import Statistics
from corosyncd.totem.timeouts import Parameters
from corosyncd.totem.timers import STOPPED
from corosyncd.totem.wire import SIGNATURES, FrameType, MalformedFrame, Reason, header_fault

__all__ = ["Ring", "State"]

LONGEST_TOKEN_DELAY: Final = 0.25
"""Of the token retransmit time: beyond it neighbours would send the token again."""
PAUSE_FRACTION: Final = 0.2
"""Of the token timeout: a driver that did not run for longer calls ``catch_up``."""

Handler = Callable[[Core, bytes, bool, float], None]

TRANSITIONS: Final[dict[FrameType, tuple[Handler, Handler, Handler, Handler]]] = {
    # in OPERATIONAL, GATHER, COMMIT, RECOVERY
    FrameType.ORF_TOKEN: (
        rotation.token,
        rotation.token_discarded,
        rotation.token_discarded,
        rotation.token,
    ),
    FrameType.MCAST: (
        rotation.mcast_operational,
        rotation.mcast_gather,
        rotation.mcast_commit,
        rotation.mcast_recovery,
    ),
    FrameType.MERGE_DETECT: (
        failover.merge_detect,
        gathering.merge_detect,
        gathering.ignore_merge_detect,
        gathering.ignore_merge_detect,
    ),
    FrameType.MEMB_JOIN: (
        gathering.join_operational,
        gathering.join_gather,
        gathering.join_forming,
        gathering.join_forming,
    ),
    FrameType.COMMIT_TOKEN: (
        forming.commit_token_operational,
        forming.commit_token_gather,
        forming.commit_token_commit,
        forming.commit_token_recovery,
    ),
    FrameType.TOKEN_HOLD_CANCEL: (
        rotation.hold_cancel,
        rotation.ignore_hold_cancel,
        rotation.hold_cancel,
        rotation.hold_cancel,
    ),
}

_HANDLERS: Final[tuple[dict[bytes, tuple[Handler, bool]], ...]] = tuple(
    {signature: (TRANSITIONS[kind][state], swapped) for signature, (kind, swapped) in SIGNATURES.items()} for state in State
)
"""``TRANSITIONS`` by state and by the first four bytes of a frame."""


class Ring:
    """The protocol core of one node. Nothing that came from the network makes a method raise."""

    __slots__ = ("_core", "_deliver_later", "_now", "_silent")

    def __init__(self, node_id: int, parameters: Parameters, stored_sequence: int, now: float) -> None:
        """``stored_sequence``: the last ``StoreRingSequence`` of an earlier life, 0 for a node without one."""
        self._core = Core(node_id, parameters, stored_sequence)
        self._now = now
        self._silent = False
        self._deliver_later = False
        """A token waits to be sent: the deliveries of the step that made it come out behind it, at the next ``outputs``."""

    # What the driver does

    def start(self, now: float) -> None:
        """Begin to look for others: the first gather."""
        self._now = now
        gathering.enter_gather(self._core, GatherReason.INTERFACE_CHANGE, now)

    def receive(self, buffer: bytes | memoryview, segment_size: int, now: float) -> None:
        """Take a train of datagrams of ``segment_size`` bytes, the last may be shorter; 0 means that it is one datagram."""
        self._begin(now)
        train = buffer if isinstance(buffer, bytes) else bytes(buffer)
        size = len(train)
        if self._core.port_watch.suspects:
            self._core.port_watch.heard(train, segment_size)
        if segment_size <= 0 or segment_size >= size:
            self._frame(train, now)
        else:
            take = self._frame
            for start in range(0, size, segment_size):
                take(train[start : start + segment_size], now)
        if self._core.outbox.speaks:
            self._deliver_later = True
        else:
            self._end()

    def peer_port_refused(self, node: int, offender: int, now: float) -> None:
        """A datagram for ``node`` was answered with "port unreachable" by the host of node ``offender`` (0: some other host)."""
        self._begin(now)
        if not self._silent:
            failover.port_refused(self._core, node, offender, now)
        self._end()

    def handle_timer(self, now: float) -> None:
        """Do what is due: receive looped frames, expire timers, go on with a stopped delivery."""
        self._begin(now)
        core = self._core
        looped = core.outbox.looped
        # Only those that wait now: the driver looks at its sockets before a frame that these bring about.
        for _ in range(len(looped)):
            if looped:
                self._frame(looped.popleft(), now)
        core.drop_joins = False
        if core.timers.nearest() <= now:
            _expire(core, now)
        self._end()

    def next_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called; a time that has passed means now. None after a leave."""
        core = self._core
        if self._silent:
            return None
        if core.outbox.looped or core.delivery.due or core.drop_joins or self._deliver_later:
            return self._now
        nearest = core.timers.nearest()
        return None if nearest == STOPPED else nearest

    def outputs(self) -> list[Output]:
        """What is to do since the last call, in order; call it until nothing comes out.

        A token that goes on comes out alone, before the messages that came with it are even put together: on a busy ring they
        would add to every rotation what each node needs to unpack a whole visit's frames.

        Handle it before the next step: a call of ``synchronization_complete`` in answer to a delivery belongs in between.
        """
        core = self._core
        outputs = core.outbox.drain()
        if not outputs and self._deliver_later:
            self._deliver_later = False
            self._end()
            outputs = core.outbox.drain()
        if core.delivery.stopped:
            core.delivery.outputs_taken()
        return outputs

    def catch_up(self, gap: float, now: float, read_dry: Callable[[], None]) -> None:
        """The driver did not run for ``gap`` seconds. ``read_dry`` lets it ``receive`` what waits and carry out what that brings.

        Who was away does not accuse others first: the token, and whoever has to agree, get one retransmit period to be heard;
        refusals from before prove nothing. Joins that waited tell of a membership that is gone (§3.4): they are dropped.
        """
        self._forgive(gap, now)
        read_dry()
        self.handle_timer(now)

    def _forgive(self, gap: float, now: float) -> None:
        self._now = now
        core = self._core
        timers = core.timers
        grace = now + core.parameters.token_retransmit
        if timers.token != STOPPED:
            timers.token = max(timers.token, grace)
        if timers.heartbeat != STOPPED:
            timers.heartbeat = max(timers.heartbeat, grace)
        if timers.consensus != STOPPED:
            timers.consensus = max(timers.consensus, grace)
        core.port_watch.suspects.clear()
        core.drop_joins = True
        core.statistics.pauses += 1
        core.diagnosis.warn("pause", _pause_text(gap, core.parameters.token), now)

    # What the executive does

    def submit(
        self,
        group: Group,
        messages: Sequence[bytes],
        queue: Queue = Queue.NORMAL,
        tag: int = 0,
        now: float | None = None,
    ) -> None:
        """Queue messages, bodies without a group header. Raises ValueError for one above 1 MiB, or when the queue is full."""
        core = self._core
        core.packer.submit(group, messages, queue, tag)
        if core.ordering.held and not self._silent:
            rotation.cancel_hold(core)

    def withdraw(self, tag: int) -> int:
        """Drop the queued messages of a tag, in both queues, of which no fragment has left; returns how many."""
        return self._core.packer.withdraw(tag)

    def queued_bytes(self, tag: int, queue: Queue = Queue.NORMAL) -> int:
        """Bytes of bodies of that tag that wait in a queue, a partly sent message counted whole."""
        return self._core.packer.queued_bytes(tag, queue)

    def synchronization_complete(self, now: float) -> None:
        """The last barrier was delivered: back to the NORMAL queue and the first assembly set.

        Call it while the ``Deliver`` with that barrier is handled: the place in the order must be the same on all nodes.
        """
        core = self._core
        core.delivery.synchronization_complete()
        if core.ordering.held and core.packer.backlog() and not self._silent:
            rotation.cancel_hold(core)

    def leave(self, now: float) -> None:
        """Tell the others that this node goes, and fall silent."""
        core = self._core
        if not self._silent:
            gathering.send_leave(core)
        self._now = now
        self._silent = True
        core.timers.stop_all()
        core.outbox.looped.clear()

    def force_gather(self, now: float) -> None:
        """Form the ring anew with the same members. While one is being formed already, nothing is to do."""
        self._now = now
        if self._core.state is State.OPERATIONAL and not self._silent:
            gathering.enter_gather(self._core, GatherReason.INTERFACE_CHANGE, now)

    def set_parameters(self, parameters: Parameters) -> None:
        """Use other parameters from now on, but for the net MTU, which is that of the start.

        Timers that run keep their deadlines; those of a feature that is now off are stopped.
        """
        core = self._core
        core.parameters = core.ordering.parameters = replace(parameters, net_mtu=core.parameters.net_mtu)
        if not parameters.heartbeat:
            core.timers.heartbeat = STOPPED
        if not parameters.token_warning:
            core.timers.warning = STOPPED
        failover.start(core, self._now)
        self.token_delay = core.token_delay

    @property
    def token_delay(self) -> float:
        """Seconds that every token waits before it is forwarded, at most a quarter of the token retransmit time."""
        return self._core.token_delay

    @token_delay.setter
    def token_delay(self, seconds: float) -> None:
        longest = self._core.parameters.token_retransmit * LONGEST_TOKEN_DELAY
        self._core.token_delay = min(max(0.0, seconds), longest)

    def warn(self, subject: str, text: str, now: float) -> None:
        """A warning of the driver's, limited with the ring's own: one line a subject and minute."""
        self._core.diagnosis.warn(subject, text, now)

    # What can be seen

    @property
    def node_id(self) -> int:
        """This node's id."""
        return self._core.node_id

    @property
    def state(self) -> State:
        """Where the protocol stands."""
        return self._core.state

    @property
    def ring_id(self) -> RingId:
        """The ring that this node belongs to, or tries to form."""
        return self._core.ring_id

    @property
    def members(self) -> tuple[int, ...]:
        """The members of the installed configuration, ascending; empty before the first."""
        return self._core.membership.members

    @property
    def parameters(self) -> Parameters:
        """The parameters in force."""
        return self._core.parameters

    @property
    def statistics(self) -> Statistics:
        """The counters; the same object for the life of the ring."""
        return self._core.statistics

    def broken_pairs(self, now: float) -> list[Standing]:
        """Who cannot talk to whom, as far as this node knows, and who is left out for it."""
        return self._core.broken_pairs.standing(now)

    # One step

    def _begin(self, now: float) -> None:
        self._now = now
        if self._deliver_later:
            self._deliver_later = False
            self._end()
        if self._core.delivery.due:
            self._core.delivery.resume()

    def _end(self) -> None:
        """Deliver once a step, behind the frames and the token."""
        core = self._core
        if core.queue.high_delivered != core.queue.aru and core.state is State.OPERATIONAL:
            core.delivery.contiguous(core.queue)

    def _frame(self, frame: bytes, now: float) -> None:
        """One datagram: find its handler by the state and the first four bytes."""
        core = self._core
        known = _HANDLERS[core.state].get(frame[:4])
        if known is None:
            reason = header_fault(frame)
            core.statistics.drop(reason)
            core.diagnosis.unreadable(reason, now)
            if reason is Reason.TYPE:
                core.statistics.rx_msg_dropped += 1
            return
        if self._silent:
            return
        handler, swapped = known
        try:
            handler(core, frame, swapped, now)
        except MalformedFrame as fault:
            core.statistics.drop(fault.reason)


def _pause_text(gap: float, token: float) -> str:
    return (
        f"Process pause detected for {int(gap * 1000)} ms, flushing membership messages: this node was not scheduled for more "
        f"than a fifth of the token timeout ({int(token * 1000)} ms), beyond which the others go on without it. Give it the "
        "processor (system.sched_rr: yes, a host with less load, no suspended virtual machine), or raise totem.token."
    )


def _expire(core: Core, now: float) -> None:
    """Expire the timers that are due. Whatever one does may stop the ones behind it."""
    timers = core.timers
    if timers.forward <= now:
        timers.forward = STOPPED
        core.send_stored_token()
    if timers.hold <= now:
        timers.hold = STOPPED
        core.send_stored_token()
    if timers.retransmit <= now:
        core.send_stored_token()
        timers.retransmit = now + core.parameters.token_retransmit
    if timers.merge <= now:
        timers.merge = STOPPED
        gathering.detect_merge(core)
    if timers.probe <= now:
        failover.expire(core, now)
    if timers.send_join <= now:
        timers.send_join = STOPPED
        gathering.send_join(core)
    if timers.join <= now:
        gathering.schedule_join(core, now)
    if timers.warning <= now:
        rotation.warn_of_token(core, now)
    if timers.consensus <= now:
        timers.consensus = STOPPED
        gathering.expire_consensus(core, GatherReason.CONSENSUS_TIMEOUT, now)
    if timers.token <= now or timers.heartbeat <= now:
        gathering.lose_token(core, now)
