"""The Service Engine API: what an engine is told, and what it may say.

An engine is a plain object without I/O. Its host process (or the simulator) calls its methods one at a time, in ring order,
and gives it a ``Host`` to speak through. An engine never blocks, never reads a clock and never sleeps.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, NamedTuple, Protocol

from corosyncd.engines.machine import Machine
from corosyncd.keyspace.values import Value
from corosyncd.totem.events import RingId

Buffer = bytes | bytearray | memoryview


class MulticastClass(IntEnum):
    """When a ring message may leave.

    NORMAL waits until the synchronisation round is complete. SYNC is accepted only between this engine's ``sync_step`` and its
    barrier, with the round's ring id, and is dropped otherwise. CURRENT takes whichever queue is in use now.
    """

    NORMAL = 0
    SYNC = 1
    CURRENT = 2


class KeyChange(NamedTuple):
    """One change of the map. ``event`` is 4 added, 2 modified, 1 deleted; a missing side is ``NO_VALUE``."""

    event: int
    name: str
    new: Value
    old: Value


class KeyOperation(NamedTuple):
    """One wish to change the map: ``kind`` is "set", "delete" or "adjust" (``step`` added, wrapping).

    ``permission`` False is the daemon's own change: read-only rules do not apply to it.
    """

    kind: str
    name: str
    value: Value
    step: int = 0
    permission: bool = True


@dataclass(frozen=True, slots=True)
class Description:
    """What the executive and the host must know of an engine before it runs."""

    name: str
    """Short name: the IPC service name and the part of key names (``cpg``)."""
    service_id: int
    """0-7 are the stock engines, 8-63 are free for engines that the configuration loads."""
    load_name: str
    """``corosync_cpg``: the value of ``internal_configuration.service.<id>.name``."""
    title: str
    """What the log says when the engine is loaded."""
    functions: int = 0
    """Number of ring message functions (executive handlers)."""
    requests: int = 0
    """Number of library requests; 0 means that the engine has no socket."""
    flow_controlled: frozenset[int] = frozenset()
    """Requests refused with TRY_AGAIN while the ring has no room or a synchronisation runs."""
    unanswered: frozenset[int] = frozenset()
    """Requests that get no response (CPG mcast): they wait in the client's ring rather than be refused."""
    synchronised: bool = False
    """Whether the engine takes part in the sync round."""
    priority: int = 1
    """Engines stop in descending priority, then ascending id."""
    tracked: tuple[str, ...] = ()
    """Prefixes of the map that the host keeps a replica of; ``""`` is everything."""
    open_during_sync: bool = False
    """votequorum keeps reading requests while a synchronisation runs."""


class Client:
    """One connected program, as its engine sees it; ``state`` is the engine's own."""

    __slots__ = ("gid", "identifier", "pid", "state", "uid")

    def __init__(self, identifier: int, pid: int, uid: int, gid: int) -> None:
        """``identifier`` is unique in this engine process for its whole life (u64, opaque on the ring)."""
        self.identifier = identifier
        self.pid = pid
        self.uid = uid
        self.gid = gid
        self.state: Any = None


class SharedFile(Protocol):
    """A file that a client shares with its engine. The client may change it, and cut it, at any time."""

    size: int
    """Bytes that it had when it was taken."""

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the file. Raises InvalidParameter where it has none (any more)."""

    def write(self, offset: int, data: bytes) -> None:
        """Store bytes in the file. Raises InvalidParameter, NoSpace."""

    def close(self) -> None:
        """Let go of it; to be called when its client goes, at the latest."""


class Host(Protocol):
    """What an engine may say. Nothing here blocks or calls back into the engine."""

    node_id: int
    in_sync: bool
    """True from ``configuration_changed`` until the round is complete (and before the first one)."""
    machine: Machine
    """Readings and devices of the host that this runs on."""

    def now(self) -> float:
        """Seconds on the monotonic clock, as the host read it for this step."""

    def multicast(self, function: int, pieces: Sequence[Buffer], kind: MulticastClass = MulticastClass.NORMAL) -> None:
        """Send a ring message: ``pieces`` follow the 16-byte header (id, size) that the host writes.

        Never refused: the host gates requests so that room is left; see ``room``.
        """

    def multicast_raw(self, message: bytes, kind: MulticastClass = MulticastClass.NORMAL) -> None:
        """Send a complete ring message, header included (CPG JOINLIST has a 24-byte one)."""

    def room(self) -> int:
        """Bytes of NORMAL messages that the ring's queue still takes from this engine."""

    def respond(self, client: Client, response: bytes) -> None:
        """Answer the client's outstanding request; exactly once a request. A client that has gone is ignored."""

    def notify(self, client: Client, event: bytes) -> None:
        """Queue one event for the client, in order. A client past its limit is disconnected and named in the log."""

    def disconnect(self, client: Client, reason: str) -> None:
        """Close one client's connection; ``client_gone`` follows."""

    def take_file(self, client: Client, path: bytes, prefix: str, size: int) -> SharedFile:
        """Open the file ``prefix``XXXXXX of at least ``size`` bytes that the client made in /dev/shm, and remove its name.

        Raises CorosyncError, with the status to answer, for whatever is not a plain file of the client's own user.
        """

    def set_flow_control(self, client: Client, value: int) -> None:
        """Store the flow-control word of one client's request ring (0 go, 1 stop, 2 stop multicasts)."""

    def key(self, name: str) -> Value | None:
        """The value of a key in the local replica (only tracked prefixes are there)."""

    def keys(self, prefix: str = "") -> Iterator[tuple[str, Value]]:
        """Keys of the local replica in byte order."""

    def change_keys(self, operations: Sequence[KeyOperation], token: Hashable = None) -> None:
        """Ask the executive to change the map; with a token, ``keys_changed_result(token, statuses)`` follows
        once every tracking engine has confirmed."""

    def after(self, seconds: float, token: Hashable) -> None:
        """(Re)arm the one timer of that token; ``timer(token)`` follows."""

    def cancel(self, token: Hashable) -> None:
        """Disarm a timer; unknown tokens are ignored."""

    def set_quorate(self, quorate: bool, members: Sequence[int], ring_id: RingId) -> None:
        """Publish a quorum decision; ``quorate_confirmed`` follows when the quorum engine has told its clients."""

    def sync_step_done(self) -> None:
        """The step that ``sync_step`` left open (it returned False) is done: the barrier may go out."""

    def sync_activated(self) -> None:
        """The activation that ``sync_activate`` left open (it returned False) is done."""

    def keep(self, blob: bytes) -> None:
        """Hand over the state that a successor starts with if this process dies."""

    def request_statistics(self, token: Hashable) -> None:
        """Ask for the stats map; ``statistics(token, values)`` follows (a snapshot at most 100 ms old)."""

    def clear_statistics(self, what: str) -> None:
        """Reset counters: ``totem``, ``knet``, ``ipc``, ``schedmiss`` or ``all``."""

    def reload_configuration(self, token: Hashable) -> None:
        """Re-read the configuration file on this node; ``reloaded(token, status)`` follows."""

    def reopen_logs(self) -> None:
        """Close and open the log files again."""

    def shutdown_request(self, reason: str) -> None:
        """Ask for an orderly stop of this node."""

    def fatal(self, status: int, reason: str) -> None:
        """End this node at once, without a leave, with that exit status."""

    def log(self, level: str, message: str) -> None:
        """One line under the engine's own subsystem; level is a stock priority word."""


class Engine:
    """Base of every service engine: an engine overrides what concerns it; the rest does nothing.

    ``description`` is the only thing that must be given. Decoding of ring messages may fail (``ValueError`` or ``struct.error``:
    the host counts and drops them); applying a decoded message may not. An error on one client's request closes that
    connection only.
    """

    description: ClassVar[Description]

    def __init__(self, host: Host, kept: bytes | None = None) -> None:
        """``kept`` is the blob that a dead predecessor had handed over, None at the node's start."""
        self.host = host

    def start(self) -> None:
        """The replica of tracked keys is there. Raise ``ConfigurationError`` to refuse the node's start."""

    def configuration_changed(self, transitional: tuple[int, ...], members: tuple[int, ...], ring_id: RingId) -> None:
        """A regular configuration was installed. ``transitional`` came with us from our last ring (empty on our first)."""

    def sync_step(self) -> bool:
        """Send this engine's sync data. False: not done yet, ``host.sync_step_done()`` will say so."""
        return True

    def sync_activate(self) -> bool:
        """Every node's data of this step was delivered. False: ``host.sync_activated()`` will say when it is applied."""
        return True

    def sync_abort(self) -> None:
        """The round is void: forget its data. Another ``configuration_changed`` follows or preceded."""

    def sync_complete(self) -> None:
        """All engines have activated; clients are served again."""

    def deliver(self, source: int, function: int, message: bytes) -> None:
        """A ring message of this service, header included, from a node; in total order."""

    def request(self, client: Client, request_id: int, body: bytes) -> None:
        """A library request, header included; ``request_id`` is in range, the length is at least 16, nothing else is checked."""

    def client_connected(self, client: Client) -> None:
        """A program has connected."""

    def client_gone(self, client: Client) -> None:
        """A program's connection has ended, for whatever reason; nothing can be sent to it."""

    def keys_changed(self, changes: list[KeyChange]) -> None:
        """Keys of the tracked prefixes changed; the replica has the new values already."""

    def keys_changed_result(self, token: Hashable, statuses: list[int]) -> None:
        """Answer to ``host.change_keys``: one status code (coroipc.errors.Status) an operation."""

    def quorum_changed(self, quorate: bool, members: tuple[int, ...], ring_id: RingId) -> None:
        """The quorum decision; the quorum engine tells its clients here, before votequorum's ``quorate_confirmed``."""

    def quorate_confirmed(self) -> None:
        """The decision given with ``host.set_quorate`` is known everywhere on this node."""

    def statistics(self, token: Hashable, values: Mapping[str, Value]) -> None:
        """Answer to ``host.request_statistics``."""

    def connection_changed(self, added: bool, values: Mapping[str, Value]) -> None:
        """A program has connected to some engine of this node, or is gone: the keys that the stats map has, or had, of it.

        Only cmap is told.
        """

    def reloaded(self, token: Hashable, status: int) -> None:
        """Answer to ``host.reload_configuration``."""

    def timer(self, token: Hashable) -> None:
        """A timer armed with ``host.after`` has expired."""

    def stop(self) -> None:
        """The node stops: last words (ring messages) now; the host closes the clients first."""


class ConfigurationError(Exception):
    """An engine refuses the configuration: the node's start fails with exit status 20 and this text."""
