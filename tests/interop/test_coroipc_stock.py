"""coroipc against the distribution's corosync and C libraries: our client with their daemon, their clients with our server."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coroipc.caller import BlockingCaller
from coroipc.errors import CorosyncError, LibraryError, NotExist
from coroipc.messages import RESPONSE_HEADER, request
from tests.lab import CHECKOUT, Lab, Node, wait_until

pytestmark = pytest.mark.interop

PATIENCE = 30.0
GET = 2


def _get(key: bytes, buffer_length: int = 16) -> bytes:
    return request(GET, struct.pack("=H6x256sQ", len(key), key, buffer_length))


@pytest.fixture
def node() -> Iterator[Node]:
    with Lab(1) as lab:
        yield lab.node(1)


def test_our_client_makes_a_thousand_gets_from_a_stock_daemon(node: Node) -> None:
    node.lab.stock_node(1)

    def connect() -> BlockingCaller | None:
        try:
            with node.network():
                return BlockingCaller("cmap", timeout=PATIENCE)
        except CorosyncError:
            return None

    with wait_until(connect, "the daemon's cmap service", explain=node.log) as caller:  # type: ignore[union-attr]
        for _ in range(1000):
            answer = caller.call(_get(b"totem.version"), PATIENCE)
            length, kind = struct.unpack_from("=QB", answer, RESPONSE_HEADER.size)
            assert (len(answer), length, kind, answer[40:44]) == (56, 4, 6, struct.pack("=I", 2))
        with pytest.raises(NotExist):
            caller.call(_get(b"no.such.key"), PATIENCE)
        node.kill()
        with pytest.raises(LibraryError):
            caller.call(_get(b"totem.version"), PATIENCE)


@pytest.fixture
def served(node: Node) -> Iterator[Node]:
    """A node where our server plays cmap."""
    script = CHECKOUT / "tests/data/coroipc_cmap_server.py"
    server = node.popen("env", f"PYTHONPATH={CHECKOUT}", sys.executable, script, stderr=subprocess.DEVNULL)
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    yield node
    output, _ = server.communicate(timeout=PATIENCE)
    assert server.returncode == 0
    assert set(output.splitlines()) == {"gone: the client has gone"}


def test_cmapctl_reads_a_key_from_our_server(served: Node) -> None:
    assert served.run("corosync-cmapctl", "-g", "totem.version").stdout == "totem.version (u32) = 2\n"
    assert served.run("corosync-cmapctl", "-g", "no.such.key", check=False).returncode != 0


def test_a_c_program_makes_a_thousand_gets_and_takes_more_events_than_a_ring_holds(served: Node, tmp_path: Path) -> None:
    program = tmp_path / "client"
    source = CHECKOUT / "tests/data/coroipc_cmap_client.c"
    subprocess.run(["gcc", "-O1", "-o", str(program), str(source), "-lcmap"], check=True)
    assert served.run(program, timeout=PATIENCE).stdout == "1001 gets, 2000 events\n"
