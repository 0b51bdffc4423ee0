"""Ordered frames becoming messages: every frame gives messages, or is counted, or is kept within a limit."""

from __future__ import annotations

from collections import Counter

from corosyncd.totem.assembly import ASSEMBLY_LIMIT, Assembly
from corosyncd.totem.outbox import Outbox
from corosyncd.totem.statistics import Statistics
from corosyncd.totem.wire import MCAST, MalformedFrame, Reason, decode_packed
from fuzz import corpus
from fuzz.pieces import cut, joined
from fuzz.target import claim

FRAMES_EACH = 64
"""Most frames that one input is cut into."""


class AssemblyTarget:
    """``Assembly.accept`` of a run of frames. An input is frames, each behind its length as u16."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        frames = [frame for frame in corpus.datagrams() if len(frame) > MCAST.size and frame[3] == 1]
        self.seeds = [joined(frames[start : start + 6]) for start in range(0, len(frames), 3)]

    def run(self, data: bytes) -> None:
        """One run of frames."""
        outbox, statistics = Outbox(1), Statistics()
        assembly = Assembly(outbox, statistics)
        for frame in cut(data, FRAMES_EACH):
            before = statistics.dropped.copy()
            assembly.accept(frame)
            if _malformed(frame):
                claim(
                    statistics.dropped.get(Reason.PACKING, 0) == before.get(Reason.PACKING, 0) + 1, "a malformed frame is counted"
                )
        size = sum(len(body) for _, _, body in outbox.messages)
        claim(size <= len(data), f"{size} bytes of messages came out of {len(data)} bytes of frames")
        claim(size <= FRAMES_EACH * ASSEMBLY_LIMIT, "messages have a limit")
        self.dropped.update({reason.value: count for reason, count in statistics.dropped.items()})


def _malformed(frame: bytes) -> bool:
    """Whether the lengths in a frame's payload do not add up."""
    if len(frame) < MCAST.size:
        return True
    try:
        decode_packed(frame[MCAST.size :], swapped=frame[0] != 0x70)
    except MalformedFrame:
        return True
    return False
