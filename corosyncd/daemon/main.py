"""The daemon's command: options, the configuration, the background, and an exit status that says what failed."""

from __future__ import annotations

import sys

from corosyncd.config import helper
from corosyncd.daemon import options as command_line
from corosyncd.daemon.background import become_daemon
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
    caller = None if options.foreground else become_daemon()
    try:
        return Boot(outcome, options.file, options.strict, options.lock_file).run(caller)
    except (StartError, LockError, StoreError, BindError) as error:
        message, status = start_failed(error)
        if caller is None:
            print(f"corosyncd: {message}", file=sys.stderr)
        else:
            caller.tell(status, f"corosyncd: {message}")
        return status


if __name__ == "__main__":
    sys.exit(main())
