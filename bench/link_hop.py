"""What a hop over the link costs: batches of small messages from one process to another and back (python -m bench.link_hop)."""

from __future__ import annotations

import argparse
import os
import select
import time

from corosyncd.link.link import LinkEnd


def _echo(end: LinkEnd) -> None:
    while not end.peer_gone:
        frames = end.receive(4)
        if not frames:
            if end.sleep_prepare():
                select.select([end.doorbell], [], [])
                end.read_doorbell()
            continue
        multicast = end.outbox.multicast
        for frame in frames:
            for body in frame.bodies:
                multicast(0, (body,), len(body))
        while not end.flush():
            os.sched_yield()


def one_process(batch: int, size: int, rounds: int) -> tuple[float, float]:
    """Seconds of CPU a message for its sender and for its receiver, both in this process: no wake-ups, no waiting."""
    end, description, doorbell = LinkEnd.create("bench")
    peer = LinkEnd.attach(description, doorbell)
    body = bytes(size)
    sending = receiving = 0.0
    for _ in range(rounds):
        started = time.perf_counter()
        deliver = end.outbox.deliver
        for _ in range(batch):
            deliver(1, 3, body)
        end.flush()
        sent = time.perf_counter()
        for frame in peer.receive(4):
            words = frame.entries[0][1]
            for _source, _function, _body in zip(words[0::3], words[1::3], frame.bodies, strict=True):
                pass
        received = time.perf_counter()
        sending += sent - started
        receiving += received - sent
    peer.close()
    end.close()
    return sending / rounds / batch, receiving / rounds / batch


def two_processes(batch: int, size: int, rounds: int) -> float:
    """Seconds of a round trip of a batch through another process."""
    end, description, doorbell = LinkEnd.create("bench")
    pid = os.fork()
    if pid == 0:
        end.doorbell.close()
        _echo(LinkEnd.attach(description, doorbell))
        os._exit(0)
    doorbell.close()
    body = bytes(size)
    started = time.perf_counter()
    for _ in range(rounds):
        for _ in range(batch):
            end.outbox.deliver(1, 3, body)
        end.flush()
        back = 0
        while back < batch:
            frames = end.receive(4)
            back += sum(len(frame.bodies) for frame in frames)
            if not frames and end.sleep_prepare():
                select.select([end.doorbell], [], [])
                end.read_doorbell()
    elapsed = time.perf_counter() - started
    end.close()
    os.waitpid(pid, 0)
    return elapsed / rounds


def main() -> None:
    """Print a table for several batch and message sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3000)
    rounds = parser.parse_args().rounds
    print(f"{'batch':>6} {'bytes':>8} {'send µs/msg':>12} {'receive µs/msg':>15} {'round trip µs':>14}")
    for batch, size in ((1, 64), (8, 64), (64, 64), (512, 64), (64, 1024), (4, 65536), (1, 1024 * 1024)):
        part = max(20, rounds // max(1, batch * size // 4096))
        send, receive = one_process(batch, size, part)
        trip = two_processes(batch, size, part)
        print(f"{batch:>6} {size:>8} {send * 1e6:>12.2f} {receive * 1e6:>15.2f} {trip * 1e6:>14.1f}")


if __name__ == "__main__":
    main()
