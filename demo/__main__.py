"""``python -m demo``. Exit status: 0, every claim held; 1, one did not; 128 and the signal's number, interrupted."""

from __future__ import annotations

import asyncio
import signal
import sys
import traceback
from collections.abc import Callable

from demo.cluster import Cluster
from demo.screen import Screen
from demo.story import ClaimFailed, Story
from demo.waiting import Changes

LIMIT = 55.0
"""Seconds that the whole may take."""
LOG_LINES = 15
"""Of each node's log, when something went wrong."""
FAILED = 1
VERDICTS = {0: "every claim held", FAILED: "not every claim held"}


async def main(screen: Screen) -> int:
    """Show everything; the exit status."""
    changes = Changes()
    cluster = Cluster(changes)
    screen.show(cluster.nodes)
    interrupted = cancelled_by_signals()
    status = FAILED
    try:
        async with asyncio.timeout(LIMIT):
            held = await perform(cluster, changes, screen)
        status = 0 if held else FAILED
    except TimeoutError:
        screen.claim(f"the demo ends within {LIMIT:.0f} s", False)
    except Exception:
        screen.raw(traceback.format_exc().splitlines())
    except asyncio.CancelledError:
        if not interrupted:
            raise
        status = 128 + interrupted[0]
    finally:
        logs = [] if status == 0 else last_log_lines(cluster)
        on_signals(lambda _number: None)  # Nothing interrupts this, not even a terminal that is no more: no output before it.
        await cluster.clean_up()
    if interrupted:
        screen.note(f"interrupted by {signal.Signals(interrupted[0]).name}")
    traces = cluster.traces()
    screen.claim(" ".join(["nothing is left: no process, no file, nothing in /dev/shm", *traces]), not traces)
    if logs and not interrupted:
        screen.raw(logs)
    return FAILED if traces else status


async def perform(cluster: Cluster, changes: Changes, screen: Screen) -> bool:
    """The story, with what observes the nodes beside it; whether every claim held."""
    held = False
    try:
        async with asyncio.TaskGroup() as background:
            await Story(cluster, changes, screen, background).tell()
            raise StoryEnded
    except* StoryEnded:
        held = True
    except* ClaimFailed:
        pass  # The viewer has seen it.
    return held


class StoryEnded(Exception):
    """Ends the tasks that observe the nodes: a task group knows no other way."""


def last_log_lines(cluster: Cluster) -> list[str]:
    """Of all nodes."""
    return [line for node in cluster.nodes for line in (f"-- node {node.node_id}", *node.last_log_lines(LOG_LINES))]


def cancelled_by_signals() -> list[int]:
    """Let a signal cancel the present task, once; the list gets its number."""
    task = asyncio.current_task()
    assert task is not None
    received: list[int] = []

    def interrupt(number: int) -> None:
        if not received:
            received.append(number)
            task.cancel()

    on_signals(interrupt)
    return received


def on_signals(handler: Callable[[int], None]) -> None:
    """What Ctrl-C, a lost terminal, or the system's wish that we end shall do."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, handler, number)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    with Screen() as shown:
        result = asyncio.run(main(shown))
    shown.verdict(VERDICTS.get(result, "interrupted"), result == 0)
    sys.exit(result)
