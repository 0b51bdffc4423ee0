"""The three kinds of semaphore behave alike."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

import coroipc.semaphores
from coroipc.semaphores import NamedSemaphore, ProcessSharedSemaphore, Semaphore, SemaphoreOverflow, SystemVSemaphore


@pytest.fixture(params=["sem_t", "named", "system v"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Semaphore, Semaphore]]:
    """The creator's object and the peer's."""
    if request.param == "sem_t":
        memory = (ctypes.c_char * 64)()
        yield ProcessSharedSemaphore(memory, 16, initialise=True), ProcessSharedSemaphore(memory, 16)
        return
    created: NamedSemaphore | SystemVSemaphore
    opened: Semaphore
    if request.param == "named":
        name = f"/coroipc-test-{os.getpid()}"
        created = NamedSemaphore(name, create=True)
        opened = NamedSemaphore(name, create=False)
    else:
        created = SystemVSemaphore(None)
        opened = SystemVSemaphore(created.key)
    try:
        yield created, opened
    finally:
        created.unlink()
        created.close()
        opened.close()


def test_tokens_posted_on_one_side_are_taken_on_the_other(pair: tuple[Semaphore, Semaphore]) -> None:
    ours, theirs = pair
    assert not theirs.try_wait()
    ours.post(5)
    ours.post(0)
    assert theirs.value() == 5
    assert theirs.try_wait()
    assert theirs.take(3) == 3
    assert theirs.take(3) == 1
    assert theirs.take(3) == 0


def test_a_wait_ends_with_its_time_or_with_a_token(pair: tuple[Semaphore, Semaphore]) -> None:
    ours, theirs = pair
    assert not theirs.wait(0.0)
    assert not theirs.wait(0.001)
    waiter_is_done = threading.Event()

    def wait() -> None:
        if theirs.wait(None):
            waiter_is_done.set()

    thread = threading.Thread(target=wait)
    thread.start()
    ours.post()
    thread.join(30.0)
    assert waiter_is_done.is_set()


def test_a_signal_handler_runs_while_a_wait_goes_on() -> None:
    memory = (ctypes.c_char * 32)()
    semaphore = ProcessSharedSemaphore(memory, 0, initialise=True)
    previous = signal.signal(signal.SIGUSR1, lambda *unused: semaphore.post())
    timer = threading.Timer(0.01, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1))
    try:
        timer.start()
        assert semaphore.wait(30.0)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, previous)


def test_what_a_handler_raises_behind_a_wait_that_has_succeeded_puts_the_token_back(monkeypatch: pytest.MonkeyPatch) -> None:
    semaphore = ProcessSharedSemaphore((ctypes.c_char * 64)(), 0, initialise=True)
    timed_wait = coroipc.semaphores._sem_timedwait

    def struck(*arguments: object) -> int:
        timed_wait(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(coroipc.semaphores, "_sem_timedwait", struck)
    monkeypatch.setattr(ProcessSharedSemaphore, "try_wait", lambda semaphore: False)
    semaphore.post()
    with pytest.raises(KeyboardInterrupt):
        semaphore.wait(30.0)
    assert (semaphore.value(), semaphore.asleep) == (1, True)
    assert semaphore.take(1)
    with pytest.raises(KeyboardInterrupt):
        semaphore.wait(0.01)
    assert (semaphore.value(), semaphore.asleep) == (0, True)


def test_the_kinds_say_when_they_are_full() -> None:
    memory = (ctypes.c_char * 32)()
    semaphore = ProcessSharedSemaphore(memory, 0, initialise=True)
    struct.pack_into("=I", memory, 0, 0x7FFFFFFF)
    with pytest.raises(SemaphoreOverflow):
        semaphore.post()
    limited = SystemVSemaphore(None)
    try:
        with pytest.raises(SemaphoreOverflow):
            limited.post(40000)
        limited.post(32767)
        with pytest.raises(SemaphoreOverflow):
            limited.post()
    finally:
        limited.unlink()


def test_names_and_keys_that_are_not_there_are_named() -> None:
    with pytest.raises(FileNotFoundError, match="coroipc-nothing"):
        NamedSemaphore("/coroipc-nothing", create=False)
    name = f"/coroipc-twice-{os.getpid()}"
    first = NamedSemaphore(name, create=True)
    try:
        with pytest.raises(FileExistsError):
            NamedSemaphore(name, create=True)
    finally:
        first.unlink()
        first.close()
    gone = SystemVSemaphore(None)
    gone.unlink()
    with pytest.raises(FileNotFoundError):
        SystemVSemaphore(gone.key)


def test_a_semaphore_must_lie_inside_its_memory() -> None:
    memory = (ctypes.c_char * 40)()
    for offset in (-1, 9, 40):
        with pytest.raises(ValueError, match="does not fit"):
            ProcessSharedSemaphore(memory, offset)


def test_waiting_uses_the_wall_clock_as_c_peers_do() -> None:
    memory = (ctypes.c_char * 32)()
    semaphore = ProcessSharedSemaphore(memory, 0, initialise=True)
    before = time.time()
    assert not semaphore.wait(0.05)
    assert time.time() - before >= 0.05


def test_clients_need_neither_posix_ipc_nor_sysv_ipc() -> None:
    code = "import sys, coroipc.caller; sys.exit(any(name in sys.modules for name in ('posix_ipc', 'sysv_ipc')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_system_v_semaphore_that_one_side_removed_counts_nothing_on_the_other() -> None:
    ours = SystemVSemaphore(None)
    theirs = SystemVSemaphore(ours.key)
    ours.post(2)
    ours.unlink()
    theirs.post()
    assert theirs.value() == 0
    assert not theirs.try_wait()
    assert theirs.take(1) == 0


def test_processes_that_start_at_the_same_time_choose_different_system_v_keys() -> None:
    code = """
from coroipc.semaphores import SystemVSemaphore
made = [SystemVSemaphore(None) for _ in range(5)]
print(*(semaphore.key for semaphore in made))
for semaphore in made:
    semaphore.unlink()
"""
    # The keys of sysv_ipc itself follow from the second in which it is imported.
    children = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    keys = [key for child in children for key in child.communicate(timeout=60)[0].split()]
    assert len(set(keys)) == len(keys) == 15
