"""What the viewer sees: a log that scrolls, and below it one row a node that is always up to date.

Where standard output is not a terminal, the same lines, and the rows once a chapter.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from demo.node import Node

REFRESHES_A_SECOND = 8
MARGIN = 4
"""Columns that stay free beside the rows, for the terminal's echo of Ctrl-C."""
_STATE_STYLES = {"in the ring": "green", "starting": "yellow", "stopping": "yellow", "killed": "bold red"}
COLUMNS = ("node", "address", "state", "ring id", "members", "quorate", "delivered")


def ring_name(ring: tuple[int, int] | None) -> str:
    """As the daemon's log writes it: representative, dot, sequence number in hexadecimal."""
    return "-" if ring is None else f"{ring[0]}.{ring[1]:x}"


def cells(node: Node) -> tuple[str, ...]:
    """One node's row."""
    reachable = node.ring is not None
    return (
        str(node.node_id),
        node.address,
        node.state,
        ring_name(node.ring),
        " ".join(map(str, sorted(node.members))) if reachable else "-",
        ("yes" if node.quorate else "no") if reachable else "-",
        f"{node.program.delivered:,}",
    )


class Screen:
    """A context: inside it, the rows are shown."""

    def __init__(self) -> None:
        """Standard output, whatever it is."""
        self._console = Console(highlight=False)
        self._nodes: Sequence[Node] = ()
        self._began = time.monotonic()
        self._live = Live(console=self._console, get_renderable=self._rows, refresh_per_second=REFRESHES_A_SECOND)

    def show(self, nodes: Sequence[Node]) -> None:
        """The nodes of the rows."""
        self._nodes = nodes

    def __enter__(self) -> Self:
        """Begin to show rows."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """The rows stay as they were last."""
        if self._console.is_terminal:
            self._live.stop()

    def chapter(self, title: str) -> None:
        """What is shown next."""
        if self._console.is_terminal:
            self._console.print()
            self._console.print(Rule(Text(title, style="bold"), align="left", style="dim"))
        else:
            self._console.print(f"\n{title}", soft_wrap=True, markup=False)

    def note(self, text: str) -> None:
        """Something happens."""
        self._line("·", "dim", text)

    def claim(self, text: str, held: bool) -> None:
        """Something was checked."""
        self._line("✓" if held else "✗", "bold green" if held else "bold red", text)

    def rows(self) -> None:
        """The rows as lines, where they are not shown all the time."""
        if not self._console.is_terminal:
            for node in self._nodes:
                row = ", ".join(f"{name} {cell}" for name, cell in zip(COLUMNS, cells(node), strict=True))
                self._line(" ", "", row)

    def verdict(self, text: str, good: bool) -> None:
        """How it ended."""
        self._console.print()
        self._console.print(Text(text, style="bold green" if good else "bold red"), soft_wrap=True)

    def raw(self, lines: Sequence[str]) -> None:
        """Somebody else's words, as they are."""
        for line in lines:
            self._console.print(Text(line, style="dim"), soft_wrap=True)

    def _line(self, mark: str, style: str, text: str) -> None:
        seconds = f"{time.monotonic() - self._began:6.2f} s"
        if not self._console.is_terminal:
            self._console.print(f"{seconds}  {mark} {text}", soft_wrap=True, markup=False)
            return
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(no_wrap=True, style="dim")
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)  # Long text goes on below itself, not below the time.
        line.add_row(seconds, Text(mark, style=style), Text(text, style="dim" if mark == "·" else ""))
        self._console.print(line)

    def _rows(self) -> Table:
        table = Table(box=box.ROUNDED, width=self._console.width - MARGIN, border_style="dim", header_style="bold")
        for name in COLUMNS:
            table.add_column(name, justify="right" if name == "delivered" else "left", no_wrap=True)
        for node in self._nodes:
            row = [Text(cell) for cell in cells(node)]
            row[2].stylize(_STATE_STYLES.get(node.state, "dim"))
            row[5].stylize({"yes": "green", "no": "red"}.get(row[5].plain, "dim"))
            table.add_row(*row)
        return table
