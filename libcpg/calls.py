"""The cpg library's calls of one request each.

Source: cpg_overview(8) and its pages, reference client-api sections 3.1, 3.3 and 3.6.
"""

from __future__ import annotations

from typing import Any, Final

from coroipc.errors import InvalidParameter, NameTooLong
from coroipc.library import Call, call, nothing
from libcpg import messages
from libcpg.messages import Address, Iteration, IterationNextResponse, Request

Group = str | bytes
"""A group's name: bytes, or text that is taken as UTF-8."""


def group_name(group: Group) -> bytes:
    """The bytes of a group's name. Raises NameTooLong past 128."""
    name = group.encode() if isinstance(group, str) else bytes(group)
    if len(name) > messages.GROUP_NAME_LIMIT:
        raise NameTooLong(f"cpg group name of {len(name)} bytes, at most {messages.GROUP_NAME_LIMIT}")
    return name


def _members(response: bytes) -> tuple[Address, ...]:
    return messages.MembershipResponse.decode(response).members


def _nodeid(response: bytes) -> int:
    return messages.LocalResponse.decode(response).nodeid


def _handle(response: bytes) -> int:
    return messages.IterationResponse.decode(response).handle


@call(Request.MEMBERSHIP_GET, "cpg_membership_get", _members)
def membership(group: Group) -> bytes:
    """The processes of a group, joined here or not, by nodeid and pid; at most 384.

    C: cpg_membership_get. Raises NameTooLong, LibraryError.
    """
    return messages.MembershipRequest(group_name(group)).encode()


@call(Request.LOCAL_GET, "cpg_local_get", _nodeid)
def local_nodeid() -> bytes:
    """The node id of the daemon connected to.

    C: cpg_local_get. Raises LibraryError.
    """
    return messages.LOCAL_REQUEST.pack()


@call(Request.ITERATION_INITIALIZE, "cpg_iteration_initialize", _handle)
def iteration_initialize(kind: int, group: Group = b"") -> bytes:
    """Open a snapshot of all groups; ``group`` is given exactly for Iteration.ONE_GROUP. Returns its handle.

    C: cpg_iteration_initialize. Raises InvalidParameter, NameTooLong, LibraryError.
    """
    if bool(group) != (kind == Iteration.ONE_GROUP):
        raise InvalidParameter("cpg iteration: a group is given for ONE_GROUP and for no other kind")
    return messages.IterationRequest(group_name(group), kind).encode()


@call(Request.ITERATION_NEXT, "cpg_iteration_next", IterationNextResponse.decode)
def iteration_next(handle: int) -> bytes:
    """The next process, or group, of a snapshot; asking again after the end starts over.

    C: cpg_iteration_next. Raises NoSections at the end, LibraryError for an unknown handle.
    """
    return messages.ITERATION_NEXT_REQUEST.pack(handle)


@call(Request.ITERATION_FINALIZE, "cpg_iteration_finalize", nothing)
def iteration_finalize(handle: int) -> bytes:
    """Free a snapshot.

    C: cpg_iteration_finalize. Raises LibraryError for an unknown handle.
    """
    return messages.ITERATION_FINALIZE_REQUEST.pack(handle)


CALLS: Final[tuple[Call[Any, Any], ...]] = (
    membership,
    local_nodeid,
    iteration_initialize,
    iteration_next,
    iteration_finalize,
)
