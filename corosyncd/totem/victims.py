"""Leaving out the victims of broken pairs: what ``accusations`` and ``broken_pairs`` mean for a gather.

The joins, merge detects and frames of an ignored node are dropped; when others ask for it, it is accused at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from corosyncd.totem.broken_pairs import LONGEST_BACKOFF, Broken
from corosyncd.totem.core import Core, State
from corosyncd.totem.wire import MembJoin, Reason

ROUNDS_IN_A_ROW: Final = 2
"""Accusations are in a row if the second comes while a ring could be formed and broken so many times."""


def _round(core: Core) -> float:
    """Seconds in which rings that see each other become one."""
    parameters = core.parameters
    return parameters.token + parameters.consensus + parameters.hold + parameters.merge


def _row(core: Core) -> float:
    return ROUNDS_IN_A_ROW * _round(core)


def _ignores(core: Core, node: int, now: float) -> bool:
    """Whether a node is ignored. Asked when something comes from it: it is then that it may come back."""
    pairs = core.broken_pairs
    if not pairs.ignores(node, now):
        return False
    if core.state is State.OPERATIONAL:
        for free in pairs.release(_round(core), now):
            core.outbox.notice("notice", f"Node {free} is no longer left out: the node that does not reach it is gone.")
    return pairs.ignores(node, now)


def observe(core: Core, join: MembJoin, now: float) -> bool:
    """Learn from a join how others reach each other; False if its sender is ignored."""
    pairs, sender, node = core.broken_pairs, join.system_from, core.node_id
    accused = core.accusations.observe(join, core.parameters, now)
    if accused:
        # My join, which repeats the accusation, must not come before his at those who hear us both.
        core.no_join_before = now + core.parameters.join
        _report(core, pairs.accused(sender, accused, _row(core), now))
    asked_for = set(join.proc).difference(join.failed) if join.nodeid else set()
    if node not in asked_for:
        asked_for = set()
    elif sender != node:
        pairs.answered(sender, now)
    if _ignores(core, sender, now):
        core.statistics.drop(Reason.IGNORED_NODE)
        return False
    for tried in pairs.named(asked_for - {sender}, now):
        core.outbox.notice("notice", f"Node {tried} is no longer left out: node {sender} asks for it.")
    return True


def hear(core: Core, node: int, now: float) -> bool:
    """A frame of another ring; False if its sender is ignored."""
    if _ignores(core, node, now):
        return False
    core.accusations.heard(node)
    return True


def leave_out(core: Core, now: float, join: MembJoin | None = None) -> bool:
    """Accuse who is ignored and yet asked for; whether that changes my sets.

    And whom a join accuses that I do not hear either, though its sender be no member: I would say the same when my time is over.
    """
    membership, accused = core.membership, core.broken_pairs.ignored(now)
    if join is not None and join.nodeid and core.node_id not in join.failed and join.system_from not in membership.failed:
        accused.update(core.accusations.never_heard(set(join.failed).difference(membership.members)))
    return membership.exclude(accused)


def give_up(core: Core, silent: Sequence[int], now: float) -> None:
    """This node has waited in vain for these nodes to agree."""
    pairs, accusations = core.broken_pairs, core.accusations
    strangers = [node for node in silent if node not in core.membership.members]
    _report(core, pairs.out_of_reach(accusations.never_heard(strangers), _row(core), now))
    for broken in pairs.unanswered(accusations.unanswered(strangers), LONGEST_BACKOFF, now):
        core.outbox.notice(
            "warning",
            f"Node {broken.victim} is heard but does not answer: it does not hear this node ({core.node_id}), or leaves it out "
            f"because a third node does not. It is ignored for {broken.seconds:.0f} s, then tried again. Look at the log of node "
            f"{broken.victim}, and check that datagrams from here reach it.",
        )


def _report(core: Core, found: Sequence[Broken]) -> None:
    for (low, high), victim, seconds in found:
        if victim:
            text = (
                f"Nodes {low} and {high} do not reach each other, although this node hears both. Node {victim} is left out of "
                f"the ring for {seconds:.0f} s, then tried again."
            )
        else:
            text = f"Nodes {low} and {high} do not reach each other, although others hear both: the ring keeps breaking up."
        core.outbox.notice("warning", f"{text} Check the network between them: firewall rules, VLANs, switch ports, routes.")
