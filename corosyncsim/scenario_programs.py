"""The programs that a scenario names: members of closed process groups, and what they were told.

| command | what it does |
|---|---|
| ``program 1 a`` | a program called ``a`` starts on node 1 |
| ``join a red`` | it joins the group ``red`` |
| ``say a hello`` | it sends a message to its group |
| ``quit a`` | it leaves its group |
| ``die a`` | it ends without a word |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from corosyncsim.cluster import Cluster
from corosyncsim.scenario import BadScenario, Command
from corosyncsim.services.journal import ClientJournal
from corosyncsim.services.member import Member
from libcpg.messages import Address, ConfigurationChange, Deliver
from libcpg.session import Event

OF_A_PROGRAM: Final = frozenset({"join", "say", "quit", "die"})
"""Commands whose first word is a program's name."""


def steps_of(clients: Iterable[ClientJournal]) -> Iterator[Command]:
    """What members of groups have done, as commands; what they said has other words, and fewer."""
    for client in clients:
        if client.group is None:
            continue
        name = f"p{client.number}"
        yield Command("program", (str(client.node_id), name), at=client.began_at)
        yield Command("join", (name, client.group.decode()), at=client.began_at)
        yield from (Command("say", (name, f"{name}.{count}"), at=sent.time) for count, sent in enumerate(client.sent, 1))
        if client.left_at is not None:
            yield Command("quit", (name,), at=client.left_at)
        if client.ended_at is not None:
            yield Command("die", (name,), at=client.ended_at)


def of_their_programs(steps: Iterable[Command]) -> Iterator[Command]:
    """The steps without those of programs that none of them starts."""
    started: set[str] = set()
    for step in steps:
        if step.verb == "program":
            started.add(step.words[1])
        if step.verb not in OF_A_PROGRAM or step.words[0] in started:
            yield step


class NamedPrograms:
    """Programs by the names that a scenario gives them."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._told: dict[str, int] = {}
        self._lost: set[str] = set()
        self.verbs: dict[str, Callable[[Cluster, Command], list[str]]] = {
            "program": self._program,
            "join": self._join,
            "say": self._say,
            "quit": self._quit,
            "die": self._die,
        }

    def _program(self, cluster: Cluster, command: Command) -> list[str]:
        node_id, name = _words(command, "a node and a name")
        if name in self._members:
            raise BadScenario(f"{command}: there is a program {name} already")
        try:
            self._members[name] = cluster.program(int(node_id))
        except (ValueError, KeyError) as error:
            raise BadScenario(f"{command}: no such node, or a cluster without services=yes") from error
        return []

    def _join(self, cluster: Cluster, command: Command) -> list[str]:
        name, group = _words(command, "a program and a group")
        self._called(command, name).join(group)
        return []

    def _say(self, cluster: Cluster, command: Command) -> list[str]:
        name, word = _words(command, "a program and a message")
        self._called(command, name).mcast(word.encode())
        return []

    def _quit(self, cluster: Cluster, command: Command) -> list[str]:
        self._called(command, *_words(command, "a program", 1)).leave()
        return []

    def _die(self, cluster: Cluster, command: Command) -> list[str]:
        self._called(command, *_words(command, "a program", 1)).die()
        return []

    def _called(self, command: Command, name: str) -> Member:
        if name not in self._members:
            raise BadScenario(f"{command}: no program {name}; there are {', '.join(self._members) or 'none'}")
        return self._members[name]

    def news(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Who was told what since the last time."""
        for name, member in self._members.items():
            lines = list(self._lines(member.events[self._told.get(name, 0) :]))
            self._told[name] = len(member.events)
            if member.lost and name not in self._lost:
                self._lost.add(name)
                lines.append("loses its connection")
            if lines:
                yield name, tuple(lines)

    def _lines(self, events: Sequence[Event]) -> Iterator[str]:
        """What named programs did; the run's own are left out."""
        names = {member.place: name for name, member in self._members.items()}

        def told(addresses: Sequence[Address]) -> str:
            return " ".join(sorted(names[place] for place in ((a.nodeid, a.pid) for a in addresses) if place in names))

        heard: list[str] = []
        for event in events:
            if isinstance(event, Deliver) and (event.nodeid, event.pid) in names:
                heard.append(event.data.decode(errors="replace"))
            elif isinstance(event, ConfigurationChange) and (told(event.joined) or told(event.left)):
                if heard:
                    yield f"hears {' '.join(heard)}"
                    heard = []
                changes = [f", {what} {told(who)}" for what, who in (("joined", event.joined), ("left", event.left)) if told(who)]
                yield f"group {told(event.members) or 'of nobody'}{''.join(changes)}"
        if heard:
            yield f"hears {' '.join(heard)}"


def _words(command: Command, wanted: str, count: int = 2) -> tuple[str, ...]:
    command.allow(())
    if len(command.words) != count:
        raise BadScenario(f"{command}: {command.verb} takes {wanted}")
    return command.words
