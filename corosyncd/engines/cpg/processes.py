"""The processes that are known to be in a group, in the order that every node lists them: by node id, then pid.

Source: reference services section 3.2. One entry per (node, pid, group); a program may be in several groups.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from corosyncd.engines.engine import Client

Place = tuple[int, int]
"""Node id and pid."""


class Group:
    """One group that has members."""

    __slots__ = ("members", "name", "nodes", "receivers")

    def __init__(self, name: bytes) -> None:
        """A group without members, which its process list does not keep for long."""
        self.name = name
        self.members: list[Place] = []
        self.nodes: dict[int, int] = {}
        """How many members live on each node: a message from any other node is not for this group."""
        self.receivers: list[Client] = []
        """Local clients that get the group's messages and changes, newest first."""


class ProcessList:
    """All known processes and their groups."""

    def __init__(self) -> None:
        """Nobody is known."""
        self.groups: dict[bytes, Group] = {}
        # (node, pid, name) by (node, pid); processes of the same place keep the order in which they became known.
        self._places: list[Place] = []
        self._names: list[bytes] = []

    def __iter__(self) -> Iterator[tuple[int, int, bytes]]:
        """(node, pid, name) in list order, as of now."""
        return iter([(*place, name) for place, name in zip(self._places, self._names, strict=True)])

    def __contains__(self, process: tuple[int, int, bytes]) -> bool:
        node_id, pid, name = process
        group = self.groups.get(name)
        if group is None:
            return False
        position = bisect_left(group.members, (node_id, pid))
        return group.members[position : position + 1] == [(node_id, pid)]

    def add(self, node_id: int, pid: int, name: bytes) -> bool:
        """Enter a process; False where it is known already."""
        if (node_id, pid, name) in self:
            return False
        place = (node_id, pid)
        group = self.groups.get(name)
        if group is None:
            group = self.groups[name] = Group(name)
        group.members.insert(bisect_left(group.members, place), place)
        group.nodes[node_id] = group.nodes.get(node_id, 0) + 1
        position = bisect_right(self._places, place)
        self._places.insert(position, place)
        self._names.insert(position, name)
        return True

    def remove(self, node_id: int, pid: int, name: bytes) -> None:
        """Forget a known process; a group without members is forgotten with its last one. KeyError where it is unknown."""
        place = (node_id, pid)
        group = self.groups[name]
        del group.members[bisect_left(group.members, place)]
        group.nodes[node_id] -= 1
        if not group.nodes[node_id]:
            del group.nodes[node_id]
        if not group.members:
            del self.groups[name]
        position = bisect_right(self._places, place) - 1
        while self._names[position] != name:
            position -= 1
        del self._places[position], self._names[position]

    def members(self, name: bytes) -> list[Place]:
        """The group's processes in list order; none for an unknown group."""
        group = self.groups.get(name)
        return list(group.members) if group is not None else []

    def of_node(self, node_id: int) -> list[tuple[int, bytes]]:
        """(pid, name) of one node's processes in list order."""
        return [(pid, name) for node, pid, name in self if node == node_id]
