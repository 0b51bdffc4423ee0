"""The local IPC alone: a client, our server in another process, messages straight back.

Usage: python -m bench.ipc_roundtrip [--calls N] [--messages N] [--size BYTES] [--clients N] [--profile]

A C client (libqb, needs gcc and libqb-dev) and our own blocking caller take turns. Both compare every byte that comes back. The
server's CPU time a message is its own user and system time over the run.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import multiprocessing
import os
import pstats
import shutil
import subprocess
import tempfile
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from coroipc.caller import BlockingCaller
from coroipc.errors import TryAgain
from coroipc.messages import REQUEST_HEADER, request, response
from coroipc.server.connection import Connection
from coroipc.server.listener import listen
from coroipc.server.server import Server

CALL, SEND = 1, 2
WINDOW = 256


class Echo:
    """Answers calls, and sends everything else back as events, a batch at a time."""

    def authorize(self, pid: int, uid: int, gid: int) -> int:
        return 0

    def connected(self, connection: Connection) -> None: ...

    def gone(self, connection: Connection, reason: str) -> None: ...

    def touches(self, connection: Connection) -> None: ...

    def slow(self, connection: Connection, queued_bytes: int) -> None: ...

    def budget(self, connection: Connection) -> int:
        return 1 << 30

    def requests(self, connection: Connection, requests: list[bytes]) -> None:
        events = []
        for message in requests:
            identifier = REQUEST_HEADER.unpack_from(message)[0]
            reply = response(identifier, body=message[16:])
            if identifier == CALL:
                connection.respond(reply)
            else:
                events.append(reply)
        connection.notify_many(events)


def serve(service: str, pipe: Pipe, far_end: Pipe, profile: bool) -> None:
    """The server process: ready, then its CPU seconds whenever it is asked, until the pipe ends."""
    far_end.close()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = Server(service, listen(service), loop, Echo())
        server.start()
        pipe.send("ready")
        stopped = asyncio.Event()

        def asked() -> None:
            try:
                pipe.recv()
            except EOFError:
                stopped.set()
                return
            times = os.times()
            pipe.send((times.user, times.system))

        loop.add_reader(pipe.fileno(), asked)
        await stopped.wait()
        loop.remove_reader(pipe.fileno())
        server.close()

    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    asyncio.run(run())
    if profile:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(16)


def cpu_seconds(pipe: Pipe) -> tuple[float, float]:
    """User and system time that the server has taken."""
    pipe.send("times")
    user, system = pipe.recv()
    return user, system


def build_client(directory: str) -> Path | None:
    """Compile the C client; None where gcc or libqb's headers are missing, which is said."""
    program = Path(directory, "ipc_client")
    source = Path(__file__).with_name("ipc_client.c")
    if shutil.which("gcc") is None:
        print("no gcc: the C client is left out")
        return None
    built = subprocess.run(["gcc", "-O2", "-o", str(program), str(source), "-lqb"], capture_output=True, text=True, check=False)
    if built.returncode:
        print(f"the C client cannot be built and is left out:\n{built.stderr}")
        return None
    return program


def run_python_client(service: str, calls: int, messages: int, size: int) -> tuple[float, float, float]:
    """The same as the C client, through BlockingCaller."""
    times = []
    with BlockingCaller(service) as caller:
        for number in range(calls):
            body = number.to_bytes(4, "little") + bytes([number & 0x7F]) * (size - 20)
            whole = request(CALL, body)
            start = time.perf_counter()
            answer = caller.call(whole)
            times.append(time.perf_counter() - start)
            assert answer == response(CALL, body=body), f"call {number} came back wrong"
        times.sort()
        start = time.perf_counter()
        sent = received = 0
        while received < messages:
            while sent < messages and sent - received < WINDOW:
                try:
                    caller.send(request(SEND, sent.to_bytes(4, "little") + bytes([sent & 0x7F]) * (size - 20)))
                except TryAgain:
                    break
                sent += 1
            for event in caller.next_events(1.0):
                body = received.to_bytes(4, "little") + bytes([received & 0x7F]) * (size - 20)
                assert event[24:] == body, f"event {received} came back wrong"
                received += 1
        seconds = time.perf_counter() - start
    return times[calls // 2] * 1e6, times[calls * 99 // 100] * 1e6, messages / seconds


def report(
    name: str, result: tuple[float, float, float], before: tuple[float, float], after: tuple[float, float], work: int
) -> None:
    """One line of the table."""
    user, system = ((after[index] - before[index]) / work * 1e6 for index in (0, 1))
    print(
        f"{name:<22} call p50 {result[0]:6.1f} µs  p99 {result[1]:6.1f} µs   {result[2]:9,.0f} messages/s"
        f"   server CPU {user:.2f} + {system:.2f} µs a message"
    )


def main() -> None:
    """Run both clients against a fresh server each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10000)
    parser.add_argument("--messages", type=int, default=200000)
    parser.add_argument("--size", type=int, default=80, help="bytes a request, its 16-byte header included")
    parser.add_argument("--clients", type=int, default=1, help="C clients at the same time")
    parser.add_argument("--profile", action="store_true", help="print where the server spends its time")
    options = parser.parse_args()
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as directory:
        program = build_client(directory)
        for language in ("C", "Python"):
            if language == "C" and program is None:
                continue
            service = f"ipc-bench-{os.getpid()}-{language}"
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(service, theirs, ours, options.profile))
            process.start()
            theirs.close()
            try:
                ours.recv()
                before = cpu_seconds(ours)
                clients = options.clients if language == "C" else 1
                if language == "C":
                    command = [str(program), service, str(options.calls), str(options.messages), str(options.size), str(WINDOW)]
                    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(clients)]
                    outputs = [client.communicate()[0].split() for client in running]
                    if any(client.returncode for client in running):
                        raise SystemExit("a C client failed")
                    results = [(float(p50), float(p99), float(rate)) for p50, p99, rate in outputs]
                    result = (
                        max(each[0] for each in results),
                        max(each[1] for each in results),
                        sum(each[2] for each in results),
                    )
                else:
                    result = run_python_client(service, options.calls, options.messages, options.size)
                work = (options.calls + options.messages) * clients
                report(f"{clients} {language} client(s)", result, before, cpu_seconds(ours), work)
            finally:
                ours.close()
                process.join()


if __name__ == "__main__":
    main()
