"""Virtual time and the simulated network keep their promises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corosyncd.totem.events import RingId
from corosyncsim import faults
from corosyncsim.cluster import Cluster
from corosyncsim.faults import KINDS, Fault, draw
from corosyncsim.history import Message, Process, RingNames
from corosyncsim.injector import Injector
from corosyncsim.kernel import Kernel, Stuck
from corosyncsim.network import LINK_DATAGRAMS_LIMIT, Conditions, Network
from corosyncsim.payload import LARGEST, body, identity
from corosyncsim.run import execute

Arrival = tuple[float, int, bytes, int]


def network(conditions: Conditions, seed: int = 1) -> tuple[Kernel, Network, list[Arrival]]:
    kernel = Kernel(seed)
    arrivals: list[Arrival] = []
    net = Network(kernel, (1, 2, 3), conditions, lambda node, buffer, size: arrivals.append((kernel.now, node, buffer, size)))
    return kernel, net, arrivals


def test_actions_run_in_the_order_of_their_times_and_then_of_their_scheduling() -> None:
    kernel, seen = Kernel(1), list[str]()
    for time, name in ((2.0, "c"), (1.0, "a"), (1.0, "b")):
        kernel.at(time, seen.append, name)
    kernel.run_until(1.5)
    assert (seen, kernel.now) == (["a", "b"], 1.5)
    kernel.run_until(3.0)
    assert (seen, kernel.now) == (["a", "b", "c"], 3.0)


def test_the_past_is_now() -> None:
    kernel, seen = Kernel(1), list[float]()
    kernel.run_until(5.0)
    kernel.at(1.0, lambda: seen.append(kernel.now))
    kernel.run_until(6.0)
    assert seen == [5.0]


def test_a_world_that_acts_without_time_passing_is_stuck() -> None:
    kernel = Kernel(1)

    def again() -> None:
        kernel.after(0.0, again)

    again()
    with pytest.raises(Stuck):
        kernel.run_until(1.0)


def test_a_multicast_reaches_everybody_but_its_sender() -> None:
    kernel, net, arrivals = network(Conditions())
    net.multicast(2, [b"x" * 40])
    kernel.run_until(1.0)
    assert sorted(node for _, node, _, _ in arrivals) == [1, 3]


def test_equal_frames_travel_as_a_train_with_a_shorter_last_one() -> None:
    kernel, net, arrivals = network(Conditions())
    net.multicast(1, [b"a" * 100, b"b" * 100, b"c" * 60, b"d" * 100])
    kernel.run_until(1.0)
    at_two = [(buffer, size) for _, node, buffer, size in arrivals if node == 2]
    assert at_two == [(b"a" * 100 + b"b" * 100 + b"c" * 60, 100), (b"d" * 100, 100)]


def test_a_link_without_detours_keeps_the_order() -> None:
    kernel, net, arrivals = network(Conditions(tail_probability=0.5))
    for number in range(200):
        net.unicast(1, 2, bytes((number,)) * 30)
    kernel.run_until(10.0)
    assert [buffer[0] for _, _, buffer, _ in arrivals] == list(range(200))


def test_detours_change_the_order_and_duplicates_double() -> None:
    kernel, net, arrivals = network(Conditions(detour=0.3, duplication=0.3))
    for number in range(200):
        net.unicast(1, 2, bytes((number,)) * 30)
    kernel.run_until(10.0)
    numbers = [buffer[0] for _, _, buffer, _ in arrivals]
    assert numbers != sorted(numbers)
    assert len(numbers) == 200 + net.counters.duplicated > 200


def test_loss_loses_and_is_counted() -> None:
    kernel, net, arrivals = network(Conditions(loss=0.5))
    for _ in range(200):
        net.unicast(1, 2, b"x" * 30)
    kernel.run_until(10.0)
    assert 0 < net.counters.lost == 200 - len(arrivals) < 200


def test_damage_shows() -> None:
    kernel, net, arrivals = network(Conditions(damage=1.0))
    frame = b"\x70\xc0\x03\x01\x02" + bytes(95)
    for _ in range(200):
        net.unicast(1, 2, frame)
    kernel.run_until(10.0)
    assert len(arrivals) == 200
    assert all(len(buffer) < 25 or buffer[:4] != frame[:4] for _, _, buffer, _ in arrivals)


def test_a_cut_has_one_direction_and_needs_as_many_mends_as_cuts() -> None:
    kernel, net, arrivals = network(Conditions())
    net.cut(1, 2)
    net.cut(1, 2)
    net.mend(1, 2)
    net.unicast(1, 2, b"x" * 30)
    net.unicast(2, 1, b"y" * 30)
    kernel.run_until(1.0)
    net.mend(1, 2)
    net.unicast(1, 2, b"z" * 30)
    kernel.run_until(2.0)
    assert [(node, buffer[:1]) for _, node, buffer, _ in arrivals] == [(1, b"y"), (2, b"z")]


def test_a_black_hole_swallows_large_frames_only() -> None:
    kernel, net, arrivals = network(Conditions())
    net.limit_size(1, 2, 500)
    net.multicast(1, [b"x" * 501, b"y" * 500])
    kernel.run_until(1.0)
    assert [buffer[:1] for _, node, buffer, _ in arrivals if node == 2] == [b"y"]


def test_a_full_link_drops() -> None:
    kernel, net, arrivals = network(Conditions())
    for _ in range(LINK_DATAGRAMS_LIMIT + 5):
        net.unicast(1, 2, b"x" * 30)
    kernel.run_until(1.0)
    assert (len(arrivals), net.counters.overflowed) == (LINK_DATAGRAMS_LIMIT, 5)


def test_messages_to_oneself_always_arrive() -> None:
    kernel, net, arrivals = network(Conditions(loss=1.0))
    net.unicast(1, 1, b"x" * 30)
    kernel.run_until(1.0)
    assert len(arrivals) == 1


@pytest.mark.parametrize("size", [4, 5, 3000, LARGEST])
def test_a_body_names_its_message(size: int) -> None:
    message = Message(Process(7, 3), 12_345)
    made = body(message, size)
    assert (len(made), identity(made), identity(made[:3])) == (size, message, None)
    other = body(Message(Process(7, 3), 12_346), size)
    assert made[:4] != other[:4]


def test_a_plan_follows_from_its_seed() -> None:
    assert draw(5, (3, 7), 20.0) == draw(5, (3, 7), 20.0) != draw(6, (3, 7), 20.0)


def test_the_swarm_uses_every_kind_of_fault_and_every_size() -> None:
    plans = [draw(seed, (3, 7), 20.0) for seed in range(1, 101)]
    assert {fault.kind for plan in plans for fault in plan.faults} == set(KINDS)
    assert {len(plan.node_ids) for plan in plans} == {3, 4, 5, 6, 7}


def test_a_node_behind_a_black_hole_gets_and_sends_small_frames_only() -> None:
    hole = Fault(0.0, faults.BLACK_HOLE, 1.0, (2,), number=500)
    cluster = Cluster(replace(draw(1, (3, 3), 1.0), node_ids=(1, 2, 3), conditions=Conditions(), faults=(hole,)))
    Injector(cluster).start()
    cluster.kernel.run_until(0.5)
    for source in (1, 2, 3):
        cluster.network.multicast(source, [b"x" * 501, b"y" * 500])
    cluster.kernel.run_until(2.0)
    assert cluster.network.counters.cut == 4
    cluster.network.multicast(2, [b"x" * 501])
    assert cluster.network.counters.cut == 4


def test_a_clock_that_jumps_past_the_token_timeout_ends_in_one_configuration_and_is_told_to_the_core() -> None:
    plan = replace(draw(1, (3, 3), 1.0), conditions=Conditions(), timeouts={"token": 1000, "join": 50, "consensus": 1200})
    lines: list[str] = []
    jump = Fault(3.0, faults.CLOCK, 5.0, plan.node_ids[:1])
    report, _ = execute(replace(plan, faults=(jump,), duration=5.0), lines.append)
    assert report.violations == ()
    assert [line for line in lines if "Process pause detected for 5000 ms" in line]


def test_a_ring_id_gets_another_name_once_its_representative_has_lost_its_disk() -> None:
    names = RingNames()
    before = names.name(RingId(1, 8), 1, 0)
    assert names.name(RingId(1, 8), 2, 0) == before
    after = names.name(RingId(1, 8), 1, 1)
    assert after != before
    assert names.name(RingId(1, 8), 2, 0) == after
