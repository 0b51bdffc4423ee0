"""What the executive wants done outside: the driver carries these out, in order."""

from __future__ import annotations

from dataclasses import dataclass

from corosyncd.keyspace.values import Value


@dataclass(frozen=True, slots=True)
class SpawnEngine:
    """Start (or start again) an engine's process; ``kept`` is what a dead predecessor had handed over.

    ``serves_later``: this node has served programs already. Those that connect now wait for the successor's first round, which is
    near; a program that is told to try again may give up (Pacemaker does).
    """

    name: str
    kept: bytes | None
    serves_later: bool = False


@dataclass(frozen=True, slots=True)
class KillEngine:
    """End an engine's process at once: it made no progress, or broke the protocol of its link."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class StartRing:
    """Every engine is ready: the ring may start."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A synchronisation was completed: tell the init system (each time, as stock does)."""


@dataclass(frozen=True, slots=True)
class Exit:
    """End this process with a status; the ring was left already where that was possible."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReloadConfiguration:
    """Read the configuration file again in a helper and answer with ``Executive.configuration_read``."""

    token: int


@dataclass(frozen=True, slots=True)
class ReopenLogs:
    """Close and open the log files."""


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """A configuration was taken over, or a program has changed a key: log and run the ring by these settings from now on."""

    keys: tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class StoreExpectedVotes:
    """The highest expected votes ever seen have risen (expected_votes_tracking): keep them for the next start."""

    expected_votes: int


@dataclass(frozen=True, slots=True)
class Log:
    """One line for the log: subsystem and stock priority word."""

    subsystem: str
    level: str
    text: str


Action = (
    SpawnEngine
    | KillEngine
    | StartRing
    | Ready
    | Exit
    | ReloadConfiguration
    | ReopenLogs
    | SettingsChanged
    | StoreExpectedVotes
    | Log
)
