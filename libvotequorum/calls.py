"""The votequorum library's calls.

Source: votequorum_overview(3) and its pages, reference client-api section 5.
"""

from __future__ import annotations

from typing import Any, Final

from coroipc.library import Call, call, nothing
from libvotequorum import messages
from libvotequorum.messages import Info, Request, Track


@call(Request.GETINFO, "votequorum_getinfo", Info.decode)
def getinfo(nodeid: int = 0) -> bytes:
    """A node's votes, and the quorum they make; 0 is the local node.

    C: votequorum_getinfo. Raises NotExist (unknown node), LibraryError.
    """
    return messages.GetinfoRequest(nodeid).encode()


@call(Request.SETEXPECTED, "votequorum_setexpected", nothing)
def setexpected(expected_votes: int) -> bytes:
    """Change the expected votes of the whole cluster.

    C: votequorum_setexpected. Raises InvalidParameter (fewer than the votes present, or quorum would be lost),
    NoResources, LibraryError.
    """
    return messages.SetexpectedRequest(expected_votes).encode()


@call(Request.SETVOTES, "votequorum_setvotes", nothing)
def setvotes(votes: int, nodeid: int = 0) -> bytes:
    """Change the votes of a node; 0 is the local node.

    C: votequorum_setvotes. Raises NameNotFound (unknown node), InvalidParameter (no possible quorum), NoResources,
    LibraryError.
    """
    return messages.SetvotesRequest(votes, nodeid).encode()


@call(Request.TRACKSTART, "votequorum_trackstart", nothing)
def trackstart(context: int = 0, flags: int = Track.CHANGES) -> bytes:
    """Be told of votes and membership; ``context`` (64 bits) is echoed in each event, ``flags`` are Track bits.

    CURRENT and CHANGES send the present state at once, CHANGES and CHANGES_ONLY go on telling. C: votequorum_trackstart.
    Raises Exist (tracking already; the present state comes all the same), LibraryError.
    """
    return messages.TrackstartRequest(context, flags).encode()


@call(Request.TRACKSTOP, "votequorum_trackstop", nothing)
def trackstop() -> bytes:
    """No more events.

    C: votequorum_trackstop. Raises NotExist (not tracking), LibraryError.
    """
    return messages.TRACKSTOP_REQUEST.pack()


@call(Request.QDEVICE_REGISTER, "votequorum_qdevice_register", nothing)
def qdevice_register(name: str) -> bytes:
    """Register a quorum device; answered once all nodes know.

    C: votequorum_qdevice_register. Raises InvalidParameter (name), AccessDenied (not in this configuration), Exist
    (another device is registered), TryAgain (a registration is under way), LibraryError.
    """
    return messages.QdeviceNameRequest(name).encode(messages.QDEVICE_REGISTER_REQUEST)


@call(Request.QDEVICE_UNREGISTER, "votequorum_qdevice_unregister", nothing)
def qdevice_unregister(name: str) -> bytes:
    """End a quorum device's registration.

    C: votequorum_qdevice_unregister. Raises NotExist (none registered), InvalidParameter (another name), LibraryError.
    """
    return messages.QdeviceNameRequest(name).encode(messages.QDEVICE_UNREGISTER_REQUEST)


@call(Request.QDEVICE_UPDATE, "votequorum_qdevice_update", nothing)
def qdevice_update(old_name: str, new_name: str) -> bytes:
    """Rename a quorum device.

    C: votequorum_qdevice_update. Raises NotExist (none registered), InvalidParameter (another name), LibraryError.
    """
    return messages.QdeviceUpdateRequest(old_name, new_name).encode()


@call(Request.QDEVICE_POLL, "votequorum_qdevice_poll", nothing)
def qdevice_poll(name: str, cast_vote: bool, ring_nodeid: int, ring_sequence: int) -> bytes:
    """Say that the device is alive and whether it votes, for the ring that the last NodeListNotification named.

    C: votequorum_qdevice_poll. Raises NotExist (none registered), InvalidParameter (another name), MessageError (another
    ring), AccessDenied (not in this configuration), LibraryError.
    """
    return messages.QdevicePollRequest(name, cast_vote, ring_nodeid, ring_sequence).encode()


@call(Request.QDEVICE_MASTER_WINS, "votequorum_qdevice_master_wins", nothing)
def qdevice_master_wins(name: str, allow: bool) -> bytes:
    """Let the device's side win alone, or no longer.

    C: votequorum_qdevice_master_wins. Raises NotExist (none registered), InvalidParameter (another name), AccessDenied
    (not in this configuration), LibraryError.
    """
    return messages.QdeviceMasterWinsRequest(name, allow).encode()


CALLS: Final[tuple[Call[Any, Any], ...]] = (
    getinfo,
    setexpected,
    setvotes,
    trackstart,
    trackstop,
    qdevice_register,
    qdevice_unregister,
    qdevice_update,
    qdevice_poll,
    qdevice_master_wins,
)
