"""The layouts of log lines, byte for byte (reference config section 18.1)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from corosyncd.log.layout import Target, json_renderer, stock_renderer, syslog_timestamp, timestamp
from corosyncd.log.levels import Priority, syslog_level
from corosyncd.log.records import Record, Where
from corosyncd.log.settings import Settings

# 22 November 2024, 10:56:24.298 in UTC.
MOMENT = 1732272984.298


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def record(
    text: str = "server name: cmap", priority: int = Priority.INFO, subsystem: str = "QB", where: Where | None = None
) -> Record:
    return Record(32305, MOMENT, subsystem, priority, text, {"name": "cmap"}, where)


def lines(target: Target, made: Record | None = None, **settings: object) -> list[str]:
    return stock_renderer(Settings(**settings), "node1")(made or record(), target)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "style", "line"),
    [
        (Target.STDERR, "hires", "Nov 22 10:56:24.298 info    [QB    ] server name: cmap"),
        (Target.STDERR, "on", "Nov 22 10:56:24 info    [QB    ] server name: cmap"),
        (Target.STDERR, "off", "info    [QB    ] server name: cmap"),
        (Target.FILE, "hires", "Nov 22 10:56:24.298 [32305] node1 corosync info    [QB    ] server name: cmap"),
        (Target.FILE, "on", "Nov 22 10:56:24 [32305] node1 corosync info    [QB    ] server name: cmap"),
        (Target.FILE, "off", "[32305] node1 corosyncinfo    [QB    ] server name: cmap"),
        (Target.SYSLOG, "hires", "corosync[32305]:   [QB    ] server name: cmap"),
        (Target.SYSLOG, "on", "corosync[32305]:   [QB    ] server name: cmap"),
        (Target.SYSLOG, "off", "corosync[32305]:  [QB    ] server name: cmap"),
    ],
)
def test_lines_are_those_of_a_stock_daemon(target: Target, style: str, line: str) -> None:
    assert lines(target, timestamp=style) == [line]


@pytest.mark.parametrize(
    ("flags", "tail"),
    [
        ({}, " message"),
        ({"fileline": True}, " wd.c:463 message"),
        ({"function_name": True}, " wd_resource_create message"),
        ({"fileline": True, "function_name": True}, " wd.c:wd_resource_create:463 message"),
    ],
)
@pytest.mark.parametrize("target", list(Target))
def test_the_place_in_the_program_stands_behind_the_subsystem(flags: dict[str, bool], tail: str, target: Target) -> None:
    made = record("message", subsystem="WD", where=Where("wd.c", "wd_resource_create", 463))
    assert lines(target, made, timestamp="off", **flags)[0].endswith("[WD    ]" + tail)


def test_priorities_are_padded_to_7_and_subsystems_padded_or_cut_to_6() -> None:
    assert lines(Target.STDERR, record("x", Priority.WARNING, "VOTEQUORUM"), timestamp="off") == ["warning [VOTEQU] x"]
    words = [lines(Target.STDERR, record("x", priority), timestamp="off")[0].split()[0] for priority in Priority]
    assert words == ["emerg", "alert", "crit", "error", "warning", "notice", "info", "debug", "trace"]


def test_days_have_two_digits_in_lines_and_a_blank_in_syslog_datagrams() -> None:
    third = MOMENT - 19 * 86400
    assert timestamp(third, "on") == "Nov 03 10:56:24"
    assert syslog_timestamp(third) == "Nov  3 10:56:24"
    assert timestamp(1.0005, "hires") == "Jan 01 00:00:01.000"


def test_a_message_is_cut_at_512_bytes_without_splitting_a_character() -> None:
    assert lines(Target.STDERR, record("x" * 600), timestamp="off") == ["info    [QB    ] " + "x" * 512]
    assert lines(Target.STDERR, record("x" + "ä" * 300), timestamp="off") == ["info    [QB    ] x" + "ä" * 255]


def test_a_text_cannot_forge_lines_or_drive_a_terminal() -> None:
    assert lines(Target.STDERR, record("one\ntwo\x1b[2J\r\x9b"), timestamp="off") == [
        "info    [QB    ] one",
        "info    [QB    ] two\\x1b[2J\\x0d\\x9b",
    ]


def test_json_lines_carry_the_fields() -> None:
    (line,) = json_renderer("node1")(record(where=Where("a.py", "f", 7)), Target.FILE)
    assert json.loads(line) == {
        "time": "2024-11-22T10:56:24.298+00:00",
        "host": "node1",
        "pid": 32305,
        "priority": "info",
        "subsystem": "QB",
        "message": "server name: cmap",
        "name": "cmap",
        "file": "a.py",
        "function": "f",
        "line": 7,
    }
    assert "\n" not in json_renderer("node1")(record("one\ntwo"), Target.STDERR)[0]
    assert json_renderer("node1")(record(), Target.SYSLOG)[0].startswith("corosync[32305]: {")


def test_a_field_cannot_replace_what_the_daemon_says() -> None:
    made = Record(1, MOMENT, "QB", Priority.INFO, "true text", {"message": "false", "pid": 0})
    line = json.loads(json_renderer("node1")(made, Target.FILE)[0])
    assert (line["message"], line["pid"]) == ("true text", 1)


def test_syslog_is_told_info_for_debug_and_debug_for_trace() -> None:
    assert [syslog_level(priority) for priority in Priority] == [0, 1, 2, 3, 4, 5, 6, 6, 7]
