"""Each engine's ring messages, as a hostile member would send them: applied, or counted; never more than a bounded answer."""

from __future__ import annotations

from collections import Counter

from corosyncd.totem.events import Group
from fuzz import corpus
from fuzz.lone_engine import ENGINES, EVENTS_LIMIT, WORDS_LIMIT, LoneEngine
from fuzz.target import claim

HEADER = 16


class RingMessagesTarget:
    """An input: engine, source, function, then the message."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        services = {engine.description.service_id: number for number, engine in enumerate(ENGINES)}
        self.seeds = [bytes((number, 2, function)) + bytes(HEADER) for number in range(len(ENGINES)) for function in range(7)]
        for originator, group, body in corpus.messages():
            identifier = int.from_bytes(body[:4], "little")
            if group is Group.ENGINES and identifier >> 16 in services:
                self.seeds.append(bytes((services[identifier >> 16], originator & 0xFF, identifier & 0xFF)) + body)

    def run(self, data: bytes) -> None:
        """One message, twice: the second finds what the first has left."""
        if len(data) < 3:
            return
        engine = ENGINES[data[0] % len(ENGINES)]
        lone = LoneEngine(engine)
        before = sum(lone.host.undecodable.counts.values())
        claim(before == 0, f"{engine.description.name} understands its own messages")
        for _ in range(2):
            # The executive hands over nothing shorter than a header.
            lone.deliver(data[1], data[2], data[3:].ljust(HEADER, b"\0"))
            lone.work()
        claim(lone.said <= WORDS_LIMIT and len(lone.events) <= EVENTS_LIMIT, "what an engine says is bounded")
        for reason, count in lone.host.undecodable.counts.items():
            self.dropped[f"{engine.description.name}: {reason}"] += count
