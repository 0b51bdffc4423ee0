"""mon, wd and pload in real daemons, the distribution's and ours: what they notice, and how a load test ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from libsam import Policy
from tests.cluster.supervised import Supervised
from tests.interop.test_tools import CMAP, dump
from tests.lab import CHECKOUT, Lab, Node, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

INTERVAL_MS = 500
START = "i_totally_understand_pload_will_crash_my_cluster_and_kill_corosync_on_exit"
LOAD_TEST_ENDED = 99
HAS_FAILED = {"stock": '{recovery} resource "{name}" failed!', "ours": "resource {name} has failed; recovery: {recovery}"}


@pytest.fixture(params=["stock", "ours"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def dog(kind: str, node: Node) -> Iterator[int]:
    """What our daemon writes to its watchdog, a FIFO. Stock speaks to a real device only."""
    if kind == "ours":
        os.mkfifo(node.folder / "dog")
    reader = os.open(node.folder / "dog" if kind == "ours" else os.devnull, os.O_RDONLY | os.O_NONBLOCK)
    yield reader
    os.close(reader)


@pytest.fixture
def node() -> Iterator[Node]:
    """A node alone, not started."""
    with Lab(1) as lab:
        yield lab.node(1)


def start(kind: str, node: Node) -> None:
    """Any use of memory is too much for this node."""
    if kind == "stock":
        memory = "memory_used {\n      max: 0\n      recovery: none\n    }"
        node.lab.stock_node(1, f"resources {{\n  system {{\n    {memory}\n  }}\n}}\n")
    else:
        resources = {"watchdog_device": str(node.folder / "dog"), "watchdog_timeout": 2}
        node.lab.our_node(1, resources=resources | {"system": {"memory_used": {"max": 0, "recovery": "none"}}})
    node.lab.wait_ring({1})


def wait_logged(node: Node, text: str) -> None:
    log = node.folder / "log" / "corosync.log"
    wait_until(lambda: text in log.read_text(), f"the log line {text!r}", explain=node.log)


def test_a_stopped_supervisor_and_a_failed_reading_are_noticed(kind: str, node: Node, dog: int) -> None:
    start(kind, node)
    if kind == "ours":
        wait_until(lambda: _read(dog).startswith(b"\0"), "a sign of life", explain=node.log)
    command = ("-m", "tests.cluster.supervised_program", str(INTERVAL_MS), str(int(Policy.QUIT | Policy.CMAP)))
    program = Supervised(node.popen("env", f"PYTHONPATH={CHECKOUT}", sys.executable, *command))
    program.expect("started")
    os.kill(program.supervisor, signal.SIGSTOP)
    try:
        wait_logged(node, HAS_FAILED[kind].format(recovery="quit", name=program.supervisor))
        wait_logged(node, HAS_FAILED[kind].format(recovery="none", name="memory_used"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(program.supervisor, signal.SIGKILL)
    prefix = "resources.system.memory_used."
    keys = {name.removeprefix(prefix): entry for name, entry in dump(node, prefix).items()}
    assert {leaf: kind_of for leaf, (kind_of, _) in keys.items()} == {
        "current": "u32",
        "last_updated": "u64",
        "max": "str",
        "poll_period": "u64",
        "recovery": "str",
        "state": "str",
    }
    assert keys["state"][1] == "failed"
    assert 0 < int(keys["current"][1]) <= 100
    if kind == "ours":
        wait_logged(node, "The watchdog gets no sign of life any more")
        _read(dog)
    assert node.stop() == 0
    if kind == "ours":
        assert _read(dog) == b"V", "an orderly stop disarms it"


def _read(reader: int) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return os.read(reader, 4096)
    return b""


@pytest.mark.parametrize("starter", [1, 2], ids=["stock starts", "ours starts"])
def test_a_load_test_ends_every_node_of_a_mixed_ring_with_its_status(starter: int) -> None:
    with Lab(2) as lab:
        lab.stock_node(1)
        lab.our_node(2)
        lab.wait_ring({1, 2})
        for key, kind, value in (("count", "u32", "3000"), ("size", "u32", "500"), ("start", "str", START)):
            lab.node(starter).run(CMAP, "-s", f"pload.{key}", kind, value, check=False)
        assert [lab.node(number).wait_end() for number in (1, 2)] == [LOAD_TEST_ENDED] * 2
        assert "3000 messages of 500 bytes in " in lab.node(2).log()
