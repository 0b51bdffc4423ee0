"""What a program asks of its supervisor: the recovery policy, and the settings that each instance inherits.

Source: sam_initialize(3), sam_overview(3), reference client-api section 7.1.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from coroipc.errors import InvalidParameter, TooBig

INTERVAL_LIMIT_MS: Final = (1 << 31) - 1
"""Longest health-check interval: C's int."""
DATA_LIMIT: Final = 1 << 26
"""Bytes that ``data_store`` keeps at most: the supervisor holds them, and each instance inherits them."""
LAST_INSTANCE: Final = (1 << 31) - 1
"""After this instance comes number 0."""


class Policy(IntFlag):
    """sam_recovery_policy_t: QUIT or RESTART, with QUORUM, CMAP or both."""

    QUIT = 1
    """A failed program is not started again; its supervisor ends too."""
    RESTART = 2
    """A failed program is started again."""
    QUORUM = 0x08
    """``start`` waits for quorum, and the loss of quorum is a failure."""
    QUORUM_QUIT = QUORUM | QUIT
    QUORUM_RESTART = QUORUM | RESTART
    CMAP = 0x10
    """The configuration map shows the program's state."""
    CONFDB = CMAP


@dataclass(slots=True)
class Settings:
    """What supervisor and instances agree on; the supervisor's copy is what the next instance inherits."""

    interval_ms: int
    """Longest silence of a program whose health is checked; 0: silence is allowed."""
    policy: Policy
    warn_signal: int = signal.SIGTERM
    data: bytes | None = None
    """What the program wants to find again after a restart."""
    instance: int = 0
    """How many instances there were, the present one included."""

    @property
    def interval(self) -> float:
        """Seconds."""
        return self.interval_ms / 1000.0


def checked_settings(interval_ms: int, policy: int) -> Settings:
    """Settings of a new program. Raises InvalidParameter."""
    if not 0 <= interval_ms <= INTERVAL_LIMIT_MS:
        raise InvalidParameter(f"sam_initialize: an interval of {interval_ms} ms")
    # As a plain number: a flag's complement would drop the bits that no flag has.
    if int(policy) & ~int(Policy.QUORUM | Policy.CMAP) not in (Policy.QUIT, Policy.RESTART):
        raise InvalidParameter(f"sam_initialize: recovery policy {policy:#x} is neither QUIT nor RESTART")
    return Settings(interval_ms, Policy(policy))


def checked_signal(number: int) -> int:
    """A signal's number. Raises InvalidParameter where there is none like that."""
    if number not in signal.valid_signals():
        raise InvalidParameter(f"sam_warn_signal_set: signal {number}")
    return int(number)


def checked_data(data: bytes | bytearray | memoryview | None) -> bytes | None:
    """A copy of the program's data; None where there is none. Raises TooBig past DATA_LIMIT."""
    if data is None:
        return None
    size = memoryview(data).nbytes
    if size > DATA_LIMIT:
        raise TooBig(f"sam_data_store: {size} bytes, at most {DATA_LIMIT}")
    return bytes(data)
