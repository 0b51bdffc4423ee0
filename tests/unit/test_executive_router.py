"""What the router keeps while a round is being applied, and hands over behind it."""

from __future__ import annotations

import struct

from corosyncd.executive.record import EngineRecord
from corosyncd.executive.router import Router

BODY_SIZE = 20


def body(service: int) -> bytes:
    return struct.pack("=i", service << 16) + bytes(BODY_SIZE - 4)


def router() -> Router:
    made = Router()
    for service in (1, 2):
        engine = made.services[service] = EngineRecord(f"engine{service}")
        engine.service_id = service
        engine.functions = 1
        engine.rx = [0]
    return made


def waiting(made: Router) -> dict[int, int]:
    return {service: engine.outstanding_bytes for service, engine in made.services.items()}


def test_what_is_held_is_counted_once_however_often_it_is_flushed_and_handed_over_whole() -> None:
    made = router()
    made.hold()
    for source, service in ((1, 1), (2, 2), (3, 1)):
        made.add(source, body(service))
        made.flush(0.0)
        made.flush(0.0)
    assert made.held_bytes == 3 * BODY_SIZE
    assert waiting(made) == {1: 0, 2: 0}
    made.add(4, body(2))
    made.release(0.0)
    assert made.held_bytes == 0
    assert waiting(made) == {1: 2 * BODY_SIZE, 2: 2 * BODY_SIZE}
    made.release(0.0)
    assert waiting(made) == {1: 2 * BODY_SIZE, 2: 2 * BODY_SIZE}


def test_nothing_is_held_without_a_round() -> None:
    made = router()
    made.add(1, body(1))
    made.flush(0.0)
    assert (made.held_bytes, waiting(made)[1]) == (0, BODY_SIZE)
