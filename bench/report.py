"""The table of a run: coloured on a terminal, plain text elsewhere, and the same as JSON."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from bench.figures import Row

HEADINGS: Final = ("", "ours", "stock", "ours/stock", "aim", "")
NOTHING: Final = "–"
VERDICTS: Final = {True: "met", False: "not met", None: ""}


def show(rows: Iterable[Row], conditions: Mapping[str, str]) -> None:
    """Print the table and the conditions on standard output."""
    sections = [(window.title, list(map(_cells, group))) for window, group in groupby(rows, key=lambda row: row.window)]
    if sys.stdout.isatty():
        _show_rich(sections)
    else:
        _show_plain(sections)
    width = max(map(len, conditions))
    print()
    for name, value in conditions.items():
        print(f"{name:{width}}  {value}")


def as_json(rows: Iterable[Row], conditions: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was measured, with the value of each repeat."""
    return {
        "conditions": dict(conditions),
        "options": dict(options),
        "rows": [
            {
                "name": row.figure.name,
                "label": row.figure.label,
                "window": row.window.name,
                "totem": dict(row.window.totem),
                "ours": _summary(row.ours),
                "stock": _summary(row.stock),
                "ratio": row.ratio,
                "aim": row.aim.text if row.aim else None,
                "met": row.met,
            }
            for row in rows
        ],
    }


def _summary(samples: Sequence[float]) -> dict[str, Any] | None:
    if not samples:
        return None
    return {"median": statistics.median(samples), "lowest": min(samples), "highest": max(samples), "samples": list(samples)}


def _cells(row: Row) -> tuple[str, ...]:
    digits = row.figure.digits
    ratio = NOTHING if row.ratio is None else f"{row.ratio:.2f}"
    aim = row.aim.text if row.aim else ""
    return row.figure.label, _values(row.ours, digits), _values(row.stock, digits), ratio, aim, VERDICTS[row.met]


def _values(samples: Sequence[float], digits: int) -> str:
    if not samples:
        return NOTHING
    median = f"{statistics.median(samples):,.{digits}f}"
    if len(samples) == 1:
        return median
    return f"{median} ({min(samples):,.{digits}f}–{max(samples):,.{digits}f})"


def _show_plain(sections: Sequence[tuple[str, list[tuple[str, ...]]]]) -> None:
    every = [HEADINGS, *(cells for _, lines in sections for cells in lines)]
    widths = [max(len(cells[column]) for cells in every) for column in range(len(HEADINGS))]

    def line(cells: Sequence[str]) -> str:
        sides = zip(cells, widths, range(len(HEADINGS)), strict=True)
        return "  ".join(f"{cell:>{width}}" if 1 <= column <= 3 else f"{cell:<{width}}" for cell, width, column in sides).rstrip()

    for title, lines in sections:
        print(f"\n{title}")
        print(line(HEADINGS))
        for cells in lines:
            print(line(cells))


def _show_rich(sections: Sequence[tuple[str, list[tuple[str, ...]]]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    colours = {"met": "green", "not met": "red", "": ""}
    for title, lines in sections:
        table = Table(title=title, title_justify="left")
        for column, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="right" if 1 <= column <= 3 else "left", no_wrap=True)
        for *cells, verdict in lines:
            colour = colours[verdict]
            table.add_row(*cells, f"[{colour}]{verdict}[/]" if colour else verdict)
        console.print(table)
