"""The same work on many things, spread over processes; what becomes of each comes back in their order.

Each thing has a process of its own, so that one that dies takes no other with it. With one job everything is done in this one.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from time import process_time
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")

_PROCESSES = get_context("fork")
"""What they work on is there already; nothing but the result has to travel."""


@dataclass(frozen=True, slots=True)
class Done(Generic[A, R]):
    """What became of one thing: its ``result``, or why it has none."""

    of: A
    result: R | None
    failure: str
    processor: float
    """Seconds of processor time."""


def each(work: Callable[[A], R], things: Iterable[A], jobs: int) -> Generator[Done[A, R], None, None]:
    """Do the work on each thing, on ``jobs`` of them at a time. Whoever closes the iterator ends what is under way."""
    return _spread(work, things, jobs) if jobs > 1 else (_do(work, thing) for thing in things)


def _do(work: Callable[[A], R], thing: A) -> Done[A, R]:
    began = process_time()
    try:
        result, failure = work(thing), ""
    except Exception:
        result, failure = None, traceback.format_exc().rstrip()
    return Done(thing, result, failure, process_time() - began)


@dataclass(slots=True)
class _Running(Generic[A]):
    number: int
    thing: A
    process: ForkProcess


def _spread(work: Callable[[A], R], things: Iterable[A], jobs: int) -> Generator[Done[A, R], None, None]:
    waiting = enumerate(things)
    running: dict[Connection, _Running[A]] = {}
    done: dict[int, Done[A, R]] = {}
    due = 0
    try:
        while True:
            while len(running) < jobs and (following := next(waiting, None)) is not None:
                connection, process = _start(work, following[1])
                running[connection] = _Running(*following, process)
            if not running:
                return
            ready = wait(list(running))
            for connection in [each for each in running if each in ready]:
                ended = running.pop(connection)
                done[ended.number] = _end(connection, ended)
            while due in done:
                yield done.pop(due)
                due += 1
    finally:
        for connection, left in running.items():
            left.process.terminate()
            left.process.join()
            connection.close()


def _start(work: Callable[[A], R], thing: A) -> tuple[Connection, ForkProcess]:
    ours, theirs = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_answer, args=(theirs, work, thing), daemon=True)
    with _without_interrupts():
        process.start()
    theirs.close()
    return ours, process


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """The terminal interrupts all processes at once; only the first of them is to hear of it, and it ends the others."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _answer(connection: Connection, work: Callable[[A], R], thing: A) -> None:
    """The life of a process, which begins with interrupts blocked and leaves them so."""
    try:
        connection.send(_do(work, thing))
    except BrokenPipeError:
        os._exit(1)  # whoever asked is gone


def _end(connection: Connection, ended: _Running[A]) -> Done[A, R]:
    try:
        done: Done[A, R] = connection.recv()
    except (EOFError, OSError):
        done = Done(ended.thing, None, "", 0.0)
    connection.close()
    ended.process.join()
    if done.result is None and not done.failure:
        return Done(ended.thing, None, f"its process ended with status {ended.process.exitcode}", 0.0)
    return done
