"""What the cpg engine's own Python costs a message: requests into ring messages, ring messages into events.

``python -m bench.engine_cpg``. The host only counts, so link, rings and sockets are not in the figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from corosyncd.engines.cpg import CpgEngine
from corosyncd.engines.cpg.wire import Function
from corosyncd.engines.engine import Buffer, Client, MulticastClass
from corosyncd.totem.events import RingId
from libcpg.messages import JoinRequest, McastRequest, Request
from tests.unit.fake_host import FakeHost

ROUNDS = 5
MESSAGES = 20_000


class CountingHost(FakeHost):
    """Keeps the pieces of the last ring message and counts events."""

    pieces: Sequence[Buffer] = ()
    told = 0

    def multicast(self, function: int, pieces: Sequence[Buffer], kind: MulticastClass = MulticastClass.NORMAL) -> None:
        self.pieces = pieces

    def notify(self, client: Client, event: bytes) -> None:
        self.told += 1


def best(step: Callable[[], None]) -> float:
    """Microseconds a call, the best of a few rounds."""
    results = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(MESSAGES):
            step()
        results.append((time.perf_counter() - begin) / MESSAGES * 1e6)
    return min(results)


def joined_engine(clients: int) -> tuple[CpgEngine, CountingHost, list[Client]]:
    """An engine on a ring of its own, with clients that have joined one group."""
    host = CountingHost(1)
    engine = CpgEngine(host)
    engine.configuration_changed((), (1,), RingId(1, 4))
    engine.sync_step()
    engine.sync_activate()
    joined = []
    for number in range(clients):
        client = Client(number + 1, 100 + number, 0, 0)
        engine.client_connected(client)
        engine.request(client, Request.JOIN, JoinRequest(b"bench", 100 + number).encode())
        engine.deliver(1, Function.PROCESS_JOIN, bytes(16) + b"".join(host.pieces))
        joined.append(client)
    return engine, host, joined


def main() -> None:
    """Print a table."""
    print("bytes  clients  request_us  delivery_us")
    for size in (64, 1024, 65536):
        for count in (1, 8):
            engine, host, clients = joined_engine(count)
            request = McastRequest(bytes(size)).encode()
            sender = clients[0]
            request_cost = best(partial(engine.request, sender, Request.MCAST, request))
            message = bytes(16) + b"".join(host.pieces)
            told = host.told
            delivery_cost = best(partial(engine.deliver, 1, Function.MCAST, message))
            assert host.told - told == count * MESSAGES * ROUNDS
            print(f"{size:5}  {count:7}  {request_cost:10.2f}  {delivery_cost:11.2f}")


if __name__ == "__main__":
    main()
