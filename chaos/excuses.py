"""Known defects of the stock daemon that a trial meets: excused at stock nodes only, each by its number in the reference."""

from __future__ import annotations

from typing import Final

EXCUSES: Final[dict[int, str]] = {}
"""By the number of the property that the defect breaks."""


def find(property_number: int, at_stock: bool) -> str | None:
    """The known defect that explains a violation, seen by a program of a stock node or not; None where none does."""
    return EXCUSES.get(property_number) if at_stock else None
