"""The frames of the ring: every layout, declared once as data, and its decoding and encoding.

Source: reference totem.md §1 (layouts), §2.1 (the packed payload), §6 (checks). Frames of either byte order decode to the same
values; what we send is little endian, the order of the hosts that the daemon runs on (x86-64).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, StrEnum
from itertools import pairwise
from struct import Struct
from typing import Final, NamedTuple

from corosyncd.totem.events import RingId

MAGIC: Final = 0xC070
VERSION: Final = 3
ENCAPSULATED: Final = 1
"""An mcast that carries a whole mcast of the old ring (recovery)."""
ORDINARY: Final = 2
MAXIMUM_TOKEN_SIZE: Final = 1500
MAXIMUM_RETRANSMIT_ENTRIES: Final = 30
MAXIMUM_NODES: Final = 384
MAXIMUM_FRAME_SIZE: Final = 65536
MAXIMUM_RING_SEQUENCE: Final = 1 << 63


class FrameType(IntEnum):
    """The type byte of the common header."""

    ORF_TOKEN = 0
    MCAST = 1
    MERGE_DETECT = 2
    MEMB_JOIN = 3
    COMMIT_TOKEN = 4
    TOKEN_HOLD_CANCEL = 5


class Reason(StrEnum):
    """Why a received frame, or a message in it, was dropped; the words of the counters."""

    SHORT_HEADER = "short_header"
    MAGIC = "magic"
    VERSION = "version"
    TYPE = "type"
    SHORT_FRAME = "short_frame"
    LONG_FRAME = "long_frame"
    LIST_TOO_LONG = "list_too_long"
    NODE_ID = "node_id"
    RING_SEQUENCE = "ring_sequence"
    PACKING = "packing"
    TOKEN_DISCARDED = "token_discarded"
    TOKEN_FOREIGN = "token_foreign"
    TOKEN_DUPLICATE = "token_duplicate"
    TOKEN_RANGE = "token_range"
    COMMIT_TOKEN = "commit_token"
    FOREIGN_MCAST = "foreign_mcast"
    STALE_RING = "stale_ring"
    NOT_RECOVERING = "not_recovering"
    NOT_OPERATIONAL = "not_operational"
    DUPLICATE_OR_OUTSIDE_WINDOW = "duplicate_or_outside_window"
    JOIN_IGNORED = "join_ignored"
    STALE_JOIN = "stale_join"
    IGNORED_NODE = "ignored_node"
    FOREIGN_BYTE_ORDER = "foreign_byte_order"
    GROUP = "group"
    THROWN_AWAY = "thrown_away"
    ASSEMBLY_LIMIT = "assembly_limit"


class MalformedFrame(ValueError):
    """A frame that fails a check of §6; ``reason`` is the counter that it belongs to."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Layout:
    """A packed structure: field names with their struct codes, in both byte orders."""

    __slots__ = ("big", "fields", "little", "offsets", "size")

    def __init__(self, *fields: tuple[str, str]) -> None:
        codes = "".join(code for _, code in fields)
        self.fields = fields
        self.little = Struct("<" + codes)
        self.big = Struct(">" + codes)
        self.size = self.little.size
        self.offsets: dict[str, int] = {}
        offset = 0
        for name, code in fields:
            self.offsets[name] = offset
            offset += Struct("<" + code).size

    def order(self, swapped: bool) -> Struct:
        """The structure in this host's byte order, or in the other one."""
        return self.big if swapped else self.little

    def partial(self, *names: str, swapped: bool = False) -> Struct:
        """A structure of the same size that reads these fields only, in the order of the layout."""
        codes = "".join(code if name in names else f"{Struct('<' + code).size}x" for name, code in self.fields)
        return Struct((">" if swapped else "<") + codes)


HEADER_FIELDS: Final = (
    ("magic", "H"),
    ("version", "B"),
    ("type", "B"),
    ("encapsulated", "B"),
    ("nodeid", "I"),
    ("target_nodeid", "I"),
)
RING_ID_FIELDS: Final = (("ring_representative", "I"), ("ring_sequence", "Q"))

HEADER: Final = Layout(*HEADER_FIELDS)
ORF_TOKEN: Final = Layout(
    *HEADER_FIELDS,
    ("seq", "I"),
    ("token_seq", "I"),
    ("aru", "I"),
    ("aru_addr", "I"),
    *RING_ID_FIELDS,
    ("backlog", "I"),
    ("fcc", "I"),
    ("retrans_flg", "I"),
    ("rtr_list_entries", "I"),
)
RETRANSMIT_ENTRY: Final = Layout(*RING_ID_FIELDS, ("seq", "I"))
MCAST: Final = Layout(
    *HEADER_FIELDS,
    ("system_from", "I"),
    ("seq", "I"),
    ("this_seqno", "I"),
    *RING_ID_FIELDS,
    ("node_id", "I"),
    ("guarantee", "I"),
)
PACKED: Final = Layout(("version", "H"), ("type", "H"), ("fragmented", "B"), ("continuation", "B"), ("msg_count", "H"))
"""The head of an ordinary mcast's payload; u16 lengths and the chunks follow."""
ORDINARY_MCAST: Final = Layout(*MCAST.fields, *((f"packed_{name}", code) for name, code in PACKED.fields))
"""Header and head of the payload together: what an ordinary frame begins with."""
MERGE_DETECT: Final = Layout(*HEADER_FIELDS, ("system_from", "I"), *RING_ID_FIELDS)
MEMB_JOIN: Final = Layout(*HEADER_FIELDS, ("system_from", "I"), ("proc_entries", "I"), ("failed_entries", "I"), ("ring_seq", "Q"))
COMMIT_TOKEN: Final = Layout(
    *HEADER_FIELDS, ("token_seq", "I"), *RING_ID_FIELDS, ("retrans_flg", "I"), ("memb_index", "I"), ("addr_entries", "I")
)
COMMIT_ENTRY: Final = Layout(*RING_ID_FIELDS, ("aru", "I"), ("high_delivered", "I"), ("received_flg", "I"))
TOKEN_HOLD_CANCEL: Final = Layout(*HEADER_FIELDS, *RING_ID_FIELDS)


def _signature(kind: FrameType, swapped: bool) -> bytes:
    return MAGIC.to_bytes(2, "big" if swapped else "little") + bytes((VERSION, kind))


SIGNATURES: Final[dict[bytes, tuple[FrameType, bool]]] = {
    _signature(kind, swapped): (kind, swapped) for kind in FrameType for swapped in (False, True)
}
"""First four bytes of a frame → its type and whether it is byte-swapped: the one look-up that classifies a frame."""


class RetransmitRequest(NamedTuple):
    """One entry of the token's retransmit list."""

    ring_representative: int
    ring_sequence: int
    seq: int


class OrfToken(NamedTuple):
    """The token of the ring (§1.2)."""

    encapsulated: int
    nodeid: int
    target_nodeid: int
    seq: int
    token_seq: int
    aru: int
    aru_addr: int
    ring_representative: int
    ring_sequence: int
    backlog: int
    fcc: int
    retrans_flg: int
    rtr: tuple[RetransmitRequest, ...]


class Mcast(NamedTuple):
    """A frame with a place in the total order (§1.3); the payload is ``Packed`` or, encapsulated, a whole inner frame."""

    encapsulated: int
    nodeid: int
    target_nodeid: int
    system_from: int
    seq: int
    this_seqno: int
    ring_representative: int
    ring_sequence: int
    node_id: int
    guarantee: int
    payload: bytes


class MergeDetect(NamedTuple):
    """A representative's sign of life for rings that do not know it (§1.4)."""

    encapsulated: int
    nodeid: int
    target_nodeid: int
    system_from: int
    ring_representative: int
    ring_sequence: int


class MembJoin(NamedTuple):
    """A proposal of membership (§1.4); ``nodeid`` 0 makes it a leave."""

    encapsulated: int
    nodeid: int
    target_nodeid: int
    system_from: int
    ring_seq: int
    proc: tuple[int, ...]
    failed: tuple[int, ...]


class CommitEntry(NamedTuple):
    """What one member reports of its old ring in the commit token; all zero until it has."""

    ring_representative: int
    ring_sequence: int
    aru: int
    high_delivered: int
    received_flg: int


class CommitToken(NamedTuple):
    """The token that forms a ring in two rotations (§1.4); ``addresses`` ascend."""

    encapsulated: int
    nodeid: int
    target_nodeid: int
    token_seq: int
    ring_representative: int
    ring_sequence: int
    retrans_flg: int
    memb_index: int
    addresses: tuple[int, ...]
    entries: tuple[CommitEntry, ...]


class TokenHoldCancel(NamedTuple):
    """A request to let the held token go (§3.9)."""

    encapsulated: int
    nodeid: int
    target_nodeid: int
    ring_representative: int
    ring_sequence: int


Frame = OrfToken | Mcast | MergeDetect | MembJoin | CommitToken | TokenHoldCancel


class Packed(NamedTuple):
    """The payload of an ordinary mcast: chunks of messages (§2.1)."""

    version: int
    type: int
    fragmented: int
    continuation: int
    chunks: tuple[bytes, ...]


def classify(frame: bytes) -> tuple[FrameType, bool]:
    """Type and byte order of a frame. Raises ``MalformedFrame`` when the common header is not Totem's."""
    known = SIGNATURES.get(frame[:4])
    if known is None or len(frame) < HEADER.size:
        raise MalformedFrame(header_fault(frame))
    return known


def header_fault(frame: bytes) -> Reason:
    """What is wrong with a common header that matched no signature."""
    if len(frame) < HEADER.size:
        return Reason.SHORT_HEADER
    if int.from_bytes(frame[:2], "little") != MAGIC and int.from_bytes(frame[:2], "big") != MAGIC:
        return Reason.MAGIC
    if frame[2] != VERSION:
        return Reason.VERSION
    return Reason.TYPE


def _fixed(layout: Layout, frame: bytes, swapped: bool) -> tuple[int, ...]:
    """The fixed fields behind the magic, the version and the type, which ``classify`` has already read."""
    if len(frame) < layout.size:
        raise MalformedFrame(Reason.SHORT_FRAME)
    return layout.order(swapped).unpack_from(frame)[3:]


def decode_orf_token(frame: bytes, swapped: bool = False) -> OrfToken:
    """Raises ``MalformedFrame``: below 57 or above 1500 bytes, more than 30 requests, or a list longer than the frame."""
    if len(frame) > MAXIMUM_TOKEN_SIZE:
        raise MalformedFrame(Reason.LONG_FRAME)
    fixed = _fixed(ORF_TOKEN, frame, swapped)
    count = fixed[12]
    if not count:
        return OrfToken._make((*fixed[:12], ()))
    if count > MAXIMUM_RETRANSMIT_ENTRIES:
        raise MalformedFrame(Reason.LIST_TOO_LONG)
    end = ORF_TOKEN.size + RETRANSMIT_ENTRY.size * count
    if len(frame) < end:
        raise MalformedFrame(Reason.SHORT_FRAME)
    entries = RETRANSMIT_ENTRY.order(swapped).iter_unpack(frame[ORF_TOKEN.size : end])
    return OrfToken._make((*fixed[:12], tuple(map(RetransmitRequest._make, entries))))


def decode_mcast(frame: bytes, swapped: bool = False) -> Mcast:
    """Raises ``MalformedFrame`` below 45 or above 65536 bytes. The payload stays bytes: see ``decode_packed``."""
    if len(frame) > MAXIMUM_FRAME_SIZE:
        raise MalformedFrame(Reason.LONG_FRAME)
    return Mcast._make((*_fixed(MCAST, frame, swapped), frame[MCAST.size :]))


def decode_merge_detect(frame: bytes, swapped: bool = False) -> MergeDetect:
    """Raises ``MalformedFrame`` below 29 bytes; what stands behind is ignored."""
    return MergeDetect._make(_fixed(MERGE_DETECT, frame, swapped))


def decode_memb_join(frame: bytes, swapped: bool = False) -> MembJoin:
    """Raises ``MalformedFrame``: short, lists above 384 nodes, node id 0 in a list or as sender, implausible ring sequence."""
    encapsulated, nodeid, target, system_from, proc_entries, failed_entries, ring_seq = _fixed(MEMB_JOIN, frame, swapped)
    if proc_entries > MAXIMUM_NODES or failed_entries > MAXIMUM_NODES:
        raise MalformedFrame(Reason.LIST_TOO_LONG)
    if len(frame) < MEMB_JOIN.size + 4 * (proc_entries + failed_entries):
        raise MalformedFrame(Reason.SHORT_FRAME)
    nodes = _nodes(frame, MEMB_JOIN.size, proc_entries + failed_entries, swapped)
    if not system_from or 0 in nodes:
        raise MalformedFrame(Reason.NODE_ID)
    if ring_seq > MAXIMUM_RING_SEQUENCE:
        raise MalformedFrame(Reason.RING_SEQUENCE)
    return MembJoin(encapsulated, nodeid, target, system_from, ring_seq, nodes[:proc_entries], nodes[proc_entries:])


def decode_commit_token(frame: bytes, swapped: bool = False) -> CommitToken:
    """Raises ``MalformedFrame``: short, no or more than 384 nodes, node ids that do not ascend, implausible ring sequence."""
    fixed = _fixed(COMMIT_TOKEN, frame, swapped)
    count, ring_sequence = fixed[8], fixed[5]
    if count > MAXIMUM_NODES:
        raise MalformedFrame(Reason.LIST_TOO_LONG)
    start = COMMIT_TOKEN.size + 4 * count
    end = start + COMMIT_ENTRY.size * count
    if len(frame) < end:
        raise MalformedFrame(Reason.SHORT_FRAME)
    nodes = _nodes(frame, COMMIT_TOKEN.size, count, swapped)
    if not nodes or not nodes[0] or any(first >= second for first, second in pairwise(nodes)):
        raise MalformedFrame(Reason.NODE_ID)
    if ring_sequence > MAXIMUM_RING_SEQUENCE:
        raise MalformedFrame(Reason.RING_SEQUENCE)
    entries = COMMIT_ENTRY.order(swapped).iter_unpack(frame[start:end])
    return CommitToken._make((*fixed[:8], nodes, tuple(map(CommitEntry._make, entries))))


def decode_token_hold_cancel(frame: bytes, swapped: bool = False) -> TokenHoldCancel:
    """Raises ``MalformedFrame`` below 25 bytes. Stock does not convert this frame; we do, which costs nothing."""
    return TokenHoldCancel._make(_fixed(TOKEN_HOLD_CANCEL, frame, swapped))


_DECODERS: Final[dict[FrameType, Callable[[bytes, bool], Frame]]] = {
    FrameType.ORF_TOKEN: decode_orf_token,
    FrameType.MCAST: decode_mcast,
    FrameType.MERGE_DETECT: decode_merge_detect,
    FrameType.MEMB_JOIN: decode_memb_join,
    FrameType.COMMIT_TOKEN: decode_commit_token,
    FrameType.TOKEN_HOLD_CANCEL: decode_token_hold_cancel,
}


def decode(frame: bytes) -> Frame:
    """Any frame, in either byte order. Raises ``MalformedFrame``."""
    kind, swapped = classify(frame)
    return _DECODERS[kind](frame, swapped)


def _nodes(frame: bytes, offset: int, count: int, swapped: bool) -> tuple[int, ...]:
    return Struct(f"{'>' if swapped else '<'}{count}I").unpack_from(frame, offset)


def encode_orf_token(token: OrfToken, swapped: bool = False) -> bytes:
    """The bytes of a token; ``swapped`` writes the other byte order (for tests)."""
    rtr = token.rtr
    fixed = ORF_TOKEN.order(swapped).pack(MAGIC, VERSION, FrameType.ORF_TOKEN, *token[:12], len(rtr))
    if not rtr:
        return fixed
    pack = RETRANSMIT_ENTRY.order(swapped).pack
    return fixed + b"".join([pack(*entry) for entry in rtr])


def encode_mcast(mcast: Mcast, swapped: bool = False) -> bytes:
    """The bytes of an mcast; the payload is taken as it is."""
    return MCAST.order(swapped).pack(MAGIC, VERSION, FrameType.MCAST, *mcast[:10]) + mcast.payload


def encode_merge_detect(merge: MergeDetect, swapped: bool = False) -> bytes:
    """The bytes of a merge detect."""
    return MERGE_DETECT.order(swapped).pack(MAGIC, VERSION, FrameType.MERGE_DETECT, *merge)


def encode_memb_join(join: MembJoin, swapped: bool = False) -> bytes:
    """The bytes of a join or leave."""
    proc, failed = join.proc, join.failed
    fixed = MEMB_JOIN.order(swapped).pack(MAGIC, VERSION, FrameType.MEMB_JOIN, *join[:4], len(proc), len(failed), join.ring_seq)
    return fixed + Struct(f"{'>' if swapped else '<'}{len(proc) + len(failed)}I").pack(*proc, *failed)


def encode_commit_token(token: CommitToken, swapped: bool = False) -> bytes:
    """The bytes of a commit token."""
    count = len(token.addresses)
    fixed = COMMIT_TOKEN.order(swapped).pack(MAGIC, VERSION, FrameType.COMMIT_TOKEN, *token[:8], count)
    addresses = Struct(f"{'>' if swapped else '<'}{count}I").pack(*token.addresses)
    pack = COMMIT_ENTRY.order(swapped).pack
    return b"".join((fixed, addresses, *(pack(*entry) for entry in token.entries)))


def encode_token_hold_cancel(cancel: TokenHoldCancel, swapped: bool = False) -> bytes:
    """The bytes of a hold cancel."""
    return TOKEN_HOLD_CANCEL.order(swapped).pack(MAGIC, VERSION, FrameType.TOKEN_HOLD_CANCEL, *cancel)


def encode(frame: Frame, swapped: bool = False) -> bytes:
    """The bytes of any frame; decoding and encoding gives the same bytes back, undefined fields included."""
    match frame:
        case OrfToken():
            return encode_orf_token(frame, swapped)
        case Mcast():
            return encode_mcast(frame, swapped)
        case MergeDetect():
            return encode_merge_detect(frame, swapped)
        case MembJoin():
            return encode_memb_join(frame, swapped)
        case CommitToken():
            return encode_commit_token(frame, swapped)
        case TokenHoldCancel():
            return encode_token_hold_cancel(frame, swapped)


def decode_packed(payload: bytes, swapped: bool = False) -> Packed:
    """The chunks of an ordinary mcast. Raises ``MalformedFrame`` unless the length is the exact sum (§2.1)."""
    if len(payload) < PACKED.size:
        raise MalformedFrame(Reason.PACKING)
    version, kind, fragmented, continuation, count = PACKED.order(swapped).unpack_from(payload)
    position = PACKED.size + 2 * count
    if len(payload) < position:
        raise MalformedFrame(Reason.PACKING)
    lengths: tuple[int, ...] = Struct(f"{'>' if swapped else '<'}{count}H").unpack_from(payload, PACKED.size)
    if position + sum(lengths) != len(payload):
        raise MalformedFrame(Reason.PACKING)
    chunks = []
    for length in lengths:
        chunks.append(payload[position : position + length])
        position += length
    return Packed(version, kind, fragmented, continuation, tuple(chunks))


def encode_packed(packed: Packed, swapped: bool = False) -> bytes:
    """The payload of an ordinary mcast."""
    version, kind, fragmented, continuation, chunks = packed
    head = PACKED.order(swapped).pack(version, kind, fragmented, continuation, len(chunks))
    lengths = Struct(f"{'>' if swapped else '<'}{len(chunks)}H").pack(*map(len, chunks))
    return b"".join((head, lengths, *chunks))


def ring_id(frame: OrfToken | Mcast | MergeDetect | CommitToken | TokenHoldCancel | CommitEntry | RetransmitRequest) -> RingId:
    """The ring that a frame or an entry names."""
    return RingId(frame.ring_representative, frame.ring_sequence)
