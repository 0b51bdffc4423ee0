"""The quorum library's calls.

Source: quorum_overview(3) and its pages, reference client-api section 4.
"""

from __future__ import annotations

from typing import Any, Final

from coroipc.library import Call, call, nothing
from libquorum import messages
from libquorum.messages import Request, Track


def _quorate(response: bytes) -> bool:
    return messages.GetquorateResponse.decode(response).quorate


def _provider(response: bytes) -> int:
    return messages.GettypeResponse.decode(response).provider


@call(Request.GETQUORATE, "quorum_getquorate", _quorate)
def getquorate() -> bytes:
    """Whether this node's part of the cluster is quorate; always true without a quorum provider.

    C: quorum_getquorate. Raises LibraryError.
    """
    return messages.GETQUORATE_REQUEST.pack()


@call(Request.TRACKSTART, "quorum_trackstart", nothing)
def trackstart(flags: int = Track.CHANGES) -> bytes:
    """Be told of quorum and membership. ``flags`` are Track bits.

    CURRENT and CHANGES send the present state at once, CHANGES and CHANGES_ONLY go on telling. C: quorum_trackstart.
    Raises Exist (tracking already; the present state comes all the same), LibraryError.
    """
    return messages.TrackstartRequest(flags).encode()


@call(Request.TRACKSTOP, "quorum_trackstop", nothing)
def trackstop() -> bytes:
    """No more events; also without an earlier trackstart.

    C: quorum_trackstop. Raises LibraryError.
    """
    return messages.TRACKSTOP_REQUEST.pack()


@call(Request.GETTYPE, "quorum_initialize", _provider)
def gettype() -> bytes:
    """Whether a quorum provider decides (a Provider).

    C: part of quorum_initialize. Raises LibraryError.
    """
    return messages.GETTYPE_REQUEST.pack()


@call(Request.MODEL_GETTYPE, "quorum_model_initialize", _provider)
def model_gettype(model: int) -> bytes:
    """Whether a quorum provider decides (a Provider); the connection gets events of that model from now on.

    C: part of quorum_model_initialize. Raises InvalidParameter (unknown model), LibraryError.
    """
    return messages.ModelGettypeRequest(model).encode()


CALLS: Final[tuple[Call[Any, Any], ...]] = (getquorate, trackstart, trackstop, gettype, model_gettype)
