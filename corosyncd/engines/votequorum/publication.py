"""How a decision becomes known: first to the node and the quorum API's clients, only then to votequorum's own.

Sending it and hearing that it is known are two steps, with other events between them. At most one decision is under way;
what changes meanwhile is published right after it. Design: "A round of sync", point 5.
"""

from __future__ import annotations

from corosyncd.engines.engine import Host
from corosyncd.engines.votequorum.decision import Votes
from corosyncd.engines.votequorum.trackers import Trackers


class Publication:
    """The decision under way. Held from a new ring's configuration to the activation of its round."""

    def __init__(self, host: Host, trackers: Trackers) -> None:
        """Held: before the first round there is nothing to publish."""
        self._host = host
        self._trackers = trackers
        self._held = True
        self._activating = False
        self._under_way: Votes | None = None
        self._next: Votes | None = None

    def hold(self) -> None:
        """A new ring: a decision counts only when every member's votes are known."""
        self._held = True
        self._activating = False
        self._next = None

    def activate(self, votes: Votes) -> None:
        """The round's decision, changed or not. One of the old ring that was not confirmed by now never will be: the quorum
        service, through which confirmations come, has gone through the new ring's configuration before."""
        self._held = False
        self._activating = True
        self._next = None
        self._publish(votes)

    def changed(self, votes: Votes) -> None:
        """The decision has turned."""
        if self._held:
            return
        if self._under_way is not None:
            self._next = votes
        else:
            self._publish(votes)

    def confirmed(self) -> None:
        """The decision under way is known to this node and to the quorum API's clients."""
        if self._under_way is None:
            return
        told, self._under_way = self._under_way, None
        self._trackers.tell_quorum(told)
        if self._activating:
            self._activating = False
            self._host.sync_activated()
        if self._next is not None:
            votes, self._next = self._next, None
            self._publish(votes)

    def _publish(self, votes: Votes) -> None:
        self._under_way = votes
        self._host.set_quorate(votes.quorate, votes.members, votes.ring_id)
