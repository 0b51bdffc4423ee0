"""The cmap engine on the ring: nodes compare their configuration versions."""

from __future__ import annotations

import struct

import pytest

from coroipc.map_values import ValueType
from corosyncd.engines import wire as ring
from corosyncd.engines.cmap import CmapEngine, wire
from corosyncd.engines.engine import KeyChange, MulticastClass
from corosyncd.keyspace.values import NO_VALUE, Value, uint32, uint64
from tests.unit import ring_vectors as captured
from tests.unit.fake_host import Cluster, Node

VERSION = "totem.config_version"


def message(body: bytes) -> bytes:
    return ring.header(0, 0, 16 + len(body)) + body


def test_messages_are_encoded_as_stock_nodes_do() -> None:
    assert message(wire.encode(0, {VERSION: NO_VALUE})) == captured.CMAP_SYNC
    assert message(wire.encode(1, {VERSION: uint64(6)})) == captured.CMAP_VERSION_6


def test_messages_of_stock_nodes_are_understood() -> None:
    assert wire.decode(captured.CMAP_SYNC.data) == {VERSION: NO_VALUE}
    assert wire.decode(captured.CMAP_VERSION_6.data) == {VERSION: uint64(6)}


def test_items_of_any_length_follow_each_other_on_eight_bytes() -> None:
    items = {"some.text": Value(ValueType.STRING, b"abc\0"), "b.b": Value(ValueType.BINARY, b"123456789"), VERSION: uint64(3)}
    assert wire.decode(message(wire.encode(0, items))) == items


@pytest.mark.parametrize(
    ("offset", "field"),
    [
        (24, struct.pack("<B", 33)),
        (24, struct.pack("<B", 2)),
        (48, struct.pack("<H", 257)),
        (320, struct.pack("<Q", 9)),
        (320, struct.pack("<Q", 1 << 60)),
        (320, struct.pack("<Q", 4)),
        (312, struct.pack("<B", 0)),
        (56, b"\xff"),
    ],
)
def test_impossible_messages_are_refused(offset: int, field: bytes) -> None:
    data = captured.CMAP_VERSION_6.data
    with pytest.raises((ValueError, struct.error)):
        wire.decode(data[:offset] + field + data[offset + len(field) :])


@pytest.mark.parametrize("length", [16, 47, 48, 327, 335])
def test_short_messages_are_refused(length: int) -> None:
    with pytest.raises((ValueError, struct.error)):
        wire.decode(captured.CMAP_VERSION_6.data[:length])


def cluster(versions: dict[int, int]) -> Cluster:
    """Nodes that have synchronised, each alone, with these configuration versions (0: none)."""
    made = Cluster(CmapEngine, [], {node: {VERSION: uint64(version)} if version else {} for node, version in versions.items()})
    for node_id in versions:
        made.start(node_id)
        made.form([node_id])
    return made


def shutdowns(made: Cluster) -> list[int]:
    return [node_id for node_id, node in made.nodes.items() if node.host.shutdowns]


def test_the_round_sends_the_version_and_everyone_notes_it() -> None:
    made = cluster({1: 4, 2: 0})
    made.form([1, 2])
    for node in made.nodes.values():
        assert node.host.key("runtime.members.1.config_version") == uint64(4)
        assert node.host.key("runtime.members.2.config_version") == uint64(0)


def test_the_version_is_of_the_sync_class() -> None:
    made = cluster({1: 4})
    made.install([1])
    made[1].engine.sync_step()
    ((kind, sent),) = made[1].host.take_multicasts()
    assert (kind, wire.decode(sent)) == (MulticastClass.SYNC, {VERSION: uint64(4)})


@pytest.mark.parametrize(
    ("versions", "stopping"),
    [({1: 4, 2: 5}, [1]), ({1: 5, 2: 4}, [2]), ({1: 5, 2: 5}, []), ({1: 0, 2: 5}, []), ({1: 3, 2: 4, 3: 5}, [1, 2])],
)
def test_nodes_with_an_older_version_stop_at_their_first_meeting(versions: dict[int, int], stopping: list[int]) -> None:
    made = cluster(versions)
    assert shutdowns(made) == []
    made.form(list(versions))
    assert shutdowns(made) == stopping


def test_the_reason_is_told_in_the_stock_words() -> None:
    made = cluster({1: 4, 2: 5})
    made.form([1, 2])
    assert made[1].host.lines == [("error", "Received config version (5) is different than my config version (4)! Exiting")]


def test_the_check_is_made_once() -> None:
    made = cluster({1: 4, 2: 4, 3: 9})
    made.form([1, 2])
    made[1].host.map.set(VERSION, uint64(3), client=False)
    made.form([1, 2, 3])
    assert shutdowns(made) == []


def test_a_first_ring_that_has_other_members_does_not_count() -> None:
    made = Cluster(CmapEngine, [1, 2], {1: {VERSION: uint64(4)}, 2: {VERSION: uint64(5)}})
    assert shutdowns(made) == []
    made.form([1, 2])
    assert shutdowns(made) == [1]


def test_a_successor_does_not_repeat_the_check() -> None:
    made = cluster({1: 4, 2: 4, 3: 9})
    made.form([1, 2])
    made.replace_engine(1)
    made.form([1, 2, 3])
    assert 1 not in shutdowns(made)


def test_a_new_version_goes_round_the_ring() -> None:
    made = cluster({1: 4, 2: 4})
    made.form([1, 2])
    node: Node = made[1]
    node.host.map.set(VERSION, uint64(5), client=False)
    node.engine.keys_changed([KeyChange(2, VERSION, uint64(5), uint64(4))])
    ((kind, sent),) = node.host.multicasts
    assert (kind, sent[16]) == (MulticastClass.NORMAL, 1)
    made.run()
    assert made[2].host.key("runtime.members.1.config_version") == uint64(5)
    assert shutdowns(made) == []


def test_a_version_of_another_type_counts_as_none() -> None:
    made = Cluster(CmapEngine, [1], {1: {VERSION: uint32(4)}})
    assert made[1].host.key("runtime.members.1.config_version") == uint64(0)
    assert wire.decode(made.delivered[0][1]) == {VERSION: NO_VALUE}
