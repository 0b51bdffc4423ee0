"""Rings that play votequorum scenarios: one of stock nodes, one of ours, and one with both, each in a lab of its own.

The commands: ``start``, ``kill`` and ``stop`` with node ids; ``cut 1 2 | 3`` and ``heal``; ``expect V at N`` (setexpected) and
``votes V of M at N`` (setvotes); ``cancel at N`` (cancel_wait_for_all); ``reload KEY VALUE`` and ``relist N...`` (a changed
configuration, reloaded on all live nodes); ``device register|casts|abstains|silent|rename|wins|unregister ... at N`` and
``program of device ends at N``; ``stored V at N`` waits until the node has V in its file of expected votes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from coroipc.errors import CorosyncError, NotExist
from libcfg import Cfg
from libcmap import Cmap
from libvotequorum import Info, InfoFlag, NodeState, Votequorum
from tests.interop.quorum_device import QuorumDevice
from tests.interop.vote_scenarios import WAITING, Scenario, Step, View
from tests.lab import Lab, Node, wait_until

SIZE = 4
"""Nodes that the largest scenario has."""
KINDS: dict[str, frozenset[int]] = {
    "stock": frozenset(),
    "ours": frozenset(range(1, SIZE + 1)),
    "mixed": frozenset((1, 4)),
}
"""Which nodes of a ring are ours."""
TOTEM = {"token": 1000, "token_coefficient": 0}
KEYS = "runtime.votequorum."
WAITING_KEY = KEYS + "wait_for_all_status"
TIE_BREAKER_KEY = KEYS + "atb_type"
CANCEL_KEY = "quorum.cancel_wait_for_all"

TRACKING_FILE = "ev_tracking"

Facts = dict[str, object]
"""All that the programs of the live nodes can see of the votes: what getinfo tells of every node, and votequorum's keys."""


@dataclass
class Connections:
    """One life of a node's daemon, as its programs know it."""

    votequorum: Votequorum
    cmap: Cmap
    devices: list[QuorumDevice] = field(default_factory=list)

    def close(self) -> None:
        """The daemon may have ended before."""
        for closing in (*(device.close for device in self.devices), self.votequorum.close, self.cmap.close):
            with contextlib.suppress(CorosyncError):
                closing()


class Ring:
    """A lab whose nodes are of one kind, or of both."""

    def __init__(self, kind: str, lab: Lab) -> None:
        """Nothing runs before ``begin`` and a first ``start``."""
        self.kind = kind
        self.lab = lab
        self._live: dict[int, Connections] = {}
        self._nodes: tuple[int, ...] = ()
        self._options: dict[str, str] = {}

    # A scenario -------------------------------------------------------------------------------------------------------------

    def begin(self, scenario: Scenario) -> None:
        """Nothing of an earlier scenario runs or is remembered."""
        self.end()
        self.lab.heal()
        for node in self.lab.nodes.values():
            (node.folder / "lib" / TRACKING_FILE).unlink(missing_ok=True)
        self._nodes = scenario.nodes
        self._options = dict(scenario.options)
        self.lab.list_nodes(scenario.nodes, scenario.votes)

    def end(self) -> None:
        """End every daemon, also one that a failed step left."""
        for node in self.lab.nodes.values():
            if node.process is not None:
                node.kill()
        while self._live:
            self._live.popitem()[1].close()

    def perform(self, step: Step) -> None:
        """Carry out the command; AssertionError where it meets another error than the scenario names, or none."""
        words = list(step.command)
        at = self._live[int(words[-1])] if "at" in words else None
        met = ""
        try:
            self._carry_out(words, at)
        except CorosyncError as error:
            met = type(error).__name__
            if met != step.refusal:
                raise
        assert met == step.refusal, f"{self.kind}: {step}"

    def _carry_out(self, words: list[str], at: Connections | None) -> None:
        match words:
            case ["start", *numbers]:
                self._start(list(map(int, numbers)))
            case ["kill", *numbers]:
                for number in map(int, numbers):
                    self._leave(number, Node.kill)
            case ["stop", *numbers]:
                for number in map(int, numbers):
                    self._leave(number, Node.stop)
            case ["cut", *numbers]:
                self.lab.partition(*(list(map(int, part.split())) for part in " ".join(numbers).split("|")))
            case ["heal"]:
                self.lab.heal()
            case ["reload", key, value]:
                self._options[key] = value
                self._reload()
            case ["relist", *numbers]:
                self.lab.list_nodes(list(map(int, numbers)))
                self._reload()
            case _:
                assert at is not None, words
                self._ask(words[:-2], at)

    def _ask(self, words: list[str], at: Connections) -> None:
        match words:
            case ["expect", votes]:
                at.votequorum.setexpected(int(votes))
            case ["votes", votes, "of", number]:
                at.votequorum.setvotes(int(votes), int(number))
            case ["cancel"]:
                at.cmap.set(CANCEL_KEY, 1)
            case ["device", "register", name]:
                at.devices.append(QuorumDevice(self._connect(Votequorum, self._number(at)), name))
            case ["device", "rename", name]:
                at.devices[-1].rename(name)
            case ["device", "casts" | "abstains" | "silent" as vote]:
                at.devices[-1].casts_vote = {"casts": True, "abstains": False, "silent": None}[vote]
            case ["device", "wins", "yes" | "no" as allow]:
                at.votequorum.qdevice_master_wins(at.devices[-1].name, allow == "yes")
            case ["device", "unregister"]:
                at.votequorum.qdevice_unregister(at.devices[-1].name)
            case ["stored", votes]:
                self._wait_stored(int(votes), self.lab.node(self._number(at)))
            case ["program", "of", "device", "ends"]:
                at.devices.pop().close()
            case _:
                raise ValueError(f"no command: {words}")

    @staticmethod
    def _wait_stored(votes: int, node: Node) -> None:
        file = node.folder / "lib" / TRACKING_FILE
        wait_until(lambda: file.read_bytes() == votes.to_bytes(4, "little"), f"{votes} in {file}", explain=node.log)

    def _number(self, at: Connections) -> int:
        return next(number for number, connections in self._live.items() if connections is at)

    def _start(self, numbers: list[int]) -> None:
        for number in numbers:
            self._configure(number)
            self.lab.node(number).start()
        for number in numbers:
            self._live[number] = Connections(self._connect(Votequorum, number), self._connect(Cmap, number))

    def _leave(self, number: int, way: Callable[[Node], int]) -> None:
        # A device's thread ends after the daemon: until then it is part of the node.
        way(self.lab.node(number))
        self._live.pop(number).close()

    def _reload(self) -> None:
        for number in self._live:
            self._configure(number)
        with self._connect(Cfg, min(self._live)) as cfg:
            cfg.reload_configuration()

    def _configure(self, number: int) -> None:
        device = {key.removeprefix("device."): value for key, value in self._options.items() if key.startswith("device.")}
        quorum = {key: value for key, value in self._options.items() if not key.startswith("device.")}
        if number in KINDS[self.kind]:
            self.lab.configure_ours(number, totem=dict(TOTEM), quorum=quorum | ({"device": device} if device else {}))
            return
        inner = f"  device {{\n{_lines(device.items())}  }}\n" if device else ""
        text = f"totem {{\n{_lines(TOTEM.items())}}}\nquorum {{\n{_lines(quorum.items())}{inner}}}\n"
        self.lab.configure_stock(number, text)

    def _connect(self, kind: Callable[[], Any], number: int) -> Any:
        node = self.lab.node(number)

        def attempt() -> list[Any]:
            node.check_alive()
            with node.network(), contextlib.suppress(CorosyncError):
                return [kind()]
            return []

        return wait_until(attempt, f"{self.kind}: a connection to node {number}", explain=node.log)[0]

    # Looking ----------------------------------------------------------------------------------------------------------------

    def wait(self, step: Step) -> None:
        """Until the live nodes show what the step says, with no synchronisation under way."""
        assert set(step.views) == set(self._live), f"{step}: the scenario tells of {set(step.views)}, {set(self._live)} live"
        shown: dict[int, object] = {}

        def probe() -> bool:
            for number, view in step.views.items():
                self.lab.node(number).check_alive()
                shown[number] = self._members(number)
                if shown[number] != view.members:
                    return False
            for number in step.views:
                shown[number] = self._view(number)
            return shown == step.views

        def explain() -> str:
            lines = [f"{number}: {shown.get(number)}\n   not {view}" for number, view in step.views.items()]
            return "\n".join([*lines, *(self.lab.node(number).log(30) for number in step.views)])

        wait_until(probe, f"{self.kind}: what follows from {str(step)!r}", explain=explain)

    def _members(self, number: int) -> frozenset[int]:
        infos = {node: self._info(number, node) for node in self._nodes}
        return frozenset(node for node, info in infos.items() if info is not None and info.state == NodeState.MEMBER)

    def _info(self, number: int, about: int) -> Info | None:
        with contextlib.suppress(NotExist):
            return self._live[number].votequorum.getinfo(about)
        return None

    def _view(self, number: int) -> View:
        # The map answers only when no synchronisation is under way; the votes would answer earlier.
        waiting = self._key(number, WAITING_KEY)
        info = self._live[number].votequorum.getinfo()
        flags = {str(flag.name).lower() for flag in InfoFlag(info.flags)} | ({WAITING} if waiting else set())
        return View(self._members(number), info.total_votes, info.expected_votes, info.quorum, frozenset(flags))

    def _key(self, number: int, name: str) -> object:
        with contextlib.suppress(NotExist):
            return self._live[number].cmap.get(name)
        return None

    def facts(self) -> Facts:
        """As its type says."""
        found: Facts = {}
        for number, connections in self._live.items():
            for key, value in connections.cmap.items(KEYS):
                # No tie breaker is no tie breaker: stock nodes also show that after an order to cancel waiting.
                if (key, value.value) != (TIE_BREAKER_KEY, 0):
                    found[f"{key} of node {number}"] = value.value
            for about in self._nodes:
                info = self._info(number, about)
                for name in Info._fields:
                    if name == "expected_votes" and about != number:
                        # It depends on whether that node was alone on its first ring; only the highest of all counts.
                        continue
                    found[f"{name} of node {about} as node {number} sees it"] = getattr(info, name, None)
        return found


def _lines(pairs: Iterable[tuple[str, object]]) -> str:
    return "".join(f"  {key}: {value}\n" for key, value in pairs)
