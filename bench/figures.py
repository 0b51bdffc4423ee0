"""What is measured, in which settings of the ring, and what is aimed at."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

OURS: Final = "ours"
STOCK: Final = "stock"
SIDES: Final = (OURS, STOCK)


@dataclass(frozen=True, slots=True)
class Window:
    """Settings of the ring's flow control, the same for both daemons."""

    name: str
    title: str
    totem: Mapping[str, int]


DEFAULT: Final = Window("default", "stock settings", {})
WIDE: Final = Window("wide", "window_size 300, max_messages 150", {"window_size": 300, "max_messages": 150})
WINDOWS: Final = (DEFAULT, WIDE)


@dataclass(frozen=True, slots=True)
class Aim:
    """A bound on our figure, or on its ratio to the stock daemon's."""

    relative: bool
    at_least: bool
    bound: float
    text: str

    def met(self, ours: float, ratio: float | None) -> bool | None:
        """Whether the aim is reached; None where it needs a stock figure that is not there."""
        value = ratio if self.relative else ours
        if value is None:
            return None
        if self.at_least:
            return value >= self.bound
        return value <= self.bound if self.relative else value < self.bound


@dataclass(frozen=True, slots=True)
class Figure:
    """One kind of measurement; ``aims`` by the name of the window."""

    name: str
    label: str
    digits: int = 0
    windows: tuple[Window, ...] = WINDOWS
    aims: Mapping[str, Aim] = field(default_factory=dict)


_SMALL = Aim(True, True, 0.5, "≥ 0.5 × stock")
_BULK = Aim(True, True, 1.0, "≥ 1 × stock")
_WIDE_BULK = Aim(True, True, 3.0, "≥ 3 × stock")
_ROUND_TRIP = Aim(True, False, 4.0, "≤ 4 × stock")
_IDLE = Aim(False, False, 2.0, "< 2 %")
_MEMORY = Aim(False, False, 150.0, "< 150 MB")
_BOTH_BULK = {DEFAULT.name: _BULK, WIDE.name: _WIDE_BULK}

FIGURES: Final = (
    Figure("small_rate", "messages/s, 64 bytes", aims={DEFAULT.name: _SMALL, WIDE.name: _SMALL}),
    Figure("bulk_64k_rate", "MB/s, messages of 65,536 bytes", 1, aims=_BOTH_BULK),
    Figure("bulk_1m_rate", "MB/s, messages of 1,000,000 bytes", 1, aims=_BOTH_BULK),
    Figure("round_trip_p50", "round trip of 64 bytes, p50, µs", aims={DEFAULT.name: _ROUND_TRIP, WIDE.name: _ROUND_TRIP}),
    Figure("round_trip_p99", "round trip of 64 bytes, p99, µs"),
    Figure("small_rotations", "rotations/s while sending 64 bytes"),
    Figure("small_hop", "token hop while sending 64 bytes, µs"),
    Figure("bulk_rotations", "rotations/s while sending 65,536 bytes"),
    Figure("bulk_hop", "token hop while sending 65,536 bytes, µs"),
    Figure("cmap_rate", "cmap_get requests/s, one program", windows=(DEFAULT,)),
    Figure("cmap_p50", "cmap_get, p50, µs", windows=(DEFAULT,)),
    Figure("cmap_p99", "cmap_get, p99, µs", windows=(DEFAULT,)),
    Figure("notification_p50", "cmap_set to its notification, p50, µs", windows=(DEFAULT,)),
    Figure("notification_p99", "cmap_set to its notification, p99, µs", windows=(DEFAULT,)),
    Figure("idle_cpu", "CPU of an idle node (the busiest), % of a core", 2, windows=(DEFAULT,), aims={DEFAULT.name: _IDLE}),
    Figure("memory", "memory of a node (the largest), PSS, MB", 1, windows=(DEFAULT,), aims={DEFAULT.name: _MEMORY}),
)

Samples = dict[tuple[str, str, str], list[float]]
"""By window, side and figure: one value a repeat."""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure in a window, with the values of each side; a side that was not measured has none."""

    window: Window
    figure: Figure
    ours: Sequence[float]
    stock: Sequence[float]

    @property
    def aim(self) -> Aim | None:
        """What is aimed at, if anything."""
        return self.figure.aims.get(self.window.name)

    @property
    def ratio(self) -> float | None:
        """Our median over the stock daemon's; None where one is missing, or stock's is too small to measure."""
        if not self.ours or not self.stock:
            return None
        below = statistics.median(self.stock)
        return statistics.median(self.ours) / below if below else None

    @property
    def met(self) -> bool | None:
        """Whether the aim is reached; None without an aim, or without the figures that it needs."""
        if self.aim is None or not self.ours:
            return None
        return self.aim.met(statistics.median(self.ours), self.ratio)


def rows(samples: Samples) -> Iterator[Row]:
    """Everything that a run measures, in the order of the table."""
    for window in WINDOWS:
        for figure in FIGURES:
            if window in figure.windows:
                ours, stock = (samples.get((window.name, side, figure.name), []) for side in SIDES)
                yield Row(window, figure, ours, stock)
