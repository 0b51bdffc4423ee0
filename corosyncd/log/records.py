"""What travels to the log process: one datagram a record, msgpack, built by the daemon's own processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgpack import packb, unpackb

from corosyncd.log.levels import Priority
from corosyncd.log.settings import Settings

MAXIMUM_TEXT = 16 * 1024
"""Characters of a record, a traceback included; longer ones are cut."""
MAXIMUM_FIELDS = 32
MAXIMUM_DATAGRAM = 256 * 1024
LATEST_SECONDS = 253_402_300_799
"""The end of the year 9999: later ones have no date."""

_RECORD, _SETTINGS, _REOPEN = 0, 1, 2


class Where(NamedTuple):
    """Where in the program a record was made."""

    file: str
    function: str
    line: int


class Record(NamedTuple):
    """One thing to log; ``seconds`` since the epoch."""

    pid: int
    seconds: float
    subsystem: str
    priority: int
    text: str
    fields: Mapping[str, object]
    """For the JSON format; the stock format shows the text alone."""
    where: Where | None = None


class Reopen(NamedTuple):
    """Close the log files and open them again."""


Message = Record | Settings | Reopen


def pack(message: Message) -> bytes:
    """A datagram. Fields are reduced to what JSON knows; too long texts are cut."""
    if isinstance(message, Record):
        fields = {str(name)[:64]: _plain(value) for name, value in list(message.fields.items())[:MAXIMUM_FIELDS]}
        where = list(message.where) if message.where else None
        body: list[Any] = [
            message.pid,
            message.seconds,
            message.subsystem,
            message.priority,
            message.text[:MAXIMUM_TEXT],
            fields,
            where,
        ]
        content: list[Any] = [_RECORD, body]
    elif isinstance(message, Settings):
        content = [_SETTINGS, message.document()]
    else:
        content = [_REOPEN, None]
    packed: bytes = packb(content, unicode_errors="surrogateescape")
    return packed


def _plain(value: object) -> object:
    if isinstance(value, bool | float | None):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 64 else str(value)
    return str(value)[:1024]


def parse(datagram: bytes) -> Message:
    """What a datagram holds. Raises ValueError where it is none of ours."""
    try:
        kind, body = unpackb(datagram, unicode_errors="surrogateescape")
        if kind == _REOPEN:
            return Reopen()
        if kind == _SETTINGS:
            return Settings.from_document(body)
        pid, seconds, subsystem, priority, text, fields, where = body
        if not 0 <= seconds <= LATEST_SECONDS:
            raise ValueError(f"not a time: {seconds}")
        fields = {str(name): _plain(value) for name, value in fields.items()}
        return Record(int(pid), seconds, str(subsystem), Priority(priority), str(text), fields, Where(*where) if where else None)
    except (TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a log record: {error}") from error
