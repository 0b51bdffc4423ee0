"""This node's quorum device: its registration, its polls, and the time it may stay silent.

A device is a program that casts this node's extra vote. Its name is the cluster's: every device registers under the same one.

Source: votequorum_qdevice_register(3) and its neighbours, reference services sections 4.4, 4.5 and 4.7.
"""

from __future__ import annotations

from typing import Final

from coroipc.errors import Status
from coroipc.layouts import status_response
from corosyncd.engines.engine import Client, Host
from corosyncd.engines.votequorum import wire
from corosyncd.engines.votequorum.ballot import Ballot
from corosyncd.engines.votequorum.nodes import DEVICE_FLAGS, NodeFlag, members
from corosyncd.totem.events import RingId
from libvotequorum.messages import Response

DEVICE_TIMER: Final = "device"


class Device:
    """The device's side of this node. ``name`` is the cluster's name for devices, empty where none is known."""

    def __init__(self, host: Host, ballot: Ballot, name: str = "") -> None:
        """``name`` is what a predecessor knew."""
        self.name = name
        self._host = host
        self._ballot = ballot
        self._registering: tuple[Client, str] | None = None
        self._awaits_poll = False
        self._step_open = False
        if self.registered and self._ballot.votes.us.has(NodeFlag.DEVICE_ALIVE):
            self._arm(ballot.settings.device_timeout_ms)

    @property
    def registered(self) -> bool:
        """Whether a device is registered on this node."""
        return self._ballot.votes.us.has(NodeFlag.DEVICE_REGISTERED)

    # What the device's program asks -----------------------------------------------------------------------------------------

    def register(self, client: Client, name: str) -> Status | None:
        """Register; None: the answer comes when the registration has gone round the ring."""
        if not self._ballot.settings.device_usable:
            return Status.ACCESS
        if self.registered:
            return Status.OK if name == self.name else Status.EXIST
        if self._registering is not None:
            return Status.TRY_AGAIN
        self._registering = (client, name)
        self._ballot.send(wire.DeviceRegistration(True, name))
        return None

    def unregister(self, name: str) -> Status:
        """End the registration; a round that waits for a poll goes on."""
        if (refusal := self._refusal(name)) is not None:
            return refusal
        self._ballot.set_own_flags(0, DEVICE_FLAGS)
        self._host.cancel(DEVICE_TIMER)
        self._ballot.send_own_info()
        self._ballot.send(wire.DeviceRegistration(False, name))
        self._release()
        return Status.OK

    def rename(self, old: str, new: str) -> Status:
        """Give the device another name on all nodes."""
        if (refusal := self._refusal(old)) is not None:
            return refusal
        self._ballot.send(wire.DeviceRename(old, new))
        return Status.OK

    def poll(self, name: str, cast_vote: bool, ring_id: RingId) -> Status:
        """A sign of life and a vote, for the ring that the device knows."""
        if not self._ballot.settings.device_usable:
            return Status.ACCESS
        if not self.registered:
            return Status.NOT_EXIST
        if ring_id != self._ballot.votes.ring_id:
            return Status.MESSAGE_ERROR
        if name != self.name:
            return Status.INVALID_PARAM
        vote = NodeFlag.DEVICE_CASTS_VOTE if cast_vote else 0
        if self._ballot.set_own_flags(NodeFlag.DEVICE_ALIVE | vote, NodeFlag.DEVICE_CASTS_VOTE):
            self._ballot.send_own_info()
        self._arm(self._ballot.settings.device_timeout_ms)
        self._release()
        return Status.OK

    def master_wins(self, name: str, allow: bool) -> Status:
        """Whether the device's vote beats the count of nodes."""
        if not self._ballot.settings.device_usable:
            return Status.ACCESS
        if (refusal := self._refusal(name)) is not None:
            return refusal
        flag = NodeFlag.DEVICE_MASTER_WINS
        self._ballot.set_master_wins(allow)
        if self._ballot.set_own_flags(flag if allow else 0, flag):
            self._ballot.send_own_info()
        return Status.OK

    def _refusal(self, name: str) -> Status | None:
        if not self.registered:
            return Status.NOT_EXIST
        return None if name == self.name else Status.INVALID_PARAM

    def client_gone(self, client: Client) -> None:
        """A registration that is still under way is void; one that has succeeded outlives its program."""
        if self._registering is not None and self._registering[0] is client:
            self._registering = None

    # What the ring says -----------------------------------------------------------------------------------------------------

    def registration(self, source: int, message: wire.DeviceRegistration) -> None:
        """QDEVICE_REG: a device was registered or unregistered somewhere."""
        if not message.register:
            if not any(node.has(NodeFlag.DEVICE_REGISTERED) for node in members(self._ballot.votes.nodes)):
                self.name = ""
        elif source != self._ballot.votes.own_id:
            self.name = self.name or message.name
        elif not self.registered and self._registering is not None and self._registering[1] == message.name:
            # Any other message of ours repeats the name for a new ring and answers nobody.
            client, name = self._registering
            self._registering = None
            self._host.respond(client, status_response(Response.STATUS, self._registered_as(name)))

    def _registered_as(self, name: str) -> Status:
        self.name = self.name or name
        if name != self.name:
            return Status.EXIST
        self._ballot.set_own_flags(NodeFlag.DEVICE_REGISTERED)
        self._ballot.send_device_info()
        self._ballot.send_own_info()
        return Status.OK

    def renamed(self, message: wire.DeviceRename) -> None:
        """QDEVICE_RECONFIGURE."""
        if message.old == self.name:
            self.name = message.new

    # Rounds and time --------------------------------------------------------------------------------------------------------

    def ring_changed(self) -> None:
        """A new ring: a live device votes for it, or is silent for the time it has in a synchronisation."""
        self._step_open = False
        if self._ballot.votes.us.has(NodeFlag.DEVICE_REGISTERED | NodeFlag.DEVICE_ALIVE):
            self._arm(self._ballot.settings.device_sync_timeout_ms)
            self._awaits_poll = True

    def sync_step(self) -> bool:
        """Whether this node's barrier may go out now; later, ``host.sync_step_done`` says so."""
        self._step_open = self.registered and self._awaits_poll
        return not self._step_open

    def sync_abort(self) -> None:
        """The step is void."""
        self._step_open = False

    def timed_out(self) -> None:
        """The device was silent for too long: its vote no longer counts; it stays registered."""
        if self._ballot.votes.us.has(NodeFlag.DEVICE_ALIVE):
            self._host.log("info", f"Lost contact with quorum device {self.name}")
            self._ballot.set_own_flags(0, NodeFlag.DEVICE_ALIVE | NodeFlag.DEVICE_CASTS_VOTE)
            self._ballot.send_own_info()
        self._release()

    def _arm(self, milliseconds: int) -> None:
        self._host.after(milliseconds / 1000, DEVICE_TIMER)

    def _release(self) -> None:
        self._awaits_poll = False
        if self._step_open:
            self._step_open = False
            self._host.sync_step_done()
