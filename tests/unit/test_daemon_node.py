"""The executive's driver: what becomes of the node when a step fails."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from types import SimpleNamespace
from typing import Any

from corosyncd.daemon.node import EXIT_FAILED, Node
from corosyncd.totem.ring import Ring
from corosyncd.totem.timeouts import derive


class FailingExecutive:
    """Does nothing until its timer comes, and then something that it should not."""

    def __init__(self) -> None:
        self.engines: dict[str, Any] = {}
        self.due = time.monotonic()
        self.failures = 0

    def start(self, now: float) -> None:
        pass

    def ring_advanced(self, now: float) -> None:
        pass

    def actions(self) -> list[Any]:
        return []

    def next_timer(self) -> float:
        return self.due

    def handle_timer(self, now: float) -> None:
        self.failures += 1
        raise RuntimeError("the executive has lost a step")


def test_a_step_that_fails_ends_the_node_with_the_reason_in_the_log() -> None:
    loop = asyncio.new_event_loop()
    quiet, other_end = socket.socketpair()
    executive, lines = FailingExecutive(), []
    silent = SimpleNamespace(
        counters=SimpleNamespace(foreign_source=0, send_unreachable=0),
        node_ids={1},
        port=5405,
        fileno=quiet.fileno,
        start=lambda *_: None,
        flush=lambda: None,
        send=lambda *_: None,
        timer_came=lambda *_: None,
    )
    parts = SimpleNamespace(
        ring=Ring(1, derive({}, 1), 0, loop.time()),
        executive=executive,
        transport=silent,
        ring_store=silent,
        votes_store=None,
        links=silent,
        priority=silent,
        log=lambda subsystem, level, text: lines.append((subsystem, level, text)),
    )
    loop.call_later(2, loop.stop)
    loop.call_soon(loop.call_exception_handler, {"message": "a task was destroyed"})
    try:
        assert Node(loop, parts).run() == EXIT_FAILED  # type: ignore[arg-type]
    finally:
        gc.unfreeze()
        gc.enable()
        loop.close()
        quiet.close()
        other_end.close()
    assert executive.failures == 1
    complaint, (subsystem, level, text) = lines
    assert complaint == ("MAIN", "error", "a task was destroyed")
    assert (subsystem, level) == ("MAIN", "crit")
    assert "the executive has lost a step" in text
