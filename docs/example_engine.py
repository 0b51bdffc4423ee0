"""A loadable engine: a line that one program says is written to the log of every node, in the same order everywhere.

docs/loadable_engine.md walks through it.
"""

from __future__ import annotations

import struct
from typing import ClassVar

from coroipc.errors import Status
from coroipc.layouts import status_response
from corosyncd.engines.engine import Client, Description, Engine, Host
from corosyncd.engines.wire import HEADER_SIZE

SAY = 0
"""The one library request, and the one ring message: both have this number."""
LINE_LIMIT = 1024
_CALLER = struct.Struct("<Q")


class Example(Engine):
    """Service 8."""

    description: ClassVar[Description] = Description(
        name="example",
        service_id=8,
        load_name="example",
        title="a line for every node's log",
        functions=1,
        requests=1,
        flow_controlled=frozenset({SAY}),
    )

    def __init__(self, host: Host, kept: bytes | None = None) -> None:
        """Nothing to keep: a successor's callers have lost their connections, and with them their calls."""
        super().__init__(host, kept)
        self._callers: dict[int, Client] = {}

    def request(self, client: Client, request_id: int, body: bytes) -> None:
        """Send the line round the ring; the answer comes when it has come back."""
        line = body[HEADER_SIZE:]
        if len(line) > LINE_LIMIT:
            self.host.respond(client, status_response(SAY, Status.TOO_BIG))
            return
        self._callers[client.identifier] = client
        self.host.multicast(SAY, [_CALLER.pack(client.identifier), line])

    def client_gone(self, client: Client) -> None:
        """Nobody waits for the answer any more; the line is on its way all the same."""
        self._callers.pop(client.identifier, None)

    def deliver(self, source: int, function: int, message: bytes) -> None:
        """The same lines in the same order on every node. A message cut short raises struct.error: it is counted and dropped."""
        (caller,) = _CALLER.unpack_from(message, HEADER_SIZE)
        line = message[HEADER_SIZE + _CALLER.size :].decode("utf-8", "replace")
        self.host.log("notice", f"node {source}: {line}")
        client = self._callers.pop(caller, None) if source == self.host.node_id else None
        if client is not None:
            self.host.respond(client, status_response(SAY))
