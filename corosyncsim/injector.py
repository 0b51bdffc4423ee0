"""Carries out a plan's faults, and takes every one of them back when the quiet phase begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from corosyncsim import faults
from corosyncsim.cluster import Cluster
from corosyncsim.faults import Fault
from corosyncsim.node import Power
from corosyncsim.services import swarm

Undo = Callable[[], None]
ROLLING_STEP: Final = 1.2
"""In a rolling restart the next node stops this many fault lengths after the one before it."""


class Injector:
    """Strikes with each fault at its time and mends it after its duration."""

    def __init__(self, cluster: Cluster) -> None:
        self.injected: Counter[str] = Counter()
        self._cluster = cluster
        self._open: dict[int, Undo] = {}
        self._opened = 0
        self._over = False
        self._strikes: dict[str, Callable[[Fault], Undo | None]] = {
            faults.CRASH: self._crash,
            faults.CRASH_IN_STEP: self._crash_in_step,
            faults.LOSE_STORAGE: self._lose_storage,
            faults.LEAVE: self._leave,
            faults.ROLLING: self._rolling,
            faults.PAUSE: self._pause,
            faults.SLOW: self._slow,
            faults.CLOCK: self._jump,
            faults.GATHER: self._gather,
            faults.HOST_DOWN: self._host_down,
            faults.REBUILD: self._rebuild,
            faults.PARTITION: self._partition,
            faults.ISOLATE: self._partition,
            faults.ONE_WAY: self._one_way,
            faults.NOT_TRANSITIVE: self._not_transitive,
            faults.BLACK_HOLE: self._black_hole,
            faults.MUTE: self._mute,
            faults.STORM: self._storm,
            faults.REJECT: self._reject,
            **cluster.programs.strikes,
        }

    def start(self) -> None:
        """Put every fault of the plan on the agenda."""
        for fault in self._cluster.plan.faults:
            self._cluster.kernel.at(fault.time, self.strike, fault)

    def heal(self) -> None:
        """Take back every fault that lasts."""
        for undo in list(self._open.values()):
            undo()
        self._open.clear()

    def end(self) -> None:
        """No more faults: mend what is broken, wake who sleeps, start who is down."""
        self._over = True
        self.heal()
        self._cluster.network.conditions = self._cluster.plan.conditions.calm()
        for node in self._cluster.nodes.values():
            node.step_cost = 0.0
            node.crash_during_step(None)
            node.resume()
            node.start()

    def strike(self, fault: Fault) -> None:
        """The fault happens now, whatever time it names; nothing does after ``end``."""
        if self._over:
            return
        self.injected[fault.kind] += self._finds_somebody(fault)
        self._cluster.recorder.struck(fault.kind, fault.nodes, fault.duration, str(fault))
        undo = self._strikes[fault.kind](fault)
        if undo is not None:
            self._opened += 1
            self._open[self._opened] = undo
            self._cluster.kernel.after(fault.duration, self._mend, self._opened)

    def _finds_somebody(self, fault: Fault) -> bool:
        node = self._cluster.nodes[fault.nodes[0]]
        return fault.kind not in (faults.OF_LIVES | swarm.OF_LIVES) or node.power is not Power.DOWN

    def _mend(self, number: int) -> None:
        undo = self._open.pop(number, None)
        if undo is not None:
            undo()

    # Faults of nodes.

    def _crash(self, fault: Fault) -> Undo:
        node = self._cluster.nodes[fault.nodes[0]]
        node.crash()
        return node.start

    def _crash_in_step(self, fault: Fault) -> Undo:
        node = self._cluster.nodes[fault.nodes[0]]
        node.crash_during_step(fault.number)

        def come_back() -> None:
            node.crash_during_step(None)
            node.start()

        return come_back

    def _lose_storage(self, fault: Fault) -> Undo:
        node = self._cluster.nodes[fault.nodes[0]]
        life = node.life
        node.crash()

        def come_back() -> None:
            # Called back early, by the end of all faults, it keeps its disk: see the operator's rule in ``faults``.
            if node.life == life and self._cluster.kernel.now >= fault.time + fault.duration:
                node.lose_storage()
            node.start()

        return come_back

    def _leave(self, fault: Fault) -> Undo:
        node = self._cluster.nodes[fault.nodes[0]]
        node.leave()
        return node.start

    def _rolling(self, fault: Fault) -> Undo | None:
        for turn, node_id in enumerate(fault.nodes):
            step = Fault(fault.time, faults.LEAVE, fault.duration, (node_id,))
            self._cluster.kernel.after(turn * ROLLING_STEP * fault.duration, self.strike, step)
        return None

    def _pause(self, fault: Fault) -> Undo | None:
        node = self._cluster.nodes[fault.nodes[0]]
        if node.power is not Power.UP:
            return None
        node.pause()
        return node.resume

    def _slow(self, fault: Fault) -> Undo:
        node = self._cluster.nodes[fault.nodes[0]]
        node.step_cost = self._cluster.plan.conditions.delay * fault.number / 10

        def recover() -> None:
            node.step_cost = 0.0

        return recover

    def _jump(self, fault: Fault) -> None:
        self._cluster.nodes[fault.nodes[0]].jump_clock(fault.duration)

    def _gather(self, fault: Fault) -> None:
        self._cluster.nodes[fault.nodes[0]].force_gather()

    def _host_down(self, fault: Fault) -> Undo:
        node = self._cluster.nodes[fault.nodes[0]]
        node.host_down()
        return node.start

    def _rebuild(self, fault: Fault) -> Undo:
        node = self._cluster.nodes[fault.nodes[0]]
        node.close_socket()
        return node.open_socket

    # Faults of the network.

    def _cut(self, pairs: list[tuple[int, int]]) -> Undo:
        network = self._cluster.network
        for pair in pairs:
            network.cut(*pair)

        def mend() -> None:
            for pair in pairs:
                network.mend(*pair)

        return mend

    def _partition(self, fault: Fault) -> Undo:
        inside = fault.nodes
        outside = [node_id for node_id in self._cluster.nodes if node_id not in inside]
        return self._cut([pair for a in inside for b in outside for pair in ((a, b), (b, a))])

    def _one_way(self, fault: Fault) -> Undo:
        return self._cut([(fault.nodes[0], fault.nodes[1])])

    def _not_transitive(self, fault: Fault) -> Undo:
        return self._cut([(fault.nodes[0], fault.nodes[1]), (fault.nodes[1], fault.nodes[0])])

    def _black_hole(self, fault: Fault) -> Undo:
        """Of two nodes the way from the first to the second; of one node every way to it and from it."""
        network = self._cluster.network
        one, *other = fault.nodes
        ways = [(one, other[0])] if other else [way for a in self._cluster.nodes if a != one for way in ((one, a), (a, one))]
        for way in ways:
            network.limit_size(*way, fault.number)

        def lift() -> None:
            for way in ways:
                network.lift_size_limit(*way, fault.number)

        return lift

    def _reject(self, fault: Fault) -> Undo:
        """A firewall between two live nodes, from the first to the second or in both directions."""
        one, other = fault.nodes
        network = self._cluster.network
        nobody = fault.number == faults.ON_THE_WAY
        ways = [(one, other, 0 if nobody else other), (other, one, 0 if nobody else one)]
        if fault.number == faults.ONE_DIRECTION:
            del ways[1]
        for way in ways:
            network.reject(*way)

        def admit() -> None:
            for way in ways:
                network.admit(*way)

        return admit

    def _mute(self, fault: Fault) -> Undo:
        source = fault.nodes[0]
        network = self._cluster.network
        others = [node_id for node_id in self._cluster.nodes if node_id != source]
        for destination in others:
            network.mute(source, destination, fault.number)

        def unmute() -> None:
            for destination in others:
                network.unmute(source, destination, fault.number)

        return unmute

    def _storm(self, fault: Fault) -> Undo:
        network = self._cluster.network
        network.conditions = fault.conditions or network.conditions

        def clear() -> None:
            network.conditions = self._cluster.plan.conditions

        return clear
