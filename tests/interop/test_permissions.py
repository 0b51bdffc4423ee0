"""Who may connect to the daemon: root, its own user, and whom the configuration names. Needs root, to be somebody else."""

from __future__ import annotations

import os
from typing import Any

import pytest

from coroipc.errors import CorosyncError, Status
from libcpg import Cpg
from tests.cluster.harness import Cluster

pytestmark = pytest.mark.interop

STRANGER = 4711
"""A user and group that no account has."""


def status_for(instance: str, uid: int, gid: int) -> Status:
    """What a process of that user and group is answered when it connects to the cpg service."""
    child = os.fork()
    if child == 0:
        status = 0
        try:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            with Cpg(instance=instance) as cpg:
                cpg.local_nodeid()
                status = Status.OK
        except CorosyncError as error:
            status = error.status
        finally:
            os._exit(status)
    return Status(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def test_a_stranger_is_refused_and_named_in_the_log() -> None:
    with Cluster(1) as cluster:
        node = cluster[1]
        node.connect(Cpg).close()
        assert status_for(node.instance, STRANGER, STRANGER) is Status.ACCESS
        node.wait_logged(f"Denied connection attempt from {STRANGER}:{STRANGER}")


@pytest.mark.parametrize("entry", [{"uid": str(STRANGER)}, {"gid": str(STRANGER)}])
def test_whom_the_configuration_names_is_let_in(entry: dict[str, Any]) -> None:
    with Cluster(1, uidgid=[entry]) as cluster:
        node = cluster[1]
        node.connect(Cpg).close()
        assert status_for(node.instance, STRANGER, STRANGER) is Status.OK
        assert status_for(node.instance, STRANGER + 1, STRANGER + 1) is Status.ACCESS
        assert not node.logged(f"Denied connection attempt from {STRANGER}:{STRANGER}\n")
