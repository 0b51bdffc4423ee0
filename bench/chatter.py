"""A program that keeps a ring busy: it multicasts a message every few milliseconds until its daemon goes or it is killed."""

from __future__ import annotations

import contextlib
import sys
import time

import libcpg
from coroipc.errors import CorosyncError, TryAgain

SIZE = 1000
PAUSE_SECONDS = 0.003


def main() -> int:
    """Say ``ready`` once the group is joined; exit status 0 when the daemon has gone."""
    body = bytes(SIZE)
    try:
        with libcpg.Cpg() as cpg:
            cpg.join(b"bench-failover")
            print("ready", flush=True)
            while True:
                for _ in cpg.events(timeout=0):
                    pass
                with contextlib.suppress(TryAgain):
                    cpg.mcast(body)
                time.sleep(PAUSE_SECONDS)
    except CorosyncError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
