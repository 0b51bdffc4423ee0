"""``python -m corosyncd.config FILE``: the helper process that reads and checks a configuration file.

The daemon's long-lived processes import neither YAML nor pydantic: they start this one and decode its answer (see ``helper``).
"""

from __future__ import annotations

import argparse
import os
import sys

import msgpack

from corosyncd.config.load import Loaded, load
from corosyncd.config.problems import STATUS_CONFIGURATION


def main(arguments: list[str] | None = None) -> int:
    """Write the answer to stdout; 0, or the exit status of the first error."""
    parser = argparse.ArgumentParser(prog="python -m corosyncd.config", description="Check a configuration file of corosyncd.")
    parser.add_argument("file", help="the YAML file")
    parser.add_argument("--strict", action="store_true", help="unknown and obsolete keys are errors")
    parser.add_argument("--local-node", default="", metavar="NODE", help="name, address or node id of this host's node")
    parser.add_argument("--text", action="store_true", help="write errors and warnings as lines for people")
    options = parser.parse_args(arguments)
    loaded = load(options.file, strict=options.strict, hint=options.local_node)
    if options.text:
        _write_text(loaded)
    else:
        answer = msgpack.packb(loaded.document(), unicode_errors="surrogateescape")
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()
    return loaded.errors[0].status if loaded.errors else 0


def _write_text(loaded: Loaded) -> None:
    for problem in loaded.errors:
        print(f"{problem}", file=sys.stderr)
    for problem in loaded.warnings:
        print(f"{problem} (warning)", file=sys.stderr)
    if not loaded.errors:
        print(f"the configuration is good: {len(loaded.nodes)} nodes, {len(loaded.keys)} keys, {len(loaded.warnings)} warnings")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(STATUS_CONFIGURATION)
