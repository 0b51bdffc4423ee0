"""The quorum engine: membership and quorum for programs, in the two models that libquorum knows.

Source: quorum_overview(3), reference services section 5.1, client-api section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from coroipc.errors import MessageError, Status
from coroipc.layouts import status_response
from corosyncd.engines.engine import Client, ConfigurationError, Description, Engine, Host
from corosyncd.engines.quorum import decision
from corosyncd.engines.quorum.decision import Change, Decision
from corosyncd.totem.events import RingId
from libquorum import messages
from libquorum.messages import Model, Provider, Request, Response, Track

PROVIDER_KEY: Final = "quorum.provider"
PROVIDERS: Final = ("corosync_votequorum",)
LOG_LIST_WIDTH: Final = 256
"""Characters of node ids on one line of the log; longer lists continue on the next."""
PRIMARY: Final = "This node is within the primary component and will provide service."
NOT_PRIMARY: Final = "This node is within the non-primary component and will NOT provide any services."


@dataclass(slots=True)
class _Connection:
    """What the engine knows of a client; one that never asks for a model has model 0."""

    model: Model = Model.V0
    tracking: bool = False


class QuorumEngine(Engine):
    """Service 3. It has no ring messages: configurations and the provider's decision are all it needs."""

    description: ClassVar[Description] = Description(
        name="quorum",
        service_id=3,
        load_name="corosync_quorum",
        title="corosync cluster quorum service v0.1",
        requests=len(Request),
        synchronised=True,
        tracked=(PROVIDER_KEY,),
    )

    def __init__(self, host: Host, kept: bytes | None = None) -> None:
        """``kept`` has the last decision, so that a successor does not announce the quorum as new."""
        super().__init__(host, kept)
        self._decision, self._settled = decision.decode(kept) if kept is not None else (Decision(), ())
        self._companions = frozenset(self._settled)
        # Settled members that came along in every change since: rounds that were begun and not completed count too.
        self._successor = kept is not None
        self._has_provider = False
        self._change = Change(self._settled, (), ())
        self._ring_id = self._decision.ring_id
        self._clients: dict[Client, _Connection] = {}
        self._calls: dict[int, Callable[[Client, _Connection, bytes], bytes]] = {
            Request.GETQUORATE: self._getquorate,
            Request.TRACKSTART: self._trackstart,
            Request.TRACKSTOP: self._trackstop,
            Request.GETTYPE: self._gettype,
            Request.MODEL_GETTYPE: self._model_gettype,
        }

    def start(self) -> None:
        """Raises ConfigurationError for a provider that does not exist. Without one this node is always quorate."""
        value = self.host.key(PROVIDER_KEY)
        provider = str(value.python()) if value is not None else None
        if provider is not None and provider not in PROVIDERS:
            raise ConfigurationError(f"Invalid quorum provider: {provider} (known: {', '.join(PROVIDERS)})")
        self._has_provider = provider is not None
        if provider is not None:
            self.host.log("notice", f"Using quorum provider {provider}")
        elif not self._successor:
            self._decision = Decision(quorate=True)

    # Rounds and decisions ---------------------------------------------------------------------------------------------------

    def configuration_changed(self, transitional: tuple[int, ...], members: tuple[int, ...], ring_id: RingId) -> None:
        """Compare with the members of the last settled ring."""
        self._companions &= frozenset(transitional)
        self._change = decision.compare(self._settled, self._companions, members)
        self._ring_id = ring_id
        self._log_list("Sync members", self._change.members)
        if self._change.joined:
            self._log_list("Sync joined", self._change.joined)
        if self._change.left:
            self._log_list("Sync left", self._change.left)

    def sync_activate(self) -> bool:
        """Model 1 clients learn the members now, before quorum is decided for them."""
        self._settled = self._change.members
        self._companions = frozenset(self._settled)
        event = self._node_list(self._change)
        for client, connection in self._trackers():
            if connection.model is Model.V1:
                self.host.notify(client, event)
        if not self._has_provider:
            # Nobody else decides; the decision comes back as quorum_changed, as a provider's would.
            self.host.set_quorate(True, self._change.members, self._ring_id)
        self._keep()
        return True

    def quorum_changed(self, quorate: bool, members: tuple[int, ...], ring_id: RingId) -> None:
        """A decision, for a new ring or by a change of votes: log it, then tell every tracker in its model."""
        if quorate != self._decision.quorate:
            self.host.log("notice", PRIMARY if quorate else NOT_PRIMARY)
        self._decision = Decision(quorate, members, ring_id)
        self._log_list("Members", members)
        self._keep()
        for client, connection in self._trackers():
            self.host.notify(client, self._notification(connection.model))

    def _trackers(self) -> Iterator[tuple[Client, _Connection]]:
        return ((client, connection) for client, connection in self._clients.items() if connection.tracking)

    def _keep(self) -> None:
        self.host.keep(decision.encode(self._decision, self._settled))

    # Clients ----------------------------------------------------------------------------------------------------------------

    def client_connected(self, client: Client) -> None:
        """A model 0 connection until it says otherwise."""
        self._clients[client] = _Connection()

    def client_gone(self, client: Client) -> None:
        """It is told nothing more."""
        self._clients.pop(client, None)

    def request(self, client: Client, request_id: int, body: bytes) -> None:
        """One request; one that is shorter than its layout gets the generic error."""
        try:
            response = self._calls[request_id](client, self._clients[client], body)
        except MessageError:
            response = status_response(0, Status.INVALID_PARAM)
        self.host.respond(client, response)

    def _getquorate(self, _client: Client, _connection: _Connection, _body: bytes) -> bytes:
        return messages.GetquorateResponse(self._decision.quorate).encode()

    def _trackstart(self, client: Client, connection: _Connection, body: bytes) -> bytes:
        flags = messages.TrackstartRequest.decode(body).flags
        if flags & (Track.CURRENT | Track.CHANGES):
            if connection.model is Model.V1:
                self.host.notify(client, self._node_list(Change(self._change.members, (), ())))
            self.host.notify(client, self._notification(connection.model))
        if connection.tracking:
            return status_response(Response.TRACKSTART, Status.EXIST)
        if flags & (Track.CHANGES | Track.CHANGES_ONLY):
            connection.tracking = True
        return status_response(Response.TRACKSTART)

    def _trackstop(self, _client: Client, connection: _Connection, _body: bytes) -> bytes:
        # OK also for a client that does not track: stock's answer, which programs rely on when they clean up.
        connection.tracking = False
        return status_response(Response.TRACKSTOP)

    def _gettype(self, _client: Client, _connection: _Connection, _body: bytes) -> bytes:
        return messages.GettypeResponse(self._provider_type()).encode()

    def _model_gettype(self, _client: Client, connection: _Connection, body: bytes) -> bytes:
        model = messages.ModelGettypeRequest.decode(body).model
        if model not in (Model.V0, Model.V1):
            return messages.GettypeResponse().encode(Status.INVALID_PARAM, messages.MODEL_GETTYPE_RESPONSE)
        connection.model = Model(model)
        return messages.GettypeResponse(self._provider_type()).encode(layout=messages.MODEL_GETTYPE_RESPONSE)

    def _provider_type(self) -> Provider:
        return Provider.SET if self._has_provider else Provider.FREE

    # Events and log lines ---------------------------------------------------------------------------------------------------

    def _node_list(self, change: Change) -> bytes:
        ring_id = self._ring_id
        return messages.NodeListNotification(ring_id.representative, ring_id.sequence, *change).encode()

    def _notification(self, model: Model) -> bytes:
        quorate, members, ring_id = self._decision.quorate, self._decision.members, self._decision.ring_id
        if model is Model.V1:
            return messages.QuorumNotification(quorate, ring_id.representative, ring_id.sequence, members).encode()
        return messages.QuorumNotificationV0(quorate, ring_id.sequence, members).encode()

    def _log_list(self, title: str, nodes: Sequence[int]) -> None:
        for line in list_lines(title, nodes):
            self.host.log("notice", line)


def list_lines(title: str, nodes: Sequence[int]) -> list[str]:
    r"""``title[n]: 1 2 3`` in as many lines as it takes; all but the last end with ``\``."""
    rows = [""]
    for node in nodes:
        word = f" {node}"
        if len(rows[-1]) + len(word) > LOG_LIST_WIDTH:
            rows.append("")
        rows[-1] += word
    head = f"{title}[{len(nodes)}]:"
    return [f"{head}{row}\\" for row in rows[:-1]] + [head + rows[-1]]
