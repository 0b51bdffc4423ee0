"""Total order: what one program of a group is delivered, all are, in the same order, whatever its size."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from libcpg import ATOMIC_MESSAGE_LIMIT, ConfigurationChange, Cpg, Deliver
from tests.cluster.harness import DEADLINE, Cluster

MESSAGES = 20_000
"""That each of the three nodes sends."""
SINGLES = (
    *(0, 1),
    *range(1280, 1481),
    *(2 * 1400 + step for step in range(-200, 61, 20)),
    *(100_000, ATOMIC_MESSAGE_LIMIT, ATOMIC_MESSAGE_LIMIT + 1, 3 << 20),
)
"""Sizes around everything that is cut: frames of an Ethernet, the longest request, fragments of the library."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(3) as formed:
        yield formed


def next_delivery(cpg: Cpg) -> Deliver:
    for event in cpg.events(DEADLINE):
        if isinstance(event, Deliver):
            return event
    raise AssertionError("nothing was delivered")


def test_messages_of_every_size_arrive_whole_at_all(cluster: Cluster) -> None:
    with ExitStack() as stack:
        members = [stack.enter_context(node.connect(Cpg)) for node in cluster]
        for cpg in members:
            cpg.join(b"sizes")
        for cpg in members:
            while not (isinstance(event := cpg.next_event(DEADLINE), ConfigurationChange) and len(event.members) == 3):
                assert event is not None
        content = random.Random(1).randbytes(max(SINGLES))
        for turn, size in enumerate(SINGLES):
            sender = members[turn % 3]
            sender.mcast(content[:size])
            for cpg in members:
                event = next_delivery(cpg)
                assert event.nodeid == turn % 3 + 1
                assert len(event.data) == size
                assert event.data == content[:size]
        assert all(cpg.dropped_messages == 0 for cpg in members)


def test_three_nodes_that_send_at_once_agree_on_one_order_and_lose_nothing(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("3", "3", str(MESSAGES))
    programs = [cluster.program("-m", "tests.cluster.cpg_load", node.instance, *arguments) for node in cluster]
    results = []
    for program in programs:
        output, _ = program.communicate(timeout=2 * DEADLINE)
        assert program.returncode == 0
        results.append(json.loads(output))
    assert [result["delivered"] for result in results] == [{"1": MESSAGES, "2": MESSAGES, "3": MESSAGES}] * 3
    assert len({result["order"] for result in results}) == 1
    slowest = max(result["seconds"] for result in results)
    with capsys.disabled():
        print(f"\n{3 * MESSAGES} messages, {results[0]['bytes'] >> 20} MiB, ordered on three nodes of one host in {slowest} s")
