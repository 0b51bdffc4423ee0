"""Whether the process at the other end, or the one that left files behind, still runs."""

from __future__ import annotations

import os
import select


def is_dead(pid: int) -> bool:
    """Whether no process with that pid runs: there is none, or one that has ended and that nobody has reaped.

    The number may come from a file's name, which anybody could have chosen.
    PID 1 of many containers never reaps what it inherits, and a killed executive's engines are inherited by it.
    """
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # A kernel or a sandbox without process descriptors: better alive than swept.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    ended = bool(poll.poll(0))  # Of all its threads: pidfd_open(2).
    os.close(descriptor)
    return ended
