"""What an operator is told when the ring is in trouble: what happens, at which node, why, and what to do next.

Every warning of the ring, and of the driver that runs it, passes through ``Diagnosis.warn``: one line a subject and minute, with
the number of those left out. Single events (a frame that comes twice, one that is asked for again) are only counted here, and
become a warning when there are many of one node in a short while.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import Final

from corosyncd.log.rate_limit import RateLimit
from corosyncd.totem.ordering import SortQueue
from corosyncd.totem.outbox import Outbox
from corosyncd.totem.sequence import precedes
from corosyncd.totem.wire import MAXIMUM_NODES, MCAST, SIGNATURES, Reason

INTERVAL: Final = 60.0
"""Seconds between two warnings on one subject."""
SPELL: Final = 10.0
"""Seconds in which so many events of one kind and node are worth a warning:"""
LATE_FRAMES: Final = 20
REPEATED_FRAMES: Final = 1000
JOINS: Final = 2000
"""A node that gathers sends twenty a second, and one more each time that its sets change."""
UNREADABLE: Final = 10
TOKEN_LOSSES: Final = 3
TOKEN_LOSS_SPELL: Final = 600.0
MAXIMUM_LACKING: Final = 1024
"""Missing frames that are looked out for; of more the rest is not judged."""
MAXIMUM_TALLIES: Final = 256
LOOK_INTERVAL: Final = 0.01
"""Seconds between two looks at the frames that came by themselves."""

_ORIGINATOR: Final = tuple(MCAST.partial("system_from", swapped=swapped) for swapped in (False, True))

_UNREADABLE_TEXTS: Final = {
    Reason.MAGIC: "no Totem frames. Another program sends to this port, or a node of the cluster uses knet or encryption",
    Reason.SHORT_HEADER: "too short for Totem frames. Another program sends to this port, or a node of the cluster uses knet",
    Reason.VERSION: "Totem frames of another version of the protocol. A node runs an incompatible release of Corosync",
    Reason.TYPE: "Totem frames of an unknown type. A node runs a newer release of Corosync",
}


class Diagnosis:
    """Counts what goes wrong on one node's ring, and tells it in time."""

    __slots__ = (
        "_late",
        "_limit",
        "_looked_at",
        "_lost_with",
        "_node_id",
        "_on_time",
        "_outbox",
        "_tallies",
        "lacking",
        "until",
    )

    def __init__(self, node_id: int, outbox: Outbox) -> None:
        self._node_id = node_id
        self._outbox = outbox
        self._limit = RateLimit(burst=1, interval=INTERVAL)
        self._tallies: OrderedDict[tuple[str, int], list[float]] = OrderedDict()
        self.lacking: dict[int, float] = {}
        """Frames that this node asks for, and since when; empty nearly always."""
        self._late: dict[int, list[int]] = {}
        """Originator to the sizes of its frames that came only when asked for."""
        self._on_time: dict[int, int] = {}
        """Originator to the largest frame that came by itself, among those seen beside the late ones."""
        self._looked_at = 0.0
        self.until = 0.0
        """How long ``look`` wants to be called on each visit."""
        self._lost_with: tuple[int, ...] = ()

    def warn(self, subject: str, text: str, now: float, level: str = "warning") -> None:
        """One warning, if this subject had none for a while."""
        left_out = self._limit.admit(subject, now)
        if left_out is not None:
            more = f" ({left_out} more such warnings since the last one.)" if left_out else ""
            self._outbox.notice(level, text + more)

    def _many(self, kind: str, node: int, threshold: int, spell: float, now: float) -> float | None:
        """Count an event: the seconds of the spell in which it is the ``threshold``-th, then the count begins anew."""
        tally = self._tallies.get((kind, node))
        if tally is None or now - tally[0] > spell:
            while len(self._tallies) >= MAXIMUM_TALLIES:
                self._tallies.popitem(last=False)
            tally = self._tallies[kind, node] = [now, 0.0]
        tally[1] += 1
        if tally[1] < threshold:
            return None
        del self._tallies[kind, node]
        return now - tally[0]

    # Frames that are lost on the way

    def lacks(self, seqs: Iterable[int], now: float) -> None:
        """This node asks for frames that others have."""
        self.until = now + SPELL
        lacking = self.lacking
        for seq in seqs:
            if len(lacking) < MAXIMUM_LACKING:
                lacking.setdefault(seq, now)

    def look(self, queue: SortQueue, patience: float, now: float) -> None:
        """Whose frames those were that have come meanwhile; and whether some do not come at all for ``patience`` seconds."""
        lacking, frames = self.lacking, queue.frames
        if now - self._looked_at >= LOOK_INTERVAL:
            self._looked_at = now
            for seq, frame in frames.items():
                if seq not in lacking:
                    node = _originator(frame)
                    if node not in self._on_time and len(self._on_time) >= MAXIMUM_NODES:
                        continue
                    self._on_time[node] = max(self._on_time.get(node, 0), len(frame))
        for seq in [seq for seq in lacking if seq in frames or not precedes(queue.aru, seq)]:
            del lacking[seq]
            late = frames.get(seq)
            if late is not None:
                self._came_late(_originator(late), len(late), now)
        if lacking and now - min(lacking.values()) > patience:
            self.warn(
                "frames that never come",
                f"Node {self._node_id} (this one) has asked for {len(lacking)} frames for {patience:.1f} s in vain, although the "
                f"token comes. {_mtu_advice(max(self._on_time.values(), default=0))}",
                now,
            )

    def _came_late(self, node: int, size: int, now: float) -> None:
        if node not in self._late and len(self._late) >= MAXIMUM_NODES:
            return
        sizes = self._late.setdefault(node, [])
        sizes.append(size)
        spell = self._many("late", node, LATE_FRAMES, SPELL, now)
        if spell is None:
            del sizes[:-LATE_FRAMES]
            return
        on_time, smallest = self._on_time.get(node, 0), min(sizes)
        sizes.clear()
        text = (
            f"{LATE_FRAMES} frames of node {node} in {spell:.1f} s reached node {self._node_id} (this one) only when asked "
            "for again. "
        )
        if 0 < on_time < smallest:
            text += f"All of them had {smallest} bytes and more. {_mtu_advice(on_time)}"
        else:
            text += (
                "Frames are lost between the two: look for errors and drops on the interfaces of both hosts (ip -s link), for "
                "overflowing receive buffers here (nstat UdpRcvbufErrors, net.core.rmem_max), and for a busy host or switch. If "
                "the "
                "network is sound, lower totem.window_size."
            )
        self.warn(f"late {node}", text, now)

    def failed_to_receive(self, node: int, now: float) -> None:
        """A node gives up: the token comes, and the frames do not."""
        what = "FAILED TO RECEIVE: " if node == self._node_id else ""
        text = (
            f"{what}node {node} gets the token, but for a long time no frames, and leaves the ring. Check that large "
            f"datagrams and multicasts reach node {node}: a firewall, the path MTU (ping -M do -s 1472 to its address), its "
            "receive buffers."
        )
        self.warn(f"failed to receive {node}", text, now, "error")

    def repeated(self, node: int, now: float) -> None:
        """A frame came that was here already, or is far outside the window."""
        spell = self._many("repeated", node, REPEATED_FRAMES, SPELL, now)
        if spell is not None:
            text = (
                f"Node {node} floods the ring: {REPEATED_FRAMES} of its frames in {spell:.1f} s came twice. A network that "
                "loops, or Corosync's known fault of sending everything several times once its interface was down and up: "
                f"restart node {node}."
            )
            self.warn(f"repeated {node}", text, now)

    def joined(self, node: int, now: float) -> None:
        """A join came."""
        spell = self._many("join", node, JOINS, SPELL, now)
        if spell is not None:
            text = (
                f"Node {node} floods the ring: {JOINS} joins in {spell:.1f} s. Nodes that do not agree who has failed answer "
                f"each other without end: see in the log of node {node} whom it does not hear; restarting it ends the dispute."
            )
            self.warn(f"joins {node}", text, now)

    def unreadable(self, reason: Reason, now: float) -> None:
        """A datagram is no frame that this node understands."""
        spell = self._many("unreadable", list(Reason).index(reason), UNREADABLE, SPELL, now)
        text = _UNREADABLE_TEXTS.get(reason)
        if spell is not None and text is not None:
            advice = "find the sender with: tcpdump -n udp port <mcastport>"
            self.warn(f"unreadable {reason}", f"{UNREADABLE} datagrams in {spell:.1f} s were {text}: {advice}.", now)

    # Rings that do not form or do not last

    def no_ring(self, gathers: int, silent: Collection[int], heard: Collection[int], now: float) -> None:
        """Time and again no ring comes of a gather: who did not agree, and who of them is heard at all."""
        deaf, mute = sorted(set(silent) & set(heard)), sorted(set(silent) - set(heard))
        details = []
        if mute:
            details.append(
                f"Nothing is heard of {_nodes(mute)}: check that it runs, and the firewall and the cable on the way here."
            )
        if deaf:
            details.append(
                f"{_nodes(deaf).capitalize()} is heard but does not agree: check that datagrams from here reach it, and its log."
            )
        text = (
            "Totem is unable to form a cluster because of an operating system or network fault (reason: continuous gather). The "
            "most "
            f"common cause of this message is that the local firewall is configured improperly: {gathers} attempts in a row have "
            f"failed. {' '.join(details)}"
        )
        self.warn("no ring", text.rstrip(), now)

    def token_lost(self, members: tuple[int, ...]) -> None:
        """The token of a ring that worked is lost."""
        self._lost_with = members

    def installed(self, members: tuple[int, ...], now: float) -> None:
        """A ring stands. Where nobody is missing, the token was lost although all live: somebody is too slow for it."""
        self.lacking.clear()
        self._late.clear()
        self._on_time.clear()
        lost_with, self._lost_with = self._lost_with, ()
        if len(members) > 1 and lost_with and set(lost_with) <= set(members):
            spell = self._many("token", 0, TOKEN_LOSSES, TOKEN_LOSS_SPELL, now)
            if spell is not None:
                text = (
                    f"The token was lost {TOKEN_LOSSES} times in {spell:.0f} s although no member was gone ({_nodes(members)}): "
                    f"one of "
                    f"them is not scheduled in time, or the network loses the token. Look for pauses in their logs; give the "
                    f"slow one "
                    f"the processor, or raise totem.token on all."
                )
                self.warn("token", text, now)


def _originator(frame: bytes) -> int:
    node: int = _ORIGINATOR[SIGNATURES[frame[:4]][1]].unpack_from(frame)[0]
    return node


def _mtu_advice(passed: int) -> str:
    largest = f"The largest frame that came by itself had {passed} bytes. " if passed else ""
    return (
        f"{largest}Short frames pass and long ones do not: the path MTU is smaller than totem.netmtu. Find it with ping -M do -s "
        f"1472 "
        f"between the nodes, then repair the interface's or switch's MTU, or lower totem.netmtu on all nodes."
    )


def _nodes(nodes: Collection[int]) -> str:
    return f"node{'s' if len(nodes) > 1 else ''} {', '.join(map(str, nodes))}"
