"""Client library for the cfg service: state of links and nodes, reload, shutdown.

with Cfg() as cfg:
    print(cfg.local_nodeid(), cfg.node_addresses())
    for interface in cfg.ring_status():
        print(interface.name, interface.status)
"""

from libcfg.api import AsyncCfg, Cfg
from libcfg.messages import Interface, LinkStatus, NodeStatus, ShutdownFlag, ShutdownRequested

__all__ = [
    "AsyncCfg",
    "Cfg",
    "Interface",
    "LinkStatus",
    "NodeStatus",
    "ShutdownFlag",
    "ShutdownRequested",
]
