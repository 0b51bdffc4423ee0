"""The configuration map's rules (reference client-api sections 2.2 to 2.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coroipc.errors import Status
from coroipc.map_values import FORMATS, ValueType
from corosyncd.keyspace import key_space
from corosyncd.keyspace.changes import Change, Track
from corosyncd.keyspace.key_space import MAXIMUM_VALUE_LENGTH, KeySpace
from corosyncd.keyspace.names import is_valid_name
from corosyncd.keyspace.rules import READ_ONLY_KEYS, VOTEQUORUM_READ_ONLY_KEYS, writable_by_clients
from corosyncd.keyspace.values import NO_VALUE, Value, number, text, uint8, uint32, uint64


def filled(*names: str) -> KeySpace:
    space = KeySpace()
    for name in names:
        assert space.set(name, uint32(1), client=False)[0] == Status.OK
    return space


@pytest.mark.parametrize("name", ["abc", "a" * 255, "A-Z.a_z/0:9", "..."])
def test_names_of_3_to_255_allowed_characters_are_names(name: str) -> None:
    assert is_valid_name(name)
    assert KeySpace().set(name, uint8(1), client=True)[0] == Status.OK


@pytest.mark.parametrize("name", ["", "ab", "a" * 256, "a b", "a;b", "abc\n", "ab\0", "schlüssel", "a{b", "a٣b"])
def test_any_broken_name_rule_answers_name_too_long(name: str) -> None:
    space = KeySpace()
    assert space.set(name, uint8(1), client=True) == (Status.NAME_TOO_LONG, None)
    assert len(space) == 0


def test_a_value_that_does_not_fit_is_reported_before_the_name() -> None:
    assert KeySpace().set("x", Value(ValueType.UINT32, b"123"), client=True)[0] == Status.INVALID_PARAM


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_fixed_types_need_their_exact_length(kind: int) -> None:
    size = FORMATS[kind].size
    space = KeySpace()
    assert space.set("key", Value(kind, bytes(size)), client=True)[0] == Status.OK
    for wrong in (size - 1, size + 1, 0):
        assert space.set("key", Value(kind, bytes(wrong)), client=True) == (Status.INVALID_PARAM, None)


def test_types_that_do_not_exist_have_length_0() -> None:
    space = KeySpace()
    assert space.set("nothing", Value(0, b""), client=True)[0] == Status.OK
    assert space.set("unknown", Value(99, b""), client=True)[0] == Status.OK
    assert space.set("unknown", Value(99, b"x"), client=True)[0] == Status.INVALID_PARAM


@pytest.mark.parametrize("kind", [ValueType.STRING, ValueType.BINARY])
def test_a_value_holds_at_most_16384_bytes(kind: int) -> None:
    space = KeySpace()
    assert space.set("key", Value(kind, b"x" * MAXIMUM_VALUE_LENGTH), client=True)[0] == Status.OK
    assert space.set("key", Value(kind, b"x" * (MAXIMUM_VALUE_LENGTH + 1)), client=True)[0] == Status.INVALID_PARAM


@pytest.mark.parametrize(("given_", "kept"), [(b"", b"\0"), (b"abc", b"abc\0"), (b"abc\0", b"abc\0"), (b"\0", b"\0")])
def test_a_string_is_stored_with_exactly_one_nul(given_: bytes, kept: bytes) -> None:
    space = KeySpace()
    space.set("key", Value(ValueType.STRING, given_), client=True)
    assert space.get("key") == Value(ValueType.STRING, kept)


def test_bytes_behind_a_strings_nul_are_refused() -> None:
    assert KeySpace().set("key", Value(ValueType.STRING, b"a\0b"), client=True)[0] == Status.INVALID_PARAM


def test_binary_values_are_kept_byte_for_byte() -> None:
    space = KeySpace()
    space.set("key", Value(ValueType.BINARY, b"\0a\0"), client=True)
    assert space.get("key") == Value(ValueType.BINARY, b"\0a\0")


def test_an_equal_value_announces_nothing() -> None:
    space = KeySpace()
    space.set("key", text("on"), client=True)
    assert space.set("key", Value(ValueType.STRING, b"on"), client=True) == (Status.OK, None)
    assert space.set("key", text("on"), client=True) == (Status.OK, None)


def test_changes_carry_old_and_new_and_the_type_may_change() -> None:
    space = KeySpace()
    assert space.set("key", uint32(7), client=True)[1] == Change(Track.ADD, "key", uint32(7), NO_VALUE)
    assert space.set("key", text("7"), client=True)[1] == Change(Track.MODIFY, "key", text("7"), uint32(7))
    assert space.delete("key", client=True)[1] == Change(Track.DELETE, "key", NO_VALUE, text("7"))
    assert space.get("key") is None


def test_the_same_bytes_under_another_type_are_a_change() -> None:
    space = KeySpace()
    space.set("key", number(ValueType.INT32, 5), client=True)
    assert space.set("key", uint32(5), client=True)[1] is not None


def test_absent_keys_do_not_exist() -> None:
    space = KeySpace()
    assert space.get("absent") is None
    assert space.delete("absent", client=True) == (Status.NOT_EXIST, None)
    assert space.adjust("absent", 1, client=True) == (Status.NOT_EXIST, None)


READ_ONLY = [
    "internal_configuration.service.0.name",
    "runtime.services.cpg.0.tx",
    "runtime.config.totem.token",
    "runtime.totem.pg.x",
    "uidgid.config.uid.0",
    "system.priority",
    "nodelist.local_node_pos",
    "nodelist.node.0.nodeid",
    *sorted(READ_ONLY_KEYS),
    *sorted(VOTEQUORUM_READ_ONLY_KEYS),
]
WRITABLE = [
    "runtime.members.1.ip",
    "runtime.votequorum.x",
    "runtime.blackbox.dump_state",
    "runtime.force_gather",
    "totem.interface.0.bindnetaddr",
    "totem.token",
    "quorum.provider",
    "quorum.expected_votes",
    "config.reload_status",
    "uidgid.uid.17",
    "systemx.y",
    "totem.versions",
]


@pytest.mark.parametrize("name", READ_ONLY)
def test_clients_may_not_change_read_only_keys_but_the_daemon_may(name: str) -> None:
    space = KeySpace()
    assert not writable_by_clients(name)
    assert space.set(name, uint32(1), client=True) == (Status.ACCESS, None)
    assert space.delete(name, client=True) == (Status.ACCESS, None)
    assert space.set(name, uint32(1), client=False)[0] == Status.OK
    assert space.adjust(name, 1, client=True) == (Status.ACCESS, None)
    assert space.adjust(name, 1, client=False)[0] == Status.OK
    assert space.delete(name, client=False)[0] == Status.OK


@pytest.mark.parametrize("name", WRITABLE)
def test_every_other_key_belongs_to_clients_too(name: str) -> None:
    assert KeySpace().set(name, uint32(1), client=True)[0] == Status.OK


def test_votequorums_keys_are_ordinary_without_votequorum() -> None:
    assert KeySpace(service_keys=()).set("quorum.wait_for_all", uint8(1), client=True)[0] == Status.OK


INTEGERS = [
    ValueType.INT8,
    ValueType.UINT8,
    ValueType.INT16,
    ValueType.UINT16,
    ValueType.INT32,
    ValueType.UINT32,
    ValueType.INT64,
    ValueType.UINT64,
]


@given(st.sampled_from(INTEGERS), st.data(), st.integers(-(2**31), 2**31 - 1))
def test_adjusting_wraps_at_the_width_of_the_type(kind: ValueType, data: st.DataObject, step: int) -> None:
    bits = FORMATS[kind].size * 8
    low = -(1 << (bits - 1)) if kind % 2 else 0
    start = data.draw(st.integers(low, low + (1 << bits) - 1))
    space = KeySpace()
    space.set("key", number(kind, start), client=True)
    status, change = space.adjust("key", step, client=True)
    value = space.get("key")
    assert status == Status.OK
    assert value is not None
    assert value == number(kind, (start + step - low) % (1 << bits) + low)
    assert (change is None) == (value == number(kind, start))


@pytest.mark.parametrize(
    "value", [text("1"), Value(ValueType.BINARY, b"1"), number(ValueType.FLOAT, 1), number(ValueType.DOUBLE, 1)]
)
def test_only_integers_can_be_adjusted(value: Value) -> None:
    space = KeySpace()
    space.set("key", value, client=True)
    assert space.adjust("key", 1, client=True) == (Status.INVALID_PARAM, None)


def test_fast_counters_are_announced_with_an_empty_old_value() -> None:
    space = KeySpace()
    space.set("runtime.services.cpg.3.rx", uint64(1), client=False)
    change = space.adjust("runtime.services.cpg.3.rx", 2, client=False, fast=True)[1]
    assert change == Change(Track.MODIFY, "runtime.services.cpg.3.rx", uint64(3), NO_VALUE)


def test_keys_come_in_byte_order_and_by_plain_string_prefix() -> None:
    space = filled("node.2", "node.10", "node.a", "nodes", "zz.ab", "zz.a", "node.:", "node.-", "NODE", "node./", "node._")
    assert [name for name, _ in space.items()] == sorted(
        ["node.2", "node.10", "node.a", "nodes", "zz.ab", "zz.a", "node.:", "node.-", "NODE", "node./", "node._"], key=str.encode
    )
    assert [name for name, _ in space.items("zz.a")] == ["zz.a", "zz.ab"]
    assert list(space.items("absent")) == []


def test_keys_deleted_while_they_are_listed_are_left_out() -> None:
    space = filled("aaa", "bbb", "ccc")
    seen = []
    for name, _ in space.items():
        seen.append(name)
        space.delete("bbb", client=False)
    assert seen == ["aaa", "ccc"]


def test_an_iterator_that_asks_for_the_following_key_sees_later_changes() -> None:
    space = filled("p.a", "p.c", "q.a")
    assert space.following("", "p.") == "p.a"
    space.set("p.b", uint8(1), client=True)
    space.delete("p.a", client=True)
    assert space.following("p.a", "p.") == "p.b"
    assert space.following("p.c", "p.") is None
    assert space.following("p.c") == "q.a"
    assert space.following("q.a") is None


def test_a_replica_that_applies_the_changes_holds_the_same_map() -> None:
    space, replica = KeySpace(), KeySpace()
    for status, change in (
        space.set("one", uint32(1), client=False),
        space.set("two", text("2"), client=False),
        space.set("one", text("I"), client=False),
        space.delete("two", client=False),
        space.set("system.x", uint8(1), client=False),
    ):
        assert status == Status.OK
        assert change is not None
        replica.apply([change])
    assert list(replica.items()) == list(space.items())
    replica.apply([Change(Track.DELETE, "never.there", NO_VALUE, NO_VALUE)])
    assert list(replica.items()) == list(space.items())


def test_clients_cannot_fill_the_map_so_far_that_the_daemon_finds_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_space, "MAXIMUM_KEYS", 4)
    monkeypatch.setattr(key_space, "KEYS_FOR_DAEMON", 2)
    space = filled()
    statuses = [space.set(f"key{index}", uint8(1), client=True)[0] for index in range(3)]
    assert statuses == [Status.OK, Status.OK, Status.NO_MEMORY]
    assert [space.set(f"own{index}", uint8(1), client=False)[0] for index in range(3)] == [Status.OK, Status.OK, Status.NO_MEMORY]
    assert space.set("key0", uint8(2), client=True)[0] == Status.OK
    assert space.delete("key0", client=True)[0] == Status.OK
    assert space.set("own2", uint8(1), client=False)[0] == Status.OK


def test_the_bytes_of_all_values_together_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_space, "MAXIMUM_BYTES", 100)
    monkeypatch.setattr(key_space, "BYTES_FOR_DAEMON", 20)
    space = KeySpace()

    def put(name: str, length: int, client: bool) -> int:
        return space.set(name, Value(ValueType.BINARY, b"x" * length), client=client)[0]

    assert put("one", 80, True) == Status.OK
    assert put("two", 1, True) == Status.NO_MEMORY
    assert put("two", 20, False) == Status.OK
    assert put("one", 81, True) == Status.NO_MEMORY
    assert put("one", 10, True) == Status.OK
    assert put("one", 60, True) == Status.OK
