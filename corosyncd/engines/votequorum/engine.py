"""The votequorum engine: what the host tells it, and which part answers.

``ballot`` holds the count that all nodes keep alike, ``device`` the local quorum device, ``library`` the clients' requests,
``publication`` the way a decision becomes known. Here are the engine's life, its configuration and its part in a round.

Source: votequorum(5), votequorum_overview(3), reference services section 4.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import ClassVar, Final

from coroipc.errors import Status
from corosyncd.engines.engine import Client, Description, Engine, Host, KeyChange, KeyOperation, MulticastClass
from corosyncd.engines.votequorum import configuration, kept, wire
from corosyncd.engines.votequorum.ballot import WINDOW_TIMER, Ballot
from corosyncd.engines.votequorum.configuration import CANCEL_WAITING_KEY, PREFIXES, Settings
from corosyncd.engines.votequorum.decision import Votes
from corosyncd.engines.votequorum.device import DEVICE_TIMER, Device
from corosyncd.engines.votequorum.kept import Kept
from corosyncd.engines.votequorum.library import Library
from corosyncd.engines.votequorum.nodes import Node, NodeFlag, NodeState
from corosyncd.engines.votequorum.publication import Publication
from corosyncd.engines.votequorum.runtime_keys import RuntimeKeys
from corosyncd.engines.votequorum.trackers import Trackers
from corosyncd.keyspace.rules import EXPECTED_VOTES_BARRIER
from corosyncd.keyspace.values import uint8
from corosyncd.totem.events import RingId
from libvotequorum.messages import Request

RELOADING_KEY: Final = "config.totemconfig_reload_in_progress"
RELOAD_STATUS_KEY: Final = "config.reload_status"


class VoteQuorumEngine(Engine):
    """Service 5."""

    description: ClassVar[Description] = Description(
        name="votequorum",
        service_id=5,
        load_name="corosync_votequorum",
        title="corosync vote quorum service v1.0",
        functions=len(wire.Function),
        requests=len(Request),
        synchronised=True,
        priority=2,
        tracked=(*PREFIXES, RELOADING_KEY, RELOAD_STATUS_KEY, EXPECTED_VOTES_BARRIER),
        open_during_sync=True,
    )

    def __init__(self, host: Host, kept: bytes | None = None) -> None:
        """Nothing is known before ``start``: the configuration is read there."""
        super().__init__(host, kept)
        self._predecessor = kept
        self._kept: Kept | None = None
        self._reread = False
        self._trackers = Trackers(host)
        self._publication = Publication(host, self._trackers)
        self._keys = RuntimeKeys(host)
        self._ballot: Ballot
        self._device: Device
        self._library: Library

    # Life -------------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Read the configuration, take over what a predecessor kept, and announce this node once."""
        if self._predecessor is None:
            barrier = self._stored_barrier()
            reading = configuration.read_at_start(self.host, self.host.node_id, barrier)
            self._log(reading.notices)
            self._assemble(Kept(self._first_votes(reading.settings, barrier), reading.settings))
            self._ballot.send_own_info()
        else:
            self._succeed(kept.decode(self._predecessor))
        self._settle()

    def _succeed(self, state: Kept) -> None:
        self._assemble(state)
        if state.window_open:
            self._ballot.open_window()
        if state.settings.fingerprint != configuration.fingerprint(self.host):
            self._read_again()

    def _assemble(self, state: Kept) -> None:
        self._ballot = Ballot(self.host, state.votes, state.settings, self._trackers, self._publication)
        self._device = Device(self.host, self._ballot, state.device_name)
        self._library = Library(self.host, self._ballot, self._device, self._trackers)

    def _first_votes(self, settings: Settings, barrier: int) -> Votes:
        own_id = self.host.node_id
        us = Node(own_id, settings.votes, settings.expected_votes, NodeFlag.FIRST, NodeState.MEMBER)
        votes = Votes(
            own_id=own_id,
            nodes={own_id: us},
            rules=settings.rules,
            device_votes=settings.device_votes,
            expected_barrier=settings.expected_votes,
            tracking_barrier=barrier,
        )
        return votes.with_waiting(settings.rules.wait_for_all)

    def _stored_barrier(self) -> int:
        """The tracking barrier that survived an earlier life of this node: whoever keeps it on disk sets the key before the
        start, and tracks it. An engine has no files."""
        value = self.host.key(EXPECTED_VOTES_BARRIER)
        number = value.python() if value is not None else 0
        return number if isinstance(number, int) else 0

    def stop(self) -> None:
        """With allow_downscale the others learn that this node leaves for good and expect fewer votes."""
        if self._ballot.votes.rules.allow_downscale:
            self._ballot.set_own_flags(NodeFlag.LEAVING)
            self._ballot.send_own_info()

    # Ring and rounds --------------------------------------------------------------------------------------------------------

    def configuration_changed(self, transitional: tuple[int, ...], members: tuple[int, ...], ring_id: RingId) -> None:
        """See ``Ballot.ring_changed`` and ``Device.ring_changed``."""
        self._ballot.ring_changed(members, ring_id)
        self._device.ring_changed()
        self._settle()

    def sync_step(self) -> bool:
        """Our votes first: peers must know a node before they hear of its device. A live device holds our barrier back."""
        self._ballot.send_own_info(MulticastClass.SYNC)
        self._ballot.send_device_info(MulticastClass.SYNC)
        if self._device.name:
            self._ballot.send(wire.DeviceRegistration(True, self._device.name), MulticastClass.SYNC)
        self._trackers.tell_node_list(self._ballot.votes)
        return self._device.sync_step()

    def sync_activate(self) -> bool:
        """Decide and publish; done when the decision is known (``quorate_confirmed``)."""
        self._ballot.activate()
        self._settle()
        return False

    def sync_abort(self) -> None:
        """What peers said stays: it is said again, and replaced, in the next round."""
        self._device.sync_abort()

    def quorate_confirmed(self) -> None:
        """See ``Publication``."""
        self._publication.confirmed()

    def deliver(self, source: int, function: int, message: bytes) -> None:
        """A ring message; ValueError or struct.error where it makes no sense."""
        match wire.decode(function, message):
            case wire.NodeInfo() as info:
                self._ballot.node_info(source, info)
            case wire.Reconfigure() as order:
                self._ballot.reconfigure(order)
            case wire.DeviceRegistration() as registration:
                self._device.registration(source, registration)
            case wire.DeviceRename() as rename:
                self._device.renamed(rename)
        self._settle()

    def timer(self, token: Hashable) -> None:
        """The last_man_standing window or the device's silence has lasted."""
        if token == WINDOW_TIMER:
            self._ballot.window_expired()
        elif token == DEVICE_TIMER:
            self._device.timed_out()
        self._settle()

    # Clients ----------------------------------------------------------------------------------------------------------------

    def request(self, client: Client, request_id: int, body: bytes) -> None:
        """See ``Library``."""
        self._library.answer(client, request_id, body)
        self._settle()

    def client_gone(self, client: Client) -> None:
        """Its tracking and a registration under way end."""
        self._trackers.remove(client)
        self._device.client_gone(client)

    # Configuration ----------------------------------------------------------------------------------------------------------

    def keys_changed(self, changes: list[KeyChange]) -> None:
        """An order to stop waiting, single keys, or the end of a reload (during one the keys are in disarray)."""
        names = {change.name for change in changes}
        if CANCEL_WAITING_KEY in names and self._number(CANCEL_WAITING_KEY, 0):
            self.host.change_keys([KeyOperation("set", CANCEL_WAITING_KEY, uint8(0), permission=False)])
            self._ballot.send(wire.Reconfigure(self.host.node_id, 0, wire.Parameter.CANCEL_WAITING))
        configured = any(name.startswith(PREFIXES) for name in names - {CANCEL_WAITING_KEY})
        reloaded = RELOADING_KEY in names and self._number(RELOAD_STATUS_KEY, Status.OK) == Status.OK
        if (configured or reloaded) and not self._number(RELOADING_KEY, 0):
            self._read_again()
        self._settle()

    def _read_again(self) -> None:
        ballot = self._ballot
        # last_man_standing may be off by now, for good, and the device's votes are the ring's.
        rules = replace(ballot.settings.rules, last_man_standing=ballot.votes.rules.last_man_standing)
        in_force = replace(ballot.settings, rules=rules, device_votes=ballot.votes.device_votes)
        try:
            reading = configuration.read_again(
                self.host,
                self.host.node_id,
                ballot.votes.tracking_barrier,
                in_force,
                device_registered=self._device.registered,
            )
        except configuration.Conflict as conflict:
            self.host.log("crit", f"{conflict} The present settings stay in force")
            return
        self._log(reading.notices)
        self._reread = True
        ballot.apply(reading.settings)

    def _number(self, name: str, default: int) -> int:
        value = self.host.key(name)
        number = value.python() if value is not None else default
        return number if isinstance(number, int) else default

    def _log(self, notices: tuple[tuple[str, str], ...]) -> None:
        for level, text in notices:
            self.host.log(level, text)

    def _settle(self) -> None:
        """After every step: the map shows, and the executive keeps, what has changed."""
        ballot = self._ballot
        self._keys.show(ballot.votes, ballot.settings, again=self._reread)
        state = Kept(ballot.votes, ballot.settings, self._device.name, ballot.window_open)
        if state != self._kept:
            self._kept = state
            self.host.keep(state.encode())
