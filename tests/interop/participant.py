"""What participant.c does, with our library: a member of a group that writes down everything it is told.

``python -m tests.interop.participant GROUP [timed]``; commands, output and exit status are described there.
"""

from __future__ import annotations

import os
import select
import sys
import time

from coroipc.errors import CorosyncError, TryAgain
from libcpg import Address, ConfigurationChange, Cpg, Deliver, TotemConfiguration

BATCH = 32
LOST = 3


def content(number: int, size: int) -> bytes:
    """A message's bytes follow from its number."""
    return number.to_bytes(8, "little") + bytes([(number * 7 + 3) & 0xFF]) * (size - 8)


def describe(event: object) -> str:
    """The line of an event."""
    if isinstance(event, Deliver):
        number = int.from_bytes(event.data[:8], "little")
        if event.data != content(number, len(event.data)):
            raise SystemExit(f"damaged {event.nodeid}:{event.pid} {number}")
        return f"message {event.nodeid}:{event.pid} {number} {len(event.data)}"
    if isinstance(event, TotemConfiguration):
        return " ".join([f"ring {event.ring_nodeid}.{event.ring_sequence}", *map(str, event.members)])
    assert isinstance(event, ConfigurationChange)
    members = "".join(f" {address.nodeid}:{address.pid}" for address in event.members)
    return f"members{members} | left{_with_reasons(event.left)} | joined{_with_reasons(event.joined)}"


def _with_reasons(addresses: tuple[Address, ...]) -> str:
    return "".join(f" {address.nodeid}:{address.pid}:{int(address.reason)}" for address in addresses)


class Participant:
    """One connection, and what it still has to send."""

    def __init__(self, cpg: Cpg, timed: bool) -> None:
        """The group is joined already."""
        self.cpg = cpg
        self.timed = timed
        self.number, self.to_send, self.size = 0, 0, 8

    def run(self) -> None:
        """Until standard input ends; raises what the connection raises."""
        while True:
            waiting = [self.cpg.fileno(), *([] if self.to_send else [0])]
            ready = select.select(waiting, [], [], 0.001 if self.to_send else None)[0]
            if self.cpg.fileno() in ready:
                try:
                    for event in self.cpg.events(0.0):
                        sys.stdout.write(f"{stamp(self.timed)}{describe(event)}\n")
                finally:
                    sys.stdout.flush()
            if 0 in ready and not self.command():
                return
            self.send_some()

    def command(self) -> bool:
        """One command from standard input; False at its end."""
        words = os.read(0, 128).split()
        if not words:
            return False
        if words[0] != b"send":
            raise SystemExit(f"unknown command {words}")
        self.number, self.to_send, self.size = map(int, words[1:])
        return True

    def send_some(self) -> None:
        """As much as the daemon takes, but not so much that nothing is read meanwhile."""
        for _ in range(min(BATCH, self.to_send)):
            try:
                self.cpg.mcast(content(self.number, self.size))
            except TryAgain:
                return
            self.number += 1
            self.to_send -= 1


def stamp(timed: bool) -> str:
    """What a line begins with."""
    return f"{time.monotonic():.9f} " if timed else ""


def connect(timed: bool) -> Cpg:
    """A connection, as soon as the daemon lets programs in."""
    while True:
        try:
            return Cpg(initial_totem_configuration=timed)
        except TryAgain:
            time.sleep(0.02)


def join(cpg: Cpg, group: str) -> None:
    """As soon as no synchronisation is in the way."""
    while True:
        try:
            return cpg.join(group)
        except TryAgain:
            time.sleep(0.02)


def main() -> None:
    """Be a member until standard input ends."""
    timed = sys.argv[2:] == ["timed"]
    try:
        with connect(timed) as cpg:
            join(cpg, sys.argv[1])
            Participant(cpg, timed).run()
    except CorosyncError as error:
        print(f"{stamp(timed)}lost {int(error.status)}", flush=True)
        raise SystemExit(LOST) from error


if __name__ == "__main__":
    main()
