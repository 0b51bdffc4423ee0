"""How a record becomes lines: the stock layouts, byte for byte, and JSON (structlog's renderer).

Source: reference config section 18.1.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime
from enum import Enum

from corosyncd.log.levels import WORDS
from corosyncd.log.records import Record, Where
from corosyncd.log.settings import Settings

PROGRAM = "corosync"
PRIORITY_WIDTH = 7
SUBSYSTEM_WIDTH = 6
MAXIMUM_LINE = 512
"""Bytes of a message in the stock layouts."""
MAXIMUM_LINES = 200
"""Of one record: a text with line ends becomes as many lines, each with its head."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Control characters could forge lines or drive a terminal.
_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if code not in (0x09, 0x0A)}
_ONE_LINE = _VISIBLE | {0x0A: "\\x0a"}


class Target(Enum):
    """Where lines go; each has a layout of its own."""

    STDERR = "stderr"
    FILE = "file"
    SYSLOG = "syslog"


Render = Callable[[Record, Target], list[str]]


def timestamp(seconds: float, style: str) -> str:
    """``Nov 22 10:56:24``, with ``.mmm`` where the style is hires; local time, English months."""
    local = time.localtime(seconds)
    clock = f"{local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02}"
    stamp = f"{_MONTHS[local.tm_mon - 1]} {local.tm_mday:02} {clock}"
    return f"{stamp}.{int(seconds * 1000) % 1000:03}" if style == "hires" else stamp


def syslog_timestamp(seconds: float) -> str:
    """As syslog(3) writes it into its datagrams: the day padded with a blank."""
    local = time.localtime(seconds)
    return f"{_MONTHS[local.tm_mon - 1]} {local.tm_mday:2} {local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02}"


def stock_renderer(settings: Settings, host: str) -> Render:
    """The stock layouts; ``host`` is the kernel's host name."""

    def head(record: Record, target: Target) -> str:
        word = f"{WORDS[record.priority]:<{PRIORITY_WIDTH}}"
        subsystem = f"[{record.subsystem[:SUBSYSTEM_WIDTH].translate(_ONE_LINE):<{SUBSYSTEM_WIDTH}}]"
        stamped = settings.timestamp != "off"
        if target is Target.SYSLOG:
            return f"{PROGRAM}[{record.pid}]: {'  ' if stamped else ' '}{subsystem}{_where(record.where, settings)}"
        stamp = timestamp(record.seconds, settings.timestamp) + " " if stamped else ""
        if target is Target.FILE:
            # Stock has no blank between the program and the priority where timestamps are off.
            stamp += f"[{record.pid}] {host} {PROGRAM}{' ' if stamped else ''}"
        return f"{stamp}{word} {subsystem}{_where(record.where, settings)}"

    def render(record: Record, target: Target) -> list[str]:
        begin = head(record, target)
        return [f"{begin} {_cut(line)}" for line in record.text.translate(_VISIBLE).split("\n")[:MAXIMUM_LINES]]

    return render


def json_renderer(host: str) -> Render:
    """One JSON object a record, on one line; on syslog behind the usual head."""
    # Here, since it costs ten megabytes that the stock layout does not need.
    import structlog

    write_json = structlog.processors.JSONRenderer()

    def render(record: Record, target: Target) -> list[str]:
        event = dict(record.fields) | {
            "time": datetime.fromtimestamp(record.seconds).astimezone().isoformat(timespec="milliseconds"),
            "host": host,
            "pid": record.pid,
            "priority": WORDS[record.priority],
            "subsystem": record.subsystem,
            "message": record.text,
        }
        if record.where:
            event |= record.where._asdict()
        line = write_json(None, WORDS[record.priority], event)
        return [f"{PROGRAM}[{record.pid}]: {line!s}" if target is Target.SYSLOG else str(line)]

    return render


def renderer(settings: Settings) -> Render:
    """The renderer that the settings ask for, for this host."""
    host = os.uname().nodename
    return json_renderer(host) if settings.format == "json" else stock_renderer(settings, host)


def _where(where: Where | None, settings: Settings) -> str:
    if where is None:
        return ""
    if settings.fileline and settings.function_name:
        return f" {where.file}:{where.function}:{where.line}"
    if settings.fileline:
        return f" {where.file}:{where.line}"
    return f" {where.function}" if settings.function_name else ""


def _cut(line: str) -> str:
    """At most MAXIMUM_LINE bytes, no character split."""
    data = line.encode("utf-8", "surrogateescape")
    return line if len(data) <= MAXIMUM_LINE else data[:MAXIMUM_LINE].decode("utf-8", "ignore")
