"""The programs of a run that come and go by chance: members of groups, watchers of quorum, users of the map.

When the faults are over everybody stays and is silent; then one witness more on every node joins each group and says a last word,
which every member has to hear.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final

from coroipc.errors import Interrupted, NotExist, TryAgain
from coroipc.library import Pause, ask
from coroipc.map_values import ValueType
from corosyncsim.history import Message, Process
from corosyncsim.node import Core, Power, SimulatedNode
from corosyncsim.services.journal import Changed, ClientJournal, Heard, Place
from corosyncsim.services.member import AGAIN, Member
from corosyncsim.services.options import BATCHES, Options
from corosyncsim.services.program import Park, Program, Script, patiently
from corosyncsim.services.services import Services
from corosyncsim.services.stack import Stack
from corosyncsim.services.swarm import Strikes
from libcmap import messages as cmap
from libcmap.session import Session as MapSession
from libcpg import messages as cpg
from libcpg.session import Session as GroupSession
from libquorum import calls as quorum
from libquorum.api import Session as QuorumSession
from libquorum.messages import Model, Track
from libvotequorum import calls as votequorum

if TYPE_CHECKING:
    from corosyncsim.cluster import Cluster

GROUPS: Final = (b"red", b"green", b"blue", b"yellow")
QUESTIONS: Final = ("quorum_getquorate", "votequorum_getinfo")
KEYS: Final = ("sim.one", "sim.two", "sim.three")
HUGE: Final = (3_000, 70_000, 300_000, 1_100_000)
"""Bytes of messages that are longer than a frame, a link frame, a program's ring."""
_IDENTITY = Struct("<HHI")
"""node, number of the program, number of the message: bodies name themselves, so that no two are alike."""
_PATTERN: Final = bytes(range(256)) * 8192
TEND_PERIOD: Final = 0.3
"""Mean seconds between two looks at a node's programs: those that have ended are replaced."""


class Population:
    """Fills every node with programs until ``stop``; the full stack's counterpart of ``corosyncsim.load.Programs``."""

    def __init__(self, cluster: Cluster, options: Options) -> None:
        """Nothing happens before ``start``."""
        self.services = Services(cluster, options)
        self.strikes = Strikes(self.services).by_kind
        """What the faults above the ring do."""
        self._cluster = cluster
        self._kernel = cluster.kernel
        self._options = options
        self._stopped = True
        self._members: dict[int, list[Program]] = {node_id: [] for node_id in cluster.plan.node_ids}
        self._watchers: dict[tuple[int, str], Program] = {}

    def upper(self, node: SimulatedNode, core: Core) -> Stack:
        """What uses the ring of a node that starts."""
        return self.services.upper(node, core)

    def start(self) -> None:
        """Begin on every node."""
        self._stopped = False
        for node_id in self._cluster.nodes:
            self._kernel.after(self._kernel.random.uniform(0.0, TEND_PERIOD), self._tend, node_id)

    def stop(self) -> None:
        """Nobody comes, goes or says anything any more."""
        self._stopped = True

    # Coming and going.

    def _tend(self, node_id: int) -> None:
        if self._stopped:
            return
        if self._cluster.nodes[node_id].power is not Power.DOWN:
            present = self._members[node_id] = [program for program in self._members[node_id] if not program.over]
            if len(present) < self._options.members:
                program = self.services.program(node_id, "cpg", self._member)
                present.append(program)
                if self._kernel.random.random() < 0.5:
                    self._kernel.after(self._kernel.random.expovariate(0.3), self._die, program)
            if self._options.watchers:
                self._watch(node_id)
        self._kernel.after(self._kernel.random.expovariate(1.0 / TEND_PERIOD), self._tend, node_id)

    def _die(self, program: Program) -> None:
        if not self._stopped:
            program.die()

    def _watch(self, node_id: int) -> None:
        for role, service, script in (
            ("quorum", "quorum", self._quorum_watcher),
            ("tracker", "cmap", self._key_tracker),
            ("setter", "cmap", self._key_setter),
        ):
            program = self._watchers.get((node_id, role))
            if program is None or program.over:
                self._watchers[node_id, role] = self.services.program(node_id, service, script)

    # Lives.

    def _pause(self) -> Pause:
        return Pause(self._kernel.random.expovariate(1.0 / self._options.pause))

    def _member(self, journal: ClientJournal) -> tuple[GroupSession, Script]:
        session = GroupSession(initial_totem_configuration=self._kernel.random.random() < 0.5, pid=journal.pid)
        journal.group = self._kernel.random.choice(GROUPS[: self._options.groups])
        return session, self._membership(journal, session, journal.group)

    def _membership(self, journal: ClientJournal, session: GroupSession, group: bytes) -> Script:
        """Join, say things, and go in one of three ways, or stay."""
        random = self._kernel.random
        yield from patiently(lambda: session.join(group), AGAIN)
        fate = random.choice(("leave", "close", "finalize", "stay", "stay"))
        patience = random.randint(1, 40)
        while not self._stopped and (fate == "stay" or patience > 0):
            patience -= 1
            yield self._pause()
            for _ in range(random.choice(BATCHES)):
                if self._stopped:
                    break
                data = self._message(journal)
                try:
                    journal.sends(data)
                    yield from session.mcast(data)
                except (TryAgain, Interrupted, NotExist):
                    journal.not_sent()
                    break
        if self._stopped or fate == "stay":
            yield Park()
        elif fate == "leave":
            journal.leaves()
            yield from patiently(lambda: session.leave(group), AGAIN)
            yield self._pause()
        elif fate == "finalize":
            yield from session.finalize()

    def _message(self, journal: ClientJournal) -> bytes:
        random = self._kernel.random
        size = random.randint(0, self._options.largest)
        if random.random() < self._options.huge:
            size = random.choice(HUGE)
        return _IDENTITY.pack(journal.node_id, journal.number & 0xFFFF, len(journal.sent)) + _PATTERN[:size]

    def _quorum_watcher(self, journal: ClientJournal) -> tuple[QuorumSession, Script]:
        session = QuorumSession(Model.V1)

        def life() -> Script:
            yield from session.choose_model()
            yield from ask(quorum.trackstart.encode(Track.CHANGES), "quorum_trackstart")
            yield Park()

        return session, life()

    def _key_tracker(self, journal: ClientJournal) -> tuple[MapSession, Script]:
        session = MapSession(cmap.Map.ICMAP)

        def life() -> Script:
            yield from session.track("sim.", prefix=True)
            yield Park()

        return session, life()

    def _key_setter(self, journal: ClientJournal) -> tuple[MapSession, Script]:
        session = MapSession(cmap.Map.ICMAP)
        random = self._kernel.random

        def life() -> Script:
            while not self._stopped:
                yield self._pause()
                if self._stopped:
                    break
                key = random.choice(KEYS)
                try:
                    if random.random() < 0.2:
                        yield from ask(cmap.DeleteRequest(key).encode(), "cmap_delete")
                    else:
                        value = len(journal.entries).to_bytes(4, "little")
                        yield from ask(cmap.SetRequest(key, ValueType.UINT32, value).encode(), "cmap_set")
                except (TryAgain, NotExist):
                    continue
            yield Park()

        return session, life()

    # The end of the run.

    def still_apart(self) -> list[str]:
        """Why the nodes have not all synchronised."""
        return self.services.still_apart()

    @property
    def sent(self) -> int:
        """Messages that members have sent."""
        return sum(len(journal.sent) for journal in self.services.journal.clients)

    @property
    def delivered(self) -> int:
        """Messages that members have heard, all together."""
        return sum(isinstance(entry, Heard) for journal in self.services.journal.clients for entry in journal.entries)

    def drain(self, wait: Callable[[Callable[[], bool]], float | None]) -> tuple[float | None, list[tuple[Process, Message]]]:
        """Wait until every group agrees and has heard the last words of a witness on every node: when, if it came to that.

        What was missing at the end is in the journal.
        """
        journal = self.services.journal
        groups = self._groups()
        witnesses = [Member(self.services, node_id) for node_id in self._cluster.nodes for _ in groups]
        for witness, group in zip(witnesses, groups * len(self._cluster.nodes), strict=True):
            witness.join(group)
        agreed_at = wait(lambda: not self._disagreements())
        if agreed_at is None:
            journal.unsettled = self._disagreements()
            return None, []
        for number, witness in enumerate(witnesses):
            witness.mcast(b"last word of %d" % number)
        words = {group: {witness.last_word for witness in witnesses if witness.group == group} for group in groups}
        wait(lambda: not self._unheard(words))
        journal.unsettled = self._unheard(words)
        journal.examined.clear()
        for node_id in self._cluster.nodes:
            self._examine(node_id, groups)
        questions = len(groups) + len(QUESTIONS)
        answers = questions * len(self._cluster.nodes)
        drained_at = wait(lambda: sum(map(len, journal.examined.values())) == answers and not self.services.asking())
        if drained_at is None:
            journal.unsettled.append(f"{sum(map(len, journal.examined.values()))} of {answers} last questions answered")
        journal.leftover = [
            (node_id, f"pid {connection.client.pid} to {name}")
            for node_id, stack in self.services.stacks.items()
            for name, link in stack.links.items()
            for connection in link.process.connections.open.values()
            if isinstance(connection.peer, Program) and connection.peer.over
        ]
        return drained_at, []

    def _examine(self, node_id: int, groups: tuple[bytes, ...]) -> None:
        """Ask a node what all nodes should answer alike."""

        def program(service: str, questions: dict[str, tuple[bytes, Callable[[bytes], object]]]) -> None:
            def life() -> Script:
                for question, (request, decode) in questions.items():
                    response = yield from ask(request, question)
                    self.services.journal.examined.setdefault(question, {})[node_id] = decode(response)
                yield Park()

            self.services.program(node_id, service, lambda journal: (GroupSession(pid=journal.pid), life()))

        memberships = {
            f"cpg_membership_get({group.decode()})": (
                cpg.MembershipRequest(group).encode(),
                lambda response: cpg.MembershipResponse.decode(response).members,
            )
            for group in groups
        }
        program("cpg", {**memberships})
        program("quorum", {"quorum_getquorate": (quorum.getquorate.encode(), quorum.getquorate.decode)})
        program("votequorum", {"votequorum_getinfo": (votequorum.getinfo.encode(), _votes)})

    def _groups(self) -> tuple[bytes, ...]:
        """Those that programs of chance may choose, and those that others were told to join."""
        usual = GROUPS[: self._options.groups]
        others = {client.group for client in self.services.journal.clients if client.group is not None}
        return (*usual, *sorted(others.difference(usual)))

    def _present(self, group: bytes) -> list[ClientJournal]:
        """Programs that have joined a group, live, and were not cut off from their engine."""
        return [
            journal
            for journal in self.services.journal.clients
            if journal.group == group and journal.ended_at is None and journal.lost_at is None and not journal.left_group
        ]

    def _disagreements(self) -> list[str]:
        """Members of a group that do not see exactly the programs that live."""
        reasons = []
        for group in self._groups():
            present = self._present(group)
            places = sorted((journal.node_id, journal.pid) for journal in present)
            for journal in present:
                seen = _view(journal)
                if seen is None or sorted(seen) != places:
                    reasons.append(f"{journal} in {group.decode()} sees {seen}, where {places} live")
        return reasons

    def _unheard(self, words: dict[bytes, set[int]]) -> list[str]:
        """Members that lack a last word of their group; ``words`` are checksums."""
        reasons = []
        for group, expected in words.items():
            for journal in self._present(group):
                heard = {entry.digest for entry in journal.entries if isinstance(entry, Heard)}
                if not expected <= heard:
                    reasons.append(f"{journal} in {group.decode()} lacks {len(expected - heard)} last words")
        return reasons


def _votes(response: bytes) -> object:
    """What nodes must agree on in an answer to getinfo: it is about the node that was asked."""
    info = votequorum.getinfo.decode(response)
    return info.highest_expected, info.total_votes, info.quorum, info.flags


def _view(journal: ClientJournal) -> tuple[Place, ...] | None:
    for entry in reversed(journal.entries):
        if isinstance(entry, Changed):
            return entry.members
    return None
