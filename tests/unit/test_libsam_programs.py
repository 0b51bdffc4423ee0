"""Supervised programs, with real forks: each test is a small program in a process of its own, and what it writes.

Programs wait in ``signal.pause`` or on a pipe; the supervisor's interval is the only clock.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap

DEADLINE = 60.0

PRELUDE = """
import os, signal, sys
from libsam import Policy, Sam, supervised

signal.signal(signal.SIGINT, signal.default_int_handler)  # A background job of a shell inherits that it is ignored.

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def hang():
    while True:
        signal.pause()

def notice(number, frame):
    say("signal", number)
"""


def run(program: str) -> tuple[list[str], int]:
    """What a program wrote, and its exit status. It is over when the last process with its output has ended."""
    started = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(program)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, _ = started.communicate(timeout=DEADLINE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)  # Supervisor, instances, and what these left behind.
        started.wait()
    return output.splitlines(), started.returncode


def test_a_hung_program_is_warned_then_killed_then_started_again_with_its_data() -> None:
    lines, status = run("""
        sam = Sam()
        sam.initialize(100, Policy.RESTART)
        say("instance", sam.register(), sam.data_restore())
        if sam.data_restore() is None:
            signal.signal(signal.SIGTERM, notice)
            sam.data_store(b"before")
            sam.data_store(b"kept")
            sam.start()
            hang()
        sam.start()
        sam.stop()
        sys.exit(7)
    """)
    assert lines == ["instance 1 None", f"signal {signal.SIGTERM:d}", "instance 2 b'kept'"]
    assert status == 7


def test_a_heartbeat_from_a_handler_that_interrupts_stop_does_no_harm() -> None:
    lines, status = run("""
        sam = Sam()
        sam.initialize(10000, Policy.QUIT)
        sam.register()
        signal.signal(signal.SIGUSR1, lambda *_: sam.hc_send())
        reply = sam._program._reply

        def interrupted():
            signal.raise_signal(signal.SIGUSR1)
            return reply()

        sam.start()
        sam._program._reply = interrupted
        sam.stop()
        sam._program._reply = reply
        sam.data_store(b"the supervisor has heard all of it")
        say("well")
    """)
    assert (lines, status) == (["well"], 0)


def test_the_warning_signal_can_be_chosen_before_and_after_registration() -> None:
    lines, _ = run("""
        sam = Sam()
        sam.initialize(100, Policy.RESTART)
        sam.warn_signal_set(signal.SIGUSR1)
        instance = sam.register()
        signal.signal(signal.SIGUSR1, notice)
        signal.signal(signal.SIGUSR2, notice)
        if instance == 2:
            sam.warn_signal_set(signal.SIGUSR2)
        if instance <= 3:  # The third was told nothing: it inherits.
            sam.start()
            hang()
    """)
    assert lines == [f"signal {number:d}" for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR2)]


def test_a_program_that_stops_at_the_warning_ends_as_it_likes() -> None:
    lines, status = run("""
        def leave(number, frame):
            sam.stop()
            sys.exit(3)

        sam = Sam()
        sam.initialize(100, Policy.RESTART)
        say("instance", sam.register())
        signal.signal(signal.SIGTERM, leave)
        sam.start()
        hang()
    """)
    assert (lines, status) == (["instance 1"], 3)


def test_a_program_that_ends_while_it_is_checked_has_failed_and_starts_again() -> None:
    lines, status = run("""
        sam = Sam()
        sam.initialize(0, Policy.RESTART)
        instance = sam.register()
        say("instance", instance)
        sam.start()
        if instance == 1:
            os._exit(5)
        if instance == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        sam.finalize()
        os._exit(6)
    """)
    assert (lines, status) == (["instance 1", "instance 2", "instance 3"], 6)


def test_with_the_policy_quit_the_status_of_the_failed_program_is_passed_on() -> None:
    program = """
        sam = Sam()
        sam.initialize(0, Policy.QUIT)
        say("instance", sam.register())
        sam.start()
    """
    assert run(program + "    os._exit(5)") == (["instance 1"], 5)
    assert run(program + "    os.kill(os.getpid(), signal.SIGABRT)") == (["instance 1"], 128 + signal.SIGABRT)


def test_a_program_that_was_never_started_just_ends() -> None:
    lines, status = run("""
        sam = Sam()
        sam.initialize(100, Policy.RESTART)
        say("instance", sam.register())
        sys.exit(4)
    """)
    assert (lines, status) == (["instance 1"], 4)


def test_processes_that_the_program_leaves_behind_do_not_hide_its_end() -> None:
    lines, status = run("""
        sam = Sam()
        sam.initialize(0, Policy.RESTART)
        instance = sam.register()
        say("instance", instance)
        sam.start()
        if instance == 1:
            left_behind = os.fork()
            if left_behind == 0:
                hang()  # And has the pipes open.
            sam.data_store(str(left_behind).encode())
            os._exit(1)
        os.kill(int(sam.data_restore()), signal.SIGKILL)
        sam.finalize()
    """)
    assert (lines, status) == (["instance 1", "instance 2"], 0)


def test_the_program_s_own_end_of_its_pipes_does_not_look_like_its_death() -> None:
    lines, status = run("""
        sam = Sam()
        sam.initialize(100, Policy.RESTART)
        instance = sam.register()
        say("instance", instance)
        signal.signal(signal.SIGTERM, notice)
        sam.start()
        if instance == 1:
            os.closerange(3, 64)  # As one who becomes a daemon does it.
            hang()
        sam.finalize()
    """)
    assert lines == ["instance 1", f"signal {signal.SIGTERM:d}", "instance 2"]
    assert status == 0


def test_a_program_that_talks_nonsense_is_killed() -> None:
    lines, status = run("""
        sam = Sam()
        sam.initialize(0, Policy.RESTART)
        instance = sam.register()
        say("instance", instance)
        sam.start()
        if instance == 1:
            os.write(sam._program._commands, b"\\xff")
            hang()
        sam.finalize()
    """)
    assert (lines, status) == (["instance 1", "instance 2"], 0)


def test_a_callback_that_says_no_is_followed_by_warning_and_kill() -> None:
    lines, status = run("""
        def check():
            say("asked")
            return instance > 1

        sam = Sam()
        sam.initialize(400, Policy.RESTART)
        instance = sam.register()
        signal.signal(signal.SIGTERM, notice)
        sam.hc_callback_register(check)
        sam.start()
        if instance == 1:
            hang()
        sam.finalize()
    """)
    assert (sorted(lines), status) == (["asked", f"signal {signal.SIGTERM:d}"], 0)


def test_what_is_buffered_at_the_fork_is_written_once_and_the_program_s_exit_handlers_run_once() -> None:
    lines, status = run("""
        import atexit
        atexit.register(say, "exit handler")
        print("buffered")
        try:
            with supervised(0, Policy.RESTART) as sam:
                pass
        finally:
            say("finally")
    """)
    assert (lines, status) == (["buffered", "finally", "exit handler"], 0)


def test_an_exception_that_leaves_the_block_and_ends_the_program_is_a_failure() -> None:
    lines, status = run("""
        sys.stderr = open(os.devnull, "w")

        @supervised(0, Policy.RESTART)
        def main(sam):
            tries = sam.data_getsize()
            say("try", tries)
            sam.data_store(b"x" * (tries + 1))
            if tries < 2:
                raise RuntimeError("again")
            return 9

        sys.exit(main())
    """)
    assert (lines, status) == (["try 0", "try 1", "try 2"], 9)


def test_an_interrupted_supervisor_dies_of_it_and_never_runs_the_program() -> None:
    lines, status = run("""
        import select
        from coroipc.errors import LibraryError

        sam = Sam()
        sam.initialize(0, Policy.RESTART)
        try:
            sam.register()
        except KeyboardInterrupt:
            say("the supervisor runs the program")
        sam.start()
        supervisor = os.pidfd_open(os.getppid())
        os.kill(os.getppid(), signal.SIGINT)
        select.select([supervisor], [], [])
        try:
            sam.hc_send()
        except LibraryError:
            say("alone")
    """)
    assert (lines, status) == (["alone"], -signal.SIGINT)


def test_a_program_that_cannot_be_watched_does_not_run() -> None:
    lines, status = run("""
        from coroipc.errors import LibraryError

        def too_many(pid):
            raise OSError(24, "too many open files")

        os.pidfd_open = too_many
        sam = Sam()
        sam.initialize(0, Policy.RESTART)
        try:
            say("instance", sam.register())
        except LibraryError:
            say("refused", sam.state.name)
    """)
    assert (lines, status) == (["refused INITIALIZED"], 0)


def test_the_program_gets_its_signals_as_before_the_fork() -> None:
    lines, _ = run("""
        sam = Sam()
        sam.initialize(0, Policy.RESTART)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        instance = sam.register()
        say("blocked", *map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))
        sam.start()
        if instance == 1:
            os._exit(1)
        sam.finalize()
    """)
    assert lines == [f"blocked {signal.SIGUSR1:d}"] * 2


FAKE_MAP = """
import libsam.api

class Map:
    def __init__(self, **unused):
        self.null = open(os.devnull)

    def fileno(self):
        return self.null.fileno()

    def set(self, key, value, kind):
        say("set", *key.rsplit(".", 1)[1:], value) if key.endswith("state") else None
        assert key.split(".")[2] == str(os.getpid()), "only the supervisor writes"

    def delete(self, key):
        say("delete", key.rsplit(".", 1)[1])

    def close(self):
        pass

libsam.api.Cmap = Map
"""


def test_a_program_that_cannot_be_forked_leaves_nothing_in_the_map() -> None:
    lines, _ = run(
        FAKE_MAP
        + textwrap.dedent("""
        from coroipc.errors import LibraryError

        def no_more():
            raise OSError(11, "no more processes")

        os.fork = no_more
        sam = Sam()
        sam.initialize(0, Policy.RESTART | Policy.CMAP)
        try:
            sam.register()
        except LibraryError:
            say("refused")
    """)
    )
    deleted = [f"delete {name}" for name in ("recovery", "poll_period", "last_updated", "state")]
    assert lines == ["set state stopped", *deleted, "refused"]


def test_a_program_marked_failed_is_killed_without_warning_and_stays_in_the_map() -> None:
    lines, status = run(
        FAKE_MAP
        + textwrap.dedent("""
        sam = Sam()
        sam.initialize(0, Policy.RESTART | Policy.CMAP)
        say("instance", sam.register())
        signal.signal(signal.SIGTERM, notice)
        sam.start()
        sam.mark_failed()
        hang()
    """)
    )
    assert lines == ["set state stopped", "instance 1", "set state running", "set state failed"]
    assert status == 128 + signal.SIGKILL


def test_the_map_follows_a_program_from_start_to_stop_and_forgets_it_at_its_end() -> None:
    lines, status = run(
        FAKE_MAP
        + textwrap.dedent("""
        sam = Sam()
        sam.initialize(0, Policy.RESTART | Policy.CMAP)
        instance = sam.register()
        say("instance", instance)
        sam.start()
        if instance == 1:
            os._exit(1)
        sam.stop()
    """)
    )
    second = ["set state stopped", "instance 2", "set state running", "set state stopped"]
    deleted = [f"delete {name}" for name in ("recovery", "poll_period", "last_updated", "state")]
    assert lines == ["set state stopped", "instance 1", "set state running", *second, *deleted]
    assert status == 0


def test_every_heartbeat_reaches_the_supervisor() -> None:
    lines, status = run(
        FAKE_MAP
        + textwrap.dedent("""
        Map.set = lambda self, key, value, kind: say("set", key.rsplit(".", 1)[1])
        with supervised(0, Policy.QUIT | Policy.CMAP) as sam:
            for _ in range(5):
                sam.hc_send()
    """)
    )
    start, heartbeats, stop = 1, 5, 1
    assert lines.count("set last_updated") == 1 + start + heartbeats + stop
    assert status == 0
