"""The ring as the executive sees it; ``corosyncd.totem.ring.Ring`` is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from corosyncd.totem.events import Group, Queue


class RingPort(Protocol):
    """What the executive needs of ``corosyncd.totem.ring.Ring``."""

    token_delay: float

    def submit(self, group: Group, messages: Sequence[bytes], queue: Queue = ..., tag: int = ..., now: float = ...) -> None:
        """Queue messages for the ring."""

    def withdraw(self, tag: int) -> int:
        """Drop queued messages of a tag."""

    def queued_bytes(self, tag: int) -> int:
        """Bytes of a tag that wait in the NORMAL queue."""

    def synchronization_complete(self, now: float) -> None:
        """Back to the NORMAL queue."""

    def force_gather(self, now: float) -> None:
        """Form the ring anew with unchanged members."""

    def leave(self, now: float) -> None:
        """Say farewell."""
