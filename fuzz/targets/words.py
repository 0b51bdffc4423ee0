"""What an engine says to the executive over its link, as a process would say it whose memory is not its own any more.

Claims: a frame is refused with ValueError, whereupon the engine is killed and the node goes on, or its words are done; what they
bring about is bounded.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, cast

from msgpack import ExtraData, unpackb

from corosyncd.link.frames import Direction, decode, encode, pack_entry
from corosyncd.link.vocabulary import ToExecutive
from fuzz.pieces import cut, joined
from fuzz.target import LARGEST_INPUT, claim
from fuzz.targets.executive import RING, WORDS_LIMIT, configured_node
from tests.unit.executive_cluster import ScriptedNode

IN_A_ROUND, OF_ANOTHER_RING = 1, 2
"""Flags in an input's second byte."""
HEAD: Final = 2
WORDS_EACH: Final = 16
ARGUMENTS_EACH: Final = 8
FOREIGN: Final = RING._replace(sequence=RING.sequence + 4)
BODY: Final = (2 << 16 | 1).to_bytes(16, "little")
"""A ring message of cpg."""
KEY: Final = "resources.process.7.state"
DESCRIPTION: Final = {
    "service_id": 2,
    "load_name": "corosync_cpg",
    "title": "groups",
    "functions": 4,
    "requests": 4,
    "synchronised": True,
    "priority": 1,
    "tracked": ["resources."],
}
COUNTERS: Final = {"stats.ipcs.service2.77.0x1.requests": [8, bytes(8)], "stats.ipcs.cpg\0closed": [8, bytes(8)]}
SAID: Final[tuple[list[object], ...]] = (
    [ToExecutive.HELLO, DESCRIPTION],
    [ToExecutive.READY],
    *([ToExecutive.MULTICAST, kind, [16]] for kind in range(3)),
    [ToExecutive.GATE_CLOSED],
    [ToExecutive.SYNC_STEP_DONE],
    [ToExecutive.SYNC_ACTIVATED],
    [ToExecutive.CONSUMED, 16],
    *([ToExecutive.KEYS_CHANGE, 1, [[kind, KEY, 6, b"\1\0\0\0", 1, False]]] for kind in ("set", "delete", "adjust")),
    [ToExecutive.KEYS_CHANGE, None, [["set", "runtime.force_gather", 11, b"yes\0", 0, False]]],
    [ToExecutive.KEYS_CHANGE, None, [["set", "runtime.votequorum.ev_tracking_barrier", 6, b"\1\0\0\0", 0, False]]],
    [ToExecutive.KEYS_CONFIRM, 1],
    [ToExecutive.ALIVE],
    [ToExecutive.SET_QUORATE, True, [1, 2]],
    [ToExecutive.QUORUM_CONFIRM, 1],
    [ToExecutive.KEEP, b"kept"],
    [ToExecutive.STATISTICS_REQUEST, 1],
    [ToExecutive.STATISTICS, 1, COUNTERS],
    [ToExecutive.CLEAR_STATISTICS, "all"],
    [ToExecutive.RELOAD, 1],
    [ToExecutive.REOPEN_LOGS],
    [ToExecutive.SHUTDOWN_REQUEST, "reason"],
    [ToExecutive.FATAL, 15, "reason"],
    [ToExecutive.REFUSED, "reason"],
    [ToExecutive.STOPPED],
    [ToExecutive.CONNECTION, True, COUNTERS],
    [ToExecutive.GATE_OPENED],
)
"""Every word, with arguments as engines give them."""


class WordsTarget:
    """An input: engine, flags, then words, each behind its length: the kind, then arguments, each behind its length, as msgpack.

    So an argument that is damaged is mostly another value in the same place, and no broken frame: these are ``link``'s.
    """

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self.seeds = [
            bytes((engine, flags)) + joined(map(_packed, words))
            for engine in range(5)
            for flags in (0, IN_A_ROUND)
            for words in (*([word] for word in SAID), [SAID[-12], SAID[-11]], list(SAID[:12]))
        ]

    def run(self, data: bytes) -> None:
        """One frame, and what the node does next."""
        if len(data) < HEAD:
            return
        words = [_word(piece) for piece in cut(data[HEAD:], WORDS_EACH)]
        ring_id = FOREIGN if data[1] & OF_ANOTHER_RING else RING
        frame = decode(b"".join(encode(ring_id, words, _bodies(words))), Direction.TO_EXECUTIVE)
        node = configured_node(in_a_round=bool(data[1] & IN_A_ROUND))
        engine = list(node.engines.values())[data[0] % len(node.engines)]
        node.say(node.engines["cmap"], ToExecutive.STATISTICS_REQUEST, 1)
        try:
            node.executive.receive(engine.name, frame.ring_id, frame.entries, frame.bodies, node.now)
        except ValueError as error:
            self.dropped[type(error.__cause__).__name__] += 1
            node.kill(engine)
        _go_on(node)
        self.dropped.update({reason: count for reason, count in node.executive.router.dropped.items() if count})


def _packed(word: list[object]) -> bytes:
    return bytes((cast(int, word[0]),)) + joined(map(pack_entry, word[1:]))  # type: ignore[arg-type]


def _word(piece: bytes) -> list[Any]:
    kind = piece[0] if piece else int(ToExecutive.READY)
    word = [kind, *map(_argument, cut(piece[1:], ARGUMENTS_EACH))]
    fits = len(word) == 3 and type(word[2]) is list and all(type(size) is int and 0 <= size < LARGEST_INPUT for size in word[2])
    if kind == ToExecutive.MULTICAST and not fits:
        return [kind, 0, []]  # No frame: its bodies would not be where it says.
    return word


def _argument(piece: bytes) -> Any:
    try:
        return unpackb(piece, unicode_errors="surrogateescape")
    except ExtraData as more:
        return more.unpacked
    except ValueError:
        return None


def _bodies(words: list[list[Any]]) -> list[bytes]:
    sizes = [size for word in words if word[0] == ToExecutive.MULTICAST for size in word[2]]
    return [BODY[:size].ljust(size, b"x") for size in sizes]


def _go_on(node: ScriptedNode) -> None:
    """Engines answer, also with their counters, the ring delivers, time passes, and a program asks for statistics."""
    executive = node.executive
    for step in range(2, 5):
        words = sum(len(record.outbox) for record in executive.engines.values()) + len(node.ring.order)
        claim(words <= WORDS_LIMIT, f"what a frame brings about is bounded: {words} words")
        node.settle()
        running = [node.engines[name] for name, record in executive.engines.items() if record.running]
        for engine in running:
            node.say(engine, ToExecutive.STATISTICS, step - 1, COUNTERS)
        while node.ring.order:
            executive.deliver([node.ring.order.popleft()], node.now)
        executive.ring_advanced(node.now)
        node.now += 1.0
        executive.handle_timer(node.now)
        if node.engines["cmap"] in running:
            node.say(node.engines["cmap"], ToExecutive.STATISTICS_REQUEST, step)
