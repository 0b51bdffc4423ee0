"""Cluster nodes as network namespaces on one switch, for tests beside the distribution's corosync.

Each node has its own network, its own /run, and its own /etc/corosync, /var/lib/corosync and /var/log/corosync; the switch is a
namespace too, so that the host's own network and firewall see nothing of a lab. Addresses are 10.82.<lab>.<node>.
Nothing here waits by sleeping for a fixed time: ``poll`` asks until the answer is right, with a generous limit.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar

from corosyncd.daemon.boot import sweep_leftovers

T = TypeVar("T")

PROGRAMS = ("ip", "nft", "unshare", "nsenter", "corosync", "corosync-quorumtool", "corosync-cmapctl", "corosync-cfgtool")
DEADLINE = 90.0
"""Seconds for anything to happen: a ring forms within a second or two, on a loaded machine later."""
POLL_SECONDS = 0.1
LABS = range(1, 255)
CHECKOUT = Path(__file__).resolve().parent.parent
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """A lab could not be built, or what was waited for did not happen; the text has the node's log."""


def missing_requirements() -> list[str]:
    """What this machine lacks for a lab, in words; empty when nothing."""
    missing = [] if os.geteuid() == 0 else ["root"]
    programs = [name for name in PROGRAMS if shutil.which(name) is None]
    if programs:
        missing.append(f"the programs {', '.join(programs)} (packages iproute2, nftables, util-linux, corosync)")
    return missing


def execute(*command: str | Path, check: bool = True, timeout: float = DEADLINE) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; LabError with its output where it fails and ``check`` is true."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def wait_until(probe: Callable[[], T], what: str, timeout: float = DEADLINE, explain: Callable[[], str] = str) -> T:
    """Ask ``probe`` until its answer is true, and return that; LabError with ``explain()`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout:.0f} s in vain for {what}\n{explain()}")
        time.sleep(POLL_SECONDS)


class Node:
    """One node: a network namespace, private folders, and at most one daemon. Made by a Lab."""

    def __init__(self, lab: Lab, number: int) -> None:
        """``number`` is the node id too."""
        self.lab = lab
        self.number = number
        self.address = f"10.82.{lab.number}.{number}"
        self.namespace = f"{lab.prefix}n{number}"
        self.port = f"{lab.prefix}v{number}"
        self.folder = lab.folder / f"node{number}"
        self.command: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self._children: list[subprocess.Popen[str]] = []
        self._holder: subprocess.Popen[str] | None = None

    # Building and removing

    def build(self) -> None:
        """The namespaces and folders; the daemon comes with ``start``."""
        for name in ("etc", "lib", "log", "run"):
            (self.folder / name).mkdir(parents=True)
        execute("ip", "netns", "add", self.namespace)
        far_end = ("peer", "name", "eth0", "netns", self.namespace)
        execute("ip", "link", "add", self.port, "netns", self.lab.switch, "type", "veth", *far_end)
        execute("ip", "-n", self.lab.switch, "link", "set", self.port, "master", "br0", "up")
        execute("ip", "-n", self.namespace, "address", "add", f"{self.address}/24", "dev", "eth0")
        execute("ip", "-n", self.namespace, "link", "set", "eth0", "up")
        execute("ip", "-n", self.namespace, "link", "set", "lo", "up")
        execute("ip", "-n", self.namespace, "route", "add", "default", "dev", "eth0")
        self._hold()

    def _hold(self) -> None:
        """A sleeping process keeps the private mounts, so that a node's files outlive its daemon."""
        binds = {"etc": "/etc/corosync", "lib": "/var/lib/corosync", "log": "/var/log/corosync"}
        script = "mount -t tmpfs tmpfs /run && "
        script += "".join(f"mkdir -p {to} && mount --bind {self.folder / name} {to} && " for name, to in binds.items())
        # No name server can be reached in here: without this the stock daemon waits for one 6 s and more at start and reload.
        script += "echo 'hosts: files' >/run/nsswitch.conf && mount --bind /run/nsswitch.conf /etc/nsswitch.conf && "
        unshare = ("unshare", "--mount", "--propagation", "private")
        self._holder = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *unshare, "sh", "-c", f"{script} echo ready && exec sleep infinity"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            raise LabError(f"node {self.number}: the mount namespace could not be made")

    def remove(self) -> None:
        """End everything in the namespace and delete it; called by the lab, also after a failed build."""
        for child in (self.process, *self._children, self._holder):
            if child is not None:
                _end(child)
        pids = execute("ip", "netns", "pids", self.namespace, check=False).stdout.split()
        for pid in map(int, pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            remove_shared_memory(pid)
        execute("ip", "netns", "delete", self.namespace, check=False)

    # Programs inside the node

    def enter(self, *command: str | Path) -> list[str]:
        """The command line that runs a command inside the node's namespaces."""
        assert self._holder is not None
        return ["nsenter", f"--target={self._holder.pid}", "--mount", "--net", "--wd=/", "--", *map(str, command)]

    def run(self, *command: str | Path, check: bool = True, timeout: float = DEADLINE) -> subprocess.CompletedProcess[str]:
        """Run a command inside the node to its end; LabError where it fails and ``check`` is true."""
        return execute(*self.enter(*command), check=check, timeout=timeout)

    def popen(
        self, *command: str | Path, stdout: int | IO[str] = subprocess.PIPE, stderr: int | IO[str] = subprocess.STDOUT
    ) -> subprocess.Popen[str]:
        """Start a command inside the node; it is killed with the lab at the latest."""
        child = subprocess.Popen(
            self.enter(*command), stdin=subprocess.PIPE, stdout=stdout, stderr=stderr, text=True, cwd=CHECKOUT
        )
        self._children.append(child)
        return child

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """Sockets that this thread makes inside the block belong to the node, and stay there afterwards.

        A client connected inside the block talks to the node's daemon: abstract socket names are per network.
        """
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.namespace}") as away:
            _enter_network(away)
            try:
                yield
            finally:
                _enter_network(home)

    def poll(self, command: Sequence[str], predicate: Callable[[str], T], what: str, timeout: float = DEADLINE) -> T:
        """Run a command until ``predicate`` likes its output, and return the predicate's answer."""

        def probe() -> T:
            self.check_alive()
            return predicate(self.run(*command, check=False).stdout)

        return wait_until(probe, f"node {self.number}: {what}", timeout, self.log)

    # The daemon

    def start(self) -> None:
        """Start the daemon that ``Lab.stock_node`` or ``Lab.our_node`` configured; does not wait for it."""
        if self.process is not None:
            raise LabError(f"node {self.number} runs already")
        with (self.folder / "log" / "output").open("a") as output:
            self.process = subprocess.Popen(
                self.enter(*self.command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
                env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
            )

    def kill(self, signum: int = signal.SIGKILL) -> int:
        """Send the daemon a signal and wait for its end; returns its exit status, or minus the signal."""
        if self.process is None:
            raise LabError(f"node {self.number} does not run")
        self.process.send_signal(signum)
        return self.wait_end()

    def wait_end(self) -> int:
        """Until the daemon has ended; its exit status, or minus the signal. ``start`` is possible again then."""
        if self.process is None:
            raise LabError(f"node {self.number} does not run")
        process, self.process = self.process, None
        try:
            return process.wait(DEADLINE)
        finally:
            _end(process)

    def stop(self) -> int:
        """An orderly stop by SIGTERM."""
        return self.kill(signal.SIGTERM)

    def check_alive(self) -> None:
        """LabError with the log where the daemon has ended by itself."""
        if self.process is not None and self.process.poll() is not None:
            raise LabError(f"node {self.number}: the daemon ended with {self.process.returncode}\n{self.log()}")

    def log(self, lines: int = 60) -> str:
        """The end of what the daemon has written, for error texts."""
        texts = []
        for path in sorted((self.folder / "log").glob("*")):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            texts.append("\n".join([f"--- {path.name} of node {self.number}", *tail]))
        return "\n".join(texts)

    def members(self) -> frozenset[int]:
        """The node ids that this node's daemon counts as members; empty while it does not answer. Row 0 is a quorum device."""
        output = self.run("corosync-quorumtool", "-l", "-i", check=False).stdout
        rows = (line.split() for line in output.splitlines())
        return frozenset(int(row[0]) for row in rows if row and row[0].isdecimal() and row[0] != "0")

    def wait_members(self, expected: Collection[int], timeout: float = DEADLINE) -> None:
        """Until this node sees exactly these members."""

        def probe() -> bool:
            self.check_alive()
            return self.members() == frozenset(expected)

        wait_until(probe, f"node {self.number}: members {sorted(expected)}", timeout, self.log)

    # The network

    def link(self, up: bool) -> None:
        """Plug the node's cable in or out."""
        execute("ip", "-n", self.lab.switch, "link", "set", self.port, "up" if up else "down")

    def drop(self, permille: int) -> None:
        """Lose that many of 1000 incoming datagrams of the ring (UDP ports 5404 to 5412), at random."""
        self._rule(f"udp dport 5404-5412 numgen random mod 1000 < {permille} drop")

    def block(self, *sources: int, reject: bool = False) -> None:
        """Refuse everything from these nodes silently or, with ``reject``, their datagrams as a firewall that answers."""
        what = "meta l4proto udp reject" if reject else "drop"
        for source in sources:
            self._rule(f"ip saddr {self.lab.node(source).address} {what}")

    def clear_rules(self) -> None:
        """Undo ``drop`` and ``block``."""
        self.run("nft", "flush", "ruleset")

    def _rule(self, rule: str) -> None:
        chain = "add table inet lab; add chain inet lab input { type filter hook input priority 0; }"
        self.run("nft", f"{chain}; add rule inet lab input {rule}")


class Lab:
    """A switch and its nodes, as a context manager: all of it is gone at the end, whatever happened.

    Several labs can exist at once, also in several test runs: each holds a lock on its number.
    """

    def __init__(self, nodes: int = 3) -> None:
        """``nodes`` namespaces, numbered from 1; daemons are started by ``stock_node`` and ``our_node``."""
        self._lock, self.number = _take_number()
        self.prefix = f"cl{self.number}"
        self.switch = f"{self.prefix}sw"
        self.folder = Path(tempfile.mkdtemp(prefix=f"corosyncd-lab{self.number}-"))
        self.nodes = {number: Node(self, number) for number in range(1, nodes + 1)}
        self.nodelist: dict[int, dict[str, object]] = {}
        """What every configuration's nodelist says of each node; a test may change it before it configures."""
        self.list_nodes(self.nodes)

    def list_nodes(self, numbers: Collection[int], votes: Mapping[int, int] | None = None) -> None:
        """Put these nodes, and no others, in the nodelist of what is configured from now on."""
        self.nodelist = {
            number: {"ring0_addr": self.node(number).address, "name": f"node{number}", "nodeid": number}
            | ({"quorum_votes": votes[number]} if votes and number in votes else {})
            for number in numbers
        }

    def __enter__(self) -> Lab:
        """Build the switch and the nodes."""
        try:
            self._sweep()
            execute("ip", "netns", "add", self.switch)
            for bridge in range(len(self.nodes)):  # Bridge 0 is everybody's; the others are for partitions.
                execute("ip", "-n", self.switch, "link", "add", f"br{bridge}", "type", "bridge")
                execute("ip", "-n", self.switch, "link", "set", f"br{bridge}", "up")
            for node in self.nodes.values():
                node.build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove everything."""
        self.close()

    def close(self) -> None:
        """End all processes by id, delete namespaces and folders."""
        try:
            for node in self.nodes.values():
                node.remove()
            execute("ip", "netns", "delete", self.switch, check=False)
            # An engine outlives its killed executive for a moment, and what it leaves then is nobody's until the next start.
            sweep_leftovers()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock.close()

    def _sweep(self) -> None:
        """Namespaces of a test run that was killed: the lock on the number says that nobody uses them."""
        for line in execute("ip", "netns", "list").stdout.splitlines():
            name = line.split()[0] if line.split() else ""
            if name == self.switch or name.startswith(f"{self.prefix}n"):
                for pid in map(int, execute("ip", "netns", "pids", name, check=False).stdout.split()):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    remove_shared_memory(pid)
                execute("ip", "netns", "delete", name, check=False)

    def node(self, number: int) -> Node:
        """A node by its number."""
        return self.nodes[number]

    def stock_node(self, number: int, extra: str = "") -> Node:
        """Configure the distribution's corosync on a node and start it.

        ``extra`` is corosync.conf text behind the lab's own; a key given again replaces the lab's.
        """
        node = self.configure_stock(number, extra)
        node.start()
        return node

    def configure_stock(self, number: int, extra: str = "") -> Node:
        """Write what ``stock_node`` starts with, for the next start or reload."""
        node = self.node(number)
        (node.folder / "etc" / "corosync.conf").write_text(self._stock_configuration() + extra)
        node.command = ["corosync", "-f"]
        return node

    def our_node(self, number: int, **sections: dict[str, object]) -> Node:
        """Configure our daemon on a node and start it; ``sections`` are merged into the lab's YAML a level deep."""
        node = self.configure_ours(number, **sections)
        node.start()
        return node

    def configure_ours(self, number: int, **sections: dict[str, object]) -> Node:
        """Write what ``our_node`` starts with, for the next start or reload."""
        import yaml

        node = self.node(number)
        configuration = self._our_configuration(node)
        for name, section in sections.items():
            configuration[name] = configuration.get(name, {}) | section
        path = node.folder / "etc" / "corosyncd.yaml"
        path.write_text(yaml.safe_dump(configuration, sort_keys=False))
        node.command = [sys.executable, "-m", "corosyncd.daemon", "-f", "-c", str(path)]
        return node

    def _stock_configuration(self) -> str:
        entries = "".join(
            "  node {\n" + "".join(f"    {key}: {value}\n" for key, value in entry.items()) + "  }\n"
            for entry in self.nodelist.values()
        )
        return (
            f"totem {{\n  version: 2\n  cluster_name: lab\n  transport: udpu\n}}\nnodelist {{\n{entries}}}\n"
            "quorum {\n  provider: corosync_votequorum\n}\n"
            "logging {\n  to_stderr: no\n  to_syslog: no\n  to_logfile: yes\n"
            "  logfile: /var/log/corosync/corosync.log\n  timestamp: hires\n}\n"
        )

    def _our_configuration(self, node: Node) -> dict[str, dict[str, object]]:
        return {
            "totem": {"version": 2, "cluster_name": "lab", "transport": "udpu"},
            "nodelist": {"node": [dict(entry) for entry in self.nodelist.values()]},
            "quorum": {"provider": "corosync_votequorum"},
            "logging": {
                "to_stderr": "no",
                "to_syslog": "no",
                "to_logfile": "yes",
                "logfile": str(node.folder / "log" / "corosync.log"),
                "timestamp": "hires",
            },
            "system": {
                "run_dir": str(node.folder / "run"),
                "state_dir": str(node.folder / "lib"),
                "log_dir": str(node.folder / "log"),
            },
        }

    def wait_ring(self, members: Collection[int], timeout: float = DEADLINE) -> None:
        """Until each of these nodes sees exactly these members."""
        for number in members:
            self.node(number).wait_members(members, timeout)

    def partition(self, *groups: Collection[int]) -> None:
        """Only nodes of one group can reach each other; nodes that are named in no group stay with the first."""
        for bridge, group in enumerate(groups):
            for number in group:
                execute("ip", "-n", self.switch, "link", "set", self.node(number).port, "master", f"br{bridge}")

    def heal(self) -> None:
        """Everybody can reach everybody again."""
        self.partition(self.nodes)


def remove_shared_memory(pid: int) -> None:
    """Delete what a killed daemon with that process id left in /dev/shm."""
    for pattern in (f"qb-{pid}-*", f"qb-corosync-{pid}-*"):
        for path in glob.glob(f"/dev/shm/{pattern}"):
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a process that this lab started, unless it has ended; then clean up after it."""
    if process.poll() is None:
        process.kill()
    process.wait(DEADLINE)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()
    remove_shared_memory(process.pid)


def _enter_network(namespace: IO[str]) -> None:
    if _LIBC.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise LabError(f"setns: {os.strerror(number)}")


def _take_number() -> tuple[socket.socket, int]:
    """A lab number that no other run holds; the bound name is the lock, and ends with the process."""
    for number in LABS:
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lock.bind(f"\0corosyncd-lab-{number}")
        except OSError:
            lock.close()
        else:
            return lock, number
    raise LabError("every lab number is in use")
