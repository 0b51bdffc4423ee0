"""What a synchronisation round teaches about processes: who went with their nodes, who is new, who is gone unseen.

Source: reference services section 3.3. Each node trusts its own list of nodes that left, and the join lists of the others.
"""

from __future__ import annotations

from corosyncd.engines.cpg.processes import Place, ProcessList
from corosyncd.totem.events import RingId

Changes = list[tuple[bytes, list[Place]]]
"""(group, processes), one for each group concerned, by the groups' names."""


class Round:
    """One round, from its configuration to its activation."""

    def __init__(self, ring_id: RingId, members: tuple[int, ...], left: tuple[int, ...]) -> None:
        """``left``: members of the last activated ring that did not come along from it (they may be back already)."""
        self.ring_id = ring_id
        self.members = members
        self.left = left
        self._join_lists: dict[int, list[tuple[int, bytes]]] = {}

    def store(self, source: int, entries: list[tuple[int, bytes]]) -> None:
        """A node's processes, as (pid, group); a second list of the node replaces its first."""
        self._join_lists.pop(source, None)
        self._join_lists[source] = entries

    def downs(self, known: ProcessList) -> Changes:
        """Processes of the nodes that left, in list order."""
        gone = set(self.left)
        by_group: dict[bytes, list[Place]] = {}
        for node_id, pid, name in known:
            if node_id in gone:
                by_group.setdefault(name, []).append((node_id, pid))
        return sorted(by_group.items())

    def ups(self, known: ProcessList, own_node: int) -> Changes:
        """Enter the processes of other nodes that were not known. Each group lists them in reverse order of arrival, as the
        stock daemon does: its clients on all nodes see the same order."""
        by_group: dict[bytes, list[Place]] = {}
        for source in reversed(self._join_lists):
            if source == own_node:
                continue
            for pid, name in reversed(self._join_lists[source]):
                if known.add(source, pid, name):
                    by_group.setdefault(name, []).append((source, pid))
        return sorted(by_group.items())

    def zombies(self, known: ProcessList, own_node: int) -> list[tuple[int, int, bytes]]:
        """Processes of other nodes that no join list names: they ended while nobody here could hear of it."""
        alive = {(source, pid, name) for source, entries in self._join_lists.items() for pid, name in entries}
        return [process for process in known if process[0] != own_node and process not in alive]
