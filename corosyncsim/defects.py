"""Deliberate defects: for each property one way to break it that its checker must catch.

A checker is worth what it catches. Each defect sits between one node's core and its driver and spoils what passes, or meddles
with the core itself, in the way that a fault in the core would. Only tests apply them, by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from struct import pack_into
from typing import Final

from corosyncd.totem import gathering
from corosyncd.totem.broken_pairs import BrokenPairs
from corosyncd.totem.core import State
from corosyncd.totem.events import (
    Configuration,
    ConfigurationKind,
    Deliver,
    Group,
    Multicast,
    Output,
    Queue,
    RingId,
    StoreRingSequence,
    Unicast,
)
from corosyncd.totem.membership import GatherReason
from corosyncd.totem.port_watch import REFUSED_SENDS, PortWatch
from corosyncd.totem.recovery import FULL_ROTATIONS
from corosyncd.totem.ring import Ring
from corosyncsim import wiretap
from corosyncsim.network import FRAME_TYPE_OFFSET
from corosyncsim.node import Core, MakeCore

Messages = list[tuple[int, Group, bytes]]

PATIENCE: Final = 20
"""Deliveries that a defect lets pass before it strikes, so that the ring is well under way."""
_TOKEN_SEQ_OFFSET: Final = 17
_BACKLOG_OFFSET: Final = 41
_ENTRIES_OFFSET: Final = 53
_REQUESTS_OFFSET: Final = 57


class Distortion:
    """What a defect may do; this one does nothing."""

    def output(self, output: Output) -> list[Output]:
        """What the driver gets in place of ``output``."""
        return [output]

    def accepts(self, buffer: bytes) -> bool:
        """Whether the core gets to see a received buffer."""
        return True

    def submits(self) -> bool:
        """Whether the core gets to see a submitted message."""
        return True

    def notices_pauses(self) -> bool:
        """Whether the core is told that its driver did not run."""
        return True

    def meddle(self, core: Core) -> None:
        """What happens inside the core before it receives anything."""

    def refused(self, core: Core, node_id: int, now: float) -> None:
        """What happens inside the core before it is told that a node's port is closed."""


class Distorted:
    """A core behind a distortion; it has the same face."""

    def __init__(self, core: Core, distortion: Distortion) -> None:
        self.core = core
        self._distortion = distortion

    @property
    def ring_id(self) -> RingId:
        """The core's."""
        return self.core.ring_id

    @property
    def members(self) -> Sequence[int]:
        """The core's."""
        return self.core.members

    def start(self, now: float) -> None:
        """Passed on."""
        self.core.start(now)

    def receive(self, buffer: bytes, segment_size: int, now: float) -> None:
        """Passed on if the distortion lets it through."""
        if self._distortion.accepts(buffer):
            self._distortion.meddle(self.core)
            self.core.receive(buffer, segment_size, now)

    def handle_timer(self, now: float) -> None:
        """Passed on."""
        self.core.handle_timer(now)

    def next_timer(self) -> float | None:
        """The core's."""
        return self.core.next_timer()

    def outputs(self) -> list[Output]:
        """The core's outputs as the distortion leaves them."""
        return [distorted for output in self.core.outputs() for distorted in self._distortion.output(output)]

    @property
    def token_delay(self) -> float:
        """The core's."""
        return self.core.token_delay

    @token_delay.setter
    def token_delay(self, seconds: float) -> None:
        self.core.token_delay = seconds

    def submit(
        self,
        group: Group,
        messages: Sequence[bytes],
        queue: Queue = Queue.NORMAL,
        tag: int = 0,
        now: float = 0.0,
    ) -> None:
        """Passed on if the distortion lets it through."""
        if self._distortion.submits():
            self.core.submit(group, messages, queue, tag, now=now)

    def withdraw(self, tag: int) -> int:
        """Passed on."""
        return self.core.withdraw(tag)

    def queued_bytes(self, tag: int) -> int:
        """The core's."""
        return self.core.queued_bytes(tag)

    def synchronization_complete(self, now: float) -> None:
        """Passed on."""
        self.core.synchronization_complete(now)

    def leave(self, now: float) -> None:
        """Passed on."""
        self.core.leave(now)

    def force_gather(self, now: float) -> None:
        """Passed on."""
        self.core.force_gather(now)

    def catch_up(self, gap: float, now: float, read_dry: Callable[[], None]) -> None:
        """Passed on if the distortion lets it through."""
        if self._distortion.notices_pauses():
            self.core.catch_up(gap, now, read_dry)

    def peer_port_refused(self, node: int, offender: int, now: float) -> None:
        """Passed on behind what the distortion does."""
        self._distortion.refused(self.core, node, now)
        self.core.peer_port_refused(node, offender, now)


class SpoiltDelivery(Distortion):
    """Hands the delivered messages, from one on, to ``spoil``, until that has found what it wants to spoil."""

    def __init__(self, spoil: Callable[[Messages], Messages | None]) -> None:
        self._spoil = spoil
        self._left = PATIENCE
        self._kept: Messages = []
        self._done = False

    def output(self, output: Output) -> list[Output]:
        """Deliveries run through the defect; what it keeps back comes out before the next configuration."""
        if self._done:
            return [output]
        if isinstance(output, Configuration) and self._kept:
            kept, self._kept = self._kept, []
            return [Deliver(kept), output]
        if not isinstance(output, Deliver):
            return [output]
        messages: Messages = self._kept + list(output.messages)
        self._kept = []
        self._left -= len(output.messages)
        if self._left > 0:
            return [output]
        spoilt = self._spoil(messages)
        if spoilt is None:
            self._kept = messages[-1:]
            return [Deliver(messages[:-1])]
        self._done = True
        return [Deliver(spoilt)]


def _alter(messages: Messages) -> Messages | None:
    originator, group, body = messages[0]
    return [(originator, group, bytes(body[:-1]) + bytes((body[-1] ^ 1,))), *messages[1:]] if len(body) > 4 else None


def _repeat(messages: Messages) -> Messages | None:
    return [messages[0], *messages]


def _omit(messages: Messages) -> Messages | None:
    return messages[1:]


def _swap(messages: Messages, *, one_sender: bool) -> Messages | None:
    for index in range(len(messages) - 1):
        first, second = messages[index : index + 2]
        if (first[0] == second[0]) == one_sender:
            return [*messages[:index], second, first, *messages[index + 2 :]]
    return None


class OwnMessagesLost(Distortion):
    """Never delivers what the node itself sent."""

    def __init__(self, node_id: int) -> None:
        self._node_id = node_id

    def output(self, output: Output) -> list[Output]:
        """Deliveries without the node's own messages."""
        if isinstance(output, Deliver):
            return [Deliver([message for message in output.messages if message[0] != self._node_id])]
        return [output]


class Forgetful(Distortion):
    """Does not store the ring sequence number, so that ring ids repeat after a restart."""

    def output(self, output: Output) -> list[Output]:
        """Everything but requests to store."""
        return [] if isinstance(output, StoreRingSequence) else [output]


class SilentAboutConfigurations(Distortion):
    """Reports no configuration with other members."""

    def output(self, output: Output) -> list[Output]:
        """Everything but configurations of several nodes."""
        return [] if isinstance(output, Configuration) and len(output.members) > 1 else [output]


class WithoutTransition(Distortion):
    """Goes from one regular configuration to the next directly."""

    def output(self, output: Output) -> list[Output]:
        """Everything but transitional configurations."""
        return [] if isinstance(output, Configuration) and output.kind is ConfigurationKind.TRANSITIONAL else [output]


class WithoutItself(Distortion):
    """Leaves itself out of the members that it reports."""

    def __init__(self, node_id: int) -> None:
        self._node_id = node_id

    def output(self, output: Output) -> list[Output]:
        """Configurations with one member less."""
        if isinstance(output, Configuration):
            return [replace(output, members=tuple(member for member in output.members if member != self._node_id))]
        return [output]


class DeafToCommitTokens(Distortion):
    """Never hears a commit token of another node. (Deafness to joins alone is cured: foreign frames show who else is there.)"""

    def accepts(self, buffer: bytes) -> bool:
        """Everything but commit tokens."""
        return len(buffer) <= FRAME_TYPE_OFFSET or buffer[FRAME_TYPE_OFFSET] != wiretap.COMMIT


class LosesSubmissions(Distortion):
    """Loses one message between its program and its queue."""

    def __init__(self) -> None:
        self._left = PATIENCE

    def submits(self) -> bool:
        """False once."""
        self._left -= 1
        return self._left != 0


class Oblivious(Distortion):
    """Does not know that it was away, and judges others by what it could not hear."""

    def notices_pauses(self) -> bool:
        """Never."""
        return False


class SpoiltTokens(Distortion):
    """Changes the tokens that the node forwards."""

    def __init__(self, spoil: Callable[[bytearray], None]) -> None:
        self._spoil = spoil
        self._left = PATIENCE

    def output(self, output: Output) -> list[Output]:
        """Tokens as the defect leaves them."""
        if not isinstance(output, Unicast) or output.frame[FRAME_TYPE_OFFSET] != wiretap.TOKEN:
            return [output]
        self._left -= 1
        if self._left > 0:
            return [output]
        frame = bytearray(output.frame)
        self._spoil(frame)
        return [Unicast(output.node_id, bytes(frame))]


def _repeat_token_seq(frame: bytearray) -> None:
    """The token keeps the number that it had on arrival."""
    token_seq = int.from_bytes(frame[_TOKEN_SEQ_OFFSET : _TOKEN_SEQ_OFFSET + 4], "little")
    pack_into("<I", frame, _TOKEN_SEQ_OFFSET, max(0, token_seq - 1))


def _forget_backlog(frame: bytearray) -> None:
    """The flow control sum forgets what everybody sent."""
    pack_into("<I", frame, _BACKLOG_OFFSET + 4, 0)


def _request_twice(frame: bytearray) -> None:
    """The first request of a retransmit list stands in it twice."""
    entries = int.from_bytes(frame[_ENTRIES_OFFSET : _ENTRIES_OFFSET + 4], "little")
    if entries:
        frame += frame[_REQUESTS_OFFSET : _REQUESTS_OFFSET + 16]
        pack_into("<I", frame, _ENTRIES_OFFSET, entries + 1)


class SendsTooMuch(Distortion):
    """Sends its frames twice."""

    def output(self, output: Output) -> list[Output]:
        """Every multicast of data repeated often enough to pass the limit of a visit."""
        if isinstance(output, Multicast) and output.frames[0][FRAME_TYPE_OFFSET] == wiretap.MCAST:
            return [output] * 20
        return [output]


class HastyRecovery(Distortion):
    """Is operational one visit of the token too early."""

    def meddle(self, core: Core) -> None:
        """Count one rotation that was not there."""
        if isinstance(core, Ring) and core._core.recovery is not None:
            core._core.recovery._full_rotations = FULL_ROTATIONS - 1


class ForgivesBrokenPairs(Distortion):
    """Brings two nodes that do not reach each other together again and again, as a daemon without the rule does."""

    def meddle(self, core: Core) -> None:
        """Forget every accusation."""
        if isinstance(core, Ring):
            core._core.broken_pairs = BrokenPairs(core.node_id)


class HastyRelease(Distortion):
    """Forgets each frame as soon as it is here, whoever else may lack it."""

    def meddle(self, core: Core) -> None:
        """Release everything that was delivered."""
        if isinstance(core, Ring) and core.state is State.OPERATIONAL:
            core._core.queue.release(core._core.queue.high_delivered)


class OtherWatch(Distortion):
    """Judges refusals by another rule than that of fast failover."""

    def __init__(self, watch: type[PortWatch]) -> None:
        self._watch = watch

    def meddle(self, core: Core) -> None:
        """Put the other rule in its place."""
        if isinstance(core, Ring) and not isinstance(core._core.port_watch, self._watch):
            core._core.port_watch = self._watch()


class AccusesWhileGathering(Distortion):
    """Goes by refusals outside an operational ring, too, where the consensus timer has to decide."""

    def __init__(self) -> None:
        self._refused: Counter[int] = Counter()

    def refused(self, core: Core, node_id: int, now: float) -> None:
        """Enough refusals are an accusation."""
        if isinstance(core, Ring) and core.state is State.GATHER:
            self._refused[node_id] += 1
            if self._refused[node_id] == REFUSED_SENDS and core._core.membership.exclude([node_id]):
                gathering.enter_gather(core._core, GatherReason.PORT_REFUSED, now)


class _Deaf(PortWatch):
    def heard(self, train: bytes, segment_size: int) -> None:
        """Signs of life are ignored."""


class _Hasty(PortWatch):
    def refused(self, node: int, sent_at: float) -> None:
        """One refusal is enough."""
        self.suspects[node] = [sent_at] * REFUSED_SENDS


class _Relentless(PortWatch):
    def declare(self, nodes: Iterable[int], now: float) -> None:
        """There is no truce."""


@dataclass(frozen=True, slots=True)
class Defect:
    """A named defect and the property whose checker must catch it."""

    name: str
    number: int
    make: Callable[[int], Distortion]
    """The distortion for a node id."""

    def adapt(self, struck: int) -> Callable[[MakeCore], MakeCore]:
        """What puts the defect into node ``struck``, in each of its lives."""

        def adapted(make_core: MakeCore) -> MakeCore:
            def make(node_id: int, stored_sequence: int, now: float) -> Core:
                core = make_core(node_id, stored_sequence, now)
                return Distorted(core, self.make(node_id)) if node_id == struck else core

            return make

        return adapted


DEFECTS: Final[dict[str, Defect]] = {
    defect.name: defect
    for defect in (
        Defect("alter a delivered byte", 1, lambda _: SpoiltDelivery(_alter)),
        Defect("deliver a message twice", 2, lambda _: SpoiltDelivery(_repeat)),
        Defect("install a configuration silently", 3, lambda _: SilentAboutConfigurations()),
        Defect("skip the sequence store", 4, lambda _: Forgetful()),
        Defect("leave oneself out of the members", 5, WithoutItself),
        Defect("drop the transitional configuration", 6, lambda _: WithoutTransition()),
        Defect("skip self-delivery", 7, OwnMessagesLost),
        Defect("lose a message that a companion delivers", 8, lambda _: SpoiltDelivery(_omit)),
        Defect("swap two messages of one sender", 9, lambda _: SpoiltDelivery(lambda m: _swap(m, one_sender=True))),
        Defect("swap two messages of two senders", 10, lambda _: SpoiltDelivery(lambda m: _swap(m, one_sender=False))),
        Defect("leave a hole", 11, lambda _: SpoiltDelivery(_omit)),
        Defect("lose a submitted message", 13, lambda _: LosesSubmissions()),
        Defect("ignore the commit tokens of others", 14, lambda _: DeafToCommitTokens()),
        Defect("repeat a token's number", 15, lambda _: SpoiltTokens(_repeat_token_seq)),
        Defect("forget the frames of a rotation", 15, lambda _: SpoiltTokens(_forget_backlog)),
        Defect("request a frame twice", 15, lambda _: SpoiltTokens(_request_twice)),
        Defect("go operational a visit early", 15, lambda _: HastyRecovery()),
        Defect("release frames that others lack", 15, lambda _: HastyRelease()),
        Defect("send more than a window", 15, lambda _: SendsTooMuch()),
        Defect("forgive broken pairs", 22, lambda _: ForgivesBrokenPairs()),
        Defect("accuse a member that is heard", 23, lambda _: OtherWatch(_Deaf)),
        Defect("accuse at the first refusal", 23, lambda _: OtherWatch(_Hasty)),
        Defect("accuse again at once", 23, lambda _: OtherWatch(_Relentless)),
        Defect("accuse by refusals while gathering", 23, lambda _: AccusesWhileGathering()),
        Defect("take no notice of a pause", 23, lambda _: Oblivious()),
    )
}
"""Every defect by its name."""
