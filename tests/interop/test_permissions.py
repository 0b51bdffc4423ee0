"""Who may connect to the daemon: root, its own user, and whom the configuration names. Needs root, to be somebody else."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from coroipc.errors import CorosyncError, Status
from corosyncd.executive.record import DEATH_LIMIT
from libcfg import Cfg
from libcmap import Cmap, ValueType
from libcpg import Cpg
from tests.cluster.harness import Cluster, Node, eventually

pytestmark = pytest.mark.interop

STRANGER = 4711
"""A user and group that no account has."""
CONNECTIONS = 3


def become(uid: int, gid: int, supplementary: list[int]) -> None:
    os.setgroups(supplementary)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def status_for(instance: str, uid: int, gid: int, supplementary: tuple[int, ...] = ()) -> Status:
    """What a process of that user and group is answered when it connects to the cpg service."""
    child = os.fork()
    if child == 0:
        status = 0
        try:
            become(uid, gid, list(supplementary))
            with Cpg(instance=instance) as cpg:
                cpg.local_nodeid()
                status = Status.OK
        except CorosyncError as error:
            status = error.status
        finally:
            os._exit(status)
    return Status(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


@contextmanager
def held(instance: str, uid: int, gid: int, count: int) -> Iterator[None]:
    """So many connections of that user, until the end of the block."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            ours.close()
            become(uid, gid, [])
            with ExitStack() as stack:
                for _ in range(count):
                    stack.enter_context(Cpg(instance=instance)).local_nodeid()
                theirs.send(b"held")
                theirs.recv(1)
        finally:
            os._exit(0)
    theirs.close()
    try:
        assert ours.recv(4) == b"held"
        yield
    finally:
        ours.close()
        os.waitpid(child, 0)


def folder_entry(node: Node, name: str, text: str) -> None:
    """A file in the folder beside the node's configuration."""
    folder = node.file.parent / "uidgid.d"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def test_a_stranger_is_refused_and_named_in_the_log() -> None:
    with Cluster(1) as cluster:
        node = cluster[1]
        node.connect(Cpg).close()
        assert status_for(node.instance, STRANGER, STRANGER) is Status.ACCESS
        node.wait_logged(f"Denied connection attempt from {STRANGER}:{STRANGER}")
        assert status_for(node.instance, STRANGER, STRANGER, (0,)) is Status.ACCESS
        assert status_for(node.instance, STRANGER, 0) is Status.OK


@pytest.mark.parametrize("entry", [{"uid": str(STRANGER)}, {"gid": str(STRANGER)}])
def test_whom_the_configuration_names_is_let_in(entry: dict[str, Any]) -> None:
    with Cluster(1, uidgid=[entry]) as cluster:
        node = cluster[1]
        node.connect(Cpg).close()
        assert status_for(node.instance, STRANGER, STRANGER) is Status.OK
        assert status_for(node.instance, STRANGER + 1, STRANGER + 1) is Status.ACCESS
        assert not node.logged(f"Denied connection attempt from {STRANGER}:{STRANGER}\n")


def test_whom_a_file_of_the_folder_or_the_map_names_is_let_in_as_long_as_it_does() -> None:
    with Cluster(1, start=False) as cluster:
        node = cluster[1]
        folder_entry(node, "first.yaml", f"uidgid: {{uid: {STRANGER}}}\n")
        cluster.start()
        cmap, cfg = node.connect(Cmap), node.connect(Cfg)
        assert status_for(node.instance, STRANGER, STRANGER) is Status.OK
        assert status_for(node.instance, STRANGER + 1, STRANGER + 1) is Status.ACCESS

        folder_entry(node, "first.yaml", "uidgid: []\n")
        folder_entry(node, "second.yaml", f"uidgid: {{gid: [{STRANGER + 1}]}}\n")
        cfg.reload_configuration()
        assert status_for(node.instance, STRANGER, STRANGER) is Status.ACCESS
        assert status_for(node.instance, STRANGER, STRANGER + 1) is Status.OK

        cmap.set(f"uidgid.uid.{STRANGER}", 1, ValueType.UINT8)
        assert status_for(node.instance, STRANGER, STRANGER) is Status.OK
        cmap.set(f"uidgid.uid.{STRANGER}", 0, ValueType.UINT8)
        assert status_for(node.instance, STRANGER, STRANGER) is Status.ACCESS
        for library in (cmap, cfg):
            library.close()


def test_one_user_cannot_take_all_connections_of_a_service() -> None:
    users = [{"uid": [str(STRANGER), str(STRANGER + 1)]}]
    with Cluster(1, uidgid=users, system={"user_connection_limit": CONNECTIONS}) as cluster:
        node = cluster[1]
        node.connect(Cpg).close()
        with held(node.instance, STRANGER, STRANGER, CONNECTIONS):
            assert status_for(node.instance, STRANGER, STRANGER) is Status.LIBRARY
            assert status_for(node.instance, STRANGER + 1, STRANGER + 1) is Status.OK
            with held(node.instance, 0, 0, CONNECTIONS + 1):
                pass
        eventually(lambda: status_for(node.instance, STRANGER, STRANGER) is Status.OK, "the end of its connections", node.log)


def cut_own_files(instance: str, uid: int) -> None:
    """A process of that user attaches, cuts the files that it shares with the engine, and says that there is a request."""
    child = os.fork()
    if child == 0:
        try:
            become(uid, uid, [])
            cpg = Cpg(instance=instance)
            for folder in Path("/dev/shm").glob(f"qb-*-{os.getpid()}-*"):
                for file in folder.iterdir():
                    os.truncate(file, 0)
            os.write(cpg.fileno(), b"!")
            select.select([cpg], [], [])
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def test_a_user_whose_program_killed_an_engine_is_named_and_not_let_in_again() -> None:
    with Cluster(1, uidgid=[{"uid": [str(STRANGER), str(STRANGER + 1)]}]) as cluster:
        node = cluster[1]
        with node.connect(Cmap) as cmap:
            for _ in range(DEATH_LIMIT + 1):
                node.connect(Cpg).close()
                cut_own_files(node.instance, STRANGER)
                node.wait_logged("killed by SIGBUS while it used the memory of process")
                node.connect(Cpg).close()
                assert status_for(node.instance, STRANGER, STRANGER) is Status.ACCESS
                assert status_for(node.instance, STRANGER + 1, STRANGER + 1) is Status.OK
            assert node.logged("Engine cpg has died") == node.logged(f"of user {STRANGER}, who may not connect") == 1
            assert cmap.get("nodelist.local_node_pos") == 0
