"""Many programs, programs that come and go by the thousand, and no room for them: the daemon serves, and keeps nothing.

One daemon of ours in a network and a /dev/shm of its own, so that whatever is found there is its.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.daemon_processes import family
from tests.lab import CHECKOUT, Lab, Node, execute, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

SHARED_MEMORY = "2500m"
"""500 connections take 1.6 GB of it."""
INHERITED_DESCRIPTORS = 256
"""Soft limit that the daemon is started with: too few for the crowd."""
CROWDS, CROWD = 4, 125
CHURNS, CHURN = 2, 5_000
KILLED = 50
"""Per cent of the connections that end by SIGKILL."""
WARM_UP = 1_000
"""Connections after which a process has the memory that it needs."""
GROWTH_LIMIT = 2 << 20
"""Bytes by which a process may grow over the churn: less than one small object of each of its 5,000 connections."""


class Usage(NamedTuple):
    """What the daemon's processes hold: by pid."""

    names: dict[int, str]
    descriptors: dict[int, int]
    memory: dict[int, int]
    """Anonymous bytes: all but files and shared memory."""


def usage(node: Node) -> Usage:
    names = family(node)
    descriptors = {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in names}
    memory = {}
    for pid in names:
        match = re.search(r"^Pss_Anon: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        assert match
        memory[pid] = int(match[1]) << 10
    return Usage(names, descriptors, memory)


def at_rest(node: Node) -> Usage:
    """What they hold without any program, also without the one that waited for the ring to form."""
    wait_until(lambda: connection_folders(node) == [], "the end of earlier connections", explain=node.log)
    return usage(node)


def engine(node: Node, name: str) -> int:
    """The pid of an engine."""
    return next(pid for pid, role in family(node).items() if role == name)


def connection_folders(node: Node) -> list[str]:
    return [name for name in node.run("ls", "/dev/shm").stdout.split() if name.startswith("qb-")]


def python(node: Node, *arguments: str) -> subprocess.Popen[str]:
    """Start tests.interop.crowd."""
    return node.popen("env", f"PYTHONPATH={CHECKOUT}", sys.executable, "-m", "tests.interop.crowd", *arguments)


def line_of(program: subprocess.Popen[str]) -> str:
    """The next line of its output; what it says when it fails is in the error."""
    assert program.stdout is not None
    return program.stdout.readline()


def tell(program: subprocess.Popen[str], line: str) -> None:
    assert program.stdin is not None
    program.stdin.write(line + "\n")
    program.stdin.flush()


@contextmanager
def standing_by(node: Node) -> Iterator[None]:
    """Somebody else's program asks every service something, all the time, and must be answered."""
    program = python(node, "--stand-by")
    assert line_of(program) == "answered 1\n"
    yield
    output, _ = program.communicate()
    assert program.returncode == 0, output
    assert int(output.removeprefix("answered ")) > 1


def settled(node: Node, before: Usage) -> None:
    """Until all that came since is gone: processes, descriptors, shared memory and its mappings."""

    def probe() -> bool:
        now = usage(node)
        assert now.names == before.names
        mapped = [pid for pid in now.names if "/dev/shm/qb-" in Path(f"/proc/{pid}/maps").read_text()]
        return now.descriptors == before.descriptors and connection_folders(node) == mapped == []

    wait_until(probe, "the end of all connections", explain=lambda: f"{before}\n{usage(node)}\n{connection_folders(node)}")


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Lab(1) as lab:
        lab.node(1).run("mount", "-t", "tmpfs", "-o", f"size={SHARED_MEMORY}", "tmpfs", "/dev/shm")
        resource.setrlimit(resource.RLIMIT_NOFILE, (INHERITED_DESCRIPTORS, hard))
        try:
            lab.our_node(1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        lab.wait_ring([1])
        yield lab.node(1)


@pytest.fixture(scope="module")
def churn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("churn") / "churn"
    execute("gcc", "-O2", "-Wall", "-Werror", "-o", program, Path(__file__).with_name("churn.c"), "-lcpg", "-lcmap")
    return program


def test_five_hundred_programs_at_once_are_each_served(node: Node) -> None:
    before = at_rest(node)
    cpg = engine(node, "cpg")
    (limits,) = re.findall(r"^Max open files +(\d+)", Path(f"/proc/{cpg}/limits").read_text(), re.MULTILINE)
    assert int(limits) > CROWDS * CROWD > INHERITED_DESCRIPTORS
    crowds = [python(node, f"crowd {number}", str(CROWD)) for number in range(CROWDS)]
    # The second time, everybody has been there for the first.
    for line in ("hello", "again"):
        for crowd in crowds:
            tell(crowd, line)
        assert [line_of(crowd) for crowd in crowds] == [f"served {CROWD}\n"] * CROWDS
    assert len(connection_folders(node)) == CROWDS * CROWD
    assert len(os.listdir(f"/proc/{cpg}/fd")) >= CROWDS * CROWD
    for crowd in crowds:
        output, _ = crowd.communicate()
        assert (crowd.returncode, output) == (0, "")
    settled(node, before)


def test_ten_thousand_connections_half_of_them_killed_leave_nothing_behind(node: Node, churn: Path) -> None:
    node.run(churn, str(WARM_UP), str(KILLED))
    before = at_rest(node)
    with standing_by(node):
        programs = [node.popen(churn, str(CHURN), str(KILLED)) for _ in range(CHURNS)]
        for program in programs:
            output, _ = program.communicate()
            assert (program.returncode, output) == (0, f"{CHURN}\n")
    settled(node, before)
    grown = {before.names[pid]: size - before.memory[pid] for pid, size in usage(node).memory.items()}
    assert {name: size for name, size in grown.items() if size > GROWTH_LIMIT} == {}


def test_a_program_for_which_there_is_no_shared_memory_is_told_so_and_nobody_else_suffers(node: Node) -> None:
    before = at_rest(node)
    with standing_by(node):
        node.run("mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", "/dev/shm")
        try:
            refused = node.run("corosync-cmapctl", "-g", "totem.cluster_name", check=False)
            assert (refused.returncode, "CS_ERR_NO_SPACE" in refused.stderr) == (1, True), refused.stderr
            for _ in range(3):
                output, _ = python(node, "nobody", "1").communicate()
                assert output.splitlines()[-1].startswith("coroipc.errors.NoSpace")
            assert node.run("ls", "-A", "/dev/shm").stdout == ""
        finally:
            node.run("umount", "/dev/shm")
        assert "lab" in node.run("corosync-cmapctl", "-g", "totem.cluster_name").stdout
    settled(node, before)
