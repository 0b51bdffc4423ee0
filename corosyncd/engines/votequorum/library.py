"""The requests of votequorum's clients.

Source: votequorum_overview(3), reference client-api section 5, services section 4.8. All but getinfo and trackstart's events
get the status response: id 0 and a status.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from coroipc.errors import MessageError, Status
from coroipc.layouts import status_response
from corosyncd.engines.engine import Client, Host
from corosyncd.engines.votequorum import decision, wire
from corosyncd.engines.votequorum.ballot import Ballot
from corosyncd.engines.votequorum.configuration import too_many_votes
from corosyncd.engines.votequorum.decision import LARGEST_VOTE_SUM, TieBreaker, Votes
from corosyncd.engines.votequorum.device import Device
from corosyncd.engines.votequorum.nodes import Node, NodeFlag, members
from corosyncd.engines.votequorum.trackers import Trackers
from corosyncd.totem.events import RingId
from libvotequorum import messages
from libvotequorum.messages import InfoFlag, Request, Track

_DEVICE_INFO: Final = (
    (NodeFlag.DEVICE_REGISTERED, InfoFlag.QDEVICE_REGISTERED),
    (NodeFlag.DEVICE_ALIVE, InfoFlag.QDEVICE_ALIVE),
    (NodeFlag.DEVICE_CASTS_VOTE, InfoFlag.QDEVICE_CAST_VOTE),
    (NodeFlag.DEVICE_MASTER_WINS, InfoFlag.QDEVICE_MASTER_WINS),
)


class Library:
    """Answers requests. What changes the cluster's state goes out as a ring message; the answer does not wait for it."""

    def __init__(self, host: Host, ballot: Ballot, device: Device, trackers: Trackers) -> None:
        """Everything that a client can ask for."""
        self._host = host
        self._ballot = ballot
        self._device = device
        self._trackers = trackers
        self._calls: dict[int, Callable[[Client, bytes], Status | None]] = {
            Request.GETINFO: self._getinfo,
            Request.SETEXPECTED: self._setexpected,
            Request.SETVOTES: self._setvotes,
            Request.TRACKSTART: self._trackstart,
            Request.TRACKSTOP: self._trackstop,
            Request.QDEVICE_REGISTER: self._register,
            Request.QDEVICE_UNREGISTER: self._unregister,
            Request.QDEVICE_UPDATE: self._update,
            Request.QDEVICE_POLL: self._poll,
            Request.QDEVICE_MASTER_WINS: self._master_wins,
        }

    def answer(self, client: Client, request_id: int, body: bytes) -> None:
        """One request; one that is shorter than its layout gets INVALID_PARAM."""
        try:
            status = self._calls[request_id](client, body)
        except MessageError:
            status = Status.INVALID_PARAM
        if status is not None:
            self._host.respond(client, status_response(messages.Response.STATUS, status))

    def _getinfo(self, client: Client, body: bytes) -> None:
        votes = self._ballot.votes
        node = votes.nodes.get(messages.GetinfoRequest.decode(body).nodeid or votes.own_id)
        if node is None:
            self._host.respond(client, messages.Info().encode(Status.NOT_EXIST))
        else:
            self._host.respond(client, node_information(votes, node, self._device.name).encode())

    def _setexpected(self, _client: Client, body: bytes) -> Status:
        wanted = messages.SetexpectedRequest.decode(body).expected_votes
        votes = self._ballot.votes
        if self._too_many(wanted):
            return Status.INVALID_PARAM
        quorum, total = decision.calculate(votes, allow_decrease=True, expected=wanted)
        if wanted < total or (votes.quorate and quorum > total):
            return Status.INVALID_PARAM
        # Also here at once: whoever gets the answer and asks sees the new number, before the ring has brought it.
        self._ballot.votes = votes.with_expected(wanted)
        self._ballot.send(wire.Reconfigure(votes.own_id, wanted, wire.Parameter.EXPECTED_VOTES))
        return Status.OK

    def _setvotes(self, _client: Client, body: bytes) -> Status:
        request = messages.SetvotesRequest.decode(body)
        votes = self._ballot.votes
        node = votes.nodes.get(request.nodeid or votes.own_id)
        if node is None:
            return Status.NAME_NOT_FOUND
        changed = votes.with_nodes(replace(node, votes=request.votes))
        if self._too_many(sum(member.votes for member in members(changed.nodes)) + votes.device_votes):
            return Status.INVALID_PARAM
        quorum, total = decision.calculate(changed, allow_decrease=True)
        if quorum < total // 2 or quorum > total:
            return Status.INVALID_PARAM
        self._ballot.votes = changed
        self._ballot.send(wire.Reconfigure(node.node_id, request.votes, wire.Parameter.NODE_VOTES))
        return Status.OK

    def _too_many(self, vote_sum: int) -> bool:
        if vote_sum <= LARGEST_VOTE_SUM:
            return False
        self._host.log("error", f"{vote_sum} votes were refused: {too_many_votes()}")
        return True

    def _trackstart(self, client: Client, body: bytes) -> Status:
        context, flags = messages.TrackstartRequest.decode(body)
        if flags & (Track.CURRENT | Track.CHANGES):
            self._trackers.present_state(client, context, self._ballot.votes)
        if client in self._trackers:
            return Status.EXIST
        if flags & (Track.CHANGES | Track.CHANGES_ONLY):
            self._trackers.add(client, context)
        return Status.OK

    def _trackstop(self, client: Client, _body: bytes) -> Status:
        return Status.OK if self._trackers.remove(client) else Status.NOT_EXIST

    def _register(self, client: Client, body: bytes) -> Status | None:
        name = messages.QdeviceNameRequest.decode(body).name
        return self._device.register(client, name) if wire.name_fits(name) else Status.INVALID_PARAM

    def _unregister(self, _client: Client, body: bytes) -> Status:
        return self._device.unregister(messages.QdeviceNameRequest.decode(body).name)

    def _update(self, _client: Client, body: bytes) -> Status:
        old, new = messages.QdeviceUpdateRequest.decode(body)
        return self._device.rename(old, new) if wire.name_fits(new) else Status.INVALID_PARAM

    def _poll(self, _client: Client, body: bytes) -> Status:
        request = messages.QdevicePollRequest.decode(body)
        ring_id = RingId(request.ring_nodeid, request.ring_sequence)
        return self._device.poll(request.name, request.cast_vote, ring_id)

    def _master_wins(self, _client: Client, body: bytes) -> Status:
        request = messages.QdeviceMasterWinsRequest.decode(body)
        return self._device.master_wins(request.name, request.allow)


def node_information(votes: Votes, node: Node, device_name: str) -> messages.Info:
    """What getinfo tells of a node: its own numbers, and the local daemon's view of the whole."""
    voters = members(votes.nodes)
    total = sum(voter.votes for voter in voters)
    if node.has(NodeFlag.DEVICE_CASTS_VOTE):
        total += votes.device_votes
    rules = votes.rules
    local = (
        (rules.two_node, InfoFlag.TWO_NODE),
        (votes.quorate, InfoFlag.QUORATE),
        (rules.wait_for_all, InfoFlag.WAIT_FOR_ALL),
        (rules.last_man_standing, InfoFlag.LAST_MAN_STANDING),
        (rules.tie_breaker is not TieBreaker.NONE, InfoFlag.AUTO_TIE_BREAKER),
        (rules.allow_downscale, InfoFlag.ALLOW_DOWNSCALE),
    )
    flags = sum(flag for on, flag in local if on) | sum(info for flag, info in _DEVICE_INFO if node.has(flag))
    return messages.Info(
        nodeid=node.node_id,
        state=node.state,
        votes=node.votes,
        expected_votes=node.expected_votes,
        highest_expected=max((voter.expected_votes for voter in voters), default=0),
        total_votes=min(total, decision.LARGEST_NUMBER),
        quorum=votes.quorum,
        flags=flags,
        qdevice_votes=votes.device_votes,
        qdevice_name=device_name,
    )
