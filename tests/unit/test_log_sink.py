"""The log process: what it writes where, and that it outlives what it writes to."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from corosyncd.keyspace.values import Value, text, uint32
from corosyncd.log import process
from corosyncd.log.levels import FACILITIES, Priority
from corosyncd.log.producer import Channel
from corosyncd.log.records import Record, Reopen, pack
from corosyncd.log.settings import Settings, SubsystemSettings, from_keys
from corosyncd.log.sink import Sink
from corosyncd.log.targets import Descriptor, LogFile, Syslog


class Setup:
    """A sink with stderr and syslog that can be read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = str(directory / "test.log")
        self.stderr, self._stderr_end = os.pipe()
        os.set_blocking(self.stderr, False)
        self.syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.syslog.bind(str(directory / "syslog"))
        self.syslog.setblocking(False)
        self.sink = Sink(Settings(), Descriptor(self._stderr_end), Syslog(str(directory / "syslog")), clock=lambda: 0.0)

    def log(self, settings: Settings, *items: tuple[str, int, str]) -> None:
        self.sink.take(pack(settings))
        for subsystem, priority, content in items:
            self.sink.take(pack(Record(7, 0.0, subsystem, priority, content, {})))

    def stderr_text(self) -> str:
        try:
            return os.read(self.stderr, 1 << 16).decode()
        except BlockingIOError:
            return ""

    def syslog_lines(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.syslog.recv(4096).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self.sink.close()
        self.syslog.close()
        os.close(self.stderr)
        os.close(self._stderr_end)


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    made = Setup(tmp_path)
    yield made
    made.close()


def to_file(path: str, **others: object) -> Settings:
    base = SubsystemSettings(to_logfile=True, logfile=path)
    return Settings(**{"timestamp": "off", "to_stderr": False, "to_syslog": False, "base": base, **others})  # type: ignore[arg-type]


def body(path: str) -> list[str]:
    return [line.split("] ", 2)[-1] for line in Path(path).read_text().splitlines()]


def test_each_target_has_its_threshold(setup: Setup) -> None:
    base = SubsystemSettings(
        to_logfile=True, logfile=setup.path, syslog_priority=Priority.ERROR, logfile_priority=Priority.NOTICE
    )
    items = [("QB", priority, priority.name) for priority in Priority]
    setup.log(Settings(timestamp="off", base=base), *items)
    assert setup.stderr_text().split("\n")[-2] == "notice  [QB    ] NOTICE"
    assert body(setup.path) == ["EMERG", "ALERT", "CRIT", "ERROR", "WARNING", "NOTICE"]
    assert [line[-5:].strip() for line in setup.syslog_lines()] == ["EMERG", "ALERT", "CRIT", "ERROR"]


def test_syslog_datagrams_name_facility_level_and_time(setup: Setup) -> None:
    base = SubsystemSettings(syslog_facility=FACILITIES["local3"], debug=Priority.TRACE)
    setup.log(Settings(base=base), ("QB", Priority.INFO, "i"), ("QB", Priority.DEBUG, "d"), ("QB", Priority.TRACE, "t"))
    lines = setup.syslog_lines()
    assert [line[: line.index(">") + 1] for line in lines] == ["<158>", "<158>", "<159>"]
    assert lines[0].endswith("corosync[7]:   [QB    ] i")


def test_a_subsystems_debug_opens_every_target_for_it_alone(setup: Setup) -> None:
    base = SubsystemSettings(to_logfile=True, logfile=setup.path)
    own = SubsystemSettings(to_logfile=True, logfile=setup.path, debug=Priority.DEBUG)
    setup.log(Settings(base=base, subsystems={"QB": own}), ("QB", 7, "yes"), ("MAIN", 7, "no"), ("QB", 8, "no"))
    assert body(setup.path) == ["yes"]
    assert len(setup.syslog_lines()) == 1
    assert setup.stderr_text().count("\n") == 1


def test_a_subsystem_may_have_its_own_file_or_none(setup: Setup) -> None:
    other = str(setup.directory / "other.log")
    own = {"CPG": SubsystemSettings(to_logfile=True, logfile=other), "QB": SubsystemSettings(logfile=setup.path)}
    setup.log(to_file(setup.path, subsystems=own), ("MAIN", 6, "main"), ("CPG", 6, "cpg"), ("QB", 6, "qb"))
    assert (body(setup.path), body(other)) == (["main"], ["cpg"])


def test_a_renamed_file_is_left_at_reopening(setup: Setup) -> None:
    setup.log(to_file(setup.path), ("MAIN", 6, "one"))
    os.rename(setup.path, setup.path + ".1")
    setup.log(to_file(setup.path), ("MAIN", 6, "two"))
    setup.sink.take(pack(Reopen()))
    setup.log(to_file(setup.path), ("MAIN", 6, "three"))
    assert body(setup.path + ".1") == ["one", "two"]
    assert body(setup.path) == ["three"]


def test_a_file_that_cannot_be_opened_is_reported_and_tried_again(setup: Setup) -> None:
    path = setup.directory / "missing" / "x.log"
    setup.log(to_file(str(path), to_stderr=True), ("MAIN", 6, "lost"))
    said = setup.stderr_text()
    assert f"error   [MAIN  ] Can't open logfile '{path}' for reason: No such file or directory (2)\n" in said
    path.parent.mkdir()
    setup.log(to_file(str(path)), ("MAIN", 6, "kept"))
    # The report of the fault and the first line had no file to go to.
    assert path.read_text().splitlines()[0] == "2 lines were lost here: the file could not be written"
    assert body(str(path))[-1] == "kept"


def test_a_full_disk_costs_lines_and_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "log"))
    file.write(["one"])
    real_write = os.write

    def no_space(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", no_space)
    file.write(["two", "three"])
    monkeypatch.setattr(os, "write", real_write)
    file.write(["four"])
    file.close()
    assert (tmp_path / "log").read_text().split("\n") == [
        "one",
        "2 lines were lost here: the file could not be written",
        "four",
        "",
    ]


def test_a_restarted_syslog_is_found_again(setup: Setup) -> None:
    setup.log(Settings(), ("MAIN", 6, "one"))
    setup.syslog.close()
    os.unlink(setup.directory / "syslog")
    setup.log(Settings(), ("MAIN", 6, "lost"))
    setup.syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    setup.syslog.bind(str(setup.directory / "syslog"))
    setup.syslog.setblocking(False)
    setup.log(Settings(), ("MAIN", 6, "two"))
    assert [line[-3:] for line in setup.syslog_lines()] == ["two"]


def test_json_is_written_where_the_settings_ask_for_it(setup: Setup) -> None:
    setup.log(to_file(setup.path, format="json"), ("MAIN", 6, "hello"))
    assert '"message": "hello"' in Path(setup.path).read_text()


def test_datagrams_that_are_no_records_are_counted(setup: Setup) -> None:
    setup.sink.take(b"garbage")
    assert setup.sink.refused == 1


def test_the_process_writes_everything_before_it_ends(tmp_path: Path) -> None:
    child, sock = process.start()
    try:
        channel = Channel(sock, to_file(str(tmp_path / "log")))
        for number in range(100):
            channel.write("MAIN", Priority.INFO, f"line {number}", {})
        channel.close()
        assert child.wait(timeout=30) == 0
    finally:
        sock.close()
        if child.poll() is None:
            child.kill()
            child.wait()
    assert body(str(tmp_path / "log")) == [f"line {number}" for number in range(100)]


def keys(**values: str) -> list[tuple[str, Value]]:
    return [("logging." + name.replace("__", "."), text(value)) for name, value in values.items()]


def test_settings_come_from_the_keys_of_the_map() -> None:
    items = keys(
        timestamp="on",
        fileline="on",
        function_name="off",
        to_stderr="no",
        to_syslog="on",
        to_logfile="yes",
        logfile="x.log",
        syslog_facility="local0",
        syslog_priority="WARNING",
        logfile_priority="err",
        debug="off",
        format="json",
        logger_subsys__TOTEM__debug="trace",
        logger_subsys__TOTEM__subsys="TOTEM",
    )
    settings, complaints = from_keys([*items, ("totem.token", uint32(1))], "/var/log/test")
    base = SubsystemSettings(True, "/var/log/test/x.log", 16, Priority.WARNING, Priority.ERROR, 0)
    totem = SubsystemSettings(True, "/var/log/test/x.log", 16, Priority.WARNING, Priority.ERROR, Priority.TRACE)
    assert settings == Settings("json", "on", True, False, False, True, base, {"TOTEM": totem})
    assert complaints == []
    assert Settings.from_document(settings.document()) == settings


def test_defaults_are_stocks() -> None:
    settings, _ = from_keys([])
    assert (settings.timestamp, settings.to_stderr, settings.to_syslog, settings.base.to_logfile) == ("hires", True, True, False)
    assert settings.threshold("ANY") == Priority.INFO


def test_old_names_are_understood() -> None:
    settings, _ = from_keys(keys(to_file="yes", syslog_level="crit"))
    assert settings.base.to_logfile
    assert settings.base.syslog_priority == Priority.CRIT


def test_a_bad_value_leaves_the_default_and_is_named() -> None:
    settings, complaints = from_keys([*keys(debug="maybe", to_stderr="no"), ("logging.timestamp", uint32(1))])
    assert settings == Settings(to_stderr=False)
    assert complaints == [
        "logging.debug is ignored: 'maybe' is not one of its values",
        "logging.timestamp is ignored: '1' is not one of its values",
    ]


def test_at_most_32_subsystems_have_settings_of_their_own() -> None:
    settings, complaints = from_keys([(f"logging.logger_subsys.S{number:02}.debug", text("on")) for number in range(34)])
    assert len(settings.subsystems) == 32
    assert len(complaints) == 2
