"""Reads the frames that leave the simulated nodes: a second, independent reading of the layouts.

The checkers must not believe the core about what it sent, so nothing here comes from ``corosyncd.totem``. Layouts: Totem's
frames as stock 3.1 sends them, little endian (reference: common header 13 bytes, token 57 + 16 n, multicast 45 + payload, packed
payload 8 + 2 n + data).
"""

from __future__ import annotations

from struct import Struct, error
from typing import Final, NamedTuple

from corosyncd.totem.events import RingId
from corosyncsim.history import Message
from corosyncsim.payload import identity

TOKEN, MCAST, MERGE_DETECT, JOIN, COMMIT, HOLD_CANCEL = range(6)
TYPE_NAMES: Final = ("token", "mcast", "merge", "join", "commit", "cancel")
MAGIC: Final = 0xC070
NEVER: Final = 0xFFFFFFFF
"""The aru of a ring's first token: below every sequence number."""

SMALLEST: Final = 25
OURS: Final = b"\x70\xc0\x03"
"""How a frame begins that is not damaged."""
TYPE_OFFSET: Final = 3
_SENDER_OFFSET: Final = 5
_HEADER = Struct("<HBBBII")
_TOKEN = Struct("<IIIIIQIIII")
_REQUEST = Struct("<IQI")
_MCAST = Struct("<IIIIQII")
_PACKED = Struct("<HHBBH")
_JOIN = Struct("<IIIQ")
_COMMIT = Struct("<IIQIII")
_MERGE = Struct("<IIQ")
_RING_ID = Struct("<IQ")
_ENCAPSULATED: Final = 1
_PREFIX_LIMIT: Final = 48


class BadFrame(ValueError):
    """A node sent what no receiver could read."""


class Token(NamedTuple):
    """The fields of an ORF token."""

    seq: int
    token_seq: int
    aru: int
    aru_addr: int
    ring_id: RingId
    backlog: int
    fcc: int
    retrans_flg: int
    requests: tuple[tuple[RingId, int], ...]


class Frame(NamedTuple):
    """The fixed fields of a multicast frame."""

    originator: int
    seq: int
    ring_id: RingId
    encapsulates: bool


def sender(frame: bytes) -> int:
    """The node id in the header of a frame, whatever its type; ``frame`` has at least ``SMALLEST`` bytes."""
    return int.from_bytes(frame[_SENDER_OFFSET : _SENDER_OFFSET + 4], "little")


def frame_type(frame: bytes) -> int:
    """The frame's type; raises BadFrame for anything but a complete header of ours."""
    if len(frame) < _HEADER.size:
        raise BadFrame(f"{len(frame)} bytes are no frame")
    magic, version, kind, *_ = _HEADER.unpack_from(frame)
    if magic != MAGIC or version != 3 or kind > HOLD_CANCEL:
        raise BadFrame(f"magic {magic:#x}, version {version}, type {kind}")
    return int(kind)


def token(frame: bytes) -> Token:
    """The ORF token in ``frame``; raises BadFrame."""
    try:
        seq, token_seq, aru, aru_addr, rep, ring_seq, backlog, fcc, retrans_flg, entries = _TOKEN.unpack_from(frame, _HEADER.size)
        start = _HEADER.size + _TOKEN.size
        requests = []
        for offset in range(start, start + entries * _REQUEST.size, _REQUEST.size):
            request_rep, request_ring_seq, request_seq = _REQUEST.unpack_from(frame, offset)
            requests.append((RingId(request_rep, request_ring_seq), request_seq))
    except error as short:
        raise BadFrame(f"token of {len(frame)} bytes") from short
    return Token(seq, token_seq, aru, aru_addr, RingId(rep, ring_seq), backlog, fcc, retrans_flg, tuple(requests))


def mcast(frame: bytes) -> Frame:
    """The fixed fields of the multicast in ``frame``; raises BadFrame."""
    if len(frame) < _HEADER.size + _MCAST.size:
        raise BadFrame(f"multicast of {len(frame)} bytes")
    system_from, seq, _, rep, ring_seq, _, _ = _MCAST.unpack_from(frame, _HEADER.size)
    return Frame(system_from, seq, RingId(rep, ring_seq), frame[4] == _ENCAPSULATED)


def commit_ring_id(frame: bytes) -> RingId:
    """The ring that the commit token in ``frame`` forms; raises BadFrame."""
    if len(frame) < _HEADER.size + _COMMIT.size:
        raise BadFrame(f"commit token of {len(frame)} bytes")
    _, rep, ring_seq, *_ = _COMMIT.unpack_from(frame, _HEADER.size)
    return RingId(rep, ring_seq)


class Join(NamedTuple):
    """The fields of a join that tell who accuses whom; ``leaves`` for a farewell."""

    sender: int
    leaves: bool
    proc: tuple[int, ...]
    failed: tuple[int, ...]
    ring_seq: int


def join(frame: bytes) -> Join:
    """The join in ``frame``; raises BadFrame."""
    try:
        sender, procs, failures, ring_seq = _JOIN.unpack_from(frame, _HEADER.size)
        ids = Struct(f"<{procs + failures}I").unpack_from(frame, _HEADER.size + _JOIN.size)
    except error as short:
        raise BadFrame(f"join of {len(frame)} bytes") from short
    return Join(sender, not _HEADER.unpack_from(frame)[4], ids[:procs], ids[procs:], ring_seq)


class Assembly:
    """Follows one sender's stream of packed frames and names the messages that it completes."""

    __slots__ = ("_open", "_prefix")

    def __init__(self) -> None:
        self._open = 0
        self._prefix = b""

    def completed(self, frame: bytes) -> tuple[bool, list[Message | None]]:
        """Whether the frame continues an earlier one, and the messages that end in it; raises BadFrame."""
        start = _HEADER.size + _MCAST.size
        try:
            _, _, fragmented, continuation, count = _PACKED.unpack_from(frame, start)
            lengths = Struct(f"<{count}H").unpack_from(frame, start + _PACKED.size)
        except error as short:
            raise BadFrame(f"packed payload of {len(frame) - start} bytes") from short
        offset = start + _PACKED.size + 2 * count
        if offset + sum(lengths) != len(frame):
            raise BadFrame(f"packed payload says {offset + sum(lengths)} bytes and has {len(frame)}")
        if continuation != self._open:
            raise BadFrame(f"the sender's stream stands at fragment {self._open}, the frame continues {continuation}")
        messages: list[Message | None] = []
        prefix = self._prefix
        for index, length in enumerate(lengths):
            if index or not continuation:
                prefix = b""
            if len(prefix) < _PREFIX_LIMIT:
                prefix += frame[offset : offset + min(length, _PREFIX_LIMIT)]
            offset += length
            if index < count - 1 or not fragmented:
                messages.append(_name(prefix))
        self._open, self._prefix = fragmented, prefix
        return continuation != 0, messages


def _name(prefix: bytes) -> Message | None:
    """The message whose first bytes, group header included, are ``prefix``."""
    groups = int.from_bytes(prefix[:2], "little")
    names = sum(int.from_bytes(prefix[2 + 2 * i : 4 + 2 * i], "little") for i in range(min(groups, _PREFIX_LIMIT)))
    return identity(prefix[2 + 2 * groups + names :])


def describe(frame: bytes) -> str:
    """One line for the trace: the frame's type and the fields that matter."""
    kind = frame_type(frame)
    if kind == TOKEN:
        t = token(frame)
        requests = ",".join(str(seq) for _, seq in t.requests)
        return (
            f"token {t.ring_id} seq {t.seq} token_seq {t.token_seq} aru {t.aru if t.aru != NEVER else '-'}@{t.aru_addr}"
            f" backlog {t.backlog} fcc {t.fcc} flg {t.retrans_flg} rtr [{requests}]"
        )
    if kind == MCAST:
        m = mcast(frame)
        inner = f" carries {describe(frame[_HEADER.size + _MCAST.size :])}" if m.encapsulates else ""
        return f"mcast {m.ring_id} seq {m.seq} of {m.originator} {len(frame)} B{inner}"
    if kind == JOIN:
        j = join(frame)
        word = "leave" if j.leaves else "join"
        return f"{word} of {j.sender} proc {list(j.proc)} failed {list(j.failed)} ring_seq {j.ring_seq:x}"
    if kind == COMMIT:
        token_seq, rep, ring_seq, _, index, entries = _COMMIT.unpack_from(frame, _HEADER.size)
        ids = Struct(f"<{entries}I").unpack_from(frame, _HEADER.size + _COMMIT.size)
        return f"commit {RingId(rep, ring_seq)} token_seq {token_seq} index {index} of {list(ids)}"
    if kind == MERGE_DETECT:
        system_from, rep, ring_seq = _MERGE.unpack_from(frame, _HEADER.size)
        return f"merge detect {RingId(rep, ring_seq)} of {system_from}"
    rep, ring_seq = _RING_ID.unpack_from(frame, _HEADER.size)
    return f"hold cancel {RingId(rep, ring_seq)}"
