"""The daemon's command: options, the configuration, the background, and an exit status that says what failed."""

from __future__ import annotations

import os
import sys

from corosyncd.config import helper
from corosyncd.daemon import options as command_line
from corosyncd.daemon.boot import Boot, StartError, start_failed
from corosyncd.daemon.number_store import StoreError
from corosyncd.daemon.pid_lock import LockError
from corosyncd.transport.udpu import BindError


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon; returns its exit status."""
    options = command_line.parse(sys.argv[1:] if arguments is None else arguments)
    if options.version:
        sys.stdout.write(command_line.version_text())
        return 0
    outcome = helper.run(str(options.file), options.strict)
    for warning in outcome.warnings:
        print(f"{warning} (warning)", file=sys.stderr)
    if outcome.errors:
        for problem in outcome.errors:
            print(problem, file=sys.stderr)
        return outcome.exit_status
    if options.test:
        print("Corosync Cluster Engine exiting normally: the configuration is good", file=sys.stderr)
        return 0
    if not options.foreground:
        become_daemon()
    try:
        return Boot(outcome, options.file, options.strict, options.lock_file).run()
    except (StartError, LockError, StoreError, BindError) as error:
        message, status = start_failed(error)
        print(f"corosyncd: {message}", file=sys.stderr)
        return status


def become_daemon() -> None:
    """Go on in the background, in a session of its own; the caller's process ends with status 0."""
    if os.fork() > 0:
        os._exit(0)
    os.setsid()
    if os.fork() > 0:
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if null > 2:
        os.close(null)


if __name__ == "__main__":
    sys.exit(main())
