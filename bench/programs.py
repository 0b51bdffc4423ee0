"""The C programs that make the load: compiled for a run, started inside nodes, and their one line of JSON."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.lab import DEADLINE, Node, wait_until

SOURCES = Path(__file__).resolve().parent


class MissingRequirement(Exception):
    """This machine lacks something that a run needs; the text is one sentence."""


class BenchError(Exception):
    """A program failed, or what it saw is wrong."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The compiled programs, and a folder for what they write."""

    folder: Path
    cpg_load: Path
    cmap_load: Path


@contextlib.contextmanager
def compiled() -> Iterator[Programs]:
    """Compile the programs into a folder that is gone at the end. Raises MissingRequirement."""
    with TemporaryDirectory(prefix="corosyncd-bench-") as name:
        folder = Path(name)
        cpg_load = _compile(folder, "cpg_load", "-lcpg", "-lcmap")
        cmap_load = _compile(folder, "cmap_load", "-lcmap")
        yield Programs(folder, cpg_load, cmap_load)


def _compile(folder: Path, name: str, *libraries: str) -> Path:
    program = folder / name
    command = ["gcc", "-std=gnu11", "-O2", "-o", str(program), str(SOURCES / f"{name}.c"), *libraries]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = next(
            (line for line in done.stderr.splitlines() if "error" in line or "cannot find" in line), done.stderr.strip()
        )
        raise MissingRequirement(
            f"bench/{name}.c does not compile, which needs a C library's headers and libcpg and libcmap "
            f"(packages libc6-dev, libcpg-dev, libcmap-dev): {reason}."
        )
    return program


class Client:
    """One program inside a node; the lab kills it at the latest when it ends itself."""

    def __init__(self, node: Node, output: Path, *command: str | Path) -> None:
        """Start ``command``; what it says goes to the file ``output``."""
        self.node = node
        self._output = output
        self._what = f"{Path(command[0]).name} {' '.join(map(str, command[1:]))} on node {node.number}"
        with output.open("w") as stream:
            self._process = node.popen(*command, stdout=stream)

    def wait_ready(self) -> None:
        """Until the program has said that it is ready. Raises BenchError, LabError."""

        def probe() -> bool:
            self.node.check_alive()
            if self._process.poll():
                raise self._failure(f"exit status {self._process.returncode}")
            return "ready\n" in self._output.read_text()

        wait_until(probe, f"{self._what} to be ready", explain=self.node.log)

    def result(self, timeout: float = DEADLINE) -> dict[str, Any]:
        """Wait for the program's end and return its report. Raises BenchError, LabError."""

        def probe() -> bool:
            self.node.check_alive()
            return self._process.poll() is not None

        wait_until(probe, f"the end of {self._what}", timeout, self.node.log)
        if self._process.returncode != 0:
            raise self._failure(f"exit status {self._process.returncode}")
        lines = self._output.read_text().splitlines()
        try:
            report = json.loads(lines[-1])
        except (IndexError, ValueError):
            raise self._failure("no report") from None
        if not isinstance(report, dict):
            raise self._failure("no report")
        return report

    def _failure(self, what: str) -> BenchError:
        return BenchError(f"{self._what}: {what}\n{self._output.read_text()}")
