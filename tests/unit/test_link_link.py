"""A link carries frames between two processes in order, whatever the rings' size and however often its readers sleep."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sysv_ipc
import uvloop

from coroipc.semaphores import NamedSemaphore, SemaphoreOverflow, SystemVSemaphore
from corosyncd.link import segments
from corosyncd.link.frames import Direction, Frame
from corosyncd.link.link import SMALLEST_RING, LinkBroken, LinkEnd
from corosyncd.link.loop import LinkLoop
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import RingId

RING = RingId(3, 12)
SMALL_RING = SMALLEST_RING
LIMIT_SECONDS = 60


def leftovers() -> list[str]:
    return [path.name for path in Path("/dev/shm").iterdir() if f"{segments.NAME_PREFIX}{os.getpid()}-" in path.name]


@contextmanager
def link_to(child: Callable[[LinkEnd], None], kind: str = "posix", ring_bytes: int = SMALL_RING) -> Iterator[LinkEnd]:
    """The executive's end; ``child`` runs in a process of its own with the engine's. Both are gone afterwards."""
    end, description, doorbell = LinkEnd.create("test", kind, ring_bytes)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            end.doorbell.close()
            signal.alarm(LIMIT_SECONDS)
            child(LinkEnd.attach(description, doorbell))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    doorbell.close()
    try:
        yield end
    finally:
        end.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert leftovers() == []


def wait(end: LinkEnd) -> None:
    """Sleep until the doorbell rings, as a loop does."""
    if end.sleep_prepare():
        assert select.select([end.doorbell], [], [], LIMIT_SECONDS)[0], "nobody rang"
        end.read_doorbell()


def flush(end: LinkEnd) -> None:
    while not end.flush():
        os.sched_yield()


def read(end: LinkEnd) -> list[Frame]:
    while not (frames := end.receive(4)):
        if end.peer_gone:
            return []
        wait(end)
    return frames


def echo(end: LinkEnd) -> None:
    """Send every delivery back as a multicast."""
    while frames := read(end):
        for frame in frames:
            end.outbox.ring_id = frame.ring_id
            for body in frame.bodies:
                end.outbox.multicast(0, (body,), len(body))
        flush(end)


@pytest.mark.parametrize("kind", ["posix", "sysv"])
def test_messages_come_back_in_order_through_rings_that_wrap_and_fill(kind: str) -> None:
    sizes = [(number * 3701) % 90_000 for number in range(400)]
    with link_to(echo, kind) as end:
        end.outbox.ring_id = RING
        for number, size in enumerate(sizes):
            end.outbox.deliver(number, 1, number.to_bytes(4, "little") + bytes(size))
        received: list[bytes] = []
        while len(received) < len(sizes):
            end.flush()
            for frame in end.receive(4):
                assert frame.ring_id == RING
                received += frame.bodies
            os.sched_yield()
    assert received == [number.to_bytes(4, "little") + bytes(size) for number, size in enumerate(sizes)]


def test_100000_messages_survive_readers_that_sleep_after_every_frame() -> None:
    total, window = 100_000, 4
    with link_to(echo) as end:
        sent = back = 0
        turn = 0
        while back < total:
            turn += 1
            for _ in range(min(total - sent, window - (sent - back), turn % window + 1)):
                end.outbox.deliver(1, 0, sent.to_bytes(4, "little"))
                sent += 1
            flush(end)
            for frame in read(end):
                for body in frame.bodies:
                    assert int.from_bytes(body, "little") == back
                    back += 1


def test_a_full_ring_keeps_the_rest_queued_in_order() -> None:
    end, description, doorbell = LinkEnd.create("test", ring_bytes=SMALL_RING)
    peer = LinkEnd.attach(description, doorbell)
    try:
        for number in range(300):
            end.outbox.deliver(number, 0, bytes(20_000))
        assert not end.flush()
        assert end.outbox.backlog_bytes > 3_000_000
        sources: list[int] = []
        while len(sources) < 300:
            sources += [source for frame in peer.receive(1) for source in frame.entries[0][1][::3]]
            end.flush()
        assert sources == list(range(300))
        assert end.outbox.backlog_bytes == 0
    finally:
        peer.close()
        end.close()


def test_the_doorbell_rings_once_for_a_sleeper_and_not_for_the_wakeful() -> None:
    end, description, doorbell = LinkEnd.create("test", ring_bytes=SMALL_RING)
    peer = LinkEnd.attach(description, doorbell)
    try:
        assert peer.sleep_prepare()
        for number in range(3):
            end.outbox.queue([int(ToEngine.CREDIT), number])
            end.flush()
        assert doorbell.recv(16, socket.MSG_PEEK) == b"\0"
        peer.read_doorbell()
        assert not peer.sleep_prepare()
        assert len(peer.receive(9)) == 3
        end.outbox.queue([int(ToEngine.CREDIT), 4])
        end.flush()
        assert select.select([doorbell], [], [], 0)[0] == []
    finally:
        peer.close()
        end.close()


@pytest.mark.parametrize("kind", ["posix", "sysv"])
def test_names_are_gone_once_both_sides_have_let_go(kind: str) -> None:
    end, description, doorbell = LinkEnd.create("test", kind, SMALL_RING)
    assert bool(leftovers()) == (kind == "posix")
    peer = LinkEnd.attach(description, doorbell)
    assert leftovers() == []
    peer.note(4711, 1000)
    assert end.noted == (4711, 1000)
    end.close()
    peer.close()
    end.close()
    with pytest.raises(FileNotFoundError):
        segments.attach(description["segment"])


@pytest.mark.parametrize("kind", ["posix", "sysv"])
def test_a_sweep_removes_what_a_killed_executive_left_and_nothing_else(kind: str) -> None:
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        _end, description, _doorbell = LinkEnd.create("test", kind, SMALL_RING)
        os.write(writable, repr(description["segment"]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    left = eval(os.read(readable, 1000))
    os.close(readable)
    os.close(writable)
    end, description, doorbell = LinkEnd.create("test", kind, SMALL_RING)
    segments.sweep()
    with pytest.raises(FileNotFoundError):
        segments.attach(left)
    LinkEnd.attach(description, doorbell).close()
    end.close()


def test_a_sweep_removes_a_system_v_segment_whose_semaphores_are_gone_already() -> None:
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        segment = segments.SystemVSegment.create(SMALL_RING)
        for semaphore in segment.semaphores:
            semaphore.unlink()  # type: ignore[attr-defined]
        os.write(writable, b"%d" % segment.description[1])
        os._exit(0)
    os.waitpid(pid, 0)
    key = int(os.read(readable, 20))
    os.close(readable)
    os.close(writable)
    segments.sweep()
    with pytest.raises(sysv_ipc.ExistentialError):
        sysv_ipc.SharedMemory(key)


def test_a_sweep_passes_over_names_that_others_have_put_there_to_trip_it(tmp_path: Path) -> None:
    live = tmp_path / f"corosyncd-{os.getpid()}-cpg-abcdef"
    stale = tmp_path / "corosyncd-4194305-cpg-abcdef"
    for path in (live, stale, tmp_path / "sem.corosyncd-4194305-cpg-abcdef-e", tmp_path / f"corosyncd-{'9' * 100}-cpg"):
        path.touch()
    (tmp_path / "corosyncd-4194305-x").mkdir()
    (tmp_path / "corosyncd-\N{SUPERSCRIPT TWO}-x").touch()
    segments.sweep(tmp_path)
    assert live.exists()
    assert not stale.exists()
    assert not (tmp_path / "sem.corosyncd-4194305-cpg-abcdef-e").exists()


def left_system_v_segment(size: int, content: bytes = b"") -> sysv_ipc.SharedMemory:
    """A segment of our range whose creator has ended."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        key = segments.KEY_PREFIX | int.from_bytes(os.urandom(2), "little")
        memory = sysv_ipc.SharedMemory(key, sysv_ipc.IPC_CREX, mode=0o600, size=size)
        memory.write(content)
        os.write(writable, b"%d" % key)
        os._exit(0)
    os.waitpid(pid, 0)
    key = int(os.read(readable, 20))
    os.close(readable)
    os.close(writable)
    memory = sysv_ipc.SharedMemory(key)
    memory.detach()
    return memory


@pytest.fixture
def precious() -> Iterator[SystemVSemaphore]:
    """A semaphore of some other program."""
    semaphore = SystemVSemaphore(None)
    yield semaphore
    semaphore.unlink()


def test_a_sweep_leaves_a_segment_that_is_too_short_to_name_semaphores() -> None:
    memory = left_system_v_segment(4)
    try:
        segments.sweep()
    finally:
        memory.remove()


def test_a_sweep_removes_no_semaphore_that_another_users_segment_names(
    precious: SystemVSemaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = left_system_v_segment(8, segments.KEY_WORDS.pack(precious.key, 0))
    user = os.geteuid()
    monkeypatch.setattr("corosyncd.link.segments.os.geteuid", lambda: user + 1)
    try:
        segments.sweep()
        assert precious.value() == 0
        precious.post()
        assert precious.value() == 1
    finally:
        memory.remove()


def test_garbage_in_the_ring_breaks_the_link() -> None:
    end, description, doorbell = LinkEnd.create("test", ring_bytes=SMALL_RING)
    peer = LinkEnd.attach(description, doorbell)
    try:
        peer._outgoing.write([b"\xff\xff\xff\xffnothing of the kind"])
        with pytest.raises(LinkBroken):
            end.receive(1)
    finally:
        peer.close()
        end.close()


def test_a_semaphore_at_its_maximum_breaks_the_link_of_who_goes_to_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    end, _description, doorbell = LinkEnd.create("test", ring_bytes=SMALL_RING)

    def refuse(semaphore: NamedSemaphore, count: int = 1) -> None:
        raise SemaphoreOverflow

    monkeypatch.setattr(NamedSemaphore, "post", refuse)
    try:
        with pytest.raises(LinkBroken, match="maximum"):
            end.sleep_prepare()
    finally:
        doorbell.close()
        end.close()


def test_an_unknown_kind_of_link_is_refused() -> None:
    with pytest.raises(ValueError):
        LinkEnd.create("test", "pipe")


def test_rings_too_small_for_the_largest_frame_are_refused() -> None:
    with pytest.raises(ValueError):
        LinkEnd.create("test", ring_bytes=4096)


class Collector:
    """Callbacks of a LinkLoop, and futures for what a test waits for."""

    def __init__(self, end: LinkEnd, wanted: int) -> None:
        loop = asyncio.get_running_loop()
        self.bodies: list[bytes] = []
        self.wanted = wanted
        self.all_here = loop.create_future()
        self.gone: asyncio.Future[str] = loop.create_future()
        self.turns = 0
        self.link = LinkLoop(loop, end, self.frames, self.turn_end, self.gone.set_result)

    def frames(self, frames: list[Frame]) -> None:
        for frame in frames:
            self.bodies += frame.bodies
        if len(self.bodies) == self.wanted:
            self.all_here.set_result(None)

    def turn_end(self) -> None:
        self.turns += 1
        self.link.flush()


def test_in_an_event_loop_a_full_ring_is_retried_until_everything_came_back() -> None:
    async def run(end: LinkEnd) -> None:
        collector = Collector(end, 2000)
        for number in range(2000):
            end.outbox.deliver(1, 0, number.to_bytes(4, "little") + bytes(3000))
        collector.link.flush()
        await collector.all_here
        assert [int.from_bytes(body[:4], "little") for body in collector.bodies] == list(range(2000))
        collector.link.close()

    with link_to(echo) as end:
        asyncio.run(run(end))


def say_goodbye_and_die(end: LinkEnd) -> None:
    end.outbox.multicast(0, (b"last",), 4)
    end.outbox.queue([int(ToExecutive.STOPPED)])
    end.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_last_frames_of_a_peer_come_before_the_news_of_its_end() -> None:
    async def run(end: LinkEnd) -> None:
        collector = Collector(end, 1)
        assert await collector.gone == "the other side has ended"
        assert collector.bodies == [b"last"]

    with link_to(say_goodbye_and_die) as end:
        asyncio.run(run(end))


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_end_of_a_peer_is_noticed_behind_its_last_words_and_before_it_read_ours(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def run() -> None:
        end, description, doorbell = LinkEnd.create("test", "posix", SMALL_RING)
        peer = LinkEnd.attach(description, doorbell)
        collector = Collector(end, 1)
        try:
            assert peer.sleep_prepare()
            end.outbox.queue([int(ToEngine.STOP)])
            await asyncio.sleep(0)  # The loop has read the empty link: both sleep.
            collector.link.flush()
            peer.outbox.multicast(0, (b"last",), 4)
            peer.flush()
            peer.close()
            assert await asyncio.wait_for(collector.gone, LIMIT_SECONDS) == "the other side has ended"
            assert collector.bodies == [b"last"]
        finally:
            collector.link.close()
            end.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())
    assert leftovers() == []


def test_the_direction_decides_the_vocabulary() -> None:
    end, description, doorbell = LinkEnd.create("test", ring_bytes=SMALL_RING)
    peer = LinkEnd.attach(description, doorbell)
    try:
        assert (end.direction, peer.direction) == (Direction.TO_EXECUTIVE, Direction.TO_ENGINE)
    finally:
        peer.close()
        end.close()
