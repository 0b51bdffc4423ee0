"""Claims on recovery: what members of an old ring owe each other before the new one opens (reference totem.md §3.6, §3.8)."""

from __future__ import annotations

from random import Random

from corosyncd.totem import wire
from corosyncd.totem.events import Configuration, ConfigurationKind, RingId
from corosyncd.totem.membership import fill_entry
from corosyncd.totem.ordering import SortQueue
from corosyncd.totem.recovery import Recovery, restore_frame
from corosyncd.totem.wire import CommitEntry, CommitToken, Mcast, OrfToken, decode, encode
from tests.unit.totem_cluster import Cluster, Filter, Node, formed

OLD = RingId(1, 5)


def big_frames_lost_at(receiver: int) -> Filter:
    """One node receives no frame above 300 bytes, as in the capture of stock nodes that this follows."""
    return lambda sender, to, frame: not (to == receiver and len(frame) > 300)


def encapsulated(node: Node) -> list[Mcast]:
    found = [decode(frame) for _, receiver, frame in node.sent if receiver is None]
    return [frame for frame in found if isinstance(frame, Mcast) and frame.encapsulated == wire.ENCAPSULATED]


def since_transitional(node: Node) -> list[Configuration | tuple[int, bytes]]:
    """What came out from the last transitional configuration on."""
    last = max(index for index, item in enumerate(node.trace) if item is node.configurations[-2])
    return node.trace[last:]


def lost_sender(count: int = 3) -> Cluster:
    """The highest node multicasts, node 2 receives nothing of it, and the sender dies; the others re-form the ring."""
    cluster = formed(count)
    cluster.passes = big_frames_lost_at(2)
    cluster[count].send(*[bytes([number]) * 1000 for number in range(6)])
    cluster.run_until(lambda: len(cluster[1].messages) == 6)
    assert cluster[2].messages == []
    cluster.run(0.002)
    cluster.kill(count)
    cluster.passes = lambda sender, receiver, frame: True
    return cluster


def test_a_survivor_gets_the_frames_of_a_dead_sender_from_another_survivor() -> None:
    cluster = lost_sender()
    cluster.run_until(lambda: cluster.formed((1, 2)))
    assert len(cluster[2].messages) == 6
    assert cluster[2].messages == cluster[1].messages


def test_the_recovered_frames_travel_unchanged_inside_frames_of_the_new_ring() -> None:
    cluster = lost_sender()
    # Without a token the old ring cannot send them again itself.
    cluster.passes = lambda sender, receiver, frame: frame[3] != wire.FrameType.ORF_TOKEN
    cluster.run(4)
    cluster.passes = lambda sender, receiver, frame: True
    cluster.run_until(lambda: cluster.formed((1, 2)))
    outer = encapsulated(cluster[1])
    originals = {frame for _, receiver, frame in cluster[3].sent if receiver is None}
    assert [frame.seq for frame in outer] == list(range(1, len(outer) + 1))
    assert {wire.ring_id(frame) for frame in outer} == {cluster[1].ring.ring_id}
    assert {frame.system_from for frame in outer} == {1}
    assert outer
    assert all(frame.payload in originals for frame in outer)
    flags = [token.retrans_flg for _, _, frame in cluster[1].sent if isinstance(token := decode(frame), OrfToken)]
    assert 1 in flags
    assert flags[-1] == 0
    ordinary = [
        frame
        for node in (cluster[1], cluster[2])
        for _, receiver, data in node.sent
        if receiver is None and isinstance(frame := decode(data), Mcast) and frame.encapsulated == wire.ORDINARY
    ]
    assert min(frame.seq for frame in ordinary if wire.ring_id(frame) == cluster[1].ring.ring_id) == len(outer) + 1
    assert cluster[2].messages == cluster[1].messages
    assert len(cluster[2].messages) == 6


def test_recovered_messages_come_before_the_transitional_configuration() -> None:
    cluster = lost_sender()
    cluster.run_until(lambda: cluster.formed((1, 2)))
    for node in (cluster[1], cluster[2]):
        kinds = [item for item in node.trace if isinstance(item, Configuration) or item[0] == 3]
        assert [type(item) for item in kinds[2:8]] == [tuple] * 6
        assert [item.kind for item in kinds[8:] if isinstance(item, Configuration)] == [
            ConfigurationKind.TRANSITIONAL,
            ConfigurationKind.REGULAR,
        ]


def test_behind_a_gap_that_nobody_can_fill_only_survivors_messages_are_delivered_in_the_transitional_configuration() -> None:
    cluster = formed(3)
    # Node 3 numbers frames that nobody receives; then nodes 1 and 2 multicast behind the gap.
    cluster.passes = lambda sender, receiver, frame: not (sender == 3 and frame[3] == wire.FrameType.MCAST)
    cluster[3].send(b"lost with its sender")
    cluster.run(0.0004)
    cluster[1].send(b"one, behind the gap")
    cluster[2].send(b"two, behind the gap")
    cluster.run(0.0004)
    assert cluster[1].messages == cluster[2].messages == []
    cluster.kill(3)
    cluster.run_until(lambda: cluster.formed((1, 2)))
    expected = sorted([(1, b"one, behind the gap"), (2, b"two, behind the gap")])
    for node in (cluster[1], cluster[2]):
        transitional, *messages, regular = since_transitional(node)[:4]
        assert isinstance(transitional, Configuration)
        assert transitional.kind is ConfigurationKind.TRANSITIONAL
        assert isinstance(regular, Configuration)
        assert regular.kind is ConfigurationKind.REGULAR
        assert sorted(messages) == expected  # type: ignore[type-var]
        assert transitional.members == (1, 2)
    assert since_transitional(cluster[1])[:4] == since_transitional(cluster[2])[:4]


def test_a_node_cut_off_alone_delivers_its_own_messages_in_its_transitional_configuration() -> None:
    cluster = formed(3)
    cluster.passes = lambda sender, receiver, frame: sender == 1 or frame[3] != wire.FrameType.MCAST
    cluster[3].send(b"before")
    cluster.run(0.0004)
    cluster[2].send(b"behind")
    cluster.run(0.0004)
    assert cluster[2].messages == []
    cluster.passes = lambda sender, receiver, frame: 2 not in (sender, receiver)
    cluster.run_until(lambda: cluster.formed((2,)) and cluster.formed((1, 3)))
    transitional, message, regular = since_transitional(cluster[2])[:3]
    assert isinstance(transitional, Configuration)
    assert isinstance(regular, Configuration)
    assert (transitional.members, message, regular.members) == ((2,), (2, b"behind"), (2,))
    assert cluster[1].messages == cluster[3].messages == [(3, b"before")]


def test_a_recovery_that_fails_loses_nothing() -> None:
    """The token of the forming ring is lost again and again; what the old ring owed stays owed."""
    cluster = lost_sender()
    cluster.passes = lambda sender, receiver, frame: frame[3] != wire.FrameType.ORF_TOKEN
    cluster.run(40)
    assert sum(node.ring.statistics.recovery_token_lost for node in (cluster[1], cluster[2])) >= 2
    assert cluster[2].messages == []
    assert cluster[2].ring._core.queue.ring_id == OLD
    cluster.passes = lambda sender, receiver, frame: True
    cluster.run_until(lambda: cluster.formed((1, 2)))
    assert len(cluster[2].messages) == 6
    assert cluster[2].messages == cluster[1].messages
    transitional = cluster[2].configurations[-2]
    assert (transitional.members, transitional.left) == ((1, 2), (3,))


def test_hundreds_of_frames_are_recovered_under_loss() -> None:
    cluster = formed(4)
    cluster.passes = lambda sender, receiver, frame: not (receiver == 2 and frame[3] == wire.FrameType.MCAST)
    cluster[4].send(*[bytes([number % 256]) * 1390 for number in range(300)])
    cluster.run_until(lambda: len(cluster[1].messages) == 300)
    cluster.kill(4)
    lost = 0

    def passes(sender: int, receiver: int, frame: bytes) -> bool:
        nonlocal lost
        lost += 1
        return frame[3] != wire.FrameType.MCAST or lost % 7 != 0

    cluster.passes = passes
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))
    assert len(cluster[2].messages) == 300
    assert cluster[2].messages == cluster[1].messages == cluster[3].messages


def test_a_member_that_lacks_as_much_as_one_can_recovers_under_loss() -> None:
    cluster = formed(4)
    cluster.passes = big_frames_lost_at(2)
    cluster[1].send(*[b"%d" % number + bytes(1390) for number in range(16_000)])
    cluster.run(0.2)
    sent = len(cluster[1].messages)
    assert sent > 8000
    cluster.kill(4)
    cluster.passes = lambda sender, receiver, frame: frame[3] != wire.FrameType.ORF_TOKEN
    cluster.run(5)
    chance = Random(1)
    cluster.passes = lambda sender, receiver, frame: frame[3] != wire.FrameType.MCAST or chance.random() > 0.1
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))
    assert cluster[2].messages[:sent] == cluster[1].messages[:sent]
    assert len(cluster[2].messages) >= sent


def test_an_old_frame_that_another_member_has_sent_is_not_sent_once_more() -> None:
    cluster = lost_sender(4)
    cluster.passes = lambda sender, receiver, frame: frame[3] != wire.FrameType.ORF_TOKEN
    cluster.run(5)
    cluster.passes = lambda sender, receiver, frame: True
    cluster.run_until(lambda: cluster.formed((1, 2, 3)))
    inner = [decode(frame.payload) for node in (cluster[1], cluster[3]) for frame in encapsulated(node)]
    places = [(frame.system_from, frame.seq) for frame in inner if isinstance(frame, Mcast)]
    assert places
    assert len(places) == len(set(places))


def test_partitions_that_merge_bring_their_own_histories_and_share_the_next() -> None:
    cluster = formed(4)
    cluster.passes = lambda sender, receiver, frame: (sender <= 2) == (receiver <= 2)
    cluster.run_until(lambda: cluster.formed((1, 2)) and cluster.formed((3, 4)))
    cluster[1].send(b"left side")
    cluster[3].send(b"right side")
    cluster.run(0.1)
    cluster.passes = lambda sender, receiver, frame: True
    cluster.run_until(lambda: cluster.formed((1, 2, 3, 4)))
    cluster[4].send(b"together")
    cluster.run(0.1)
    assert cluster[1].messages == cluster[2].messages == [(1, b"left side"), (4, b"together")]
    assert cluster[3].messages == cluster[4].messages == [(3, b"right side"), (4, b"together")]
    assert [item.members for item in cluster[3].configurations[-2:]] == [(3, 4), (1, 2, 3, 4)]


# The pieces


def commit_token(*entries: CommitEntry, index: int | None = None) -> CommitToken:
    nodes = tuple(range(1, len(entries) + 1))
    return CommitToken(0, 1, 0, 1, 1, 9, 0, len(nodes) if index is None else index, nodes, entries)


def entry(aru: int, received: int = 1, ring: RingId = OLD) -> CommitEntry:
    return CommitEntry(*ring, aru, aru, received)


NOTHING = CommitEntry(0, 0, 0, 0, 0)


def test_who_has_less_than_another_of_the_same_ring_has_not_received_all() -> None:
    token = fill_entry(commit_token(entry(5), entry(9, ring=RingId(7, 7)), NOTHING, index=2), entry(8))
    assert [item.received_flg for item in token.entries] == [0, 1, 1]
    assert token.memb_index == 3
    token = fill_entry(commit_token(entry(8), NOTHING, index=1), entry(5))
    assert [item.received_flg for item in token.entries] == [1, 0]


def test_only_members_that_come_from_my_old_ring_are_transitional() -> None:
    token = commit_token(entry(3), entry(3), entry(0, ring=RingId(3, 6)))
    assert Recovery(1, token, SortQueue(OLD), (1, 2, 3)).transitional == (1, 2)
    assert Recovery(1, token, SortQueue(OLD), (1,)).transitional == (1,)
    assert Recovery(1, token, SortQueue(OLD), ()).transitional == ()


def test_every_transitional_member_offers_what_it_has_above_the_lowest_aru() -> None:
    old = SortQueue(OLD)
    for seq in (1, 2, 3, 5):
        old.insert(seq, b"%d" % seq)
    recovery = Recovery(1, commit_token(entry(3, 0), entry(1, 0)), old, (1, 2))
    frames = recovery.take(10, 1, 0, RingId(1, 9))
    assert [wire.decode_mcast(frame).payload for frame in frames] == [b"2", b"3", b"5"]
    assert recovery.deliver_members == (1, 2)


def test_a_false_aru_in_a_commit_token_does_not_make_a_member_search_without_end() -> None:
    old = SortQueue(OLD)
    old.insert(1, b"1")
    for aru in (0x80000001, 0xFFFF0000, 0x7FFFFFFF):
        recovery = Recovery(1, commit_token(entry(1, 0), entry(aru, 0)), old, (1, 2))
        assert recovery.backlog() <= 1


def test_with_nothing_to_recover_the_fourth_visit_completes_it() -> None:
    recovery = Recovery(2, commit_token(entry(3), entry(3)), SortQueue(OLD), (1, 2))
    token = OrfToken(0, 1, 0, 0, 1, 0, 0, 1, 9, 0, 0, 0, ())
    done = []
    for _ in range(4):
        recovery.visit(token)
        done.append(recovery.complete)
    assert done == [False, False, False, True]


def test_nobody_is_operational_while_a_member_lacks_recovered_frames() -> None:
    recovery = Recovery(2, commit_token(entry(3), entry(3)), SortQueue(OLD), (1, 2))
    token = OrfToken(0, 1, 0, 6, 1, 0, 1, 1, 9, 0, 0, 0, ())
    for _ in range(20):
        recovery.visit(token)
    assert not recovery.complete
    for _ in range(2):
        recovery.visit(token._replace(aru=6))
    assert recovery.complete


def test_frames_of_other_rings_and_wrecks_are_not_restored() -> None:
    old = SortQueue(OLD)
    inner = Mcast(2, 3, 0, 3, 4, 0, *OLD, 0, 0, b"")
    outer = Mcast(1, 1, 0, 1, 1, 0, 1, 9, 0, 0, b"")
    for payload in (b"", b"\x70\xc0\x03\x01", encode(inner._replace(ring_sequence=6)), encode(inner)[:44]):
        restore_frame(encode(outer._replace(payload=payload)), old)
    restore_frame(encode(outer._replace(encapsulated=2, payload=encode(inner))), old)
    assert old.frames == {}
    restore_frame(encode(outer._replace(payload=encode(inner, swapped=True))), old)
    assert list(old.frames) == [4]
