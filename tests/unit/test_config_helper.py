"""The helper process: the daemon's way to a configuration without importing what reads it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from corosyncd.config import helper
from corosyncd.keyspace.values import uint32

FILE = """\
totem: {version: 2, transport: udpu}
nodelist:
  node:
    - {ring0_addr: 127.0.0.1, name: alpha, nodeid: 1}
    - {ring0_addr: 127.0.0.2, name: beta, nodeid: 2}
    - {ring0_addr: 127.0.0.3, name: gamma, nodeid: 3}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The default is root's; tests that write a file of their own name no state directory.
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    path = tmp_path / "corosync.yaml"
    path.write_text(FILE + f"system: {{state_dir: {tmp_path}, local_node: beta, instance: blue}}\nzzz: {{a: 1}}\n")
    return path


def test_several_nodes_on_loopback_are_told_apart_by_the_hint(file: Path) -> None:
    outcome = helper.run(str(file))
    assert (outcome.errors, outcome.exit_status) == ([], 0)
    assert outcome.local == {"node_id": 2, "position": 1, "address": "127.0.0.2", "family": 4, "port": 5405}
    assert [(node["node_id"], node["address"]) for node in outcome.nodes] == [
        (1, "127.0.0.1"),
        (2, "127.0.0.2"),
        (3, "127.0.0.3"),
    ]
    assert dict(outcome.keys)["totem.version"] == uint32(2)
    assert outcome.settings["instance"] == "blue"
    assert [problem.key for problem in outcome.warnings] == ["zzz"]


def test_strictness_and_the_local_node_come_from_the_command_line_too(file: Path) -> None:
    outcome = helper.run(str(file), strict=True, local_node="gamma")
    assert [problem.key for problem in outcome.errors] == ["zzz"]
    assert outcome.exit_status == 8
    assert outcome.local is not None
    assert outcome.local["position"] == 2


def test_the_helper_is_found_from_any_directory(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert helper.run(file.name).errors == []


def test_the_first_error_in_the_file_gives_the_exit_status(file: Path) -> None:
    file.write_text("logging: {debug: loud}\n" + FILE)
    assert helper.run(str(file), local_node="1").exit_status == 7


def test_an_answer_that_cannot_be_read_is_an_error_with_the_helpers_last_words() -> None:
    outcome = helper.decode("f", b"", b"Traceback\nImportError: yaml\n")
    assert str(outcome.errors[0]) == "f: the process that checks the configuration gave no answer: ImportError: yaml"
    assert outcome.exit_status == 8
    assert helper.decode("f", b"\x01").errors
    assert helper.decode("f", b"\x80").errors


def test_a_helper_that_hangs_is_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("helper", helper.TIMEOUT_SECONDS)

    monkeypatch.setattr(subprocess, "run", hang)
    assert "was not checked within 60 s" in helper.run(str(file)).errors[0].message


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff.yaml")
    outcome = helper.run(path)
    assert outcome.errors[0].file == path


def test_text_output_is_for_people(file: Path) -> None:
    file.write_text(FILE.replace("nodeid: 3", "nodeid: three"))
    line = helper.command(str(file), local_node="1")
    line.insert(3, "--text")
    done = subprocess.run(line, capture_output=True, text=True, env=helper.environment(), check=False)
    assert done.returncode == 8
    begin = f'{file}:6:52: nodelist.node.2.nodeid: found "three"; give a whole decimal number from 0 to 4294967295\n'
    assert done.stderr.startswith(begin)


@pytest.mark.parametrize("module", ["corosyncd.config.helper", "corosyncd.log"])
def test_long_lived_processes_import_nothing_heavy(module: str) -> None:
    heavy = ("yaml", "pydantic", "structlog", "rich")
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in {heavy!r}))"
    assert subprocess.run([sys.executable, "-c", code], env=helper.environment(), check=False).returncode == 0


def test_the_example_file_is_good_under_strict(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "etc" / "corosync.yaml.example"
    path = tmp_path / "corosync.yaml"
    path.write_text(example.read_text() + f"system: {{state_dir: {tmp_path}}}\n")
    outcome = helper.run(str(path), strict=True, local_node="node2")
    assert (outcome.errors, outcome.warnings) == ([], [])
    assert len(outcome.nodes) == 3


def test_beside_a_running_loop_the_answer_is_the_same(file: Path) -> None:
    assert asyncio.run(helper.run_beside(str(file))) == helper.run(str(file))


def test_beside_a_running_loop_a_helper_that_cannot_start_is_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper.sys, "executable", "/no/such/program")
    outcome = asyncio.run(helper.run_beside(str(file)))
    assert "cannot be started: No such file or directory" in str(outcome.errors[0])


def test_beside_a_running_loop_a_helper_that_does_not_end_is_ended(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def remembered(*line: str, **options: Any) -> asyncio.subprocess.Process:
        children.append(await start(*line, **options))
        return children[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", remembered)
    monkeypatch.setattr(helper, "TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(helper, "command", lambda *_arguments, **_options: ["sleep", "1000"])
    outcome = asyncio.run(helper.run_beside(str(file)))
    assert "was not checked within" in str(outcome.errors[0])
    assert children[0].returncode == -signal.SIGKILL
