"""A cmap service for one key, on coroipc's server: what unmodified C programs are tried against.

Answers set_current_map, get (totem.version, u32 2) and track_add; after a track_add it sends EVENTS notifications of 16,000
bytes, each beginning with its number. It prints "ready" when it listens, and ends when its standard input has and the last
client has gone.
"""

from __future__ import annotations

import asyncio
import struct
import sys

from coroipc.messages import REQUEST_HEADER, error_response, response
from coroipc.server.connection import Connection
from coroipc.server.listener import listen
from coroipc.server.server import Server

GET, TRACK_ADD, SET_CURRENT_MAP, NOTIFY, CURRENT_MAP_RESPONSE = 2, 7, 9, 9, 10
EVENTS = 2000
EVENT_SIZE = 16000
UINT32, BINARY = 6, 12
MODIFIED = 2
KEY = struct.Struct("=H6x256s")


class OneKey:
    """The handler."""

    def __init__(self) -> None:
        self.clients = 0
        self.alone = asyncio.Event()
        self.alone.set()

    def authorize(self, pid: int, uid: int, gid: int) -> int:
        return 0

    def connected(self, connection: Connection) -> None:
        self.clients += 1
        self.alone.clear()

    def gone(self, connection: Connection, reason: str) -> None:
        print(f"gone: {reason}", flush=True)
        self.clients -= 1
        if not self.clients:
            self.alone.set()

    def touches(self, connection: Connection) -> None: ...

    def slow(self, connection: Connection, queued_bytes: int) -> None: ...

    def budget(self, connection: Connection) -> int:
        return 1 << 24

    def requests(self, connection: Connection, requests: list[bytes]) -> None:
        for message in requests:
            identifier = REQUEST_HEADER.unpack_from(message)[0]
            if identifier == GET:
                self.get(connection, message)
            elif identifier == TRACK_ADD:
                self.track(connection, message)
            elif identifier == SET_CURRENT_MAP:
                connection.respond(response(CURRENT_MAP_RESPONSE))
            else:
                connection.respond(error_response(7))

    def get(self, connection: Connection, message: bytes) -> None:
        key = message[24:280].split(b"\0", 1)[0]
        (buffer_length,) = struct.unpack_from("=Q", message, 280)
        if key != b"totem.version":
            connection.respond(response(GET, 12, struct.pack("=QB7x", 0, 0)))
            return
        value = struct.pack("=I", 2)
        body = struct.pack("=QB7x", len(value), UINT32) + value.ljust(buffer_length, b"\0")[:buffer_length]
        connection.respond(response(GET, body=body))

    def track(self, connection: Connection, message: bytes) -> None:
        (handle,) = struct.unpack_from("=Q", message, 288)
        connection.respond(response(TRACK_ADD, body=struct.pack("=Q", 1)))
        head = (
            struct.pack("=Q", handle) + KEY.pack(6, b"test.a") + struct.pack("=i4xB7xB7xQQ", MODIFIED, BINARY, 0, EVENT_SIZE, 0)
        )
        events = [response(NOTIFY, body=head + struct.pack("=I", index).ljust(EVENT_SIZE, b"x")) for index in range(EVENTS)]
        connection.notify_many(events[:7])
        for event in events[7:20]:
            connection.notify(event)
        connection.notify_many(events[20:])


async def main() -> None:
    loop = asyncio.get_running_loop()
    handler = OneKey()
    server = Server("cmap", listen("cmap"), loop, handler)
    server.start()
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    await handler.alone.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
