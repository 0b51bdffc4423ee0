"""Clusters of real daemons on this machine's loopback addresses, as an ordinary user may run them.

A node's processes are found by their working directory, which is inside the cluster's folder. What a node does is learnt from
events: readiness (each completed synchronisation) from the init system's socket, membership from the quorum library. Only what
has no event is polled (``eventually``). At the end of a cluster all of it must be gone, or that is an error.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import yaml

from coroipc.errors import CorosyncError, TryAgain
from corosyncd.daemon.boot import sweep_leftovers
from libquorum import Quorum, QuorumNotification, Track

T = TypeVar("T")

DEADLINE = 60.0
"""Seconds for anything to happen on a loaded machine; nothing takes so long on an idle one."""
POLL_SECONDS = 0.02
CHECKOUT = Path(__file__).resolve().parents[2]
LOG_LINES = 60
PORTS = range(12_000, 30_000)
"""Below the range from which the kernel takes ports for others."""
_SHARED_MEMORY = re.compile(r"qb-(\d+)-(\d+)-\d+-.{6}|(?:sem\.)?corosyncd-(\d+)-.*")


class ClusterError(Exception):
    """What was waited for did not happen, or something was left behind; the text has the nodes' logs."""


def eventually(probe: Callable[[], T], what: str, explain: Callable[[], str] = str, timeout: float = DEADLINE) -> T:
    """Ask ``probe`` until its answer is true, and return that. For what has no event to wait for."""
    deadline = time.monotonic() + timeout
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {timeout:.0f} s in vain for {what}\n{explain()}")
        time.sleep(POLL_SECONDS)


def environment() -> dict[str, str]:
    """For a process that finds this checkout's packages before all others."""
    paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def processes_in(folder: Path) -> dict[int, str]:
    """Pid and title of every process that works inside a folder."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        with contextlib.suppress(OSError):
            where = os.readlink(f"/proc/{entry}/cwd")
            if where != str(folder) and not where.startswith(f"{folder}/"):
                continue
            title = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if title:  # A zombie has none, and works nowhere.
                found[int(entry)] = title
    return found


def free_port(addresses: Iterable[str]) -> int:
    """A UDP port that is free on all these addresses."""
    for port in random.sample(PORTS, 100):
        with contextlib.ExitStack() as stack:
            try:
                for address in addresses:
                    stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind((address, port))
            except OSError:
                continue
            return port
    raise ClusterError("no free UDP port")


class Node:
    """One daemon and its folders. Made by a Cluster; ``number`` is its node id too."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        """Nothing runs before ``start``."""
        self.cluster = cluster
        self.number = number
        self.address = f"127.0.0.{number}"
        self.instance = f"{cluster.name}-{number}"
        self.folder = cluster.folder / f"node{number}"
        self.state = self.folder / "state"
        self.file = self.folder / "corosync.yaml"
        self.process: subprocess.Popen[bytes] | None = None
        self.pids: set[int] = set()
        """Every process of this node that was ever seen."""
        self.state.mkdir(parents=True)
        self._readiness = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._readiness.setblocking(False)
        self._readiness.bind(f"\0{self.instance}")

    # The daemon's life

    def command(self, *options: str) -> list[str]:
        """The command line of this node's daemon."""
        return [sys.executable, "-m", "corosyncd.daemon", "-c", str(self.file), *options]

    def environment(self) -> dict[str, str]:
        """What this node's daemon runs with."""
        return environment() | {"NOTIFY_SOCKET": f"@{self.instance}"}

    def start(self) -> None:
        """Start the daemon; does not wait for it."""
        assert self.process is None, f"node {self.number} runs already"
        self.forget_readiness()
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.command("-f"),
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.pids.add(self.process.pid)

    def signal(self, number: int) -> None:
        """Send a signal to the executive."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait_end(self) -> int:
        """Until the daemon has ended: its exit status, or minus the signal's number. None of its processes lives longer."""
        assert self.process is not None
        self.family()
        try:
            status = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise ClusterError(f"node {self.number} does not end\n{self.log()}") from None
        self.process = None
        eventually(lambda: not self.family(), f"the end of {self.family()}", self.log)
        return status

    def stop(self) -> int:
        """An orderly stop; the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait_end()

    def kill(self) -> None:
        """Kill the executive, as the kernel would for want of memory."""
        self.signal(signal.SIGKILL)
        assert self.wait_end() == -signal.SIGKILL

    # What can be seen of it

    @property
    def output(self) -> Path:
        """The file with everything that the daemon writes."""
        return self.folder / "output"

    def log(self, lines: int = LOG_LINES) -> str:
        """The end of what the daemon has written."""
        return "\n".join([f"--- node {self.number} ({self.family() or 'not running'})", *self.written().splitlines()[-lines:]])

    def logged(self, text: str) -> int:
        """How often a text stands in the log."""
        return self.written().count(text)

    def written(self) -> str:
        """Everything that the daemon has written."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def wait_logged(self, text: str, count: int = 1) -> None:
        """Until a text stands in the log so often."""
        eventually(lambda: self.logged(text) >= count, f"{text!r} in the log of node {self.number}", self.log)

    def family(self) -> dict[int, str]:
        """Pid and title of all its processes."""
        found = processes_in(self.folder)
        self.pids |= found.keys()
        return found

    def engine(self, name: str) -> int:
        """The pid of an engine's process. Waits for it."""

        def probe() -> list[int]:
            self.check_alive()
            return [pid for pid, title in self.family().items() if title == f"corosyncd: {name}"]

        return eventually(probe, f"engine {name} of node {self.number}", self.log)[0]

    def check_alive(self) -> None:
        """Raises ClusterError where the daemon has ended by itself."""
        if self.process is None or self.process.poll() is not None:
            status = "is not started" if self.process is None else f"ended with status {self.process.returncode}"
            raise ClusterError(f"node {self.number} {status}\n{self.log()}")

    # Events

    def forget_readiness(self) -> None:
        """What was completed until now does not count in ``wait_ready``."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._readiness.recv(4096)

    def wait_ready(self) -> None:
        """Until a synchronisation is completed: one since the start, since ``forget_readiness``, or since the last call."""
        assert self.process is not None
        deadline = time.monotonic() + DEADLINE
        end = os.pidfd_open(self.process.pid)
        try:
            while True:
                ready = select.select([self._readiness.fileno(), end], [], [], max(0.0, deadline - time.monotonic()))[0]
                if self._readiness.fileno() in ready:
                    if self._readiness.recv(4096) == b"READY=1":
                        return
                elif ready:
                    self.check_alive()
                else:
                    raise ClusterError(f"node {self.number} is not ready\n{self.cluster.logs()}")
        finally:
            os.close(end)

    def connect(self, library: Callable[..., T]) -> T:
        """A connection to one of this node's services; engines that are synchronising, or just back, are asked again."""

        def probe() -> T | None:
            self.check_alive()
            try:
                return library(instance=self.instance)
            except TryAgain:
                return None

        connection = eventually(probe, f"a connection to node {self.number}", self.cluster.logs)
        assert connection is not None
        return connection

    @contextlib.contextmanager
    def quorum(self) -> Iterator[Quorum]:
        """A quorum connection that tracks changes, beginning with the present state."""
        with self.connect(Quorum) as quorum:
            quorum.trackstart(Track.CURRENT | Track.CHANGES)
            yield quorum

    def wait_members(self, members: Collection[int], *, quorate: bool | None = None) -> QuorumNotification:
        """Until the quorum service tells its programs of exactly these members (and of quorum, or of none)."""
        with self.quorum() as quorum:
            return self.next_membership(quorum, members, quorate=quorate)

    def next_membership(self, quorum: Quorum, members: Collection[int], *, quorate: bool | None = None) -> QuorumNotification:
        """As ``wait_members``, on a connection that tracks already."""
        deadline = time.monotonic() + DEADLINE
        last = None
        try:
            while (remaining := deadline - time.monotonic()) > 0:
                event = quorum.next_event(remaining)
                if isinstance(event, QuorumNotification):
                    last = event
                    if set(event.members) == set(members) and quorate in (None, event.quorate):
                        return event
        except CorosyncError as error:
            raise ClusterError(f"node {self.number}: {error}\n{self.cluster.logs()}") from error
        raise ClusterError(f"node {self.number}: members {sorted(members)} never came, but {last}\n{self.cluster.logs()}")

    # Its end

    def discard(self) -> None:
        """End whatever is left of it, without manners."""
        for pid in self.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.kill()
            self.process.wait(DEADLINE)
            self.process = None
        self._readiness.close()


class Cluster:
    """Several nodes with one configuration, as a context manager. Afterwards no process and nothing in /dev/shm is left of it."""

    existing: ClassVar[list[Cluster]] = []
    """Whoever reports a failure shows the logs of these."""

    def __init__(self, nodes: int = 3, *, start: bool = True, **sections: dict[str, Any] | list[Any]) -> None:
        """``sections`` of the configuration are merged into the usual one, a level deep. ``start``: form the ring at once."""
        self.folder = Path(tempfile.mkdtemp(prefix="corosyncd-cluster-"))
        self.name = self.folder.name.removeprefix("corosyncd-")
        self.nodes = {number: Node(self, number) for number in range(1, nodes + 1)}
        self.port = free_port(node.address for node in self.nodes.values())
        self.sections = sections
        self._start = start
        self._programs: list[subprocess.Popen[Any]] = []
        for node in self.nodes.values():
            self.configure(node)

    def __enter__(self) -> Cluster:
        """The cluster, formed unless told otherwise."""
        Cluster.existing.append(self)
        if self._start:
            try:
                self.start()
            except BaseException:
                self._end()
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop everything. Raises ClusterError when a node does not stop in order or leaves something."""
        complaints = self._end()
        if complaints and error is None:
            raise ClusterError("\n".join(complaints))

    def __getitem__(self, number: int) -> Node:
        """A node."""
        return self.nodes[number]

    def configuration(self, node: Node) -> dict[str, Any]:
        """One node's configuration, as its file has it."""
        usual: dict[str, Any] = {
            "totem": {
                "version": 2,
                "cluster_name": self.name,
                "transport": "udpu",
                "interface": [{"linknumber": 0, "mcastport": self.port}],
            },
            "nodelist": {
                "node": [{"ring0_addr": each.address, "name": f"node{each.number}", "nodeid": each.number} for each in self]
            },
            "quorum": {"provider": "corosync_votequorum"},
            "logging": {"to_stderr": "yes", "to_syslog": "no", "timestamp": "hires"},
            "system": {
                "instance": node.instance,
                "run_dir": str(node.folder),
                "state_dir": str(node.state),
                "log_dir": str(node.folder),
                "local_node": str(node.number),
                "sched_rr": "no",
            },
        }
        for name, section in self.sections.items():
            usual[name] = {**usual.get(name, {}), **section} if isinstance(section, dict) else section
        return usual

    def configure(self, node: Node, **changes: dict[str, Any]) -> None:
        """Write a node's file, with ``changes`` merged in a level deep."""
        configuration = self.configuration(node)
        for name, section in changes.items():
            configuration[name] = {**configuration.get(name, {}), **section}
        node.file.write_text(yaml.safe_dump(configuration, sort_keys=False))

    def __iter__(self) -> Iterator[Node]:
        """The nodes, by number."""
        return iter(self.nodes.values())

    def start(self) -> None:
        """Start all nodes and wait until each sees all."""
        for node in self:
            node.start()
        for node in self:
            node.wait_ready()
        for node in self:
            node.wait_members(self.nodes)

    def program(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a Python program with this checkout's packages; it ends with the cluster at the latest."""
        child = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._programs.append(child)
        return child

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(node.log() for node in self)

    def _end(self) -> list[str]:
        """Stop in order what runs, remove what is left; what was not as it should be."""
        complaints = []
        try:
            for program in self._programs:
                program.kill()
                program.communicate()
            for node in self:
                node.family()
                if node.process is not None:
                    node.signal(signal.SIGTERM)
            for node in self:
                if node.process is not None:
                    status = node.wait_end()
                    if status != 0:
                        complaints.append(f"node {node.number} ended with status {status}\n{node.log()}")
        except ClusterError as error:
            complaints.append(str(error))
        for node in self:
            node.discard()
            if node.logged("Traceback"):
                complaints.append(f"an exception in the log of node {node.number}\n{node.log(300)}")
        # What killed nodes left is removed by the next start of any daemon, which this stands for.
        sweep_leftovers()
        left = self._left_in_shared_memory()
        if left:
            complaints.append(f"left in /dev/shm: {left}")
        Cluster.existing.remove(self)
        shutil.rmtree(self.folder, ignore_errors=True)
        return complaints

    def _left_in_shared_memory(self) -> list[str]:
        servers = {str(pid) for node in self for pid in node.pids}
        clients = {str(program.pid) for program in self._programs}
        left = []
        for name in os.listdir("/dev/shm"):
            match = _SHARED_MEMORY.fullmatch(name)
            if match and ({match[1], match[3]} & servers or match[2] in clients):
                left.append(name)
        return left
