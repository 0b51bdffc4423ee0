"""The synchronisation round: every service in turn, a barrier of all members behind each.

Source: reference services section 2.2, design "A round of sync". No time-out exists in stock: a node that owes a barrier
holds the whole ring, so every barrier is answered, also for services that this node lacks.

A round at one node::

    regular configuration -> close gates -> SERVICE_BUILD from all -> for each service id, ascending:
        step (the engine hands over its data) -> BARRIER from all -> activate
    -> complete

What arrives is counted when it is delivered, not when this node's engines have caught up: the barrier that completes the
last step ends the round for the ring's queues at that very place of the total order, on every node alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Protocol

from corosyncd.executive import sync_wire
from corosyncd.totem.events import NO_RING, RingId


class Phase(Enum):
    """Where this node stands in the round."""

    WAITING = auto()
    """No regular configuration yet, or the round was aborted."""
    CLOSING_GATES = auto()
    """Engines close their gates to clients; SERVICE_BUILD goes out after the last answer."""
    BUILDING = auto()
    """Waiting for every member's SERVICE_BUILD."""
    STEPPING = auto()
    """The local engine of the present service hands over its data; our barrier follows."""
    BARRIER = auto()
    """Our barrier is out; waiting for the others'."""
    ACTIVATING = auto()
    """All barriers of all steps are here; local engines have yet to apply theirs."""
    COMPLETE = auto()
    """No round is open."""


class Port(Protocol):
    """What a round does to its surroundings."""

    def send_sync(self, message: bytes) -> None:
        """Multicast to group ``sync`` on the queue of the round."""

    def close_gates(self) -> bool:
        """Ask every engine to close its gate; True when nothing has to be waited for."""

    def step(self, service: int) -> bool:
        """Ask the local engine for its sync data; False when this node lacks the service."""

    def activate(self, service: int) -> bool:
        """Ask the local engine to apply the step; False when this node lacks the service."""

    def abort(self) -> None:
        """The round is void: every engine forgets its data."""

    def round_ended(self) -> None:
        """The last barrier of the round was delivered: the ring's queues go back to normal, here in the order."""

    def complete(self) -> None:
        """Every local engine has activated: gates open."""


class Sync:
    """The state of this node's synchronisation; ``in_process`` is what holds clients back."""

    __slots__ = (
        "_activating",
        "_barriers",
        "_index",
        "_local",
        "_port",
        "_services",
        "_waiting",
        "in_process",
        "members",
        "phase",
        "queue_open",
        "ring_id",
        "transitional",
    )

    def __init__(self, port: Port) -> None:
        """In process from the start: nobody is served before the first round is complete."""
        self._port = port
        self.in_process = True
        self.queue_open = True
        """Whether the ring serves the queue of the round: until the last barrier, even if engines here have still to activate."""
        self.phase = Phase.WAITING
        self.ring_id: RingId = NO_RING
        self.members: tuple[int, ...] = ()
        self.transitional: tuple[int, ...] = ()
        self._local: list[int] = []
        self._services: list[int] = []
        self._index = 0
        self._waiting: set[int] = set()
        self._barriers: set[int] = set()
        self._activating: list[int] = []

    @property
    def service(self) -> int | None:
        """The service whose step is open at this node, None outside of steps."""
        if self.phase in (Phase.STEPPING, Phase.BARRIER) and self._index < len(self._services):
            return self._services[self._index]
        return None

    def start(self, transitional: Iterable[int], members: tuple[int, ...], ring_id: RingId, local: Iterable[int]) -> None:
        """A regular configuration was installed; ``local`` are the ids of this node's synchronised services."""
        if self.in_process and self.phase is not Phase.WAITING:
            self._port.abort()
        self.in_process = self.queue_open = True
        self.ring_id = ring_id
        self.members = members
        self.transitional = tuple(node for node in transitional if node in members)
        self._local = sorted(local)
        self._services = list(self._local)
        self._index = 0
        self._waiting = set(members)
        self._barriers = set()
        self._activating = []
        self.phase = Phase.CLOSING_GATES
        if self._port.close_gates():
            self.gates_closed(ring_id)

    def abandon(self) -> None:
        """A transitional configuration was installed: the open round can never be completed."""
        if self.in_process and self.phase is not Phase.WAITING:
            self._port.abort()
        self.in_process = True
        self.phase = Phase.WAITING
        self.ring_id = NO_RING

    def gates_closed(self, ring_id: RingId) -> None:
        """The last engine has closed its gate for that ring: say which services we synchronise."""
        if self.phase is Phase.CLOSING_GATES and ring_id == self.ring_id:
            self.phase = Phase.BUILDING
            self._port.send_sync(sync_wire.encode_service_build(ring_id, self._local))

    def deliver(self, source: int, message: bytes) -> None:
        """A message of group ``sync``, in total order; raises ValueError when it is malformed."""
        decoded = sync_wire.decode(message)
        if decoded.ring_id != self.ring_id or self.phase is Phase.WAITING or source not in self.members:
            return
        if isinstance(decoded, sync_wire.ServiceBuild):
            self._service_build(source, decoded.services)
        else:
            self._barrier(source)

    def step_done(self, service: int, ring_id: RingId) -> None:
        """The local engine has handed over all its data of the step: our barrier may follow it."""
        if self.phase is Phase.STEPPING and ring_id == self.ring_id and service == self.service:
            self._send_barrier()

    def activated(self, service: int, ring_id: RingId) -> None:
        """The local engine has applied a step."""
        if ring_id == self.ring_id and service in self._activating:
            self._activating.remove(service)
            self._complete_when_activated()

    def waits_for(self, service: int) -> bool:
        """Whether the round cannot go on without a word of the local engine: its data, or that it has activated."""
        return (self.phase is Phase.STEPPING and service == self.service) or service in self._activating

    def _service_build(self, source: int, services: tuple[int, ...]) -> None:
        if self.phase not in (Phase.CLOSING_GATES, Phase.BUILDING):
            return
        self._services = sorted(set(self._services) | set(services))
        self._waiting.discard(source)
        if not self._waiting:
            if self._services:
                self._enter_step()
            else:
                self._end_round()

    def _barrier(self, source: int) -> None:
        self._barriers.add(source)
        if len(self._barriers) < len(self.members) or self.phase is not Phase.BARRIER:
            return
        service = self._services[self._index]
        self._index += 1
        self._barriers = set()
        if self._port.activate(service):
            self._activating.append(service)
        if self._index == len(self._services):
            self._end_round()
        else:
            # At once, though this step is not applied yet: what other nodes send in the next one may follow right behind this
            # barrier, and the next engine has to say what is its own before it hears them.
            self._enter_step()

    def _end_round(self) -> None:
        self.phase = Phase.ACTIVATING
        self.queue_open = False
        self._port.round_ended()
        self._complete_when_activated()

    def _complete_when_activated(self) -> None:
        if self.phase is Phase.ACTIVATING and not self._activating:
            self.phase = Phase.COMPLETE
            self.in_process = False
            self._port.complete()

    def _enter_step(self) -> None:
        self.phase = Phase.STEPPING
        if not self._port.step(self._services[self._index]):
            self._send_barrier()

    def _send_barrier(self) -> None:
        self.phase = Phase.BARRIER
        self._port.send_sync(sync_wire.encode_barrier(self.ring_id))
