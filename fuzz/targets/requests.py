"""Each engine's IPC requests, as a hostile program would send them.

Claims: no handler fails; a request is answered once (or not at all where it has no answer), or its connection ends; and what the
engine sends to the ring because of it is understood by every member.
"""

from __future__ import annotations

from collections import Counter
from itertools import product
from struct import Struct
from typing import Final

from coroipc.errors import Status
from coroipc.layouts import response_status
from fuzz.lone_engine import ENGINES, EVENTS_LIMIT, WORDS_LIMIT, LoneEngine
from fuzz.pieces import cut, joined
from fuzz.target import claim
from libcpg.zero_copy import ADDRESS, DATA_OFFSET, MESSAGE_OFFSET

HEADER: Final = Struct("=i4xi4x")
NAME: Final = Struct("=i4x128s")
BODIES: Final = (
    b"",
    bytes(8),
    bytes(300),
    (1).to_bytes(8, "little") * 8,
    NAME.pack(5, b"group") + (4242).to_bytes(8, "little") + (1).to_bytes(8, "little"),
    b"a.key.name".ljust(256, b"\0") + (10).to_bytes(8, "little") + (6).to_bytes(8, "little") + b"\1\0\0\0",
    (10).to_bytes(8, "little") + b"a.key.name".ljust(256, b"\0") + (4).to_bytes(8, "little") + b"\6" + bytes(7) + b"\1\0\0\0",
    ADDRESS.pack(DATA_OFFSET + 16) + b"/dev/shm/corosync_zerocopy-abcdef".ljust(128, b"\0"),
)
"""Shapes that requests have: nothing, numbers, a group with a pid, a key with a value in either order, a shared file."""
REQUESTS_EACH: Final = 4
"""Most requests in one input: a later one finds what an earlier one has left."""


class RequestsTarget:
    """An input: engine, then requests, each behind its length as u16; a request is id, size and body.

    A file that a client shares holds, where its message stands, what the input ends with.
    """

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self.seeds = []
        for number, engine in enumerate(ENGINES):
            for first, second, body in product(range(engine.description.requests), (0, 2, 7), BODIES):
                self.seeds.append(bytes((number,)) + joined((as_request(first, body), as_request(second, body))))

    def run(self, data: bytes) -> None:
        """One run of requests."""
        if not data:
            return
        engine = ENGINES[data[0] % len(ENGINES)]
        lone = LoneEngine(engine)
        lone.file = bytes(MESSAGE_OFFSET) + data[-DATA_OFFSET:].ljust(DATA_OFFSET, b"\0")
        for request in cut(data[1:], REQUESTS_EACH):
            lone.responses.clear()
            identifier = HEADER.unpack_from(request)[0] if len(request) >= HEADER.size else -1
            lone.host.serve(lone.client, request)
            lone.work()
            name = f"{engine.description.name} request {identifier}"
            claim(not lone.failures, f"the handler of {name} failed: {lone.failures[:1]}")
            unanswered = identifier in engine.description.unanswered
            claim(len(lone.responses) <= (0 if unanswered else 1), f"{name} is answered once")
            claim(
                not lone.host.undecodable.counts,
                f"{name} made the engine send nonsense: {lone.host.undecodable.counts}",
            )
            claim(lone.said <= WORDS_LIMIT and len(lone.events) <= EVENTS_LIMIT, f"what {name} brings about is bounded")
            if lone.disconnected:
                self.dropped[lone.disconnected[0].split(" of ")[0]] += 1
                return
            for response in lone.responses:
                self.dropped[_word(response_status(response))] += 1


def _word(status: int) -> str:
    return Status(status).name.lower()


def as_request(identifier: int, body: bytes) -> bytes:
    """A request with that id."""
    return HEADER.pack(identifier, HEADER.size + len(body)) + body
