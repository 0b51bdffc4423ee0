"""A toy engine, and an executive that does what a test says, at the other end of a real link to a real process."""

from __future__ import annotations

import faulthandler
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from coroipc import messages
from coroipc.caller import BlockingCaller
from coroipc.server.listener import listen
from corosyncd.daemon.engine_options import EngineOptions
from corosyncd.daemon.fork_server import ForkServer, Report
from corosyncd.daemon.log_relay import log_channel, read_lines
from corosyncd.engines.engine import Client, Description, Engine, MulticastClass
from corosyncd.link.link import LinkEnd
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import RingId

TOY = f"{__name__}:ToyEngine"
RING = RingId(1, 4)
LIMIT_SECONDS = 20.0

ECHO, MULTICAST, EVENTS, FAIL, TIMER, DIE = range(6)
"""The toy engine's requests: answered locally; to the ring, unanswered; so many events; a handler's error; a timer; its end."""


class ToyEngine(Engine):
    """Has a request for everything that a host must cope with; what is delivered goes to all its clients as events."""

    description: ClassVar[Description] = Description(
        name="toy",
        service_id=9,
        load_name="corosync_toy",
        title="toy service",
        functions=2,
        requests=6,
        flow_controlled=frozenset({MULTICAST, TIMER}),
        unanswered=frozenset({MULTICAST}),
        synchronised=True,
        tracked=("toy.",),
    )
    clients: ClassVar[dict[int, Client]] = {}

    def start(self) -> None:
        faulthandler.disable()  # Inherited from pytest; some tests want this process to crash.
        self.host.log("info", f"started with {len(list(self.host.keys('toy.')))} keys")

    def sync_step(self) -> bool:
        self.host.multicast(0, [b"sync data"], MulticastClass.SYNC)
        return True

    def client_connected(self, client: Client) -> None:
        self.clients[client.identifier] = client

    def client_gone(self, client: Client) -> None:
        del self.clients[client.identifier]
        self.host.multicast(1, [b"left"])

    def request(self, client: Client, request_id: int, body: bytes) -> None:
        match request_id:
            case 0:
                self.host.respond(client, messages.response(ECHO, body=body[16:]))
            case 1:
                self.host.multicast(1, [body[16:]])
            case 2:
                for number in range(int.from_bytes(body[16:20], "little")):
                    self.host.notify(client, messages.response(7, body=number.to_bytes(4, "little")))
                self.host.respond(client, messages.response(EVENTS))
            case 3:
                raise RuntimeError("a bug in a handler")
            case 4:
                self.host.after(0.001, client.identifier)
            case _:
                os.kill(os.getpid(), 9)

    def timer(self, token: Any) -> None:
        self.host.respond(self.clients[token], messages.response(TIMER))

    def deliver(self, source: int, function: int, message: bytes) -> None:
        if message.endswith(b"bug"):
            raise LookupError("a bug in applying")
        for client in self.clients.values():
            self.host.notify(client, messages.response(8, body=message[16:]))

    def stop(self) -> None:
        self.host.multicast(1, [b"last words"])


class Executive:
    """Speaks and listens at the executive's end; ``heard`` are all words of the engine that nobody has waited for."""

    def __init__(
        self,
        fork_server: ForkServer,
        engine: str = TOY,
        kind: str = "posix",
        kept: bytes | None = None,
        below_maximum: int | None = None,
    ) -> None:
        self.fork_server = fork_server
        self.instance = f"test-{os.getpid()}-{os.urandom(3).hex()}"
        self.listener = listen("toy", instance=self.instance)
        self.end, description, doorbell = LinkEnd.create("toy", kind)
        self.log, log = log_channel()
        self.heard: list[tuple[RingId, list[Any], list[bytes]]] = []
        options = EngineOptions(engine, 1, description, kept, daemon_uid=os.getuid())
        fork_server.spawn("toy", options, doorbell, log, self.listener, below_maximum)
        doorbell.close()
        log.close()

    def say(self, *entries: list[Any], bodies: list[bytes] | None = None) -> None:
        for entry in entries:
            self.end.outbox.queue(entry, bodies or [] if entry[0] == ToEngine.DELIVER else [])
        while not self.end.flush():
            os.sched_yield()

    def deliver(self, *bodies: bytes) -> None:
        words = [word for body in bodies for word in (2, 1, 16 + len(body))]
        self.say([ToEngine.DELIVER, words], bodies=[bytes(16) + body for body in bodies])

    def expect(self, kind: ToExecutive) -> tuple[RingId, list[Any], list[bytes]]:
        """The next word of that kind; what comes before it stays in ``heard``."""
        position = 0
        while True:
            while position < len(self.heard):
                if self.heard[position][1][0] == kind:
                    return self.heard.pop(position)
                position += 1
            self.listen()

    def listen(self) -> None:
        """Wait for at least one frame."""
        while not (frames := self.end.receive(8)):
            assert not self.end.peer_gone, f"the engine has gone; its log says {self.lines()}"
            if self.end.sleep_prepare():
                assert select.select([self.end.doorbell], [], [], LIMIT_SECONDS)[0], "the engine says nothing"
                self.end.read_doorbell()
        for frame in frames:
            bodies = iter(frame.bodies)
            for entry in frame.entries:
                count = len(entry[2]) if entry[0] == ToExecutive.MULTICAST else 0
                self.heard.append((frame.ring_id, entry, [next(bodies) for _ in range(count)]))

    def multicasts(self, count: int) -> list[bytes]:
        """The next so many ring messages, without their headers."""
        bodies: list[bytes] = []
        while len(bodies) < count:
            bodies += [body[16:] for body in self.expect(ToExecutive.MULTICAST)[2]]
        return bodies

    def start(self, *keys: list[Any]) -> None:
        self.expect(ToExecutive.HELLO)
        self.say([ToEngine.KEYS, 0, list(keys)])
        self.expect(ToExecutive.READY)

    def serve(self, credit: int = 2 << 20) -> None:
        """Bring the engine to where programs may connect."""
        self.start()
        self.end.outbox.ring_id = RING
        self.say([ToEngine.CREDIT, credit], [ToEngine.CONFIGURATION, [], [1, 2]])
        assert self.expect(ToExecutive.GATE_CLOSED)[0] == RING
        self.complete()

    def complete(self) -> None:
        """End the round, and wait until the engine has seen it."""
        self.say([ToEngine.SYNC_COMPLETE])
        self.expect(ToExecutive.GATE_OPENED)

    def connect(self) -> BlockingCaller:
        return BlockingCaller("toy", instance=self.instance, timeout=LIMIT_SECONDS)

    def lines(self) -> list[tuple[str, str]]:
        return read_lines(self.log) or []

    def wait_for_end(self) -> list[tuple[str, str]]:
        """Until the engine's process has closed its doorbell; its log lines."""
        while not self.end.peer_gone:
            self.end.receive(8)
            if self.end.sleep_prepare():
                assert select.select([self.end.doorbell], [], [], LIMIT_SECONDS)[0], "the engine does not end"
                self.end.read_doorbell()
        return self.lines()

    def close(self) -> None:
        self.end.close()
        self.log.close()
        self.listener.close()


def reports(fork_server: ForkServer, count: int) -> list[Report]:
    """The next so many reports of a fork server."""
    found: list[Report] = []
    while len(found) < count:
        assert select.select([fork_server], [], [], LIMIT_SECONDS)[0], "the fork server says nothing"
        found += fork_server.read_reports()
        assert not fork_server.closed or len(found) >= count, "the fork server has died"
    return found


@contextmanager
def running_fork_server() -> Iterator[ForkServer]:
    """A fork server that has loaded the toy engine; it and everything it forked is gone afterwards."""
    server = ForkServer.start([__name__])
    try:
        yield server
    finally:
        assert server.close() == 0
        assert not leftovers(server.pid), "something was left in /dev/shm"


def leftovers(*creators: int) -> list[str]:
    """Names of ours in /dev/shm: links of this process, and IPC files of the processes given."""
    prefixes = (f"corosyncd-{os.getpid()}-", f"sem.corosyncd-{os.getpid()}-", *(f"qb-{pid}-" for pid in creators))
    return [path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(prefixes)]
