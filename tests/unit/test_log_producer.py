"""Records on their way to the log process: filtered, never waited for, counted when lost."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from corosyncd import log
from corosyncd.log import producer
from corosyncd.log.levels import Priority
from corosyncd.log.producer import Channel
from corosyncd.log.rate_limit import MAXIMUM_SUBJECTS, RateLimit
from corosyncd.log.records import Message, Record, Reopen, pack, parse
from corosyncd.log.settings import Settings, SubsystemSettings

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "_channel", None)


def received(sock: socket.socket) -> list[Message]:
    found = []
    while True:
        try:
            found.append(parse(sock.recv(1 << 18)))
        except BlockingIOError:
            return found


def records(sock: socket.socket) -> list[tuple[str, int, str]]:
    return [(item.subsystem, item.priority, item.text) for item in received(sock) if isinstance(item, Record)]


@pytest.mark.usefixtures("unconfigured")
def test_every_stock_priority_has_a_method(pair: Pair) -> None:
    trace = Settings(base=SubsystemSettings(debug=Priority.TRACE))
    log.configure(pair[0], trace)
    logger = log.get_logger("TOTEM")
    for word in ("emerg", "alert", "crit", "error", "warning", "notice", "info", "debug", "trace"):
        getattr(logger, word)(word, node=3)
    items = received(pair[1])
    assert items[0] == trace
    assert [(item.priority, item.text, item.fields) for item in items[1:] if isinstance(item, Record)] == [
        (priority, priority.name.lower(), {"node": 3}) for priority in Priority
    ]


@pytest.mark.usefixtures("unconfigured")
def test_what_no_target_takes_is_not_sent(pair: Pair) -> None:
    settings = Settings(
        base=SubsystemSettings(syslog_priority=Priority.WARNING, logfile_priority=Priority.ERROR),
        subsystems={"TOTEM": SubsystemSettings(debug=Priority.DEBUG)},
    )
    log.configure(pair[0], settings)
    for subsystem in ("TOTEM", "CPG"):
        log.get_logger(subsystem).warning("w")
        log.get_logger(subsystem).debug("d")
        log.get_logger(subsystem).trace("t")
    assert records(pair[1]) == [("TOTEM", 4, "w"), ("TOTEM", 7, "d"), ("CPG", 4, "w")]
    assert log.get_logger("TOTEM").wants("debug")
    assert not log.get_logger("CPG").wants("notice")


def test_without_a_target_nothing_is_sent_at_all(pair: Pair) -> None:
    channel = Channel(pair[0], Settings(to_stderr=False, to_syslog=False))
    channel.write("MAIN", Priority.EMERG, "x", {})
    assert records(pair[1]) == []


def test_new_settings_hold_at_once(pair: Pair) -> None:
    channel = Channel(pair[0], Settings())
    channel.write("QB", Priority.DEBUG, "before", {})
    debug = Settings(subsystems={"QB": SubsystemSettings(debug=Priority.DEBUG)})
    channel.apply(debug)
    channel.write("QB", Priority.DEBUG, "after", {})
    items = received(pair[1])
    assert items[:2] == [Settings(), debug]
    assert [item.text for item in items[2:] if isinstance(item, Record)] == ["after"]


def test_a_full_socket_never_blocks_and_the_lost_records_are_counted_and_told(pair: Pair) -> None:
    channel = Channel(pair[0], Settings())
    sent = 0
    while not channel.dropped:
        channel.write("MAIN", Priority.INFO, "x" * 1000, {})
        sent += 1
    for _ in range(4):
        channel.write("MAIN", Priority.INFO, "lost", {})
    assert channel.dropped == 5
    assert len(records(pair[1])) == sent - 1
    channel.write("MAIN", Priority.INFO, "again", {})
    assert records(pair[1]) == [
        ("MAIN", 4, "5 log records were dropped: the log process did not keep up"),
        ("MAIN", 6, "again"),
    ]
    assert (channel.dropped, channel.dropped_in_all) == (0, 5)


def test_settings_and_reopening_wait_for_room_instead_of_being_lost(pair: Pair) -> None:
    channel = Channel(pair[0], Settings())
    while not channel.dropped:
        channel.write("MAIN", Priority.INFO, "x" * 1000, {})
    channel.reopen()
    channel.reopen()
    channel.apply(Settings(timestamp="on"))
    channel.apply(Settings(timestamp="off"))
    assert not channel.flush()
    received(pair[1])
    assert channel.flush()
    items = received(pair[1])
    assert items[:2] == [Reopen(), Settings(timestamp="off")]
    assert len(items) == 3


def test_a_log_process_that_is_gone_costs_records_only(pair: Pair) -> None:
    channel = Channel(pair[0], Settings())
    pair[1].close()
    channel.write("MAIN", Priority.ERROR, "x", {})
    channel.reopen()
    assert channel.dropped == 1


@pytest.mark.usefixtures("unconfigured")
def test_the_callers_place_travels_only_where_it_is_wanted(pair: Pair) -> None:
    log.configure(pair[0], Settings(fileline=True))
    log.get_logger("MAIN").info("here")
    log.apply(Settings())
    log.get_logger("MAIN").info("here")
    items = [item for item in received(pair[1]) if isinstance(item, Record)]
    assert items[0].where is not None
    assert items[0].where[:2] == ("test_log_producer.py", "test_the_callers_place_travels_only_where_it_is_wanted")
    assert items[1].where is None


@pytest.mark.usefixtures("unconfigured")
def test_before_logging_is_set_up_warnings_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log.write("MAIN", "warning", "cannot lock memory")
    log.write("MAIN", "info", "nobody waits for this")
    log.reopen()
    log.apply(Settings())
    assert capsys.readouterr().err == "corosyncd: cannot lock memory\n"


@pytest.mark.usefixtures("unconfigured")
def test_a_word_that_is_no_priority_counts_as_an_error(pair: Pair) -> None:
    log.configure(pair[0], Settings())
    log.write("MAIN", "loud", "x")
    assert records(pair[1]) == [("MAIN", 3, "x")]


def test_records_survive_the_way_whatever_their_fields_are() -> None:
    fields = {"big": 1 << 80, "flag": True, "none": None, "object": {1}, "text": "\udcff"}
    item = parse(pack(Record(1, 2.5, "QB", 6, "te\udcffxt" + "x" * 20000, fields)))
    assert isinstance(item, Record)
    assert len(item.text) == 16384
    assert item.fields == {"big": str(1 << 80), "flag": True, "none": None, "object": "{1}", "text": "\udcff"}


@pytest.mark.parametrize(
    "datagram", [b"", b"\xc1", b"\x93\x01\x02\x03", pack(Reopen())[:1], b"\x92\x00\x91\x01", b"\x92\x01\xc0"]
)
def test_datagrams_of_another_form_are_refused(datagram: bytes) -> None:
    with pytest.raises(ValueError):
        parse(datagram)


def test_a_repeated_warning_is_let_through_in_bursts_with_the_number_left_out() -> None:
    limit = RateLimit(burst=2, interval=10.0)
    assert [limit.admit("a", now) for now in (0.0, 1.0, 2.0, 9.9)] == [0, 0, None, None]
    assert limit.admit("b", 3.0) == 0
    assert limit.admit("a", 10.0) == 2
    assert limit.admit("a", 11.0) == 0


def test_the_number_of_subjects_is_limited() -> None:
    limit = RateLimit(burst=1)
    for number in range(MAXIMUM_SUBJECTS + 1):
        limit.admit(str(number), 0.0)
    assert limit.admit(str(MAXIMUM_SUBJECTS), 0.0) is None
    assert limit.admit("0", 0.0) == 0
