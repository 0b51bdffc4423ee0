"""The quorum library: ``Quorum`` blocks, ``AsyncQuorum`` is for asyncio; both come from the same calls.

Source: quorum_overview(3), reference client-api section 4.
"""

from __future__ import annotations

from coroipc.library import AsyncLibrary, BlockingLibrary, Steps, ask, asynchronous, blocking
from libquorum import calls, messages
from libquorum.messages import Event, Model, Provider


class Session:
    """A quorum connection without I/O: its event model and what the daemon said about the provider."""

    def __init__(self, model: int) -> None:
        """``model`` is a Model."""
        self.model = model
        self.provider: int = Provider.FREE

    def event(self, message: bytes) -> Event:
        """Raises MessageError."""
        return messages.decode_event(message)

    def choose_model(self) -> Steps[None]:
        """The first step on a connection. Raises InvalidParameter for an unknown model."""
        request = calls.gettype.encode() if self.model == Model.V0 else calls.model_gettype.encode(self.model)
        response = yield from ask(request, f"quorum_model_initialize(model {self.model})")
        self.provider = messages.GettypeResponse.decode(response).provider


class Quorum(BlockingLibrary[Event]):
    """One connection to the quorum service."""

    _session: Session

    def __init__(self, model: int = Model.V1, *, instance: str | None = None, socket_directory: str | None = None) -> None:
        """Connect (C: quorum_initialize for ``Model.V0``, quorum_model_initialize).

        ``instance`` names the daemon (default: COROSYNC_INSTANCE). Raises LibraryError, TryAgain (no first
        synchronisation yet), AccessDenied, InvalidParameter (model).
        """
        session = Session(model)
        super().__init__("quorum", session, session.choose_model, instance=instance, socket_directory=socket_directory)

    getquorate = blocking(calls.getquorate)
    trackstart = blocking(calls.trackstart)
    trackstop = blocking(calls.trackstop)

    @property
    def provider(self) -> int:
        """Whether a quorum provider decides: a Provider, as the daemon said at connect."""
        return self._session.provider


class AsyncQuorum(AsyncLibrary[Event]):
    """One connection to the quorum service."""

    _session: Session

    def __init__(self, model: int = Model.V1, *, instance: str | None = None, socket_directory: str | None = None) -> None:
        """The arguments are those of ``Quorum``; nothing happens before ``connect``."""
        session = Session(model)
        super().__init__("quorum", session, session.choose_model, instance=instance, socket_directory=socket_directory)

    getquorate = asynchronous(calls.getquorate)
    trackstart = asynchronous(calls.trackstart)
    trackstop = asynchronous(calls.trackstop)

    @property
    def provider(self) -> int:
        """Whether a quorum provider decides: a Provider, as the daemon said at connect."""
        return self._session.provider
