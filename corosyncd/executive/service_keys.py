"""The keys of a service engine: its name and id, and how many messages of each function were sent and received.

Names and types: reference client-api section 2.4. Counters are published once a second, never per message.
"""

from __future__ import annotations

from collections.abc import Iterable

from corosyncd.executive.record import EngineRecord
from corosyncd.keyspace import runtime_keys
from corosyncd.keyspace.values import text, uint16, uint32, uint64

COUNTER_PERIOD = 1.0
"""Seconds between two publications of the counters."""


def of_loaded(engine: EngineRecord) -> runtime_keys.Keys:
    """What a loaded engine shows, its counters with their present values."""
    prefix = f"internal_configuration.service.{engine.service_id}"
    pairs: runtime_keys.Keys = [
        (f"{prefix}.name", text(engine.load_name)),
        (f"{prefix}.ver", uint32(0)),
        (f"runtime.services.{engine.name}.service_id", uint16(engine.service_id)),
    ]
    for function in range(engine.functions):
        pairs.append((runtime_keys.message_counter(engine.name, function, "tx"), uint64(engine.tx[function])))
        pairs.append((runtime_keys.message_counter(engine.name, function, "rx"), uint64(engine.rx[function])))
    return pairs


def changed_counters(engines: Iterable[EngineRecord]) -> runtime_keys.Keys:
    """The counters that differ from what was published last; they count as published from now on."""
    pairs: runtime_keys.Keys = []
    for engine in engines:
        counters = engine.rx + engine.tx
        if counters == engine.published:
            continue
        for index, value in enumerate(counters):
            if value != engine.published[index]:
                direction = "rx" if index < engine.functions else "tx"
                name = runtime_keys.message_counter(engine.name, index % engine.functions, direction)
                pairs.append((name, uint64(value)))
        engine.published = counters
    return pairs
