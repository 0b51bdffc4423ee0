"""What an engine's process is started with, as it travels from the executive through the fork server."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from msgpack import packb, unpackb


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Everything but the descriptors: doorbell, log, and the listening socket if the engine serves programs."""

    engine: str
    """``module:Class`` of the engine."""
    node_id: int
    link: dict[str, Any]
    """The link's description (``LinkEnd.create``)."""
    kept: bytes | None = None
    """The state that a dead predecessor handed over."""
    socket_name: str = ""
    """Service name that the IPC files bear; empty: the engine's own."""
    serves_later: bool = False
    """A successor: programs that connect wait until its first round is complete, instead of being told to try again."""
    daemon_uid: int = 0
    """Programs of this user may connect."""
    refused_users: tuple[int, ...] = ()
    """Users whose program has killed an engine by cutting the files that they share; not root, and not the daemon's own."""
    client_queue_limit: int | None = None
    """Bytes of events that may wait for one program; None: the IPC server's own limit."""
    user_connection_limit: int | None = None
    """Connections of one user that is not root; None: the IPC server's own limit."""

    def pack(self) -> bytes:
        """The options as bytes."""
        packed: bytes = packb(asdict(self))
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> EngineOptions:
        """The options from what ``pack`` returned."""
        return cls(**unpackb(packed))
