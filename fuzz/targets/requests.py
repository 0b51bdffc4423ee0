"""Each engine's IPC requests, as a hostile program would send them.

Claims: no handler fails; a request is answered once (or not at all where it has no answer), or its connection ends; and what the
engine sends to the ring because of it is understood by every member.
"""

from __future__ import annotations

from collections import Counter
from itertools import product
from struct import Struct
from typing import Final

from coroipc.layouts import response_status
from fuzz.lone_engine import ANSWERS_LIMIT, ENGINES, WORDS_LIMIT, LoneEngine
from fuzz.target import claim

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
)
"""Shapes that requests have: nothing, numbers, a group with a pid, a key with a value in either order of fields."""
REQUESTS_EACH: Final = 4
"""Most requests in one input: a later one finds what an earlier one has left."""


class RequestsTarget:
    """An input: engine, then requests, each behind its length as u16; a request is id, size and body."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self.seeds = []
        for number, engine in enumerate(ENGINES):
            for first, second, body in product(range(engine.description.requests), (0, 2, 7), BODIES):
                self.seeds.append(bytes((number,)) + _request(first, body) + _request(second, body))

    def run(self, data: bytes) -> None:
        """One run of requests."""
        if not data:
            return
        engine = ENGINES[data[0] % len(ENGINES)]
        lone = LoneEngine(engine)
        for request in _cut(data[1:]):
            lone.responses.clear()
            identifier = HEADER.unpack_from(request)[0] if len(request) >= HEADER.size else -1
            lone.host.serve(lone.client, request)
            lone.loop()
            name = f"{engine.description.name} request {identifier}"
            claim(not lone.failures, f"the handler of {name} failed: {lone.failures[:1]}")
            unanswered = identifier in engine.description.unanswered
            claim(len(lone.responses) <= (0 if unanswered else 1), f"{name} is answered once")
            claim(not lone.host.undecodable, f"{name} made the engine send what it does not understand: {lone.host.undecodable}")
            claim(len(lone.said) <= WORDS_LIMIT and len(lone.events) <= ANSWERS_LIMIT, f"what {name} brings about is bounded")
            if lone.disconnected:
                self.dropped[lone.disconnected[0].split(" of ")[0]] += 1
                return
            for response in lone.responses:
                self.dropped[str(response_status(response))] += 1


def _request(identifier: int, body: bytes) -> bytes:
    request = HEADER.pack(identifier, HEADER.size + len(body)) + body
    return len(request).to_bytes(2, "little") + request


def _cut(data: bytes) -> list[bytes]:
    requests: list[bytes] = []
    position = 0
    while position + 2 <= len(data) and len(requests) < REQUESTS_EACH:
        size = int.from_bytes(data[position : position + 2], "little")
        requests.append(data[position + 2 : position + 2 + size])
        position += 2 + size
    return requests
