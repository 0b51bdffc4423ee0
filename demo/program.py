"""A program of the cluster, as a user would write it: it joins a group, multicasts, and keeps account of what is delivered.

``python -m demo.program INSTANCE`` reads commands from standard input, ``ROUND COUNT`` a line: multicast COUNT messages. It
writes reports to standard output, one JSON object a line. The end of its input makes it leave the group and end. When its
daemon dies it connects again until there is a daemon, and joins again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import struct
import sys
from dataclasses import dataclass, field
from typing import Any

from coroipc.errors import LibraryError, TryAgain
from libcpg import AsyncCpg, ConfigurationChange, Deliver

GROUP = "demo"
SIZES = (64, 2000)
"""Bytes of a message, least and most."""
RECONNECT_SECONDS = 0.05
FLOW_CONTROL_SECONDS = 0.002
"""After TryAgain: the cluster has as much to order as it can take."""
REPORT_EVERY = 100
"""Deliveries from one report of progress to the next."""

_HEADER = struct.Struct("!II?")
"""Of each message: round, the sender's counter in the round from 1 on, whether it is its last. Random bytes follow."""
_RECORD = struct.Struct("!IIIII")
"""Of each delivery, for the hash: nodeid, pid, round, counter, length of the message. The message follows."""


def report(kind: str, **content: Any) -> None:
    """One line for whoever started us."""
    print(json.dumps({"kind": kind, **content}), flush=True)


@dataclass
class Account:
    """What one round delivered here. Virtual synchrony promises that it is equal at all programs that go on together."""

    round: int
    sequence: Any = field(default_factory=hashlib.sha256)
    """Hash of all messages and membership changes, in the order of their delivery."""
    streams: dict[int, Any] = field(default_factory=dict)
    """Hash of each node's messages alone."""
    counters: dict[int, int] = field(default_factory=dict)
    count: int = 0
    gaps: int = 0
    finished: set[int] = field(default_factory=set)
    """The nodes whose last message of the round was delivered."""

    def message(self, event: Deliver) -> None:
        """Enter a message of this round."""
        round_number, counter, last = _HEADER.unpack_from(event.data)
        self.sequence.update(_RECORD.pack(event.nodeid, event.pid, round_number, counter, len(event.data)))
        self.sequence.update(event.data)
        self.streams.setdefault(event.nodeid, hashlib.sha256()).update(event.data)
        self.count += 1
        if counter != self.counters.get(event.nodeid, 0) + 1:
            self.gaps += 1
        self.counters[event.nodeid] = counter
        if last:
            self.finished.add(event.nodeid)

    def membership(self, members: set[int]) -> None:
        """Enter a membership change: it has its place among the messages, the same place at every program."""
        self.sequence.update(b"members %r" % sorted(members))

    def report(self, sent: str) -> None:
        """``sent`` is the hash of what this program multicast itself."""
        report(
            "round",
            round=self.round,
            count=self.count,
            gaps=self.gaps,
            counters=self.counters,
            sequence=self.sequence.hexdigest(),
            streams={nodeid: stream.hexdigest() for nodeid, stream in self.streams.items()},
            sent=sent,
        )


class Program:
    """One member of the group, over one connection after the other."""

    def __init__(self, instance: str) -> None:
        """``instance`` names the daemon."""
        self._instance = instance
        self._delivered = 0
        self._members: set[int] = set()
        self._account: Account | None = None
        self._sent = hashlib.sha256()

    async def run(self, commands: asyncio.StreamReader) -> None:
        """Take part until the commands end."""
        while not commands.at_eof():
            try:
                async with AsyncCpg(instance=self._instance) as cpg:
                    await cpg.join(GROUP)
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._listen(cpg, await cpg.local_nodeid()))
                        tasks.create_task(self._obey(cpg, commands))
            except* (LibraryError, TryAgain) as errors:
                self._lost(str(errors.exceptions[0]))
                await asyncio.sleep(RECONNECT_SECONDS)

    def _lost(self, reason: str) -> None:
        """The daemon has gone, or is not there yet. What was delivered so far stays true; the open round does not count."""
        if self._members:
            report("disconnected", reason=reason)
        self._members = set()
        self._account = None

    async def _obey(self, cpg: AsyncCpg, commands: asyncio.StreamReader) -> None:
        async for line in commands:
            round_number, count = map(int, line.split())
            await self._multicast(cpg, round_number, count)
        await cpg.leave(GROUP)

    async def _multicast(self, cpg: AsyncCpg, round_number: int, count: int) -> None:
        chance = random.Random()
        self._sent = hashlib.sha256()
        for counter in range(1, count + 1):
            content = chance.randbytes(chance.randint(*SIZES) - _HEADER.size)
            message = _HEADER.pack(round_number, counter, counter == count) + content
            # Before it is sent: its own delivery may end the round.
            self._sent.update(message)
            while True:
                try:
                    await cpg.mcast(message)
                    break
                except TryAgain:
                    await asyncio.sleep(FLOW_CONTROL_SECONDS)
            await asyncio.sleep(0)  # Sending does not wait for anything: let the listener have its turn.

    async def _listen(self, cpg: AsyncCpg, own_nodeid: int) -> None:
        """Take events until our own leave is delivered."""
        async for event in cpg:
            if isinstance(event, Deliver):
                self._on_message(event)
            elif isinstance(event, ConfigurationChange):
                self._on_membership(event)
                if any((address.nodeid, address.pid) == (own_nodeid, os.getpid()) for address in event.left):
                    return

    def _on_message(self, event: Deliver) -> None:
        round_number = _HEADER.unpack_from(event.data)[0]
        if self._account is None or self._account.round != round_number:
            self._account = Account(round_number)
        self._account.message(event)
        self._delivered += 1
        if self._delivered % REPORT_EVERY == 0:
            report("progress", delivered=self._delivered)
        self._end_round_if_complete()

    def _on_membership(self, event: ConfigurationChange) -> None:
        self._members = {address.nodeid for address in event.members}
        report("members", members=event.members, joined=event.joined, left=event.left)
        if self._account is not None:
            self._account.membership(self._members)
            self._end_round_if_complete()

    def _end_round_if_complete(self) -> None:
        """A round ends when everyone who is still a member has finished it: the same place in the sequence everywhere."""
        account = self._account
        if account is not None and account.finished >= self._members:
            report("progress", delivered=self._delivered)
            account.report(self._sent.hexdigest())
            self._account = None


async def main(instance: str) -> None:
    """Run a program of that daemon."""
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    await Program(instance).run(commands)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
