"""What a node costs its host: System V segments where they are configured, and hardly any processor time when idle."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import sysv_ipc

from corosyncd.link.segments import KEY_WORDS
from libcpg import Cpg
from tests.cluster.harness import Cluster, Node, eventually

ENGINES = 8
IDLE_SECONDS = 3.0
IDLE_SHARE = 0.2
"""Of a core, by all processes of a node while nothing happens: a process that spins takes a whole one."""


def segments_of(node: Node) -> dict[int, tuple[int, int]]:
    """The shared memory that the node's executive has made, by key, with the keys of its semaphores."""
    assert node.process is not None
    found = {}
    for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[4]) == node.process.pid:
            memory = sysv_ipc.SharedMemory(int(fields[0]))
            found[int(fields[0])] = KEY_WORDS.unpack(memory.read(KEY_WORDS.size))
            memory.detach()
    return found


def keys(table: str) -> set[int]:
    lines = Path(f"/proc/sysvipc/{table}").read_text().splitlines()[1:]
    return {int(line.split()[0]) & 0xFFFFFFFF for line in lines}


def assert_removed(segments: dict[int, tuple[int, int]]) -> None:
    assert keys("shm").isdisjoint(segments)
    assert keys("sem").isdisjoint(key for pair in segments.values() for key in pair)


def test_links_in_system_v_memory_carry_a_ring_and_leave_no_segment_behind() -> None:
    with Cluster(2, system={"link_semaphores": "sysv"}) as cluster:
        first, second = cluster
        segments = segments_of(first)
        assert len(segments) == ENGINES
        assert not list(Path("/dev/shm").glob(f"corosyncd-{first.process.pid if first.process else 0}-*"))
        with first.connect(Cpg) as cpg:
            assert cpg.local_nodeid() == 1

        # A successor has a link of its own; its predecessor's is removed.
        os.kill(first.engine("cpg"), signal.SIGKILL)
        first.wait_logged("Engine cpg is back")
        successors = segments_of(first)
        assert len(successors) == ENGINES
        assert_removed({key: pair for key, pair in segments.items() if key not in successors})
        assert first.stop() == 0
        assert_removed(successors)

        # What a killed node leaves goes with its next start.
        segments = segments_of(second)
        second.kill()
        second.start()
        second.wait_ready()
        assert_removed(segments)


def processor_seconds(node: Node) -> float:
    """What all processes of a node have used so far."""
    ticks = 0
    for pid in node.family():
        # The fields behind the name, which may hold anything: user and system time are the 14th and 15th of all.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def test_an_idle_node_hardly_uses_the_processor(capsys: pytest.CaptureFixture[str]) -> None:
    with Cluster(3) as cluster:
        before = {node: processor_seconds(node) for node in cluster}
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began >= IDLE_SECONDS, "the time to pass")
        seconds = time.monotonic() - began
        shares = [(processor_seconds(node) - before[node]) / seconds for node in cluster]
    with capsys.disabled():
        print("\nidle: " + ", ".join(f"{share:.1%}" for share in shares) + " of a core for each of three nodes")
    assert max(shares) < IDLE_SHARE
