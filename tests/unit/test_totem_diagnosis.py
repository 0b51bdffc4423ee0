"""Each trouble of the ring is told once, with the node that it is about, its cause and the next step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from corosyncd.daemon.surroundings import LONELY, Surroundings
from corosyncd.totem.diagnosis import INTERVAL, JOINS, LATE_FRAMES, REPEATED_FRAMES, TOKEN_LOSSES, UNREADABLE, Diagnosis
from corosyncd.totem.events import Configuration, ConfigurationKind, Notice, RingId
from corosyncd.totem.outbox import Outbox
from corosyncd.totem.wire import FrameType, MembJoin, Reason, encode_memb_join
from corosyncd.transport.udpu import Counters
from tests.unit.totem_cluster import Cluster

SMALL, LARGE = b"s" * 40, b"l" * 1200


def warnings(cluster: Cluster, node: int) -> list[str]:
    return [notice.text for notice in cluster[node].notices if notice.level in ("warning", "error")]


def formed(count: int, settings: dict[str, int] | None = None) -> Cluster:
    cluster = Cluster(count, settings)
    cluster.form()
    for node in cluster.nodes.values():
        node.notices.clear()
    return cluster


def send(cluster: Cluster, node: int, body: bytes, times: int) -> None:
    for _ in range(times):
        cluster[node].send(body)
        cluster.run(0.05)


def test_frames_that_come_only_when_asked_for_name_their_originator() -> None:
    cluster = formed(3)
    cluster.passes = lambda sender, receiver, frame: (
        not ((sender, receiver) == (2, 3) and frame[3] == FrameType.MCAST and frame[5] == 2)
    )
    send(cluster, 2, SMALL, 2 * LATE_FRAMES)
    (text,) = warnings(cluster, 3)
    assert text.startswith(f"{LATE_FRAMES} frames of node 2 in ")
    assert "node 3 (this one) only when asked for again" in text
    assert "net.core.rmem_max" in text
    assert warnings(cluster, 1) == warnings(cluster, 2) == []


def test_long_frames_that_are_lost_while_short_ones_pass_name_the_mtu() -> None:
    cluster = formed(3)
    cluster.passes = lambda sender, receiver, frame: not ((sender, receiver) == (2, 3) and len(frame) > 1000)
    for _ in range(2 * LATE_FRAMES):
        send(cluster, 2, SMALL, 1)
        send(cluster, 2, LARGE, 1)
    (text,) = warnings(cluster, 3)
    assert text.startswith(f"{LATE_FRAMES} frames of node 2 in ")
    assert "path MTU is smaller than totem.netmtu" in text
    assert "ping -M do" in text


def test_frames_that_never_come_are_told_with_the_largest_that_did() -> None:
    cluster = formed(2)
    cluster.passes = lambda sender, receiver, frame: not (receiver == 2 and len(frame) > 1000)
    cluster[1].send(LARGE)
    for _ in range(40):
        send(cluster, 1, SMALL, 1)
        cluster.run(0.2)
    (text,) = warnings(cluster, 2)
    assert text.startswith("Node 2 (this one) has asked for 1 frames")
    assert "path MTU" in text
    assert "Retransmit List" not in text


def test_a_ring_that_loses_its_token_although_all_live_is_told_at_the_third_time() -> None:
    cluster = formed(3)
    for _ in range(TOKEN_LOSSES):
        assert warnings(cluster, 2) == []
        cluster.passes = lambda sender, receiver, frame: frame[3] != FrameType.ORF_TOKEN
        cluster.run(cluster.parameters.token + 0.01)
        cluster.passes = lambda sender, receiver, frame: True
        cluster.run_until(lambda: cluster.formed((1, 2, 3)))
    # Node 2 is the one whose timer expires; the others only follow it.
    (text,) = warnings(cluster, 2)
    assert "no member was gone (nodes 1, 2, 3)" in text
    assert "raise totem.token" in text


def test_a_node_that_fails_to_receive_is_named_by_those_who_hear_it_say_so() -> None:
    cluster = formed(3)
    join = encode_memb_join(MembJoin(0, 3, 0, 3, cluster[1].ring.ring_id.sequence, (1, 2, 3), (3,)))
    cluster[1].ring.receive(join, 0, cluster.now)
    cluster[1].ring.receive(join, 0, cluster.now)
    cluster[1].act()
    (text,) = warnings(cluster, 1)
    assert text.startswith("node 3 gets the token, but for a long time no frames")


def diagnosis() -> tuple[Diagnosis, Callable[[], list[str]]]:
    outbox = Outbox(1)
    return Diagnosis(1, outbox), lambda: [output.text for output in outbox.drain() if isinstance(output, Notice)]


def test_who_did_not_agree_to_a_ring_is_told_apart_from_who_is_not_heard() -> None:
    found, told = diagnosis()
    found.no_ring(4, (2, 3), {2}, 1.0)
    (text,) = told()
    assert "Totem is unable to form a cluster" in text
    assert "Nothing is heard of node 3" in text
    assert "Node 2 is heard but does not agree" in text


FLOODS: dict[str, tuple[Callable[[Diagnosis, float], None], int, str]] = {
    "frames that come twice": (lambda found, now: found.repeated(7, now), REPEATED_FRAMES, "Node 7 floods the ring: "),
    "joins": (lambda found, now: found.joined(7, now), JOINS, "Node 7 floods the ring: "),
    "foreign datagrams": (lambda found, now: found.unreadable(Reason.MAGIC, now), UNREADABLE, "10 datagrams in "),
    "another version": (lambda found, now: found.unreadable(Reason.VERSION, now), UNREADABLE, "10 datagrams in "),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_is_told_once_however_long_it_lasts(kind: str) -> None:
    event, threshold, beginning = FLOODS[kind]
    found, told = diagnosis()
    for number in range(threshold - 1):
        event(found, number * 1e-4)
    assert told() == []
    for number in range(3 * threshold):
        event(found, 0.5 + number * 1e-4)
    (text,) = told()
    assert text.startswith(beginning)
    for number in range(threshold):
        event(found, 1.0 + INTERVAL + number * 1e-4)
    (text,) = told()
    assert "more such warnings since the last one" in text


def test_as_many_events_over_a_long_time_are_no_flood() -> None:
    found, told = diagnosis()
    for number in range(3 * UNREADABLE):
        found.unreadable(Reason.MAGIC, number * 5.0)
    assert told() == []


def surroundings(*listed: int) -> tuple[Surroundings, Counters, Callable[[], list[str]]]:
    cluster = Cluster(1)
    ring, counters = cluster[1].ring, Counters()
    return (
        Surroundings(ring, counters, lambda: listed, 5405),
        counters,
        lambda: [output.text for output in ring.outputs() if isinstance(output, Notice)],
    )


def regular(*members: int) -> Configuration:
    return Configuration(ConfigurationKind.REGULAR, RingId(1, 8), members, members, ())


def test_a_stranger_on_the_port_is_told_by_its_address() -> None:
    watched, counters, told = surroundings(1, 2)
    watched.look(1.0)
    assert told() == []
    counters.foreign_source, counters.foreign_address = 5, "192.0.2.7"
    watched.look(2.0)
    counters.foreign_source = 9
    watched.look(3.0)
    (text,) = told()
    assert "from 192.0.2.7 are dropped" in text
    assert "5405" in text


def test_sends_that_the_host_refuses_are_told_with_its_reason() -> None:
    watched, counters, told = surroundings(1, 2)
    counters.send_unreachable, counters.unreachable_reason = 1, "Operation not permitted"
    watched.look(1.0)
    (text,) = told()
    assert "Operation not permitted" in text


def test_a_member_that_the_node_list_lacks_is_named() -> None:
    watched, _, told = surroundings(1, 2)
    watched.configuration(regular(1, 2), 1.0)
    assert told() == []
    watched.configuration(regular(1, 2, 9), 2.0)
    (text,) = told()
    assert "lacks: node 9." in text


def test_a_node_that_stays_alone_is_told_whom_it_misses() -> None:
    watched, _, told = surroundings(1, 2, 3)
    watched.configuration(regular(1), 1.0)
    watched.look(LONELY)
    assert told() == []
    watched.look(LONELY + 1.0)
    (text,) = told()
    assert "no ring with nodes 2, 3" in text
    watched.configuration(regular(1, 2), 40.0)
    watched.look(40.0 + 2 * INTERVAL)
    assert told() == []
