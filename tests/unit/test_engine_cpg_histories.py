"""Random histories of three nodes' cpg engines: what every client was told adds up, and no process is lost or haunts a group."""

from __future__ import annotations

import random

import pytest

from coroipc.errors import Status
from coroipc.layouts import response_status
from corosyncd.engines.cpg import CpgEngine
from corosyncd.engines.engine import Client
from libcpg.messages import (
    ConfigurationChange,
    Deliver,
    JoinRequest,
    LeaveRequest,
    McastRequest,
    MembershipRequest,
    MembershipResponse,
    decode_event,
)
from tests.unit.fake_host import Cluster, Ring

NODES = (1, 2, 3)
GROUPS = (b"red", b"blue")
STEPS = 80

Place = tuple[int, int]


class History:
    """A cluster, its programs, and what each of them believes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.cluster = Cluster(CpgEngine, NODES)
        self.programs: dict[Place, tuple[Client, bytes]] = {}
        self.believed: dict[Place, set[Place]] = {}
        self.heard: dict[Place, list[bytes]] = {}
        self.pids = 0
        self.sent = 0

    def step(self) -> None:
        """Something happens."""
        self.random.choice(
            (self.join, self.join, self.leave, self.die, self.send, self.send, self.run, self.reform, self.crash_engine)
        )()

    def join(self) -> None:
        self.pids += 1
        place, group = (self.random.choice(NODES), self.pids), self.random.choice(GROUPS)
        node = self.cluster[place[0]]
        client = node.connect(self.pids)
        (answer,) = node.request(client, JoinRequest(group, self.pids).encode())
        assert response_status(answer) == Status.OK
        self.programs[place] = (client, group)

    def pick(self) -> Place | None:
        return self.random.choice(sorted(self.programs)) if self.programs else None

    def leave(self) -> None:
        place = self.pick()
        if place is not None:
            client, group = self.programs[place]
            (answer,) = self.cluster[place[0]].request(client, LeaveRequest(group, place[1]).encode())
            if response_status(answer) == Status.OK:
                self.forget(place)

    def die(self) -> None:
        place = self.pick()
        if place is not None:
            self.cluster[place[0]].disconnect(self.programs[place][0])
            self.forget(place)

    def send(self) -> None:
        place = self.pick()
        if place is not None:
            self.sent += 1
            self.cluster[place[0]].request(self.programs[place][0], McastRequest(b"%d" % self.sent).encode())

    def forget(self, place: Place) -> None:
        self.listen()
        del self.programs[place]
        self.believed.pop(place, None)

    def run(self) -> None:
        self.cluster.run()

    def crash_engine(self) -> None:
        """An engine dies with its clients; its queued messages are dropped or, one time in two, still on their way."""
        self.listen()
        node_id = self.random.choice(NODES)
        waiting = self.cluster[node_id].host.take_multicasts()
        for place in [place for place in self.programs if place[0] == node_id]:
            self.forget(place)
        successor = self.cluster.replace_engine(node_id)
        ring = next(ring for ring in self.cluster.rings if successor in ring.nodes)
        if self.random.random() < 0.5:
            successor.host.multicasts.extend(waiting)
        self.reform(list(ring.members))

    def reform(self, members: list[int] | None = None) -> None:
        """A new ring of some nodes; rounds of it may be aborted, and programs come and go while they run."""
        chosen = members or sorted(self.random.sample(NODES, self.random.randint(1, 3)))
        others = [node_id for node_id in NODES if node_id not in chosen]
        while self.random.random() < 0.3:
            ring = self.cluster.install(chosen)
            self.cluster.sync_steps(ring, until=self.random.randint(0, len(chosen)))
            self.random.choice((self.join, self.die))()
            self.cluster.abort(ring)
        self.cluster.install(chosen)
        if self.random.random() < 0.5:
            self.random.choice((self.join, self.die, self.leave))()
        self.cluster.synchronise(self.cluster.rings[-1])
        for ring in list(self.cluster.rings[:-1]):
            if set(ring.members) <= set(others):
                self.cluster.form(ring.members)

    def listen(self) -> None:
        """Every program follows its events: each change is exactly the difference of two member lists."""
        for place, (client, _) in self.programs.items():
            for event in map(decode_event, self.cluster[place[0]].host.take_events(client)):
                if isinstance(event, ConfigurationChange):
                    self.follow(place, event)
                elif isinstance(event, Deliver):
                    assert place in self.believed, "a message before the own join"
                    assert (event.nodeid, event.pid) in self.believed[place], "a message of a process that is no member"
                    self.heard.setdefault(place, []).append(event.data)

    def follow(self, place: Place, event: ConfigurationChange) -> None:
        members, joined, left = (
            {(entry.nodeid, entry.pid) for entry in entries} for entries in (event.members, event.joined, event.left)
        )
        if place in self.believed:
            before = self.believed[place]
            assert not joined & before
            assert left <= before
            assert members == (before | joined) - left
        else:
            assert place in joined
        self.believed[place] = members

    def known(self, node_id: int, group: bytes) -> set[Place]:
        """The group as one node's engine knows it."""
        node = self.cluster[node_id]
        (answer,) = node.request(node.connect(), MembershipRequest(group).encode())
        return {(address.nodeid, address.pid) for address in MembershipResponse.decode(answer).members}

    def settle(self) -> Ring:
        """All nodes on one ring, and nothing on its way."""
        ring = self.cluster.form(NODES)
        self.cluster.run()
        self.listen()
        return ring


@pytest.mark.parametrize("seed", range(60))
def test_what_clients_are_told_adds_up_and_all_nodes_agree_in_the_end(seed: int) -> None:
    history = History(seed)
    for _ in range(STEPS):
        history.step()
        history.listen()
    history.settle()
    for group in GROUPS:
        living = {place for place, (_, its) in history.programs.items() if its == group}
        assert [history.known(node_id, group) for node_id in NODES] == [living] * 3
        assert [history.believed[place] for place in living] == [living] * len(living)


@pytest.mark.parametrize("seed", range(20))
def test_members_of_a_group_hear_its_messages_in_one_order(seed: int) -> None:
    history = History(seed)
    for _ in range(6):
        history.join()
    history.settle()
    history.heard.clear()
    for _ in range(STEPS):
        history.random.choice((history.send, history.run))()
    history.settle()
    for group in GROUPS:
        heard = [history.heard.get(place, []) for place, (_, its) in history.programs.items() if its == group]
        assert all(one == heard[0] for one in heard)
    assert sum(map(len, history.heard.values())) > 0
