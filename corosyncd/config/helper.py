"""Starts the process that reads the configuration, and decodes its answer. Imports nothing heavy: for long-lived processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack

from corosyncd.config.problems import STATUS_CONFIGURATION, Problem
from corosyncd.keyspace.values import Value

TIMEOUT_SECONDS = 60.0
"""For name servers that do not answer."""
TOO_SLOW = f"the configuration was not checked within {TIMEOUT_SECONDS:.0f} s; does name resolution work?"
NOT_STARTED = "the process that checks the configuration cannot be started: {}"


@dataclass(slots=True)
class Outcome:
    """The helper's answer; see ``corosyncd.config.load.Loaded``. With errors only these and ``warnings`` are of use."""

    keys: list[tuple[str, Value]] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    errors: list[Problem] = field(default_factory=list)
    local: dict[str, Any] | None = None
    nodes: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """What the daemon ends with if it cannot go on: that of the first error in the file; 0 without errors."""
        return self.errors[0].status if self.errors else 0


def command(path: str, *, strict: bool = False, local_node: str = "") -> list[str]:
    """The helper's command line."""
    line = [sys.executable, "-m", "corosyncd.config", *(["--strict"] if strict else [])]
    return [*line, *(["--local-node", local_node] if local_node else []), "--", path]


def environment() -> dict[str, str]:
    """The helper's environment: it finds this package wherever the daemon's working directory is."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH", "")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def decode(path: str, answer: bytes, complaint: bytes = b"") -> Outcome:
    """The helper's answer; an answer that cannot be read becomes one error that holds ``complaint``, its stderr."""
    try:
        document = msgpack.unpackb(answer, unicode_errors="surrogateescape")
        return Outcome(
            keys=[(name, Value(kind, data)) for name, kind, data in document["keys"]],
            warnings=[Problem(**problem) for problem in document["warnings"]],
            errors=[Problem(**problem) for problem in document["errors"]],
            local=document["local"],
            nodes=document["nodes"],
            settings=document["settings"],
        )
    except (ValueError, TypeError, KeyError):
        last_line = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return failed(path, f"the process that checks the configuration gave no answer: {last_line or 'it ended silently'}")


def failed(path: str, message: str) -> Outcome:
    """The outcome of a helper that could not do its work."""
    return Outcome(errors=[Problem(path, 0, 0, "", "", "", message, STATUS_CONFIGURATION)])


async def run_beside(path: str, strict: bool = False, local_node: str = "") -> Outcome:
    """As ``run``, for a process with a running event loop, which goes on meanwhile."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command(path, strict=strict, local_node=local_node),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        return failed(path, NOT_STARTED.format(error.strerror))
    try:
        answer, complaint = await asyncio.wait_for(process.communicate(), TIMEOUT_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        return failed(path, TOO_SLOW)
    return decode(path, answer, complaint)


def run(path: str, strict: bool = False, local_node: str = "") -> Outcome:
    """Read a configuration file in a process of its own.

    Blocks, at most TIMEOUT_SECONDS; whatever goes wrong is an error in the outcome, not an exception.
    """
    try:
        process = subprocess.run(
            command(path, strict=strict, local_node=local_node),
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return failed(path, TOO_SLOW)
    except OSError as error:
        return failed(path, NOT_STARTED.format(error.strerror))
    return decode(path, process.stdout, process.stderr)
