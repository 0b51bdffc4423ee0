"""corosync-notifyd from the distribution: what happens on a ring of ours is told in the same words as on a stock one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.lab import DEADLINE, Lab, Node

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

_CONNECTION = re.compile(r"0x[0-9a-f]+\.\d+\.")


class Notifier:
    """A notifyd that prints to its standard error; its notices are read as they come."""

    def __init__(self, node: Node) -> None:
        """It has told the quorum, and of a connection of its own: it watches. It looks nothing up in the DNS."""
        self._lab = node.lab
        self._process = node.popen("corosync-notifyd", "-f", "-o", "-n")
        missing = {" is now quorate", ".corosync-notify is now connected"}
        while missing:
            line = self._line()
            missing = {text for text in missing if text not in line}

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "notifyd ended"
        return line

    def notices(self, count: int) -> list[str]:
        """The next so many, sorted: services of our daemon are processes, whose notices may overtake each other."""
        found: list[str] = []
        while len(found) < count:
            line = self._line()
            # How it and the lab's own looks at the members connect is not the matter.
            if line.startswith("[notice] ") and not re.search(r"\.corosync-(quorum|notify) ", line):
                line = line.replace(f"10.82.{self._lab.number}.", "10.82.LAB.")
                found.append(_CONNECTION.sub("POINTER.PID.", line.removeprefix("[notice] ")).strip())
        return sorted(found)

    def end(self) -> int:
        """Until it has ended by itself: its exit status."""
        self._process.communicate(timeout=DEADLINE)
        return self._process.returncode


@pytest.fixture(params=["stock", "ours"])
def ring(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Two nodes; without either of them there is no quorum."""
    with Lab(2) as lab:
        for number in lab.nodes:
            if request.param == "stock":
                lab.stock_node(number)
            else:
                lab.our_node(number)
        lab.wait_ring({1, 2})
        yield lab


def test_nodes_quorum_programs_and_the_daemon_s_end_are_notified(ring: Lab) -> None:
    node = ring.node(1)
    host = node.run("hostname").stdout.strip() + "[1]"
    notifier = Notifier(node)
    node.run("corosync-cfgtool", "-s")
    tool = f"{host} POINTER.PID.corosync-cfgtoo is now"
    assert notifier.notices(4) == [f"{tool} connected to corosync"] * 2 + [f"{tool} disconnected from corosync"] * 2
    assert ring.node(2).stop() == 0
    assert notifier.notices(2) == ["10.82.LAB.2[2] ip:10.82.LAB.2 left", f"{host} has lost quorum"]
    ring.node(2).start()
    assert notifier.notices(2) == ["10.82.LAB.2[2] ip:10.82.LAB.2 joined", f"{host} is now quorate"]
    assert node.stop() == 0
    assert notifier.end() == 1, "a notifier without a daemon ends with an error"
