"""The files in which numbers survive a restart, as a broken disk or a slip of a hand leaves them.

Claims: a number is read, or StoreError says which file is to blame; with the number that was read a node forms its ring.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final

from corosyncd.daemon.number_store import StoreError, highest_expected_votes, ring_sequence
from corosyncd.totem.events import Multicast, Unicast
from corosyncd.totem.ring import Ring, State
from corosyncd.totem.timeouts import derive
from fuzz.target import claim

NODE: Final = 1
STEPS: Final = 12
"""Timers in which a lone node has formed its ring."""


class StoredTarget:
    """An input: which file, then its content."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        # In memory: truncating a file that exists makes some file systems write it out at once.
        self._file = os.memfd_create("stored number", os.MFD_CLOEXEC)
        path = Path(f"/proc/self/fd/{self._file}")
        self._files = tuple(replace(stored, path=path) for stored in (ring_sequence(path, NODE), highest_expected_votes(path)))
        self._parameters = derive({}, 1)
        numbers = (0, 8, 1 << 32, (1 << 62) - 5, (1 << 62) - 4, 1 << 62, 1 << 63, (1 << 64) - 1)
        self.seeds = [b"\0" + number.to_bytes(8, "little") for number in numbers] + [
            b"\1" + bytes((5, 0, 0, 0)),
            b"\1\xff\xff\xff\xff",
        ]

    def run(self, data: bytes) -> None:
        """One start of a daemon."""
        if not data:
            return
        stored = self._files[data[0] % 2]
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, data[1:], 0)
        try:
            number = stored.load()
        except StoreError as error:
            claim(str(stored.path) in str(error), "the file is named")
            self.dropped["impossible number"] += 1
            return
        self.dropped["number" if number else "counts as none"] += 1
        if stored is self._files[0]:
            claim(self._forms_a_ring(number), f"a node that starts with ring id {number} forms a ring")

    def _forms_a_ring(self, number: int) -> bool:
        ring, now = Ring(NODE, self._parameters, number, 0.0), 0.0
        ring.start(now)
        for _ in range(STEPS):
            frames = [frame for output in ring.outputs() for frame in _frames(output)]
            for frame in frames:
                ring.receive(frame, 0, now)
            if ring.state is State.OPERATIONAL:
                return True
            due = ring.next_timer()
            if not frames and due is not None:
                now = max(now, due)
                ring.handle_timer(now)
        return False


def _frames(output: object) -> list[bytes]:
    match output:
        case Multicast(frames):
            return list(frames)
        case Unicast(_, frame):
            return [frame]
    return []
