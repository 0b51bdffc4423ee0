"""Nodes die, leave and return: the others go on, and the ring's sequence numbers never go back."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from coroipc.errors import InvalidParameter
from libcfg import Cfg
from libcmap import Cmap
from libvotequorum import InfoFlag, Votequorum
from tests.cluster.harness import Cluster, Node, eventually

TOKEN = {"token": 1000, "token_coefficient": 0}
"""Milliseconds: a dead node is missed soon, and a busy machine is no dead node."""
LONG_TOKEN_SECONDS = 15


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(3, totem=TOKEN) as formed:
        yield formed


def stored_sequence(node: Node) -> int:
    number: int = struct.unpack("=Q", (node.state / f"ringid_{node.number}").read_bytes())[0]
    return number


def test_the_others_go_on_without_a_killed_node_and_take_it_back(cluster: Cluster) -> None:
    with cluster[1].quorum() as first, cluster[2].quorum() as second:
        before = cluster[1].next_membership(first, {1, 2, 3}, quorate=True).ring_sequence
        cluster[3].kill()
        without = [cluster[1].next_membership(first, {1, 2}), cluster[2].next_membership(second, {1, 2})]
        assert without[0] == without[1]
        assert without[0].quorate
        assert without[0].ring_sequence > before
        cluster[3].start()
        again = [cluster[1].next_membership(first, {1, 2, 3}), cluster[2].next_membership(second, {1, 2, 3})]
    cluster[3].wait_ready()
    assert cluster[3].wait_members({1, 2, 3}, quorate=True) == again[0] == again[1]
    assert again[0].ring_sequence > without[0].ring_sequence


def test_a_ring_of_restarted_nodes_is_newer_than_all_before(cluster: Cluster) -> None:
    before = cluster[1].wait_members({1, 2, 3}).ring_sequence
    for node in cluster:
        node.kill()
        assert stored_sequence(node) == before
    cluster.start()
    after = {node.wait_members({1, 2, 3}, quorate=True).ring_sequence for node in cluster}
    assert len(after) == 1
    assert after.pop() > before


def test_a_node_that_is_stopped_says_farewell_and_nobody_waits_for_the_token_timeout() -> None:
    with Cluster(3, start=False, totem={"token": LONG_TOKEN_SECONDS * 1000}) as cluster, ExitStack() as stack:
        # One by one: where a third node joins while two are committing to a ring, Totem itself may wait for that timeout.
        for node in cluster:
            node.start()
            node.wait_ready()
            node.wait_members(range(1, node.number + 1))
        quorum = stack.enter_context(cluster[1].quorum())
        cluster[1].next_membership(quorum, {1, 2, 3})
        before = time.monotonic()
        assert cluster[3].stop() == 0
        assert cluster[1].next_membership(quorum, {1, 2}).quorate
        assert time.monotonic() - before < LONG_TOKEN_SECONDS
        assert not (cluster[3].folder / "corosync.pid").exists()


def test_one_of_two_nodes_keeps_quorum_and_alone_gets_none_before_it_has_seen_the_other() -> None:
    with Cluster(2, start=False, totem=TOKEN, quorum={"two_node": 1}) as cluster:
        cluster[1].start()
        cluster[1].wait_ready()
        cluster[1].wait_members({1}, quorate=False)
        with cluster[1].connect(Votequorum) as votequorum:
            assert votequorum.getinfo().flags & InfoFlag.TWO_NODE
        cluster[2].start()
        cluster[1].wait_members({1, 2}, quorate=True)
        cluster[2].wait_ready()
        cluster[2].kill()
        cluster[1].wait_members({1}, quorate=True)


def test_a_majority_that_waits_for_all_gets_quorum_with_the_last_node_and_keeps_it() -> None:
    with Cluster(3, start=False, totem=TOKEN, quorum={"wait_for_all": 1}) as cluster:
        for number in (1, 2):
            cluster[number].start()
        for number in (1, 2):
            cluster[number].wait_ready()
            cluster[number].wait_members({1, 2}, quorate=False)
        cluster[3].start()
        cluster[1].wait_members({1, 2, 3}, quorate=True)
        cluster[3].wait_ready()
        cluster[3].stop()
        cluster[1].wait_members({1, 2}, quorate=True)


def test_what_a_program_sets_of_the_ring_and_the_log_is_in_force_at_once() -> None:
    with Cluster(1) as cluster:
        node = cluster[1]
        with node.connect(Cmap) as cmap:

            def in_force(milliseconds: int) -> bool:
                return cmap.get("runtime.config.totem.token") == milliseconds

            cmap.set("totem.token", 2500)
            eventually(lambda: in_force(2500), "the token timeout that was set", node.log)
            for nonsense in (1, 1 << 60, "soon"):
                cmap.set("totem.token", nonsense)
            node.wait_logged("Configuration is not valid: ", 3)
            assert in_force(2500)
            cmap.delete("totem.token")
            eventually(lambda: in_force(3000), "the default", node.log)
            cmap.set("logging.debug", "on")
            cmap.set("runtime.force_gather", "1")
            node.wait_logged("entering GATHER state from 15")
            node.wait_members({1})


def test_a_reload_takes_nodes_in_and_out_and_moves_none() -> None:
    with Cluster(3, start=False, totem=TOKEN) as cluster:
        entries = cluster.configuration(cluster[1])["nodelist"]["node"]
        old = (cluster[1], cluster[2])

        def write(*listed: dict[str, Any], token: int = 1000) -> None:
            for node in old:
                cluster.configure(node, nodelist={"node": list(listed)}, totem={"token": token})

        def reload() -> None:
            for node in old:
                with node.connect(Cfg) as cfg:
                    cfg.reload_configuration()

        write(*entries[:2])
        for node in old:
            node.start()
        for node in old:
            node.wait_ready()
            node.wait_members({1, 2}, quorate=True)
        write(*entries)
        reload()
        cluster[3].start()
        cluster[3].wait_ready()
        for node in cluster:
            node.wait_members({1, 2, 3}, quorate=True)
        with cluster[1].connect(Cmap) as cmap:
            assert cmap.get("runtime.config.totem.token") == cmap.get("totem.token") == 1000
            assert cmap.get("runtime.members.3.ip") == f"r(0) ip({cluster[3].address}) "
        cluster[3].stop()
        write(*entries[:2], token=1500)
        reload()
        cluster[3].start()
        for node in old:
            node.wait_logged(f"Datagrams from {cluster[3].address} are dropped")
            node.wait_members({1, 2}, quorate=True)
        with cluster[1].connect(Cmap) as cmap:
            eventually(lambda: cmap.get("runtime.config.totem.token") == 1500, "the new token timeout", cluster.logs)
        write(entries[0], {**entries[1], "ring0_addr": "127.0.0.77"})
        with cluster[1].connect(Cfg) as cfg, pytest.raises(InvalidParameter):
            cfg.reload_configuration()
        with cluster[1].connect(Cmap) as cmap:
            assert cmap.get("nodelist.node.1.ring0_addr") == cluster[2].address
        assert cluster[1].logged("new config has different address for link 0 (addr changed from 127.0.0.2 to 127.0.0.77)")
