"""The clients that want to be told: who they are, and the events they get.

Source: votequorum_trackstart(3), reference services section 4.8.
"""

from __future__ import annotations

from corosyncd.engines.engine import Client, Host
from corosyncd.engines.votequorum.decision import Votes
from corosyncd.engines.votequorum.nodes import DEVICE_NODE_ID, NodeFlag, listed
from libvotequorum import messages


class Trackers:
    """Tracking connections, each with the context value that its events echo."""

    def __init__(self, host: Host) -> None:
        """Nobody tracks."""
        self._host = host
        self._contexts: dict[Client, int] = {}

    def __contains__(self, client: Client) -> bool:
        """Whether the client tracks."""
        return client in self._contexts

    def add(self, client: Client, context: int) -> None:
        """The client tracks from now on."""
        self._contexts[client] = context

    def remove(self, client: Client) -> bool:
        """The client stops tracking; False where it did not track."""
        return self._contexts.pop(client, None) is not None

    def present_state(self, client: Client, context: int, votes: Votes) -> None:
        """The burst that answers trackstart: the members, then the decision as it stands."""
        self._host.notify(client, node_list_event(votes, context))
        self._host.notify(client, quorum_event(votes, context))

    def tell_node_list(self, votes: Votes) -> None:
        """The ring's members, before quorum is computed for them: devices learn the new ring id from it."""
        for client, context in self._contexts.items():
            self._host.notify(client, node_list_event(votes, context))

    def tell_quorum(self, votes: Votes) -> None:
        """A decision."""
        for client, context in self._contexts.items():
            self._host.notify(client, quorum_event(votes, context))

    def tell_expected_votes(self, expected_votes: int) -> None:
        """The local node expects another number of votes."""
        for client, context in self._contexts.items():
            self._host.notify(client, messages.ExpectedVotesNotification(context, expected_votes).encode())


def node_list_event(votes: Votes, context: int) -> bytes:
    """NODELIST of the ring in ``votes``."""
    ring_id = votes.ring_id
    return messages.NodeListNotification(context, ring_id.representative, ring_id.sequence, votes.members).encode()


def quorum_event(votes: Votes, context: int) -> bytes:
    """QUORUM: every node ever known with its state, and the device where one is registered here."""
    nodes = [messages.Node(node.node_id, node.state) for node in listed(votes.nodes, votes.own_id)]
    if votes.us.has(NodeFlag.DEVICE_REGISTERED):
        nodes.append(messages.Node(DEVICE_NODE_ID, messages.NodeState.DEVICE))
    return messages.QuorumNotification(context, votes.quorate, tuple(nodes)).encode()
