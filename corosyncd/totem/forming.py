"""Commit and recovery: how nodes that agree form a ring, close the old one and open the new.

Source: Amir et al. 1995, sections 5 and 6; reference totem.md §3.5, §3.6, §3.8.
"""

from __future__ import annotations

from corosyncd.totem.core import Core, State
from corosyncd.totem.events import Configuration, ConfigurationKind
from corosyncd.totem.membership import fill_entry
from corosyncd.totem.recovery import Recovery
from corosyncd.totem.sequence import MASK, precedes
from corosyncd.totem.wire import (
    CommitEntry,
    CommitToken,
    Reason,
    decode_commit_token,
    encode_commit_token,
    encode_orf_token,
    ring_id,
)


def enter_commit(core: Core, token: CommitToken, now: float) -> None:
    """§3.5: report my old ring in the commit token and send it on."""
    queue, timers = core.queue, core.timers
    received = int(queue.aru == queue.high_seq)
    token = fill_entry(token, CommitEntry(*queue.ring_id, queue.aru, queue.high_delivered, received))
    core.new_members = token.addresses
    core.target = token.addresses[token.memb_index % len(token.addresses)]
    core.ring_id = ring_id(token)
    core.membership.hear(token.ring_sequence)
    core.outbox.store(token.ring_sequence)
    timers.stop_gather()
    core.state = State.COMMIT
    _send_commit_token(core, token)
    core.start_token_timers(now)
    core.ordering.commit()
    core.statistics.commit_entered += 1


def _send_commit_token(core: Core, token: CommitToken) -> None:
    token = token._replace(encapsulated=0, nodeid=core.node_id, target_nodeid=core.target, token_seq=(token.token_seq + 1) & MASK)
    core.stored_token = encode_commit_token(token)
    core.outbox.unicast(core.target, core.stored_token)
    core.statistics.memb_commit_token_tx += 1


def _commit_token(core: Core, frame: bytes, swapped: bool) -> CommitToken:
    token = decode_commit_token(frame, swapped)
    core.statistics.memb_commit_token_rx += 1
    return token


def commit_token_operational(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """A commit token without a round of joins before it is late."""
    _commit_token(core, frame, swapped)
    core.statistics.drop(Reason.COMMIT_TOKEN)


def commit_token_gather(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """The first rotation: add my report, if this is the ring that I ask for."""
    token = _commit_token(core, frame, swapped)
    if core.membership.accepts(token, core.ring_id):
        enter_commit(core, token, now)
    else:
        core.statistics.drop(Reason.COMMIT_TOKEN)


def commit_token_commit(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """The second rotation: everybody's report is in it."""
    token = _commit_token(core, frame, swapped)
    complete = token.memb_index == len(token.addresses) and token.addresses == core.new_members
    if complete and core.ring_id == ring_id(token):
        _enter_recovery(core, token, now)
    else:
        core.statistics.drop(Reason.COMMIT_TOKEN)


def commit_token_recovery(core: Core, frame: bytes, swapped: bool, now: float) -> None:
    """The commit token's way is over; the representative starts the token of the ring.

    One that its predecessor sent again ends no second rotation: the ring would start while a member waits for the commit token
    that was lost, and that nobody would repeat then.
    """
    token = _commit_token(core, frame, swapped)
    recovery = core.recovery
    if recovery is None or recovery.started or core.ring_id != ring_id(token) or core.ring_id[0] != core.node_id:
        core.statistics.drop(Reason.COMMIT_TOKEN)
        return
    if not precedes(recovery.commit_seq, token.token_seq):
        core.statistics.drop(Reason.TOKEN_DUPLICATE)
        return
    core.stored_token = encode_orf_token(recovery.first_token(core.target))
    core.outbox.unicast(core.target, core.stored_token)
    core.statistics.orf_token_tx += 1
    core.start_token_timers(now)


def _enter_recovery(core: Core, token: CommitToken, now: float) -> None:
    """§3.6: send the commit token on first, the others wait for it; then see what the old ring still lacks."""
    _send_commit_token(core, token)
    core.recovery = Recovery(core.node_id, token, core.queue, core.membership.members)
    core.ordering.recover()
    core.start_token_timers(now)
    core.state = State.RECOVERY
    core.statistics.recovery_entered += 1


def install(core: Core, recovery: Recovery, now: float) -> None:
    """§3.8: close the old ring, open the new one."""
    membership, ring = core.membership, core.ring_id
    first, rest = recovery.restore(core.queue)
    transitional, members = recovery.transitional, recovery.members
    left = tuple(node for node in membership.members if node not in transitional)
    joined = tuple(node for node in members if node not in transitional)
    core.delivery.install(
        first,
        Configuration(ConfigurationKind.TRANSITIONAL, ring, transitional, (), left),
        rest,
        Configuration(ConfigurationKind.REGULAR, ring, members, joined, ()),
    )
    _announce(core, joined, left)
    core.queue = recovery.queue
    core.queue.settle()
    core.recovery = None
    core.ordering.operational()
    membership.install(members)
    core.accusations.forget()
    core.broken_pairs.installed(members, now)
    core.diagnosis.installed(members, now)
    core.state = State.OPERATIONAL
    core.statistics.operational_entered += 1
    core.statistics.continuous_gather = 0
    core.statistics.firewall_enabled_or_nic_failure = 0


def _announce(core: Core, joined: tuple[int, ...], left: tuple[int, ...]) -> None:
    text = f"A new membership ({core.ring_id}) was formed. Members"
    if joined:
        text += f" joined: {' '.join(map(str, joined))}"
    if left:
        text += f" left: {' '.join(map(str, left))}"
    core.outbox.notice("notice", text)
    unannounced = [node for node in left if node not in core.membership.left_on_purpose]
    if unannounced:
        failed = " ".join(map(str, unannounced))
        core.outbox.notice("notice", f"Failed to receive the leave message. failed: {failed}")
