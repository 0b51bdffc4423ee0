"""A replicated ledger on a closed process group: every replica has the same entries in the same order, also across partitions.

docs/testing_replicas.md walks through it. The ledger never takes its own delivery for proof that others have an entry; an entry
is acknowledged when every replica of a view of the majority has said that it has it.
"""

from __future__ import annotations

import json
from typing import Protocol

from libcpg.messages import ConfigurationChange, Deliver, TotemConfiguration
from libcpg.session import Event

GROUP = "ledger"
Place = tuple[int, int]
"""(node id, pid) of a replica."""
Entry = tuple[str, int]
"""Name of the request, amount."""


class Member(Protocol):
    """What a replica needs of its cpg connection; a program that runs in earnest wraps libcpg in these two."""

    place: Place

    def join(self, group: str) -> None: ...
    def mcast(self, data: bytes) -> None: ...


class Ledger:
    """One replica of ``replicas``. A process joins once in its life."""

    def __init__(self, replicas: int) -> None:
        self.entries: list[Entry] = []
        self.acknowledged: list[str] = []
        """Requests of this replica whose entries cannot be lost any more while a majority lives."""
        self.delivered_here: list[str] = []
        """Requests of this replica that came back to it: no proof of anything."""
        self._replicas = replicas
        self._member: Member | None = None
        self._wanted: dict[str, int] = {}
        self._ring = 0
        self._view: tuple[Place, ...] = ()
        self._epoch = 0
        """The ring of the last view in which this replica was active."""
        self.active = False
        """Whether this replica is in a view of the majority whose members have one state."""
        self._states: dict[Place, tuple[int, list[Entry]]] = {}
        self._have: dict[str, set[Place]] = {}

    def start(self, member: Member) -> None:
        """Join the group; ``told`` gets everything that the connection says from here on."""
        self._member = member
        member.join(GROUP)

    def add(self, name: str, amount: int) -> None:
        """Ask for an entry; it is asked for again in every new view until it is acknowledged."""
        self._wanted[name] = amount
        if self.active:
            self._say({"add": name, "amount": amount})

    def told(self, event: Event) -> None:
        """An event of the connection, in order."""
        match event:
            case TotemConfiguration(ring_sequence=sequence):
                self._ring = sequence
                self._exchange()
            case ConfigurationChange(members=members):
                self._view = tuple(sorted((member.nodeid, member.pid) for member in members))
                self._exchange()
            case Deliver(nodeid=node_id, pid=pid, data=data):
                self._heard((node_id, pid), json.loads(data))

    def _say(self, message: dict[str, object]) -> None:
        assert self._member is not None
        self._member.mcast(json.dumps(message).encode())

    def _exchange(self) -> None:
        """A new view: nobody goes on before everybody in it has shown what it has."""
        self.active = False
        self._states.clear()
        self._have.clear()
        if self._member is not None and self._member.place in self._view:
            self._say({"view": self._view, "ring": self._ring, "epoch": self._epoch, "entries": self.entries})

    def _heard(self, sender: Place, message: dict[str, object]) -> None:
        match message:
            case {"view": view, "ring": ring, "epoch": int(epoch), "entries": list(entries)}:
                if ring == self._ring and tuple(map(tuple, view)) == self._view and not self.active:
                    self._states[sender] = epoch, [(name, amount) for name, amount in entries]
                    self._perhaps_go_on()
            case {"add": str(name), "amount": int(amount)} if self.active:
                if name not in dict(self.entries):
                    self.entries.append((name, amount))
                if name in self._wanted:
                    self.delivered_here.append(name)
                self._say({"have": name, "ring": self._ring, "in": self._view})
            case {"have": str(name), "ring": ring, "in": view} if self.active:
                if ring == self._ring and tuple(map(tuple, view)) == self._view:
                    self._confirmed(name, sender)

    def _perhaps_go_on(self) -> None:
        """With all states of a majority: take over the newest one, and ask again for what is not acknowledged."""
        if len(self._states) < len(self._view) or 2 * len(self._view) <= self._replicas:
            return
        _, self.entries = max(self._states.values(), key=lambda state: (state[0], len(state[1]), state[1]))
        self.entries = list(self.entries)
        self._epoch, self.active = self._ring, True
        for name, amount in self._wanted.items():
            self._say({"add": name, "amount": amount})

    def _confirmed(self, name: str, by: Place) -> None:
        have = self._have.setdefault(name, set())
        have.add(by)
        if have == set(self._view) and name in self._wanted:
            del self._wanted[name]
            self.acknowledged.append(name)
