"""What is wrong or doubtful in a configuration: collected whole, each with its place and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

STATUS_LOGGING = 7
STATUS_CONFIGURATION = 8
STATUS_STATE_DIRECTORY = 16
"""Exit statuses of the daemon, reference config section 19.2."""

MAXIMUM_PROBLEMS = 200
"""Errors, and warnings, that are kept one by one; what follows is counted."""


class Place(NamedTuple):
    """Where in which file; lines and columns count from 1, 0 where the whole file is meant."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """``file:line:column`` as editors understand it."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """One error or warning.

    ``message`` says what is wrong and what to do; ``status`` is the daemon's exit status, 0 for a warning.
    """

    file: str
    line: int
    column: int
    key: str
    found: str
    allowed: str
    message: str
    status: int

    def __str__(self) -> str:
        """``file:line:column: key: message``."""
        place = str(Place(self.file, self.line, self.column))
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"

    def document(self) -> dict[str, Any]:
        """As a plain mapping, for the helper's answer."""
        return asdict(self)


class Problems:
    """Errors and warnings in the order in which they were found."""

    def __init__(self) -> None:
        """None yet."""
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self._uncounted = {"errors": 0, "warnings": 0}

    def error(
        self, place: Place, key: str, message: str, *, found: str = "", allowed: str = "", status: int = STATUS_CONFIGURATION
    ) -> None:
        """The configuration cannot be used."""
        if len(self.errors) < MAXIMUM_PROBLEMS:
            self.errors.append(Problem(*place, key, found, allowed, message, status))
        else:
            self._uncounted["errors"] += 1

    def warning(self, place: Place, key: str, message: str, *, found: str = "", allowed: str = "") -> None:
        """The configuration can be used, though perhaps not as meant."""
        if len(self.warnings) < MAXIMUM_PROBLEMS:
            self.warnings.append(Problem(*place, key, found, allowed, message, 0))
        else:
            self._uncounted["warnings"] += 1

    def finished(self) -> tuple[list[Problem], list[Problem]]:
        """Errors and warnings, each in the order of the file, with a last line for those beyond the limit."""
        answer = []
        for kind, problems in (("errors", self.errors), ("warnings", self.warnings)):
            ordered = sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column))
            more = self._uncounted[kind]
            if more:
                last = ordered[-1]
                ordered.append(Problem(last.file, 0, 0, "", "", "", f"and {more} more {kind}; correct these first", last.status))
            answer.append(ordered)
        return answer[0], answer[1]
