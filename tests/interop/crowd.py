"""Programs that attach to a daemon many times over; each connection must be served by itself.

``python -m tests.interop.crowd NAME COUNT``: COUNT cpg connections, each in a group of its own. For each line on standard input
every connection multicasts and is delivered its own message, and "served COUNT" is printed; they close when standard input ends.
``python -m tests.interop.crowd --stand-by``: one connection to each service; all are asked something, again and again, until
standard input ends, and "answered N" is printed: after the first time, and at the end.
"""

from __future__ import annotations

import select
import sys
import time
from contextlib import ExitStack

from coroipc.errors import TryAgain
from libcfg import Cfg
from libcmap import Cmap
from libcpg import ConfigurationChange, Cpg, Deliver
from libquorum import Quorum
from libvotequorum import Votequorum

PATIENCE = 60.0
PAUSE = 0.01


def served(members: list[Cpg], content: bytes) -> int:
    """Every connection sends, then each takes its own message; how many did."""
    for number, cpg in enumerate(members):
        patiently(lambda cpg=cpg, number=number: cpg.mcast(b"%d %b" % (number, content)))  # type: ignore[misc]
    count = 0
    for number, cpg in enumerate(members):
        event = cpg.next_event(PATIENCE)
        assert isinstance(event, Deliver)
        assert event.data == b"%d %b" % (number, content)
        count += 1
    return count


def patiently(call: object) -> None:
    """Repeat a call that the daemon has no room for now."""
    while True:
        try:
            call()  # type: ignore[operator]
        except TryAgain:
            time.sleep(PAUSE)
        else:
            return


def crowd(name: str, count: int) -> None:
    """See above."""
    with ExitStack() as stack:
        members = [stack.enter_context(Cpg()) for _ in range(count)]
        for number, cpg in enumerate(members):
            patiently(lambda cpg=cpg, number=number: cpg.join(f"{name} {number}"))  # type: ignore[misc]
        for cpg in members:
            assert isinstance(cpg.next_event(PATIENCE), ConfigurationChange)
        for line in sys.stdin.buffer:
            print(f"served {served(members, line.strip())}", flush=True)


def stand_by() -> None:
    """See above."""
    answered = 0
    with Cmap() as cmap, Cpg() as cpg, Cfg() as cfg, Quorum() as quorum, Votequorum() as votequorum:
        patiently(lambda: cpg.join("stand by"))
        while not (answered and select.select([0], [], [], PAUSE)[0]):
            assert cmap.get("nodelist.local_node_pos") == 0
            assert cfg.local_nodeid() == votequorum.getinfo().nodeid == 1
            assert quorum.getquorate()
            patiently(lambda: cpg.mcast(b"still there"))
            while not isinstance(event := cpg.next_event(PATIENCE), Deliver):
                assert event is not None
            answered += 1
            if answered == 1:
                print("answered 1", flush=True)
    print(f"answered {answered}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--stand-by":
        stand_by()
    else:
        crowd(sys.argv[1], int(sys.argv[2]))
