"""What the parts of the state machine share: one node's whole state, and the few moves that all of them make.

Source: reference totem.md §3.2. ``rotation``, ``gathering`` and ``forming`` are the moves proper; ``ring`` chooses among them.
"""

from __future__ import annotations

from enum import IntEnum

from corosyncd.totem.accusations import Accusations
from corosyncd.totem.broken_pairs import BrokenPairs
from corosyncd.totem.delivery import Delivery
from corosyncd.totem.diagnosis import Diagnosis
from corosyncd.totem.events import RingId
from corosyncd.totem.membership import Membership
from corosyncd.totem.ordering import Ordering, SortQueue
from corosyncd.totem.outbox import Outbox
from corosyncd.totem.packing import Packer
from corosyncd.totem.port_watch import PortWatch
from corosyncd.totem.recovery import Recovery
from corosyncd.totem.statistics import Statistics
from corosyncd.totem.timeouts import Parameters
from corosyncd.totem.timers import Timers


class State(IntEnum):
    """The four states of the protocol; a node starts OPERATIONAL with nothing running."""

    OPERATIONAL = 0
    GATHER = 1
    COMMIT = 2
    RECOVERY = 3


class Core:
    """One node's state, from its first gather to its leave."""

    __slots__ = (
        "accusations",
        "broken_pairs",
        "delivery",
        "diagnosis",
        "drop_joins",
        "joins_sent",
        "membership",
        "new_members",
        "no_join_before",
        "node_id",
        "ordering",
        "outbox",
        "packer",
        "parameters",
        "port_watch",
        "queue",
        "recovery",
        "retransmits_listed_at",
        "ring_id",
        "state",
        "statistics",
        "stored_token",
        "target",
        "timers",
        "token_delay",
    )

    def __init__(self, node_id: int, parameters: Parameters, stored_sequence: int) -> None:
        self.node_id = node_id
        self.parameters = parameters
        self.state = State.OPERATIONAL
        # One more than stored, so that the joins of this life beat those of the last.
        self.ring_id = RingId(node_id, stored_sequence + 1)
        """The ring that this node belongs to, or tries to form."""
        self.statistics = Statistics()
        self.timers = Timers()
        self.outbox = Outbox(node_id)
        self.packer = Packer(node_id, parameters.net_mtu)
        self.delivery = Delivery(self.outbox, self.packer, self.statistics)
        self.ordering = Ordering(node_id, parameters, self.statistics)
        self.membership = Membership(node_id, self.ring_id.sequence)
        self.accusations = Accusations(node_id)
        self.broken_pairs = BrokenPairs(node_id)
        self.diagnosis = Diagnosis(node_id, self.outbox)
        self.no_join_before = float("-inf")
        """My joins wait until then, whatever happens meanwhile: an accuser himself must be heard first."""
        self.port_watch = PortWatch()
        self.queue = SortQueue(self.ring_id)
        """The frames of the last installed ring. It does not change between the commit and the installation of the next,

        so what a commit token reports of it stays true however many attempts fail.
        """
        self.recovery: Recovery | None = None
        """Present in RECOVERY only."""
        self.new_members: tuple[int, ...] = ()
        """Of the ring that is being formed."""
        self.target = node_id
        """Who gets the token from me, for the whole life of a ring."""
        self.stored_token = b""
        """The last token or commit token that I passed on, or hold."""
        self.token_delay = 0.0
        self.drop_joins = False
        """After a pause: joins that waited tell of a membership that is gone."""
        self.joins_sent = 0
        self.retransmits_listed_at = float("-inf")

    def send_stored_token(self) -> None:
        """Send the stored token again; a node that has seen it drops it by its number."""
        if self.stored_token:
            self.outbox.unicast(self.target, self.stored_token)

    def start_token_timers(self, now: float) -> None:
        """The token has been here, or ought to come."""
        timers, parameters = self.timers, self.parameters
        timers.token = now + parameters.token
        timers.retransmit = now + parameters.token_retransmit
        if parameters.token_warning:
            timers.warning = now + parameters.token_warning
