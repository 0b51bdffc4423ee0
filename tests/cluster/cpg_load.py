"""A program that joins a group, sends its share of messages as fast as it may, and judges all that it is delivered.

``python -m tests.cluster.cpg_load INSTANCE MEMBERS SENDERS COUNT``: once MEMBERS processes are in the group, SENDERS of them,
this one too, each send COUNT messages of 4 to 2,000 bytes; when all have come it prints one JSON object. Content follows
from the sender and the first bytes, so that a lost, doubled, swapped or damaged one is noticed where it happens.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
import sys
import time

from coroipc.errors import TryAgain
from libcpg import ConfigurationChange, Cpg, Deliver

GROUP = b"load"
SMALLEST, LARGEST = 4, 2000
BURST = 32
"""Messages sent before events are taken."""
PATIENCE = 60.0
"""Seconds without any event after which the program gives up."""
_NUMBER = struct.Struct("=I")
_FILLING = random.Random(7).randbytes(1 << 16)


def message(sender: int, number: int) -> bytes:
    """The message that a node sends as its ``number``-th."""
    mixed = (number * 2654435761 + sender * 40503) & 0xFFFFFFFF
    size = SMALLEST + (mixed >> 7) % (LARGEST - SMALLEST + 1)
    start = mixed % (len(_FILLING) - LARGEST)
    return _NUMBER.pack(number) + _FILLING[start : start + size - _NUMBER.size]


class Load:
    """One process's part."""

    def __init__(self, cpg: Cpg, members: int, senders: int, count: int) -> None:
        self.cpg = cpg
        self.count = count
        self.members = members
        self.expected = senders * count
        self.present = 0
        self.to_send = 0
        self.again = 0
        self.next_number: dict[int, int] = {}
        self.bytes = 0
        self.order = hashlib.blake2b()

    def take(self, timeout: float) -> bool:
        """Judge the events that wait, the first for up to ``timeout`` seconds; whether there was one."""
        event = self.cpg.next_event(timeout)
        if event is None:
            return False
        while event is not None:
            if isinstance(event, Deliver):
                number = self.next_number.get(event.nodeid, 0)
                if event.data != message(event.nodeid, number):
                    raise SystemExit(f"message {number} of node {event.nodeid} is missing, out of its place or damaged")
                self.next_number[event.nodeid] = number + 1
                self.order.update(b"%d %d," % (event.nodeid, number))
                self.bytes += len(event.data)
            elif isinstance(event, ConfigurationChange):
                self.present = len(event.members)
            event = self.cpg.next_event(0.0)
        return True

    def send(self, nodeid: int) -> bool:
        """A burst; False when the daemon wants a pause."""
        for _ in range(min(BURST, self.count - self.to_send)):
            try:
                self.cpg.mcast(message(nodeid, self.to_send))
            except TryAgain:
                self.again += 1
                return False
            self.to_send += 1
        return True

    def run(self) -> None:
        """Until everything has come."""
        nodeid = self.cpg.local_nodeid()
        self.cpg.join(GROUP)
        while self.present < self.members:
            if not self.take(PATIENCE):
                raise SystemExit("the others do not come")
        began = time.monotonic()
        while sum(self.next_number.values()) < self.expected:
            open_for_more = self.send(nodeid)
            waiting = not open_for_more or self.to_send == self.count
            if not self.take(0.01 if not open_for_more else PATIENCE if waiting else 0.0) and self.to_send == self.count:
                raise SystemExit(f"nothing came for {PATIENCE:.0f} s; so far {self.next_number}")
        seconds = time.monotonic() - began
        result = {
            "node": nodeid,
            "order": self.order.hexdigest(),
            "delivered": self.next_number,
            "bytes": self.bytes,
            "try_again": self.again,
            "seconds": round(seconds, 2),
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    with Cpg(instance=sys.argv[1]) as connection:
        Load(connection, *map(int, sys.argv[2:5])).run()
