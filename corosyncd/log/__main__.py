"""``python -m corosyncd.log DESCRIPTOR``: the log process, given its end of the socket as an inherited descriptor."""

from __future__ import annotations

import sys

from setproctitle import setproctitle

from corosyncd.log.sink import main

if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit("usage: python -m corosyncd.log DESCRIPTOR (the daemon starts this process itself)")
    setproctitle("corosyncd: log")
    main(int(sys.argv[1]))
