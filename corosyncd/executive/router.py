"""From the ring to the engines and back: which engine a message belongs to, in batches, counted by function.

A ring message's first word is (service id << 16) | function (reference services section 1.1).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from corosyncd.executive.record import EngineRecord
from corosyncd.keyspace.values import uint64
from corosyncd.link.vocabulary import ToEngine

_IDENTIFIER = struct.Struct("=i")
MINIMUM_MESSAGE = 16
"""Bytes of the header (id, size) that every engine message begins with."""


class Router:
    """The table of services. ``dropped`` counts what no engine could take, by reason."""

    __slots__ = ("_batches", "_held", "_holding", "dropped", "held_bytes", "services")

    def __init__(self) -> None:
        """No engine yet."""
        self.services: dict[int, EngineRecord] = {}
        reasons = ("short", "unknown_service", "unknown_function", "foreign_service", "malformed_sync")
        self.dropped: dict[str, int] = dict.fromkeys(reasons, 0)
        self.held_bytes = 0
        """Of what waits for ``release``."""
        self._batches: dict[EngineRecord, list[tuple[int, int, bytes]]] = {}
        self._held: dict[EngineRecord, list[tuple[int, int, bytes]]] = {}
        self._holding = False

    def add(self, source: int, body: bytes) -> None:
        """Take one delivered message into the batch of its engine."""
        if len(body) < MINIMUM_MESSAGE:
            self.dropped["short"] += 1
            return
        identifier = _IDENTIFIER.unpack_from(body)[0]
        engine = self.services.get(identifier >> 16)
        if engine is None:
            self.dropped["unknown_service"] += 1
            return
        function = identifier & 0xFFFF
        if function >= engine.functions:
            self.dropped["unknown_function"] += 1
            return
        engine.rx[function] += 1
        batch = self._batches.get(engine)
        if batch is None:
            self._batches[engine] = [(source, function, body)]
        else:
            batch.append((source, function, body))

    def statistics(self) -> dict[str, list[Any]]:
        """What was dropped, as keys of the stats map."""
        return {f"stats.services.dropped.{reason}": list(uint64(count)) for reason, count in self.dropped.items()}

    def flush(self, now: float) -> None:
        """Hand the batches over: before anything else is said to an engine, and at the end of a delivery."""
        batches = self._batches
        if not batches:
            return
        self._batches = {}
        if self._holding:
            for engine, batch in batches.items():
                self._held.setdefault(engine, []).extend(batch)
                self.held_bytes += sum(len(message[2]) for message in batch)
            return
        for engine, batch in batches.items():
            self.hand_over(engine, batch, now)

    def hold(self) -> None:
        """Keep what is delivered from now on, until ``release``."""
        self._holding = True

    def release(self, now: float) -> None:
        """Hand over what was kept; a second call changes nothing."""
        self.flush(now)
        self._holding = False
        self.held_bytes = 0
        held, self._held = self._held, {}
        for engine, batch in held.items():
            self.hand_over(engine, batch, now)

    def hand_over(self, engine: EngineRecord, batch: list[tuple[int, int, bytes]], now: float) -> None:
        """Queue deliveries on an engine's link; those of an absent engine wait for its successor."""
        bodies = [message[2] for message in batch]
        size = sum(map(len, bodies))
        engine.hand_over(batch, size, now)
        if engine.running:
            triples: list[int] = []
            for source, function, body in batch:
                triples += (source, function, len(body))
            engine.put(ToEngine.DELIVER, triples, bodies=bodies)

    def outgoing(self, engine: EngineRecord, bodies: Sequence[bytes], submit: Callable[[Sequence[bytes]], None]) -> None:
        """Count an engine's multicasts and submit those that bear its own service id."""
        service = engine.service_id
        counters = engine.tx
        unpack = _IDENTIFIER.unpack_from
        good = bodies
        for body in bodies:
            identifier = unpack(body)[0] if len(body) >= MINIMUM_MESSAGE else -1
            if identifier >> 16 == service and identifier & 0xFFFF < len(counters):
                counters[identifier & 0xFFFF] += 1
            else:
                self.dropped["foreign_service"] += 1
                good = [other for other in good if other is not body]
        if good:
            submit(good)
