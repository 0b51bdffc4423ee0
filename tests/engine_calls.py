"""One call for each engine that its clients may connect to: how tests see whether an engine serves, and a connection lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coroipc.errors import TryAgain
from libcfg import Cfg
from libcmap import Cmap
from libcpg import Cpg
from libquorum import Quorum
from libvotequorum import Votequorum

RETURN_SECONDS = 2.0
"""From an engine's death until its successor serves."""
LIBRARIES: dict[str, tuple[Callable[..., Any], Callable[[Any], object]]] = {
    "cmap": (Cmap, lambda cmap: cmap.get("totem.cluster_name")),
    "cpg": (Cpg, lambda cpg: cpg.local_nodeid()),
    "votequorum": (Votequorum, lambda votequorum: votequorum.getinfo()),
    "quorum": (Quorum, lambda quorum: quorum.getquorate()),
    "cfg": (Cfg, lambda cfg: cfg.local_nodeid()),
}
"""Each engine's library, and a call that its engine answers by itself."""


def answered(connection: object, call: Callable[[Any], object]) -> bool:
    """A call on a connection that must have lived on: TryAgain is allowed (False), an error is not."""
    try:
        call(connection)
    except TryAgain:
        return False
    return True
