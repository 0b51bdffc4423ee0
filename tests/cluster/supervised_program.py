"""A supervised program with quorum and the map: it writes a line for what happens to it, and does what its input says.

``python -m tests.cluster.supervised_program INTERVAL_MS POLICY [DAEMON]``. Lines: ``instance NUMBER SUPERVISOR DATA``,
``started``, ``warned``, ``stopped``. Input, for whichever instance lives: ``hang``, ``store TEXT``, ``stop``, ``start``,
``fail``, ``exit STATUS``; heartbeats come from a callback until ``hang``. All instances share the input, and read it by lines.
"""

from __future__ import annotations

import os
import signal
import sys

from libsam import Policy, Sam


def say(*words: object) -> None:
    """A line in one write: a handler of a signal may interrupt anything but that."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def command() -> list[str]:
    """The next line of the input; the end of it ends the program."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)  # No more than the line: what follows may be for the next instance.
        if not byte:
            return ["exit", "0"]
        line += byte
    return line.decode().split()


def main(interval_ms: str, policy: str, daemon: str | None = None) -> None:
    """Run as the module says."""
    sam = Sam(instance=daemon)
    sam.initialize(int(interval_ms), Policy(int(policy)))
    well = [True]
    number = sam.register()
    say("instance", number, os.getppid(), (sam.data_restore() or b"nothing").decode())
    signal.signal(signal.SIGTERM, lambda *_: say("warned"))
    sam.hc_callback_register(lambda: well[0])
    sam.start()
    say("started")
    while True:
        match command():
            case ["hang"]:
                well[0] = False
            case ["store", text]:
                sam.data_store(text.encode())
            case ["stop"]:
                sam.stop()
                say("stopped")
            case ["start"]:
                sam.start()
                say("started")
            case ["fail"]:
                sam.mark_failed()
            case ["exit", status]:
                sys.exit(int(status))
            case unknown:
                raise SystemExit(f"unknown command {unknown}")


if __name__ == "__main__":
    main(*sys.argv[1:])
