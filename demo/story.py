"""What happens, and what must hold: five chapters, each a few events and the claims about them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from demo import processes
from demo.cluster import Cluster
from demo.node import Node
from demo.participant import Participant, Round
from demo.program import SIZES
from demo.screen import Screen, ring_name
from demo.waiting import STEP_LIMIT, Changes
from libcmap import AsyncCmap, Cmap
from libcpg import Reason
from libvotequorum import AsyncVotequorum

MESSAGES = 2000
"""That each program multicasts in a round."""
TALKER_MESSAGES = 100_000
"""For the program whose daemon is killed meanwhile: more than it can get rid of before that."""
KILL_AFTER = 1000
"""Messages of a round that a survivor has delivered when the daemon is killed."""
ORDER, KILL, RETURN = 1, 2, 3
"""The rounds."""


class ClaimFailed(Exception):
    """Something that should hold does not; the viewer has been told what."""


class Story:
    """Five chapters; the first claim that fails ends it with ClaimFailed."""

    def __init__(self, cluster: Cluster, changes: Changes, screen: Screen, background: asyncio.TaskGroup) -> None:
        """``background`` runs what observes the nodes."""
        self._cluster = cluster
        self._nodes: Sequence[Node] = cluster.nodes
        self._changes = changes
        self._screen = screen
        self._background = background
        self._timeouts = ""
        self._idle: Cmap | None = None

    async def tell(self) -> None:
        """From nothing to nothing."""
        await self._ring_forms()
        await self._messages_are_ordered()
        await self._node_dies()
        await self._node_returns()
        await self._all_stop()

    async def _claim(
        self, text: str, holds: Callable[[], bool], measured: Callable[[], str] = str, *, limit: float = STEP_LIMIT
    ) -> None:
        """Wait until ``holds``, and tell; what was ``measured`` on the way is added to the text. Raises ClaimFailed."""
        held = await self._changes.until(holds, limit)
        failure = f" (waited {limit:.0f} s)" if limit else ""
        self._screen.claim(text + (measured() if held else failure), held)
        if not held:
            raise ClaimFailed

    # 1

    async def _ring_forms(self) -> None:
        self._screen.chapter("1  Three daemons form a ring")
        began = time.monotonic()
        for node in self._nodes:
            await self._cluster.start(node, self._background, first=True)
        self._screen.note(f"processes {self._pids(self._nodes)} started, on 127.0.0.1 to 3, UDP port {self._cluster.port}")
        await self._claim(
            "one ring with members 1 2 3 at all three",
            lambda: self._one_ring(self._nodes, {1, 2, 3}),
            lambda: f": {ring_name(self._nodes[0].ring)}, after {time.monotonic() - began:.1f} s",
        )
        await self._claim("all three are quorate", lambda: all(node.quorate for node in self._nodes))
        await self._show_votes(self._nodes[0])
        self._end_chapter()

    async def _show_votes(self, node: Node) -> None:
        """Ask as any program may: votequorum for the votes, the configuration map for the timeouts."""
        async with AsyncVotequorum(instance=node.instance) as votequorum:
            votes = await votequorum.getinfo()
        async with AsyncCmap(instance=node.instance) as cmap:
            token, consensus = [await cmap.get(f"runtime.config.totem.{name}") for name in ("token", "consensus")]
        self._screen.note(f"{votes.total_votes} of {votes.expected_votes} votes, {votes.quorum} are enough")
        self._timeouts = f"token timeout {token!r} ms, then consensus {consensus!r} ms"

    # 2

    async def _messages_are_ordered(self) -> None:
        self._screen.chapter("2  Three programs multicast at once, and all deliver one sequence")
        await self._all_in_group()
        self._screen.note(f"each multicasts {MESSAGES:,} messages of {SIZES[0]} to {SIZES[1]} bytes, as fast as it can")
        await self._round_of_all(ORDER)
        self._end_chapter()

    async def _all_in_group(self) -> None:
        await self._claim(
            "all three programs see one another in the group",
            lambda: all(program.members == {1, 2, 3} for program in self._programs),
            lambda: f": processes {self._pids(self._programs)}",
        )

    async def _round_of_all(self, number: int) -> None:
        began = time.monotonic()
        for program in self._programs:
            program.multicast(number, MESSAGES)
        await self._claim(
            f"all {3 * MESSAGES:,} messages are delivered at all three",
            lambda: all(number in program.rounds and program.rounds[number].count == 3 * MESSAGES for program in self._programs),
            lambda: f", within {time.monotonic() - began:.1f} s",
        )
        rounds = [program.rounds[number] for program in self._programs]
        complete = dict.fromkeys((1, 2, 3), MESSAGES)
        await self._claim(
            f"each sender's counter goes from 1 to {MESSAGES:,} without a gap",
            lambda: all(account.gaps == 0 and account.counters == complete for account in rounds),
            limit=0,
        )
        await self._same_sequence(rounds)
        await self._claim(
            "what was delivered of each sender is, byte for byte, what it multicast",
            lambda: all(account.streams == {1: rounds[0].sent, 2: rounds[1].sent, 3: rounds[2].sent} for account in rounds),
            limit=0,
        )

    async def _same_sequence(self, rounds: Sequence[Round]) -> None:
        """The hash covers node id, pid, counter and content of every message in its order, and the membership changes."""
        hashes = [account.sequence for account in rounds]
        who = "all three" if len(rounds) == 3 else "both"
        shown = " ".join(sorted({f"{digest[:16]}…" for digest in hashes}))
        await self._claim(f"the same sequence at {who}: SHA-256 {shown}", lambda: len(set(hashes)) == 1, limit=0)

    # 3

    async def _node_dies(self) -> None:
        self._screen.chapter("3  A daemon is killed while all three programs multicast")
        *survivors, victim = self._nodes
        ring = victim.ring
        # A client that does nothing notices nothing: its connection's files stay, unless its engine finds the time.
        self._idle = Cmap(instance=victim.instance)
        await self._multicast_until_busy(survivors, victim)
        family = self._cluster.processes_of(victim)
        killed_at = time.monotonic()
        decided = {node: len(node.decisions) for node in survivors}
        reported = {node: len(node.left) for node in survivors}
        victim.kill()
        self._screen.note(f"SIGKILL to node {victim.node_id}'s executive, process {victim.pid}")
        gone = await processes.ended(family, STEP_LIMIT)
        took = time.monotonic() - killed_at
        await self._claim(
            f"all its {len(family)} processes, with the engines, ended within {took * 1000:.0f} ms", lambda: gone, limit=0
        )
        await self._claim(
            "nodes 1 and 2 have a new ring without node 3",
            lambda: self._one_ring(survivors, {1, 2}) and survivors[0].ring != ring,
            lambda: (
                f": {ring_name(survivors[0].ring)}, {max(node.ring_seen_at for node in survivors) - killed_at:.2f} s "
                f"after the kill ({self._timeouts})"
            ),
        )
        await self._claim(
            "the quorum service reports node 3 as left", lambda: all(node.left[reported[node] :] == [3] for node in survivors)
        )
        await self._claim(
            "quorum was kept all the time: two of three votes",
            lambda: all(node.quorate and node.kept_quorum(decided[node]) for node in survivors),
        )
        await self._survivors_agree(survivors, victim)
        self._end_chapter()

    async def _multicast_until_busy(self, survivors: Sequence[Node], victim: Node) -> None:
        before = survivors[0].program.delivered
        victim.program.multicast(KILL, TALKER_MESSAGES)
        for node in survivors:
            node.program.multicast(KILL, MESSAGES)
        busy = await self._changes.until(lambda: survivors[0].program.delivered >= before + KILL_AFTER)
        self._screen.note(f"{survivors[0].program.delivered - before:,} messages of the new round are delivered at node 1")
        if not busy:
            await self._claim("the programs multicast", lambda: False, limit=0)

    async def _survivors_agree(self, survivors: Sequence[Node], victim: Node) -> None:
        lost = (victim.node_id, victim.program.pid, Reason.NODE_DOWN)
        programs = [node.program for node in survivors]
        await self._claim(
            "the group's change says why: the program of node 3 left, node down",
            lambda: all(lost in program.left for program in programs),
        )
        await self._claim(
            f"all {MESSAGES:,} messages of each survivor are delivered at both",
            lambda: all(KILL in program.rounds and self._finished(program.rounds[KILL], survivors) for program in programs),
            lambda: f", and {programs[0].rounds[KILL].counters.get(3, 0):,} of node 3's",
        )
        await self._same_sequence([program.rounds[KILL] for program in programs])
        self._screen.note("the place of the membership change among the messages is part of that hash: virtual synchrony")
        await self._claim("the program of node 3 noticed that it has lost its daemon", lambda: victim.program.disconnected == 1)

    @staticmethod
    def _finished(account: Round, survivors: Sequence[Node]) -> bool:
        return account.gaps == 0 and all(account.counters.get(node.node_id) == MESSAGES for node in survivors)

    # 4

    async def _node_returns(self) -> None:
        self._screen.chapter("4  The node comes back")
        returning = self._nodes[-1]
        ring = self._nodes[0].ring
        left_behind = self._cluster.shared_memory_of_dead()
        self._screen.note(f"folders of client connections that the kill has left in /dev/shm: {len(left_behind)}")
        began = time.monotonic()
        await self._cluster.start(returning, self._background, first=False)
        self._screen.note(f"node {returning.node_id}'s daemon started again: process {returning.pid}")
        await self._claim(
            "one ring of three again",
            lambda: self._one_ring(self._nodes, {1, 2, 3}) and self._nodes[0].ring != ring,
            lambda: f": {ring_name(self._nodes[0].ring)}, after {time.monotonic() - began:.1f} s",
        )
        await self._claim("all three are quorate", lambda: all(node.quorate for node in self._nodes))
        unswept = self._cluster.shared_memory_of_dead()
        await self._claim(
            f"its start has swept /dev/shm: nothing of the killed daemon is there{self._list(unswept)}",
            lambda: not unswept,
            limit=0,
        )
        if self._idle is not None:
            self._idle.close()
        self._screen.note("node 3's program connects and joins again by itself")
        await self._all_in_group()
        await self._round_of_all(RETURN)
        self._end_chapter()

    # 5

    async def _all_stop(self) -> None:
        self._screen.chapter("5  Everything stops")
        programs = self._programs
        for program in programs:
            program.leave()
        await self._claim(
            "the programs have left the group and ended with status 0",
            lambda: all(program.exit_status == 0 for program in programs),
        )
        self._cluster.processes()
        began = time.monotonic()
        for node in self._nodes:
            self._background.create_task(node.stop())
        await self._claim(
            "the daemons ended with status 0",
            lambda: all(node.exit_status == 0 for node in self._nodes),
            lambda: f" after {time.monotonic() - began:.1f} s",
        )
        await processes.ended(self._cluster.processes(), STEP_LIMIT)
        left = self._cluster.processes()
        await self._claim(f"they left no process{self._list(left)}", lambda: not left, limit=0)
        shared = self._cluster.shared_memory()
        await self._claim(f"they left nothing in /dev/shm{self._list(shared)}", lambda: not shared, limit=0)

    # What several chapters need.

    @property
    def _programs(self) -> list[Participant]:
        return [node.program for node in self._nodes]

    @staticmethod
    def _one_ring(nodes: Sequence[Node], members: set[int]) -> bool:
        return all(node.ring is not None and node.ring == nodes[0].ring and node.members == members for node in nodes)

    @staticmethod
    def _pids(owners: Sequence[Node] | Sequence[Participant]) -> str:
        return ", ".join(str(owner.pid) for owner in owners)

    @staticmethod
    def _list(found: Sequence[object]) -> str:
        return f": {', '.join(map(str, found))}" if found else ""

    def _end_chapter(self) -> None:
        self._cluster.processes()  # Remembers them: what they leave in /dev/shm has their pids in its name.
        self._screen.rows()
