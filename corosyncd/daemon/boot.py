"""From a configuration to a running node: folders, lock, processes, sockets, priorities, in the order that failures need.

Whatever fails before the ring starts is one line for the operator and an exit status (reference config section 19.2); nothing was
sent by then, and every child is gone.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from coroipc.liveness import is_dead
from coroipc.server import files, listener
from corosyncd.config.helper import Outcome, run_beside
from corosyncd.daemon import background, number_store, process
from corosyncd.daemon.engine_links import EngineLinks, EngineSpec
from corosyncd.daemon.fork_server import ForkServer
from corosyncd.daemon.node import Node, Parts
from corosyncd.daemon.number_store import NumberStore
from corosyncd.daemon.options import VERSION
from corosyncd.daemon.pid_lock import LockError, PidLock
from corosyncd.daemon.priority import Priority, lock_memory
from corosyncd.daemon.statistics_keys import Delays, link_keys, ring_keys, transport_keys
from corosyncd.daemon.totem_keys import totem_settings
from corosyncd.executive.executive import Executive
from corosyncd.executive.record import EngineRecord
from corosyncd.keyspace import runtime_keys
from corosyncd.keyspace.key_space import KeySpace
from corosyncd.keyspace.rules import EXPECTED_VOTES_BARRIER, EXPECTED_VOTES_TRACKING_KEYS, VOTEQUORUM_READ_ONLY_KEYS
from corosyncd.keyspace.values import Value, uint32
from corosyncd.link import segments
from corosyncd.log import process as log_process
from corosyncd.log import producer
from corosyncd.log.settings import from_keys
from corosyncd.totem.ring import Ring
from corosyncd.totem.timeouts import derive
from corosyncd.transport.udpu import BindError, UdpuTransport

EXIT_TOTEM = 15
EXIT_STATE_DIRECTORY = 16
EXIT_RUNNING = 18
STATUS_OK = 1
STATUS_INVALID_PARAM = 7
FILE_LIMIT = 65_536
"""Descriptors that a node's processes may have: three rings and a socket a client, hundreds of clients."""

STOCK_ENGINES = (
    ("cmap", "corosyncd.engines.cmap.engine:CmapEngine", "CMAP", True),
    ("cfg", "corosyncd.engines.cfg.engine:CfgEngine", "CFG", True),
    ("cpg", "corosyncd.engines.cpg.engine:CpgEngine", "CPG", True),
    ("pload", "corosyncd.engines.pload.engine:PloadEngine", "PLOAD", False),
    ("mon", "corosyncd.engines.mon.engine:MonEngine", "MON", False),
    ("wd", "corosyncd.engines.wd.engine:WdEngine", "WD", False),
    ("votequorum", "corosyncd.engines.votequorum.engine:VoteQuorumEngine", "VOTEQ", True),
    ("quorum", "corosyncd.engines.quorum.engine:QuorumEngine", "QUORUM", True),
)
"""name, class, log subsystem, whether programs connect; in the order of loading."""


class StartError(Exception):
    """The node cannot start; ``status`` is the exit status."""

    def __init__(self, message: str, status: int) -> None:
        """``message`` is one line that names what failed and what to do."""
        super().__init__(message)
        self.status = status


def prepare_folders(settings: dict[str, Any]) -> None:
    """Make the folders that are missing, and work in the state directory. Raises StartError."""
    for name in ("state_dir", "run_dir", "log_dir"):
        folder = Path(settings[name])
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if name == "log_dir":
                continue  # only a log file there would miss it, and says so itself
            raise StartError(f"cannot make system.{name} {folder}: {error.strerror}", EXIT_STATE_DIRECTORY) from error
    try:
        os.chdir(settings["state_dir"])
    except OSError as error:
        message = f"Cannot chdir to state directory {settings['state_dir']}. {error.strerror}"
        raise StartError(message, EXIT_STATE_DIRECTORY) from error


def sweep_leftovers() -> None:
    """Remove what killed daemons have left in /dev/shm: links, and the IPC folders of processes that no longer live."""
    segments.sweep()
    files.sweep(is_dead)


class Boot:
    """Makes the parts of a node and takes them apart again, in reverse, however far it came."""

    def __init__(self, outcome: Outcome, config_file: Path, strict: bool, lock_file: Path | None) -> None:
        """``outcome`` has no errors."""
        self._outcome = outcome
        self._settings = outcome.settings
        self._config_file = config_file
        self._strict = strict
        self._lock_file = lock_file
        assert outcome.local is not None
        self._local: dict[str, Any] = outcome.local
        self._node_id: int = self._local["node_id"]
        self._addresses = _addresses(outcome)
        """Of the present node list; the executive looks here, too."""
        self._stack = ExitStack()
        self._logging = False
        self._reload_task: asyncio.Task[None] | None = None
        self._reloading = asyncio.Lock()

    def run(self, caller: background.Outcome | None = None) -> int:
        """Start, work, stop; the exit status. Raises StartError, LockError, number_store.StoreError, BindError.

        A ``caller`` that waits is told of the success when nothing of this process can fail any more.
        """
        with self._stack:
            try:
                node = self._make()
                if caller is not None:
                    caller.tell(0)
                return node.run()
            except (StartError, LockError, number_store.StoreError, BindError) as error:
                if self._logging:
                    # In the background nobody sees what the caller prints.
                    producer.write("MAIN", "error", str(error))
                raise

    def _make(self) -> Node:
        prepare_folders(self._settings)
        lock = PidLock(self._lock_file or Path(self._settings["run_dir"]) / "corosync.pid")
        self._stack.callback(lock.release)
        process.raise_descriptor_limit(FILE_LIMIT)
        sweep_leftovers()
        self._start_log()
        write = producer.write
        write("MAIN", "notice", f"Corosync Cluster Engine {VERSION} starting up")
        for warning in self._outcome.warnings:
            write("MAIN", "warning", str(warning))
        engines = self._engines()
        # Before the loop, sockets, real-time priority and locked memory: children should have none of these.
        fork_server = ForkServer.start([path.partition(":")[0] for _name, path, _sub, _ipc, _policy in engines])
        self._stack.callback(fork_server.close)
        ring_sequence, ring_store = self._stored(number_store.ring_sequence(Path.cwd(), self._node_id))
        highest_votes, votes_store = 0, None
        if self._tracks_votes():
            highest_votes, votes_store = self._stored(number_store.highest_expected_votes(Path.cwd()))
        specs = self._listen(engines)
        transport = self._transport()
        self._stack.callback(transport.close)
        process.set_title("executive")
        parameters = derive(self._settings["totem"], self._settings["node_count"])
        priority = Priority(self._settings["sched_rr"], self._settings["priority"], parameters.token, write)
        lock_memory(write)
        loop = _event_loop()
        self._stack.callback(loop.close)
        links = EngineLinks(loop, fork_server, specs, self._node_id, self._settings, write)
        self._stack.callback(links.close)
        ring = Ring(self._node_id, parameters, ring_sequence, loop.time())
        delays = Delays(parameters.token, time.time)
        space = self._key_space(parameters.published)
        if votes_store is not None:
            space.set(EXPECTED_VOTES_BARRIER, uint32(highest_votes), client=False)
        executive = Executive(
            self._node_id,
            ring,
            space,
            [EngineRecord(name, policy) for name, _path, _sub, _ipc, policy in engines],
            self._addresses,
            lambda: self._own_statistics(ring, transport, delays, loop.time()),
            parameters.token_retransmit / 4,
            parameters.token,
        )
        executive.supervision.ran = links.ran
        executive.on_clear("totem", ring.statistics.clear)
        executive.on_clear("knet", transport.counters.clear)
        executive.on_clear("schedmiss", delays.clear)
        self._announce(write)
        parts = Parts(
            ring=ring,
            executive=executive,
            transport=transport,
            ring_store=ring_store,
            votes_store=votes_store,
            links=links,
            priority=priority,
            log=write,
            reload=lambda answer: self._reload(loop, executive, transport, answer),
            reopen_logs=producer.reopen,
            apply_settings=lambda keys: self._apply_settings(ring, executive, keys),
            delays=delays,
        )
        return Node(loop, parts)

    def _stored(self, stored: number_store.Stored) -> tuple[int, NumberStore]:
        """A number of an earlier life, and where its successors go. Raises StoreError."""
        number = stored.load()
        store = NumberStore(stored)
        self._stack.callback(store.close)
        return number, store

    def _tracks_votes(self) -> bool:
        with_votes: bool = self._settings["quorum_provider"] == "corosync_votequorum"
        return with_votes and any(name in EXPECTED_VOTES_TRACKING_KEYS and value.python() for name, value in self._outcome.keys)

    def _start_log(self) -> None:
        child, sock = log_process.start()
        settings, complaints = from_keys(self._outcome.keys, self._settings["log_dir"])
        channel = producer.configure(sock, settings)
        self._logging = True

        def stop() -> None:
            channel.close()
            child.wait()

        self._stack.callback(stop)
        for complaint in complaints:
            producer.write("MAIN", "warning", complaint)

    def _apply_settings(self, ring: Ring, executive: Executive, keys: Sequence[tuple[str, Value]]) -> None:
        """A reload, or a program's change of a key, was taken over: what this process itself goes by.

        A program may set what makes no ring: then the parameters in force stay, and the log says so.
        """
        settings, complaints = from_keys(keys, self._settings["log_dir"])
        producer.apply(settings)
        for complaint in complaints:
            producer.write("MAIN", "warning", complaint)
        try:
            parameters = derive(totem_settings(keys), self._settings["node_count"])
        except ValueError as error:
            producer.write("CFG", "error", f"Configuration is not valid: {error} The parameters in force stay.")
            return
        ring.set_parameters(parameters)
        executive.throttle_delay = parameters.token_retransmit / 4
        executive.keys.publish(self._in_force(parameters.published))

    def _engines(self) -> list[tuple[str, str, str, bool, str]]:
        """(name, class, log subsystem, serves programs, crash policy) of every engine, in the order of loading."""
        with_votes = self._settings["quorum_provider"] == "corosync_votequorum"
        engines = [
            (name, path, subsystem, programs, "restart")
            for name, path, subsystem, programs in STOCK_ENGINES
            if name != "votequorum" or with_votes
        ]
        for extra in self._settings["engines"]:
            engines.append(
                (extra["name"], extra["import"], extra["name"].upper()[:6], True, extra.get("crash_policy", "restart"))
            )
        return engines

    def _listen(self, engines: list[tuple[str, str, str, bool, str]]) -> dict[str, EngineSpec]:
        """Bind every engine's socket now: a successor inherits it, and programs queue instead of being refused."""
        realtime = self._settings["sched_rr"] == "yes"
        specs = {}
        for name, path, subsystem, programs, _policy in engines:
            sock: socket.socket | None = None
            if programs:
                sock = self._listener(name)
                self._stack.callback(listener.close_listener, sock)
            below = 1 if realtime else None
            specs[name] = EngineSpec(name, path, subsystem, sock, below)
        return specs

    def _listener(self, name: str) -> socket.socket:
        instance, directory = self._settings["instance"], self._settings["socket_dir"]
        try:
            return listener.listen(name, instance=instance or None, directory=directory or None)
        except OSError as error:
            where = f"{name}" + (f" of instance {instance}" if instance else "")
            message = (
                f"Another Corosync instance is already running: the socket {where} cannot be had ({error.strerror}). "
                "Stop the other one, or give this one a name of its own with system.instance."
            )
            raise StartError(message, EXIT_RUNNING) from error

    def _transport(self) -> UdpuTransport:
        return UdpuTransport(self._node_id, self._addresses, self._local["port"], block_unlisted=self._blocks_unlisted())

    def _announce(self, log: Callable[[str, str, str], None]) -> None:
        log("TOTEM", "notice", "Initializing transport (UDP/IP Unicast).")
        log("TOTEM", "notice", f"The network interface [{self._local['address']}] is now up.")
        for address in self._addresses.values():
            log("TOTEM", "notice", f"adding new UDPU member {{{address}}}")

    def _blocks_unlisted(self) -> bool:
        unlisted = dict(self._outcome.keys).get("totem.block_unlisted_ips")
        return unlisted is None or unlisted.python() != "no"

    def _in_force(self, published: Mapping[str, int]) -> runtime_keys.Keys:
        """The keys that show the parameters in force."""
        parameters = {**published, "block_unlisted_ips": int(self._blocks_unlisted())}
        return runtime_keys.totem_parameters(parameters, {0: runtime_keys.ping_timers(published["token"])})

    def _key_space(self, published: Mapping[str, int]) -> KeySpace:
        with_votes = self._settings["quorum_provider"] == "corosync_votequorum"
        space = KeySpace(VOTEQUORUM_READ_ONLY_KEYS if with_votes else ())
        pairs = [*self._outcome.keys, *self._in_force(published), *runtime_keys.triggers()]
        for name, value in pairs:
            space.set(name, value, client=False)
        return space

    @staticmethod
    def _own_statistics(ring: Ring, transport: UdpuTransport, delays: Delays, now: float) -> dict[str, list[Any]]:
        ring.statistics.refresh(now)
        links = link_keys(ring.broken_pairs(now))
        return ring_keys(ring.statistics, 1) | links | transport_keys(transport.counters) | delays.keys()

    def _reload(
        self, loop: asyncio.AbstractEventLoop, executive: Executive, transport: UdpuTransport, answer: Callable[[int], None]
    ) -> None:
        """Read the file again in a helper; the keys are applied whole or not at all."""

        async def read() -> None:
            async with self._reloading:  # one by one, or the older file could be taken over last
                outcome = await run_beside(str(self._config_file), self._strict, str(self._node_id))
                take(outcome)

        def take(outcome: Outcome) -> None:
            problems = [str(problem) for problem in outcome.errors] or self._take_nodes(_addresses(outcome), transport)
            for problem in problems:
                producer.write("CFG", "error", f"Unable to reload config file: {problem}")
            if not problems:
                self._settings = outcome.settings
                executive.apply_configuration(outcome.keys, loop.time())
            answer(STATUS_INVALID_PARAM if problems else STATUS_OK)

        self._reload_task = loop.create_task(read())
        self._reload_task.add_done_callback(lambda task: task.result())

    def _take_nodes(self, wanted: dict[int, str], transport: UdpuTransport) -> list[str]:
        """Let nodes of another node list in, and those that it lacks out. What is against it: no node may move, as in stock."""
        known = self._addresses
        moved = [
            f"new config has different address for link 0 (addr changed from {known[node]} to {address}). Internal value was NOT "
            "changed."
            for node, address in wanted.items()
            if known.get(node, address) != address
        ]
        if moved:
            return moved
        try:
            transport.set_members(wanted)
        except BindError as error:
            return [str(error)]
        for node in wanted.keys() - known.keys():
            producer.write("TOTEM", "notice", f"adding new UDPU member {{{wanted[node]}}}")
        for node in known.keys() - wanted.keys():
            producer.write("TOTEM", "notice", f"removing UDPU member {{{known[node]}}}")
        known.clear()
        known.update(wanted)
        return []


def _addresses(outcome: Outcome) -> dict[int, str]:
    """Node id to address."""
    return {node["node_id"]: node["address"] for node in outcome.nodes}


def _event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def start_failed(error: Exception) -> tuple[str, int]:
    """The line and the exit status of a start that failed."""
    if isinstance(error, StartError | LockError):
        return str(error), error.status
    if isinstance(error, number_store.StoreError):
        return str(error), 21
    if isinstance(error, BindError):
        return str(error), EXIT_TOTEM
    raise error
