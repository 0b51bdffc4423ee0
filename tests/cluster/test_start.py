"""A daemon that cannot start says why in words, ends with the status that stands for it, and leaves nobody behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.cluster.harness import DEADLINE, Cluster, Node, eventually

USAGE, CONFIGURATION, TOTEM, STATE_DIRECTORY, RUNNING, SERVICE, RING_STORE = 1, 8, 15, 16, 18, 20, 21
"""Exit statuses, as in corosync(8)'s sources."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(2, start=False) as unformed:
        yield unformed


@pytest.fixture
def node(cluster: Cluster) -> Node:
    return cluster[1]


def refusal(node: Node) -> tuple[int, list[str]]:
    """Start a daemon that ends by itself, children and all: its exit status, and its own lines."""
    node.start()
    status = node.wait_end()
    lines = node.output.read_text().splitlines()
    return status, [line for line in lines if line.startswith(("corosyncd: ", str(node.folder)))]


def command(node: Node, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        node.command(*options),
        env=node.environment(),
        cwd=node.folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def wrong(node: Node) -> None:
    """Write a configuration with three errors, on lines 2, 4 and 8."""
    nodes = "".join(f"    - {{ring0_addr: 127.0.0.{number}, nodeid: 1}}\n" for number in (1, 2))
    system = f"system:\n  state_dir: {node.state}\n"
    node.file.write_text(f"totem:\n  version: 3\n  transport: udpu\n  token: soon\nnodelist:\n  node:\n{nodes}{system}")


def test_a_wrong_configuration_is_answered_with_all_its_errors_and_nothing_is_started(node: Node) -> None:
    wrong(node)
    status, lines = refusal(node)
    assert status == CONFIGURATION
    assert [line.split(": ")[:2] for line in lines] == [
        [f"{node.file}:2:12", "totem.version"],
        [f"{node.file}:4:10", "totem.token"],
        [f"{node.file}:8:39", "nodelist.node.1.nodeid"],
    ]
    assert not node.logged("starting up")


def test_a_file_in_the_format_of_corosync_conf_is_named_as_such(node: Node) -> None:
    node.file.write_text("totem {\n\tversion: 2\n}\n")
    status, lines = refusal(node)
    assert status == CONFIGURATION
    assert len(lines) == 1
    assert "written in the format of corosync.conf" in lines[0]


def test_a_missing_file_is_named(node: Node) -> None:
    node.file.unlink()
    status, lines = refusal(node)
    assert status == CONFIGURATION
    assert lines == [f"{node.file}: cannot read the file: No such file or directory"]


def test_a_configuration_without_a_transport_says_which_one_to_write(cluster: Cluster, node: Node) -> None:
    cluster.configure(node, totem={"transport": "knet"})
    node.file.write_text(node.file.read_text().replace("  transport: knet\n", ""))
    status, lines = refusal(node)
    assert status == CONFIGURATION
    assert len(lines) == 1
    assert "totem.transport" in lines[0]
    assert "'transport: udpu'" in lines[0]


def test_a_port_in_use_is_named(cluster: Cluster, node: Node) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((node.address, cluster.port))
        status, lines = refusal(node)
    assert status == TOTEM
    assert lines == [f"corosyncd: cannot bind UDP {node.address} port {cluster.port}: Address already in use"]


def test_in_the_background_the_caller_and_the_log_say_why(cluster: Cluster, node: Node) -> None:
    logfile = node.folder / "corosync.log"
    cluster.configure(node, logging={"to_stderr": "no", "to_logfile": "yes", "logfile": str(logfile)})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((node.address, cluster.port))
        done = command(node)
        eventually(lambda: not node.family(), f"the end of {node.family()}", node.log)
    reason = f"cannot bind UDP {node.address} port {cluster.port}: Address already in use"
    assert (done.returncode, done.stderr) == (TOTEM, f"corosyncd: {reason}\n")
    assert reason in logfile.read_text()


def test_in_the_background_a_second_daemon_is_refused_to_its_caller(cluster: Cluster) -> None:
    first, second = cluster
    done = command(first)
    assert (done.returncode, done.stderr) == (0, "")
    eventually(lambda: "corosyncd: votequorum" in first.family().values(), "its engines", first.log)
    pid_file = first.folder / "corosync.pid"
    cluster.configure(second, system={"run_dir": str(first.folder)})
    done = command(second)
    assert (done.returncode, done.stderr) == (
        RUNNING,
        f"corosyncd: Another Corosync instance is already running (it holds {pid_file}).\n",
    )
    os.kill(int(pid_file.read_text()), signal.SIGTERM)
    eventually(lambda: not first.family(), "the end of the first", first.log)


@pytest.mark.parametrize("option", ["-h", "-Z"])
def test_help_and_a_wrong_option_end_with_stock_s_status(node: Node, option: str) -> None:
    done = command(node, option)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr.startswith("usage: corosyncd ")


def test_an_address_that_is_not_the_hosts_is_named(cluster: Cluster, node: Node) -> None:
    node.file.write_text(node.file.read_text().replace(node.address, "192.0.2.1"))
    status, lines = refusal(node)
    assert status == TOTEM
    assert lines == [f"corosyncd: cannot bind UDP 192.0.2.1 port {cluster.port}: Cannot assign requested address"]


def test_a_second_daemon_is_refused_by_the_pid_file_and_by_the_sockets_and_the_first_goes_on(cluster: Cluster) -> None:
    first, second = cluster
    first.start()
    first.wait_ready()
    cluster.configure(second, system={"run_dir": str(first.folder)})
    assert refusal(second) == (
        RUNNING,
        [f"corosyncd: Another Corosync instance is already running (it holds {first.folder}/corosync.pid)."],
    )
    second.output.unlink()
    cluster.configure(second, system={"instance": first.instance})
    status, lines = refusal(second)
    assert status == RUNNING
    assert len(lines) == 1
    assert f"of instance {first.instance} cannot be had" in lines[0]
    first.wait_members({1})
    assert first.process is not None
    assert (first.folder / "corosync.pid").read_text() == f"{first.process.pid}\n"


def test_a_missing_state_directory_is_named(node: Node) -> None:
    node.state.rmdir()
    status, lines = refusal(node)
    assert status == STATE_DIRECTORY
    assert len(lines) == 1
    assert f"the state directory {node.state} cannot be used: it does not exist" in lines[0]


def test_a_ring_id_file_that_cannot_be_read_is_named(node: Node) -> None:
    file = node.state / "ringid_1"
    file.mkdir()
    status, lines = refusal(node)
    assert status == RING_STORE
    assert lines == [f"corosyncd: cannot use the ring id file {file}: Is a directory"]


def test_what_votequorum_refuses_ends_the_start_before_anything_is_sent(cluster: Cluster, node: Node) -> None:
    device = {"model": "net", "votes": 1, "net": {"host": "qnetd.example.org", "algorithm": "ffsplit"}}
    cluster.configure(node, quorum={"two_node": 1, "device": device})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((cluster[2].address, cluster.port))
        peer.setblocking(False)
        status, _ = refusal(node)
        with pytest.raises(BlockingIOError):
            peer.recv(1)
    assert status == SERVICE
    assert node.logged("failed to load for reason 'configuration error: two_node and quorum device")


def test_a_configuration_can_be_checked_without_a_start(node: Node) -> None:
    assert command(node, "-t").returncode == 0
    wrong(node)
    bad = command(node, "-t")
    assert bad.returncode == CONFIGURATION
    assert len(bad.stderr.splitlines()) == 3
    assert list(node.state.iterdir()) == []


def test_the_version_is_told_in_stocks_words(node: Node) -> None:
    told = command(node, "-v")
    assert told.returncode == 0
    assert told.stdout.startswith("Corosync Cluster Engine, version '3.1.")


def test_a_wrong_command_line_is_answered_with_the_usage(node: Node) -> None:
    answer = command(node, "-x")
    assert answer.returncode == USAGE
    assert answer.stderr.startswith("usage: ")
    assert answer.stdout == ""
