"""What is logged where: the ``logging`` keys of the map as one value that travels between processes.

Source: corosync.conf(5) "logging", reference config sections 7 and 18.3.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from corosyncd.keyspace.values import Value
from corosyncd.log.levels import BY_WORD, FACILITIES, Priority

PREFIX = "logging."
SUBSYSTEM_PREFIX = "logger_subsys."
MAXIMUM_SUBSYSTEMS = 32
"""With settings of their own; as in stock."""


@dataclass(frozen=True, slots=True)
class SubsystemSettings:
    """What one subsystem's lines must have to be written, and where; priorities are the least grave that pass."""

    to_logfile: bool = False
    logfile: str = ""
    syslog_facility: int = FACILITIES["daemon"]
    syslog_priority: int = Priority.INFO
    logfile_priority: int = Priority.INFO
    """Governs stderr too."""
    debug: int = 0
    """0, or Priority.DEBUG or TRACE: lets these through everywhere, whatever the priorities say."""

    def syslog_threshold(self) -> int:
        """The least grave priority that goes to syslog."""
        return max(self.syslog_priority, self.debug)

    def file_threshold(self) -> int:
        """The least grave priority that goes to the log file and to stderr."""
        return max(self.logfile_priority, self.debug)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole logging section."""

    format: str = "stock"
    """``stock`` or ``json``."""
    timestamp: str = "hires"
    """``on``, ``off`` or ``hires``."""
    fileline: bool = False
    function_name: bool = False
    to_stderr: bool = True
    to_syslog: bool = True
    base: SubsystemSettings = SubsystemSettings()
    subsystems: Mapping[str, SubsystemSettings] = field(default_factory=dict)

    def of(self, subsystem: str) -> SubsystemSettings:
        """The settings of a subsystem: its own, or those of all."""
        return self.subsystems.get(subsystem, self.base)

    def threshold(self, subsystem: str) -> int:
        """The least grave priority that any target takes from a subsystem; -1 where none takes any."""
        own = self.of(subsystem)
        to_file = own.file_threshold() if self.to_stderr or (own.to_logfile and own.logfile) else -1
        return max(to_file, own.syslog_threshold() if self.to_syslog else -1)

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Settings:
        """What ``document`` made. Raises TypeError or KeyError for anything else."""
        subsystems = {name: SubsystemSettings(**own) for name, own in document["subsystems"].items()}
        return cls(**{**document, "base": SubsystemSettings(**document["base"]), "subsystems": subsystems})


_SWITCH = {"yes": True, "on": True, "no": False, "off": False}
_ON_OFF = {"on": True, "off": False}


def _word_of(table: Mapping[str, Any]) -> Callable[[str], Any]:
    return lambda word: table[word]


_PRIORITY: Callable[[str], Any] = lambda word: BY_WORD[word.lower()]  # noqa: E731 - one of a row of parsers
_DEBUG = _word_of({"off": 0, "on": int(Priority.DEBUG), "trace": int(Priority.TRACE)})

# Key -> field, and how its text is read; KeyError means that the text is none of the allowed words.
_COMMON: dict[str, tuple[str, Callable[[str], Any]]] = {
    "to_file": ("to_logfile", _word_of(_SWITCH)),
    "to_logfile": ("to_logfile", _word_of(_SWITCH)),
    "logfile": ("logfile", str),
    "syslog_facility": ("syslog_facility", _word_of(FACILITIES)),
    "syslog_level": ("syslog_priority", _PRIORITY),
    "syslog_priority": ("syslog_priority", _PRIORITY),
    "logfile_priority": ("logfile_priority", _PRIORITY),
    "debug": ("debug", _DEBUG),
}
_GLOBAL: dict[str, tuple[str, Callable[[str], Any]]] = {
    "format": ("format", _word_of({"stock": "stock", "json": "json"})),
    "timestamp": ("timestamp", _word_of({word: word for word in ("on", "off", "hires")})),
    "fileline": ("fileline", _word_of(_ON_OFF)),
    "function_name": ("function_name", _word_of(_ON_OFF)),
    "to_stderr": ("to_stderr", _word_of(_SWITCH)),
    "to_syslog": ("to_syslog", _word_of(_SWITCH)),
}


def from_keys(items: Iterable[tuple[str, Value]], log_directory: str = "") -> tuple[Settings, list[str]]:
    """Settings from the map's keys below ``logging.`` (others are ignored), and a sentence for each value that is none.

    A bad value leaves its setting as if it were absent, so that a client's slip cannot silence the log. A relative logfile is
    taken from ``log_directory``, or from the working directory.
    """
    complaints: list[str] = []
    top: dict[str, Any] = {}
    base: dict[str, Any] = {}
    subsystems: dict[str, dict[str, Any]] = {}
    for name, value in items:
        if not name.startswith(PREFIX):
            continue
        key = name[len(PREFIX) :]
        target, table = base, _COMMON
        if key.startswith(SUBSYSTEM_PREFIX):
            subsystem, _, key = key[len(SUBSYSTEM_PREFIX) :].rpartition(".")
            if not subsystem or key == "subsys":
                continue
            if subsystem not in subsystems and len(subsystems) == MAXIMUM_SUBSYSTEMS:
                complaints.append(f"{name} is ignored: {MAXIMUM_SUBSYSTEMS} subsystems have settings of their own already")
                continue
            target = subsystems.setdefault(subsystem, {})
        elif key in _GLOBAL:
            target, table = top, _GLOBAL
        entry = table.get(key)
        if entry is None:
            continue
        try:
            target[entry[0]] = entry[1](str(value.python()))
        except KeyError:
            complaints.append(f"{name} is ignored: {str(value.python())[:80]!r} is not one of its values")
    return _settled(top, base, subsystems, log_directory), complaints


def _settled(top: dict[str, Any], base: dict[str, Any], subsystems: dict[str, dict[str, Any]], log_directory: str) -> Settings:
    common = _absolute(SubsystemSettings(**base), log_directory)
    own = {name: _absolute(replace(common, **fields), log_directory) for name, fields in subsystems.items()}
    return Settings(**top, base=common, subsystems=own)


def _absolute(settings: SubsystemSettings, directory: str) -> SubsystemSettings:
    """The daemon changes its working directory later, so the path is settled now."""
    if not settings.logfile:
        return settings
    return replace(settings, logfile=os.path.abspath(os.path.join(directory, settings.logfile)))
