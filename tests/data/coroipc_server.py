"""A small server for the tests of coroipc, run as a process of its own.

Usage: python coroipc_server.py SERVICE SOCKET_DIRECTORY RINGS_DIRECTORY [OPTIONS as JSON]. It prints one JSON line for
everything that its handler is told, and takes commands as JSON lines on its standard input; it ends when that is closed.

Requests: id 1 echo the body; 2 no answer, counted; 3 answer with status 12; 4 send N events of S bytes; 5 never answer;
6 raise; 7 set the flow-control word and answer; 8 answer late, after M ms.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
from typing import Any

import uvloop

from coroipc.messages import REQUEST_HEADER, response
from coroipc.server.connection import Connection
from coroipc.server.listener import listen
from coroipc.server.server import Server

ECHO, COUNT, FAIL, EVENTS, SILENCE, RAISE, FLOW, LATE = range(1, 9)


class Recorder:
    """A handler that reports what it is told."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.allowed = int(options.get("authorize", 0))
        self.credit = int(options.get("budget", 1 << 30))
        self.greet = int(options.get("greet", 0))
        self.counted: dict[int, int] = {}
        self.bodies: dict[int, list[bytes]] = {}

    def tell(self, what: str, **values: object) -> None:
        print(json.dumps({"what": what, **values}), flush=True)

    def authorize(self, pid: int, uid: int, gid: int) -> int:
        self.tell("authorize", pid=pid, uid=uid, gid=gid)
        return self.allowed

    def connected(self, connection: Connection) -> None:
        self.counted[connection.identifier] = 0
        self.bodies[connection.identifier] = []
        self.tell("connected", identifier=connection.identifier, pid=connection.pid)
        if self.greet:
            connection.notify_many([response(9, body=b"%d" % index) for index in range(self.greet)])

    def budget(self, connection: Connection) -> int:
        return self.credit

    def touches(self, connection: Connection) -> None: ...

    def slow(self, connection: Connection, queued_bytes: int) -> None:
        self.tell("slow", identifier=connection.identifier, queued_bytes=queued_bytes)

    def gone(self, connection: Connection, reason: str) -> None:
        self.tell(
            "gone",
            identifier=connection.identifier,
            reason=reason,
            counted=self.counted.pop(connection.identifier),
            bodies=[body.hex() for body in self.bodies.pop(connection.identifier)],
            statistics=connection.statistics(),
        )

    def requests(self, connection: Connection, requests: list[bytes]) -> None:
        for message in requests:
            self.request(connection, REQUEST_HEADER.unpack_from(message)[0], message[16:])

    def request(self, connection: Connection, identifier: int, body: bytes) -> None:
        if identifier == COUNT:
            self.counted[connection.identifier] += 1
            if len(body) <= 8:
                self.bodies[connection.identifier].append(body)
        elif identifier == ECHO:
            connection.respond(response(ECHO, body=body))
        elif identifier == FAIL:
            connection.respond(response(FAIL, 12))
        elif identifier == EVENTS:
            number, size = struct.unpack("<II", body)
            connection.respond(response(EVENTS))
            connection.notify_many([response(9, body=struct.pack("<I", index) * (size // 4)) for index in range(number)])
        elif identifier == RAISE:
            raise RuntimeError("asked for")
        elif identifier == FLOW:
            connection.set_flow_control(struct.unpack("<I", body)[0])
            connection.respond(response(FLOW))
        elif identifier == LATE:
            (milliseconds,) = struct.unpack("<I", body)
            asyncio.get_running_loop().call_later(milliseconds / 1000, connection.respond, response(LATE))


async def main(service: str, socket_directory: str, rings: str, options: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    handler = Recorder(options)
    limits = options.get("limits", {})
    server = Server(service, listen(service, directory=socket_directory), loop, handler, directory=rings, **limits)
    server.start()
    handler.tell("listening", pid=os.getpid())
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        command = json.loads(line)
        if "budget" in command:
            handler.credit = command["budget"]
            server.resume()
        if "flow" in command:
            server.set_flow_control(command["flow"])
        if "statistics" in command:
            handler.tell("statistics", all=[connection.statistics() for connection in server.connections.values()])
    server.close()
    handler.tell("closed", active=len(server.connections), closed_count=server.closed_count)


if __name__ == "__main__":
    chosen = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if chosen.get("uvloop") else None) as runner:
        runner.run(main(sys.argv[1], sys.argv[2], sys.argv[3], chosen))
