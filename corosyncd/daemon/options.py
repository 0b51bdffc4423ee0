"""The command line of the daemon (corosync(8), reference config section 19.1)."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

VERSION = "3.1.7"
"""The version of Corosync whose formats and behaviour this daemon has; tools look at the first dotted number."""
DEFAULT_FILE = Path("/etc/corosync/corosync.yaml")
EXIT_USAGE = 1


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    file: Path
    foreground: bool
    test: bool
    version: bool
    strict: bool
    lock_file: Path | None


class _Parser(argparse.ArgumentParser):
    """argparse with stock's exit status for a wrong command line; the help has the same, since stock's -h is one."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        sys.stderr.write(f"{self.prog}: {message}\n")
        raise SystemExit(EXIT_USAGE)


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        parser.print_help(sys.stderr)
        raise SystemExit(EXIT_USAGE)


def parse(arguments: list[str]) -> Options:
    """Raises SystemExit(1) with a text on standard error for -h and for a wrong command line."""
    parser = _Parser(prog="corosyncd", description="Corosync's cluster engine.", add_help=False)
    parser.add_argument("-h", action=_Help, nargs=0, help="show this help")
    parser.add_argument(
        "-c", dest="file", type=Path, default=DEFAULT_FILE, metavar="FILE", help=f"configuration (default {DEFAULT_FILE})"
    )
    parser.add_argument(
        "-l", dest="lock_file", type=Path, metavar="FILE", help="pid and lock file (default corosync.pid in run_dir)"
    )
    parser.add_argument("-f", dest="foreground", action="store_true", help="stay in the foreground")
    parser.add_argument("-t", dest="test", action="store_true", help="check the configuration and exit")
    parser.add_argument("-v", dest="version", action="store_true", help="show the version and exit")
    parser.add_argument("--strict", action="store_true", help="unknown keys are errors")
    namespace = parser.parse_args(arguments)
    return Options(
        file=namespace.file.absolute(),
        foreground=namespace.foreground,
        test=namespace.test,
        version=namespace.version,
        strict=namespace.strict,
        lock_file=namespace.lock_file.absolute() if namespace.lock_file else None,
    )


def version_text() -> str:
    """What ``-v`` prints."""
    return (
        f"Corosync Cluster Engine, version '{VERSION}'\n"
        "corosyncd, the engine in Python: stock formats on the ring and in the local IPC\n"
        "\n"
        "Available transports: udpu\n"
    )
