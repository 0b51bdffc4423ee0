"""Votequorum engines in memory, with the two steps that a sync round takes for them: a decision goes out, then is confirmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corosyncd.engines.engine import KeyChange
from corosyncd.engines.quorum.engine import QuorumEngine
from corosyncd.engines.votequorum.ballot import Ballot
from corosyncd.engines.votequorum.engine import VoteQuorumEngine
from corosyncd.keyspace.values import Value, text, uint8, uint32
from corosyncd.totem.events import NO_RING, RingId
from libvotequorum import messages
from tests.unit.fake_host import Cluster, FakeHost, Node, Ring


def configuration(nodes: Sequence[int] = (), votes: Mapping[int, int] | None = None, **options: int | str) -> dict[str, Value]:
    """Keys of a nodelist and of ``quorum.``; ``device_votes`` stands for ``device.votes``."""
    keys = {"quorum.provider": text("corosync_votequorum")}
    for position, node in enumerate(nodes):
        keys[f"nodelist.node.{position}.nodeid"] = uint32(node)
        if votes and node in votes:
            keys[f"nodelist.node.{position}.quorum_votes"] = uint32(votes[node])
    numbers = {"expected_votes", "votes", "last_man_standing_window", "device_votes", "device_timeout", "device_sync_timeout"}
    for name, value in options.items():
        key = "quorum." + (name.replace("device_", "device.", 1))
        keys[key] = text(value) if isinstance(value, str) else uint32(value) if name in numbers else uint8(value)
    return keys


class QuorumCluster(Cluster):
    """Nodes of one configuration, which form their first ring together; every decision is confirmed at once."""

    def __init__(self, nodes: Sequence[int], keys: Mapping[str, Value], *, form: bool = True) -> None:
        self.decisions: dict[int, list[tuple[bool, tuple[int, ...], RingId]]] = {}
        """What each node published, in order."""
        super().__init__(VoteQuorumEngine, (), dict.fromkeys(nodes, keys))
        for node in nodes:
            self.start(node)
        if form:
            self.form(nodes)

    def form(self, node_ids: Sequence[int]) -> Ring:
        """A ring of these nodes and its whole round; nothing for no nodes."""
        return super().form(node_ids) if node_ids else Ring([], NO_RING)

    def synchronise(self, ring: Ring) -> None:
        waiting = self.steps(ring)
        assert not waiting, f"nodes {waiting} hold their barrier back"
        self.finish(ring)

    def steps(self, ring: Ring) -> list[int]:
        """All nodes send their data; the nodes whose barrier has to wait."""
        waiting = [node.node_id for node in ring.nodes if not node.engine.sync_step()]
        self.run_round(ring)
        return waiting

    def run_round(self, ring: Ring) -> None:
        """Deliver what the open round has; nothing is confirmed."""
        super().run(ring)

    def finish(self, ring: Ring) -> None:
        """All barriers are there: activate, confirm, complete."""
        for node in ring.nodes:
            node.previous = ring.members
            assert node.engine.sync_activate() is False
        self.confirm(ring)
        for node in ring.nodes:
            assert node.host.said.count("sync_activated") == 1
            node.host.said.remove("sync_activated")
            node.host.in_sync = False
            node.engine.sync_complete()
        self.run(ring)

    def run(self, ring: Ring | None = None) -> None:
        """Deliver and confirm until nothing happens any more."""
        for each in [ring] if ring is not None else list(self.rings):
            super().run(each)
            while self.confirm(each):
                super().run(each)
            for node in each.nodes:
                node.host.apply_key_requests(node.engine)
        if any(node.host.multicasts for node in self.nodes.values() if self.ring_of(node)):
            self.run(ring)

    def ring_of(self, node: Node) -> Ring | None:
        """The ring that a node is on."""
        return next((ring for ring in self.rings if node in ring.nodes), None)

    def confirm(self, ring: Ring) -> bool:
        """Play the executive for decisions; whether there was one."""
        any_decision = False
        for node in ring.nodes:
            while node.host.quorate:
                self.decisions.setdefault(node.node_id, []).append(node.host.quorate.pop(0))
                node.engine.quorate_confirmed()
                any_decision = True
        return any_decision

    def expire(self, node_id: int, token: str) -> None:
        """A node's timer runs out."""
        node = self[node_id]
        node.host.expire(node.engine, token)
        self.run()

    def change(self, node_id: int, keys: Mapping[str, Value | None]) -> None:
        """The map of one node changes (None deletes)."""
        set_keys(self[node_id], keys)
        self.run()

    # Looking ----------------------------------------------------------------------------------------------------------------

    def ballot(self, node_id: int) -> Ballot:
        """The count of one node."""
        engine = self[node_id].engine
        assert isinstance(engine, VoteQuorumEngine)
        return engine._ballot

    def quorate(self, *node_ids: int) -> list[bool]:
        """What these nodes decided; all nodes where none is named."""
        return [self.ballot(node_id).votes.quorate for node_id in node_ids or sorted(self.nodes)]

    def quorum(self, node_id: int = 1) -> int:
        """Votes that a node thinks are needed."""
        return self.ballot(node_id).votes.quorum

    def expected(self, node_id: int = 1) -> int:
        """What a node expects."""
        return self.ballot(node_id).votes.us.expected_votes

    def info(self, node_id: int = 1, about: int = 0) -> messages.Info:
        """getinfo, as a program sees it."""
        node = self[node_id]
        (response,) = node.request(node.connect(), messages.GetinfoRequest(about).encode())
        return messages.Info.decode(response)

    def key(self, name: str, node_id: int = 1) -> object:
        """A key below runtime.votequorum. as the map of a node has it."""
        value = self[node_id].host.map.get("runtime.votequorum." + name)
        return None if value is None else value.python()


def set_keys(node: Node, keys: Mapping[str, Value | None]) -> None:
    """Change a node's map in one batch and tell its engine."""
    changes = []
    for name, value in keys.items():
        if value is None:
            _, change = node.host.map.delete(name, client=False)
        else:
            _, change = node.host.map.set(name, value, client=False)
        if change is not None:
            changes.append(KeyChange(*change))
    if changes:
        node.engine.keys_changed(changes)


def quorum_engine(keys: Mapping[str, Value] | None = None, kept: bytes | None = None) -> tuple[QuorumEngine, FakeHost]:
    """A started quorum engine alone."""
    host = FakeHost(1, keys)
    engine = QuorumEngine(host, kept)
    engine.start()
    return engine, host
