"""The test server as a context manager, and a client without manners for it."""

from __future__ import annotations

import json
import mmap
import os
import queue
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from coroipc import handshake
from coroipc.caller import AsyncCaller, BlockingCaller

SERVICE = "tst"
PATIENCE = 30.0
ROOT = Path(__file__).parents[2]


class ServerProcess:
    """A running server; ``expect`` waits for the next report of a kind."""

    def __init__(self, directory: str, options: dict[str, Any]) -> None:
        self.directory = directory
        self._reports: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/data/coroipc_server.py"), SERVICE, directory, directory, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self._backlog: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.pid = self.expect("listening")["pid"]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._reports.put(json.loads(line))
        self._reports.put(None)

    def expect(self, what: str, **fields: object) -> dict[str, Any]:
        """The first report of that kind with those fields; the others are kept for later."""
        wanted = {"what": what, **fields}.items()
        for index, report in enumerate(self._backlog):
            if all(report.get(name) == value for name, value in wanted):
                return self._backlog.pop(index)
        while True:
            new = self._reports.get(timeout=PATIENCE)
            assert new is not None, f"the server ended before it said {what!r}"
            if all(new.get(name) == value for name, value in wanted):
                return new
            self._backlog.append(new)

    def expect_gone(self, client: RawClient) -> dict[str, Any]:
        return self.expect("gone", identifier=client.accepted.cookie)

    def join_reader(self) -> None:
        self._reader.join(PATIENCE)

    def command(self, **values: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(values).encode() + b"\n")
        self.process.stdin.flush()

    def statistics(self) -> list[dict[str, Any]]:
        self.command(statistics=True)
        result: list[dict[str, Any]] = self.expect("statistics")["all"]
        return result

    def stop(self) -> dict[str, Any]:
        """An orderly end; the server's last words."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.expect("closed")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def caller(self, **options: Any) -> BlockingCaller:
        return BlockingCaller(SERVICE, socket_directory=self.directory, timeout=PATIENCE, **options)

    def async_caller(self) -> AsyncCaller:
        return AsyncCaller(SERVICE, socket_directory=self.directory)

    def raw_client(self, max_message_size: int = 1048576) -> RawClient:
        return RawClient(handshake.socket_address(SERVICE, None, self.directory), max_message_size)

    def ring_directories(self) -> list[str]:
        return [name for name in os.listdir(self.directory) if name.startswith("qb-")]


@contextmanager
def running_server(**options: Any) -> Iterator[ServerProcess]:
    """A server process in a fresh directory; everything is removed at the end."""
    directory = tempfile.mkdtemp(prefix="coroipc-")
    server = None
    try:
        server = ServerProcess(directory, options)
        yield server
    finally:
        if server is not None:
            server.process.kill()
            server.process.wait()
            server.join_reader()
            for stream in (server.process.stdin, server.process.stdout):
                assert stream is not None
                try:
                    stream.close()
                except BrokenPipeError:
                    pass
        shutil.rmtree(directory, ignore_errors=True)


class RawClient:
    """A connection whose rings and socket the test writes as it likes."""

    def __init__(self, address: bytes | str, max_message_size: int = handshake.DEFAULT_MAX_MESSAGE_SIZE) -> None:
        self.socket, self.accepted = handshake.connect(address, max_message_size, PATIENCE)
        self.socket.settimeout(PATIENCE)
        self.request_header, self.request_data = _map_ring(self.accepted.request_prefix)
        self.response_header, self.response_data = _map_ring(self.accepted.response_prefix)
        self.event_header, self.event_data = _map_ring(self.accepted.event_prefix)

    def commit(self, payload: bytes, *, size: int | None = None, magic: int = 0xA1A1A1A1, tokens: int = 1) -> None:
        """Write a chunk into an unwrapped part of the request ring, with lies where given; no wake-up."""
        header, data = self.request_header, self.request_data
        position = struct.unpack_from("=I", header)[0] * 4
        struct.pack_into("=II", data, position, len(payload) if size is None else size, magic)
        data[position + 8 : position + 8 + len(payload)] = payload
        self.set_word(0, position // 4 + 2 + (len(payload) + 3) // 4)
        self.set_semaphore(self.semaphore() + tokens)

    def wake(self, count: int = 1) -> None:
        """Send wake-up bytes; the server may have ended the connection already."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(bytes(count))

    def set_word(self, index: int, value: int) -> None:
        struct.pack_into("=I", self.request_header, index * 4, value)

    def semaphore(self) -> int:
        value: int = struct.unpack_from("=I", self.request_header, 8208)[0]
        return value

    def set_semaphore(self, value: int) -> None:
        struct.pack_into("=I", self.request_header, 8208, value)

    def closed_by_server(self) -> bool:
        """Wait for the server's end of the connection; False when something else arrives."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()


def _map_ring(prefix: str) -> tuple[mmap.mmap, mmap.mmap]:
    maps = []
    for suffix in ("-header", "-data"):
        descriptor = os.open(prefix + suffix, os.O_RDWR)
        try:
            maps.append(mmap.mmap(descriptor, 0))
        finally:
            os.close(descriptor)
    return maps[0], maps[1]


def raw_connection(directory: str) -> socket.socket:
    """A socket that has not shaken hands."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(PATIENCE)
    connection.connect(handshake.socket_address(SERVICE, None, directory))
    return connection
