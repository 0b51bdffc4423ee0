"""The priorities of log lines and the facilities of syslog, by their stock names.

Source: reference config section 18.1, syslog(3).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Priority(IntEnum):
    """Lower is graver. The first eight are syslog's; TRACE is one below DEBUG."""

    EMERG = 0
    ALERT = 1
    CRIT = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7
    TRACE = 8


WORDS: Final = tuple(priority.name.lower() for priority in Priority)
"""The word of each priority, by its number."""
BY_WORD: Final[dict[str, int]] = {word: number for number, word in enumerate(WORDS)} | {"err": Priority.ERROR}

_FACILITY_NAMES = ("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp")
FACILITIES: Final[dict[str, int]] = {name: number for number, name in enumerate(_FACILITY_NAMES)} | {
    f"local{number}": 16 + number for number in range(8)
}


def syslog_level(priority: int) -> int:
    """The level that syslog is told: debug goes as info and trace as debug, since many syslogs drop debug."""
    return priority if priority < Priority.DEBUG else priority - 1
