"""``python -m corosyncd.daemon``: the daemon's command."""

import sys

from corosyncd.daemon.main import main

sys.exit(main())
