"""A configuration that waits behind a barrier of the old ring: nothing leaves on the new one before it is out."""

from __future__ import annotations

from corosyncd.totem.events import Configuration, ConfigurationKind, Group, Multicast, Output, Queue, RingId
from corosyncd.totem.packing import Packer
from corosyncd.totem.ring import Ring
from corosyncd.totem.timeouts import derive
from corosyncd.totem.wire import FrameType

TYPE_OFFSET = 3


def lone_ring() -> Ring:
    """A node that has formed a ring of its own and still synchronises."""
    ring = Ring(1, derive({}, 1), 0, 0.0)
    ring.start(0.0)
    while not ring.members:
        ring.handle_timer(0.0)
    ring.outputs()
    return ring


def barriers(count: int) -> list[bytes]:
    """Frames of another node, each with a barrier of a round that was never finished."""
    frames = []
    for seq in range(1, count + 1):
        packer = Packer(2, 1410)
        packer.submit(Group.SYNC, [b"barrier"], Queue.SYNC, 0)
        frames += packer.take(1, seq, 0, RingId(1, 1))
    return frames


def is_data(output: Output) -> bool:
    return isinstance(output, Multicast) and any(frame[TYPE_OFFSET] == FrameType.MCAST for frame in output.frames)


def test_no_frame_leaves_before_the_configuration_that_it_belongs_to() -> None:
    ring = lone_ring()
    transitional = Configuration(ConfigurationKind.TRANSITIONAL, ring.ring_id, (1,), (), ())
    regular = Configuration(ConfigurationKind.REGULAR, ring.ring_id, (1,), (), ())
    ring._core.delivery.install(barriers(3), transitional, [], regular)
    ring.submit(Group.SYNC, [b"mine"], Queue.SYNC)
    outputs: list[Output] = []
    for _ in range(20):
        outputs += ring.outputs()
        ring.handle_timer(0.0)
    sent = next(index for index, output in enumerate(outputs) if is_data(output))
    assert outputs.index(regular) < sent
