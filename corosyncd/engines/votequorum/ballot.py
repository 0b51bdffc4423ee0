"""The count of votes that all nodes keep alike: changed by ring messages and configurations, published when it decides.

Everything here happens in total order on every node; what one node's own device or clients wish reaches it as messages.

Source: reference services sections 4.3 to 4.5.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from corosyncd.engines.engine import Host, MulticastClass
from corosyncd.engines.votequorum import decision, wire
from corosyncd.engines.votequorum.configuration import Settings
from corosyncd.engines.votequorum.decision import TieBreaker, Votes
from corosyncd.engines.votequorum.nodes import DEVICE_NODE_ID, Node, NodeFlag, NodeState
from corosyncd.engines.votequorum.publication import Publication
from corosyncd.engines.votequorum.trackers import Trackers
from corosyncd.totem.events import RingId

WINDOW_TIMER: Final = "last_man_standing"


class Ballot:
    """The votes, and what follows from a change of them. Public: ``votes``, ``settings``, ``window_open``."""

    def __init__(self, host: Host, votes: Votes, settings: Settings, trackers: Trackers, publication: Publication) -> None:
        """``votes`` is what a predecessor kept, or the configuration's beginning."""
        self.votes = votes
        self.settings = settings
        self.window_open = False
        """The last_man_standing window runs: at its end the present nodes become what is expected."""
        self._host = host
        self._trackers = trackers
        self._publication = publication
        self._told_waiting: tuple[int, int] | None = None

    # Sending ----------------------------------------------------------------------------------------------------------------

    def send(self, message: wire.Message, kind: MulticastClass = MulticastClass.CURRENT) -> None:
        """Multicast. A device's poll during a synchronisation must count in it, hence the queue in use."""
        self._host.multicast(wire.function_of(message), [message.body()], kind)

    def send_own_info(self, kind: MulticastClass = MulticastClass.CURRENT) -> None:
        """Tell the others our votes and flags."""
        us = self.votes.us
        self.send(wire.NodeInfo(us.node_id, us.votes, us.expected_votes, us.flags), kind)

    def send_device_info(self, kind: MulticastClass = MulticastClass.CURRENT) -> None:
        """Tell the others our device's votes; stock nodes do so even without one."""
        self.send(wire.NodeInfo(DEVICE_NODE_ID, self.votes.device_votes, 0, 0), kind)

    def set_own_flags(self, raised: int, cleared: int = 0) -> bool:
        """Change our flags here; the others learn them with our next NODEINFO. False where nothing changed."""
        us = self.votes.us
        flags = us.flags & ~cleared | raised
        self.votes = self.votes.with_nodes(replace(us, flags=flags))
        return flags != us.flags

    def set_master_wins(self, allow: bool) -> None:
        """Whether this node lets a member's device decide against the count."""
        self.votes = replace(self.votes, rules=replace(self.votes.rules, device_master_wins=allow))

    # What the ring says -----------------------------------------------------------------------------------------------------

    def node_info(self, source: int, info: wire.NodeInfo) -> None:
        """NODEINFO. Raises ValueError where a node speaks for another one, or for a device before itself."""
        if info.node_id == DEVICE_NODE_ID:
            self._device_info(source, info.votes)
            return
        if info.node_id != source:
            raise ValueError(f"node {source} sent the votes of node {info.node_id}")
        known = self.votes.nodes.get(source)
        node, quorate_peer = self._node_from(info, known)
        leaving = node.state is NodeState.LEAVING
        self.votes = self.votes.with_nodes(node)
        self._check_last_man_standing(node)
        if known != node or source == self.votes.own_id or node.has(NodeFlag.FIRST):
            self.recalculate(allow_decrease=leaving or quorate_peer, by_nodes=leaving)
        # As it was described, our own message too: within a round the quorum may be gone only until others have been heard.
        if self.votes.rules.wait_for_all and node.has(NodeFlag.QUORATE) and not node.has(NodeFlag.WAITING):
            self.votes = self.votes.with_waiting(False)

    def _node_from(self, info: wire.NodeInfo, known: Node | None) -> tuple[Node, bool]:
        """The node as its message describes it, and whether we, inquorate, take over a quorate node's expected votes.

        Of our own message only the arrival counts: an older one in flight must not roll back what changed here since.
        """
        us = self.votes.us
        own = info.node_id == us.node_id
        flags = us.flags if own else info.flags
        adopts = not own and not self.votes.quorate and bool(flags & NodeFlag.QUORATE)
        if adopts:
            self.votes = self.votes.with_nodes(replace(us, expected_votes=info.expected_votes))
        believed = bool(flags & NodeFlag.QUORATE) or self.votes.rules.expected_votes_tracking
        node = Node(
            node_id=info.node_id,
            votes=us.votes if own else info.votes,
            expected_votes=info.expected_votes if believed and not own else self.votes.us.expected_votes,
            flags=flags,
            state=NodeState.LEAVING if flags & NodeFlag.LEAVING else NodeState.MEMBER,
        )
        return node, adopts

    def _device_info(self, source: int, device_votes: int) -> None:
        sender = self.votes.nodes.get(source)
        if sender is None:
            raise ValueError(f"node {source} sent its device's votes before its own")
        if self.votes.quorate or not sender.has(NodeFlag.QUORATE):
            device_votes = max(self.votes.device_votes, device_votes)
        if device_votes != self.votes.device_votes:
            self.votes = replace(self.votes, device_votes=device_votes)
            self.recalculate()

    def reconfigure(self, order: wire.Reconfigure) -> None:
        """RECONFIGURE: an operator's order, given on any node."""
        match order.parameter:
            case wire.Parameter.EXPECTED_VOTES:
                self._reconfigure_expected(order.value)
            case wire.Parameter.NODE_VOTES:
                node = self.votes.nodes.get(order.node_id)
                if node is not None:
                    self.votes = self.votes.with_nodes(replace(node, votes=order.value))
                    self.recalculate(allow_decrease=True)
            case wire.Parameter.CANCEL_WAITING:
                self.votes = self.votes.with_waiting(False)
                self.recalculate()

    def _reconfigure_expected(self, value: int) -> None:
        if value:
            self.votes = self.votes.with_expected(value)
        self._trackers.tell_expected_votes(self.votes.us.expected_votes)
        self.votes = replace(self.votes, expected_barrier=value)
        if self.votes.rules.expected_votes_tracking:
            us = self.votes.us
            expected = max(us.expected_votes, self.votes.tracking_barrier)
            self.votes = self.votes.with_nodes(replace(us, expected_votes=expected))
        self.recalculate(allow_decrease=True)

    # Configurations ---------------------------------------------------------------------------------------------------------

    def ring_changed(self, members: tuple[int, ...], ring_id: RingId) -> None:
        """A new ring: nothing is published until its round has activated."""
        self._publication.hold()
        if len(members) > 1:
            self.set_own_flags(0, NodeFlag.FIRST)
        if self.votes.rules.wait_for_all and not self.votes.quorate:
            # The last round may have ended before its activation had seen to this.
            self.votes = self.votes.with_waiting(True)
        self.votes, somebody_left = decision.members_changed(self.votes, members, ring_id)
        if self._window_wanted(somebody_left):
            self.open_window()

    def open_window(self) -> None:
        """(Re)start the last_man_standing window."""
        self.window_open = True
        self._host.after(self.settings.window_ms / 1000, WINDOW_TIMER)

    def _window_wanted(self, somebody_left: bool) -> bool:
        votes = self.votes
        if not votes.rules.last_man_standing:
            return False
        count = len(votes.members)
        tie = votes.rules.tie_breaker is not TieBreaker.NONE and decision.is_member(votes.nodes, votes.lowest_id)
        return (count >= votes.quorum and somebody_left) or (count <= votes.quorum and tie)

    def window_expired(self) -> None:
        """last_man_standing: the survivors have been quorate for the whole window."""
        self.window_open = False
        if self.votes.quorate:
            self.recalculate(allow_decrease=True, by_nodes=True)

    def activate(self) -> None:
        """Every member's votes of this round are here: decide and publish."""
        self.recalculate()
        self._publication.activate(self.votes)

    def apply(self, settings: Settings) -> None:
        """A changed configuration; our part of it goes to the others."""
        before = self.votes.us
        old, self.settings = self.settings, settings
        rules = self.votes.rules
        rules = replace(
            settings.rules,
            last_man_standing=settings.rules.last_man_standing and rules.last_man_standing,
            device_master_wins=rules.device_master_wins,
        )
        us = replace(before, votes=settings.votes, expected_votes=settings.expected_votes)
        votes = replace(self.votes.with_nodes(us), rules=rules, expected_barrier=settings.expected_votes)
        if settings.device_configured or old.device_configured:
            votes = replace(votes, device_votes=settings.device_votes)
        # It went with two_node; the others would hear of it still, and find it again with the next two_node.
        self.votes = votes if rules.wait_for_all else votes.with_waiting(False)
        self.send_own_info()
        self.send_device_info()
        if us.votes != before.votes:
            self.send(wire.Reconfigure(us.node_id, us.votes, wire.Parameter.NODE_VOTES))
        if us.expected_votes != before.expected_votes:
            self.send(wire.Reconfigure(us.node_id, us.expected_votes, wire.Parameter.EXPECTED_VOTES))

    # Deciding ---------------------------------------------------------------------------------------------------------------

    def recalculate(self, *, allow_decrease: bool = False, by_nodes: bool = False) -> None:
        """Decide anew; outside of a round a changed decision is published at once."""
        was_quorate = self.votes.quorate
        outcome = decision.recalculate(self.votes, allow_decrease=allow_decrease, by_nodes=by_nodes)
        self.votes = outcome.votes
        if outcome.raised_to:
            self._trackers.tell_expected_votes(outcome.raised_to)
        self._log_waiting(outcome.total)
        if self.votes.quorate != was_quorate:
            self._publication.changed(self.votes)

    def _check_last_man_standing(self, node: Node) -> None:
        if self.votes.rules.last_man_standing and node.votes > 1:
            self._host.log("warning", "last_man_standing needs one vote on every node: it is disabled")
            self.votes = replace(self.votes, rules=replace(self.votes.rules, last_man_standing=False))
            self.window_open = False
            self._host.cancel(WINDOW_TIMER)

    def _log_waiting(self, total: int) -> None:
        if not (self.votes.rules.wait_for_all and self.votes.waiting and not self.votes.quorate):
            self._told_waiting = None
            return
        counts = (total, self.votes.us.expected_votes)
        if counts != self._told_waiting:
            self._told_waiting = counts
            text = f"Waiting for all cluster members. Current votes: {counts[0]} expected_votes: {counts[1]}"
            self._host.log("notice", text)
