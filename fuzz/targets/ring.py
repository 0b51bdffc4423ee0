"""The whole protocol core in each of its states, fed hostile datagrams, with the timers that follow.

Claims: nothing raises; a malformed datagram is counted, by its reason or where its type means nothing in that state by its type;
what the core sends, delivers and keeps because of one input stays within bounds.
"""

from __future__ import annotations

import copyreg
import pickle
from collections import Counter
from types import MappingProxyType
from typing import Any, Final

from corosyncd.totem import wire
from corosyncd.totem.events import Deliver, Multicast, Unicast
from corosyncd.totem.ring import Ring, State
from corosyncd.totem.statistics import COUNTERS
from fuzz import corpus
from fuzz.target import claim
from tests.unit.totem_cluster import Cluster

OWN: Final = 2
"""The node that is fed; 1 is the representative, 3 the third member."""
FRAMES_OUT: Final = 4096
"""Most frames that one input may make the core send, over the timers that follow too."""
BYTES_OUT: Final = 8 << 20
KEPT_BYTES: Final = 2 << 20
"""By which one input may make the core's state longer, as pickled."""
TIMERS: Final = 3
"""Expiries that follow an input which asks for them."""
MORE_TIMERS, IN_A_TRAIN = 1, 2
"""Flags in an input's second byte."""


class RingTarget:
    """An input: the state's number, flags, then one datagram or a train of equal halves."""

    def __init__(self) -> None:
        copyreg.pickle(MappingProxyType, _reduce_proxy)
        self.dropped: Counter[str] = Counter()
        states, frames = _history()
        self._states = [(state, pickle.dumps(ring, 5), now) for state, (ring, now) in sorted(states.items())]
        self.seeds = [
            bytes((number, flags)) + frame
            for number in range(len(self._states))
            for flags, frame in zip((0, MORE_TIMERS, IN_A_TRAIN) * len(frames), frames, strict=False)
        ]

    def run(self, data: bytes) -> None:
        """One input."""
        if len(data) < 2:
            return
        state, snapshot, now = self._states[data[0] % len(self._states)]
        ring: Ring = pickle.loads(snapshot)
        flags, frame = data[1], data[2:]
        before, counted = dict(ring.statistics.dropped), _counted(ring)
        ring.receive(frame, (len(frame) + 1) // 2 if flags & IN_A_TRAIN else 0, now)
        if not flags & IN_A_TRAIN:
            claim(_counted(ring) > counted or not _malformed(frame), "a malformed frame is counted")
        sent = self._spend(ring)
        for _ in range(TIMERS if flags & MORE_TIMERS else 0):
            due = ring.next_timer()
            if due is None:
                break
            now = max(now, due)
            ring.handle_timer(now)
            sent = [sum(pair) for pair in zip(sent, self._spend(ring), strict=True)]
        claim(sent[0] <= FRAMES_OUT and sent[1] <= BYTES_OUT, f"{sent[0]} frames of {sent[1]} bytes were sent in {state.name}")
        if len(frame) > 256 or flags & MORE_TIMERS:
            grown = len(pickle.dumps(ring, 5)) - len(snapshot)
            claim(grown <= KEPT_BYTES, f"the state in {state.name} has grown by {grown} bytes")
        for reason, count in ring.statistics.dropped.items():
            self.dropped[reason.value] += count - before.get(reason, 0)

    def _spend(self, ring: Ring) -> list[int]:
        frames = size = 0
        for output in ring.outputs():
            match output:
                case Multicast(sent):
                    frames += len(sent)
                    size += sum(map(len, sent))
                case Unicast(_, sent_to):
                    frames += 1
                    size += len(sent_to)
                case Deliver(messages):
                    size += sum(len(body) for _, _, body in messages)
                case _:
                    pass
        return [frames, size]


def _counted(ring: Ring) -> int:
    """What was dropped for a reason, and what was received, by type."""
    statistics = ring.statistics
    received: int = sum(getattr(statistics, name) for name in COUNTERS if name.endswith("_rx"))
    return received + sum(statistics.dropped.values())


def _malformed(frame: bytes) -> bool:
    try:
        wire.decode(frame)
    except wire.MalformedFrame:
        return True
    return False


def _history() -> tuple[dict[State, tuple[Ring, float]], list[bytes]]:
    """A ring of three loses one under load and takes it back; node OWN as it was in each state, and what was on the wire."""
    cluster = Cluster(3)
    states: dict[State, tuple[Ring, float]] = {}
    frames: dict[bytes, None] = {}

    def look() -> bool:
        node = cluster[OWN]
        state = node.ring.state
        if state is not State.OPERATIONAL or node.ring.ring_id.sequence > 8:
            states.setdefault(state, (pickle.loads(pickle.dumps(node.ring, 5)), cluster.now))
        return False

    cluster.form()
    for number in (1, 2, 3):
        cluster[number].send(*(bytes([number]) * (200 * piece) for piece in range(20)))
    cluster.run(0.01)
    states[State.OPERATIONAL] = pickle.loads(pickle.dumps(cluster[OWN].ring, 5)), cluster.now
    cluster.passes = lambda sender, receiver, frame: sender != 3
    for number in (1, 2):
        cluster[number].send(*(bytes([number]) * 900 for _ in range(30)))
    cluster.kill(3)
    cluster.run_until(lambda: look() or cluster.formed((1, 2)))
    cluster.passes = lambda sender, receiver, frame: True
    cluster.restart(3)
    cluster.run_until(lambda: look() or cluster.formed((1, 2, 3)))
    for node in cluster.nodes.values():
        frames.update(dict.fromkeys(frame for _, _, frame in node.sent[:: max(1, len(node.sent) // 120)]))
    frames.update(dict.fromkeys(corpus.datagrams()[::20]))
    return states, list(frames)


def _reduce_proxy(proxy: MappingProxyType[Any, Any]) -> tuple[Any, ...]:
    return _proxy, (dict(proxy),)


def _proxy(content: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(content)
