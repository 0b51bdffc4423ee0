"""Writes down what a node's quorum service tells its programs: ``python -m chaos.watcher``, inside the node, until it is killed.

A line a word: the seconds of the monotonic clock, then ``quorum yes|no NODE.SEQUENCE MEMBER ...``, or ``lost`` when there is no
daemon to ask. It connects again as long as it lives.
"""

from __future__ import annotations

import sys
import time

from coroipc.errors import CorosyncError, TryAgain
from libquorum import Quorum, QuorumNotification, Track

RECONNECT_SECONDS = 0.1


def write(text: str) -> None:
    """A line with the time."""
    sys.stdout.write(f"{time.monotonic():.9f} {text}\n")
    sys.stdout.flush()


def watch() -> None:
    """One connection, until it fails."""
    with Quorum() as quorum:
        quorum.trackstart(Track.CURRENT | Track.CHANGES)
        while True:
            event = quorum.next_event()
            if isinstance(event, QuorumNotification):
                words = "yes" if event.quorate else "no", f"{event.ring_nodeid}.{event.ring_sequence}", *map(str, event.members)
                write(" ".join(("quorum", *words)))


def main() -> None:
    """Watch for ever."""
    while True:
        try:
            watch()
        except TryAgain:
            pass  # Not synchronised yet.
        except CorosyncError:
            write("lost")
        time.sleep(RECONNECT_SECONDS)


if __name__ == "__main__":
    main()
