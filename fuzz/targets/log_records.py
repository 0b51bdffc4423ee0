"""What the log process is sent, and what it makes of texts that come from the ring and from programs.

Claims: a datagram is a record or is counted as refused; a record becomes lines that forge no other line and drive no terminal.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, cast

from msgpack import packb

from corosyncd.daemon.log_relay import parse_line
from corosyncd.log.levels import Priority
from corosyncd.log.records import Record, Where, pack, parse
from corosyncd.log.settings import Settings
from corosyncd.log.sink import Sink
from fuzz.target import claim

CONTROLS: Final = frozenset(map(chr, (*range(0x20), 0x7F, *range(0x80, 0xA0)))) - {"\t"}
LONGEST_LINE: Final = 1024
"""Bytes in the stock layout, head included."""
DATAGRAM, TEXT, LINE = range(3)
"""What an input's first byte says: a datagram, the text of a record, an engine's datagram."""
FORMATS: Final = ("stock", "json")
TEXTS: Final = ("plain", "two\nlines", "\x1b[31mred\x07", "\udcff not UTF-8", "\x85\u2028", "x" * 3000, "a\rb\tc", "\n" * 300)


class LogRecordsTarget:
    """An input: what it is, the format, then its bytes."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        records = [_record(text) for text in TEXTS]
        records.append(records[0]._replace(fields={"node": 7, "share": 0.5}, where=Where("ring.py", "receive", 12)))
        packed = [pack(record) for record in records]
        lines = [cast(bytes, packb(["warning", text], unicode_errors="surrogateescape")) for text in TEXTS]
        kinds = ((DATAGRAM, packed), (TEXT, [text.encode("utf-8", "surrogateescape") for text in TEXTS]), (LINE, lines))
        self.seeds = [bytes((kind, form)) + piece for kind, pieces in kinds for piece in pieces for form in range(len(FORMATS))]

    def run(self, data: bytes) -> None:
        """One datagram or text."""
        if len(data) < 2:
            return
        kind, form, rest = data[0], data[1], data[2:]
        output = _Output()
        sink = Sink(Settings(format=FORMATS[form % 2]), output, output)  # type: ignore[arg-type]
        kind %= 3
        if kind == LINE:
            level, text = parse_line(rest)
            sink.take(pack(_record(f"{level} {text}")))
        elif kind == TEXT:
            sink.take(pack(_record(rest.decode("utf-8", "surrogateescape"))))
        elif not _settings(rest):
            sink.take(rest)
        self.dropped["refused"] += sink.refused
        for line in output.lines:
            claim(CONTROLS.isdisjoint(line), f"a line is one line: {line!r}")
            claim(
                form % 2 == 1 or len(line.encode("utf-8", "surrogateescape")) <= LONGEST_LINE, f"{len(line)} characters in a line"
            )


def _settings(datagram: bytes) -> bool:
    """Whether they are settings: the files that they name would be opened."""
    try:
        return isinstance(parse(datagram), Settings)
    except ValueError:
        return False


def _record(text: str) -> Record:
    return Record(42, 1000.5, "TOTEM", Priority.NOTICE, text, {})


class _Output:
    """Standard error and syslog at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, lines: list[str], *syslog: Any) -> None:
        self.lines += lines
