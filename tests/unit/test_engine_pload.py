"""pload: the stock load test on the ring, byte for byte, started by its key only."""

from __future__ import annotations

import struct

import pytest

from corosyncd.engines.engine import MulticastClass
from corosyncd.engines.pload import wire
from corosyncd.engines.pload.engine import BURST, START_VALUE, PloadEngine
from corosyncd.engines.pload.wire import Function, Start
from corosyncd.keyspace.values import Value, text, uint32
from tests.unit.fake_host import FakeHost


def idle(**keys: Value) -> tuple[FakeHost, PloadEngine]:
    """An engine with keys below ``pload.`` that were there at its start."""
    host = FakeHost(keys={f"pload.{leaf}": value for leaf, value in keys.items()})
    host.service_id = wire.SERVICE_ID
    engine = PloadEngine(host)
    engine.start()
    return host, engine


def set_key(host: FakeHost, engine: PloadEngine, leaf: str, value: Value) -> None:
    _status, change = host.map.set(f"pload.{leaf}", value, client=True)
    assert change is not None
    engine.keys_changed([change])  # type: ignore[list-item]


def start(messages: int, size: int, garbage: int = 0) -> bytes:
    """START as a stock node sends it: the header's size is whatever stood on its stack."""
    return struct.pack("<i4xi4xII", 0x40000, garbage, messages, size)


@pytest.mark.parametrize("value", [text("yes"), uint32(1), text(START_VALUE[:-1])])
def test_no_other_value_of_the_key_starts_anything(value: Value) -> None:
    host, engine = idle()
    set_key(host, engine, "start", value)
    assert host.multicasts == []


def test_what_stands_in_the_map_at_the_start_begins_nothing_before_a_key_changes() -> None:
    host, engine = idle(start=text(START_VALUE))
    assert host.multicasts == []
    set_key(host, engine, "size", uint32(400))
    assert host.multicasts == [(MulticastClass.NORMAL, start(1_500_000, 400, garbage=24))]


def test_the_size_is_limited_to_what_the_ring_carries() -> None:
    host, engine = idle(count=uint32(5), size=uint32(1 << 30))
    set_key(host, engine, "start", text(START_VALUE))
    assert host.take_multicasts() == [(MulticastClass.NORMAL, start(5, 1 << 20, garbage=24))]


@pytest.mark.parametrize("garbage", [0, -1, 0x7FFFFFFF, 24])
def test_the_messages_are_those_of_stock_whatever_the_header_of_the_start_claims(garbage: int) -> None:
    host, engine = idle()
    engine.deliver(2, Function.START, start(3, 300, garbage))
    bodies = [body for _kind, body in host.take_multicasts()]
    assert bodies == [struct.pack("<i4xi4x", 0x40001, 316) + bytes(284)] * 3


def test_a_message_shorter_than_its_header_is_a_bare_header() -> None:
    assert wire.load_message(5) == struct.pack("<i4xi4x", 0x40001, 21)


def test_the_ring_s_room_and_bursts_bound_what_is_sent_at_once() -> None:
    host, engine = idle()
    host.free_room = 0
    engine.deliver(2, Function.START, start(1000, 300))
    assert host.multicasts == []
    host.free_room = 1 << 20
    sent = 0
    for expected in (BURST, BURST, BURST, 1000 - 3 * BURST):
        host.expire(engine, "send")
        sent = len(host.take_multicasts())
        assert sent == expected
    assert not host.timers


def test_the_daemon_ends_with_stock_s_status_when_all_messages_of_any_node_are_delivered() -> None:
    host, engine = idle()
    engine.deliver(2, Function.START, start(3, 300))
    for source in (1, 2):
        engine.deliver(source, Function.MCAST, wire.load_message(300))
    assert host.fatals == []
    host.clock = 2.0
    engine.deliver(2, Function.MCAST, wire.load_message(300))
    assert host.fatals == [(99, "the load test is over")]
    assert ("notice", "3 messages of 300 bytes in 2.000 s: 1.500 messages/s, 0.000 MiB/s") in host.lines


def test_a_second_start_changes_nothing() -> None:
    host, engine = idle()
    engine.deliver(2, Function.START, start(3, 300))
    host.take_multicasts()
    engine.deliver(1, Function.START, start(9, 20))
    assert host.take_multicasts() == []


@pytest.mark.parametrize(("messages", "size"), [(0, 300), (3, (1 << 20) + 1)])
def test_a_start_that_stock_never_sends_is_ignored_with_a_warning(messages: int, size: int) -> None:
    host, engine = idle()
    engine.deliver(2, Function.START, start(messages, size))
    assert host.multicasts == []
    assert [level for level, _line in host.lines] == ["warning"]


def test_a_start_that_is_cut_off_cannot_be_decoded() -> None:
    _host, engine = idle()
    with pytest.raises(struct.error):
        engine.deliver(2, Function.START, start(3, 300)[:20])
    assert wire.decode_start(start(3, 300)) == Start(3, 300)
