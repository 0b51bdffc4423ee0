"""The cfg library's calls.

Source: corosync/cfg.h, reference client-api section 6.
"""

from __future__ import annotations

from typing import Any, Final

from coroipc.library import Call, call, nothing
from libcfg import messages
from libcfg.messages import Interface, NodeStatus, Request, ShutdownFlag


def _interfaces(response: bytes) -> tuple[Interface, ...]:
    return messages.RingStatusResponse.decode(response).interfaces


def _addresses(response: bytes) -> tuple[str, ...]:
    return messages.GetNodeAddrsResponse.decode(response).addresses


def _nodeid(response: bytes) -> int:
    return messages.LocalGetResponse.decode(response).nodeid


@call(Request.RING_STATUS_GET, "corosync_cfg_ring_status_get", _interfaces)
def ring_status() -> bytes:
    """This node's links, each with its number and address as name, and its state as text ("OK" for udp and udpu).

    C: corosync_cfg_ring_status_get. Raises TryAgain, LibraryError.
    """
    return messages.RING_STATUS_GET_REQUEST.pack()


@call(Request.RING_REENABLE, "corosync_cfg_ring_reenable", nothing)
def ring_reenable() -> bytes:
    """A call of the redundant rings of old; no daemon of today supports it.

    C: corosync_cfg_ring_reenable. Raises NotSupported, LibraryError.
    """
    return messages.RING_REENABLE_REQUEST.pack()


@call(Request.KILL_NODE, "corosync_cfg_kill_node", nothing)
def kill_node(nodeid: int, reason: str = "") -> bytes:
    """End the daemon of a member at once; the reason (at most 255 bytes) appears in its log.

    C: corosync_cfg_kill_node. Raises NotExist (no member), InvalidParameter (reason), TryAgain, LibraryError.
    """
    return messages.KillNodeRequest(nodeid, reason).encode()


@call(Request.TRY_SHUTDOWN, "corosync_cfg_try_shutdown", nothing)
def try_shutdown(flags: int = ShutdownFlag.REQUEST) -> bytes:
    """Stop this node's daemon; ``flags`` is a ShutdownFlag. Returns when the programs that track have agreed.

    C: corosync_cfg_try_shutdown. Raises Busy (somebody said no, or did not answer in time), Exist (a vote is under way),
    TryAgain, LibraryError.
    """
    return messages.TryShutdownRequest(flags).encode()


@call(Request.REPLYTO_SHUTDOWN, "corosync_cfg_replyto_shutdown", nothing)
def replyto_shutdown(agree: bool) -> bytes:
    """Answer a ShutdownRequested event.

    C: corosync_cfg_replyto_shutdown. Raises AccessDenied (no vote is under way), TryAgain, LibraryError.
    """
    return messages.ReplytoShutdownRequest(agree).encode()


@call(Request.GET_NODE_ADDRS, "corosync_cfg_get_node_addrs", _addresses)
def node_addresses(nodeid: int = 0) -> bytes:
    """The addresses of a node, one a link; 0 is the local node.

    C: corosync_cfg_get_node_addrs. Raises NotExist (unknown node), LibraryError.
    """
    return messages.GetNodeAddrsRequest(nodeid).encode()


@call(Request.LOCAL_GET, "corosync_cfg_local_get", _nodeid)
def local_nodeid() -> bytes:
    """The node id of the daemon connected to.

    C: corosync_cfg_local_get. Raises LibraryError.
    """
    return messages.LOCAL_GET_REQUEST.pack()


@call(Request.RELOAD_CONFIG, "corosync_cfg_reload_config", nothing)
def reload_configuration() -> bytes:
    """Make every node read its configuration file again; returns when this node has.

    C: corosync_cfg_reload_config. Raises InvalidParameter (this node's file is refused), TryAgain, LibraryError.
    """
    return messages.RELOAD_CONFIG_REQUEST.pack()


@call(Request.REOPEN_LOG_FILES, "corosync_cfg_reopen_log_files", nothing)
def reopen_log_files() -> bytes:
    """Make this node's daemon close its log files and open them again.

    C: corosync_cfg_reopen_log_files. Raises LibraryError.
    """
    return messages.REOPEN_LOG_FILES_REQUEST.pack()


@call(Request.NODE_STATUS_GET, "corosync_cfg_node_status_get", NodeStatus.decode)
def node_status(nodeid: int) -> bytes:
    """How this node sees another one: reachability, protocol versions and the links to it.

    C: corosync_cfg_node_status_get, version 1. Raises FailedOperation (unknown node), NotSupported, LibraryError.
    """
    return messages.NodeStatusRequest(nodeid).encode()


@call(Request.TRACKSTART, "corosync_cfg_trackstart", nothing)
def trackstart() -> bytes:
    """Have a say in shutdowns: ShutdownRequested events come, and wait for ``replyto_shutdown``.

    C: corosync_cfg_trackstart. Raises TryAgain, LibraryError.
    """
    return messages.TrackstartRequest().encode()


@call(Request.TRACKSTOP, "corosync_cfg_trackstop", nothing)
def trackstop() -> bytes:
    """Have no say in shutdowns any more; in one under way it counts as yes.

    C: corosync_cfg_trackstop. Raises TryAgain, LibraryError.
    """
    return messages.TRACKSTOP_REQUEST.pack()


CALLS: Final[tuple[Call[Any, Any], ...]] = (
    ring_status,
    ring_reenable,
    kill_node,
    try_shutdown,
    replyto_shutdown,
    node_addresses,
    local_nodeid,
    reload_configuration,
    reopen_log_files,
    node_status,
    trackstart,
    trackstop,
)
