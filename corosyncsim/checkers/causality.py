"""Property 9, causal order: nobody sees an answer before the question.

If the sending of m precedes the sending of m' in one configuration, through any chain of sends and deliveries, then whoever
delivers m' delivered m before. Source: Moser et al., ICDCS 1994, specification 5; Lamport's happened-before, kept here as vector
clocks: for each sent message the number of messages of each sender that it may depend on.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge

from corosyncd.totem.events import ConfigurationKind
from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import Delivered, Event, History, Installed, Message, Process, Ring, Sent

PROPERTY = Property(9, "causal order")

Clock = dict[Process, int]


def check(history: History) -> Iterator[Violation]:
    """Every delivery that came before one it depends on; deliveries times members."""
    sendings: dict[tuple[Ring, Process], list[Message]] = {}
    clocks: dict[Message, Clock] = {}
    views: dict[Process, _View] = {}
    for process, event in _in_time(history):
        view = views.setdefault(process, _View(history, process, sendings))
        match event:
            case Installed(kind=ConfigurationKind.REGULAR):
                view.enter(event.ring)
            case Sent() if event.ring == view.ring:
                mine = sendings.setdefault((event.ring, process), [])
                clocks[event.message] = {**view.past, process: len(mine)}
                mine.append(event.message)
                view.past[process] = len(mine)
            case Delivered(message=Message() as message) if message in clocks and history.sent[message].ring == view.ring:
                missing = view.missing(clocks[message])
                if missing is not None:
                    expected = f"message {missing} should be delivered before {message}, which was sent after it"
                    yield PROPERTY.broken(process.node_id, event.time, expected)
                view.deliver(message, clocks[message])
            case _:
                pass


def _in_time(history: History) -> Iterator[tuple[Process, Event]]:
    """All events of all processes in the order in which they happened."""
    streams = [[(event.order, process, event) for event in events] for process, events in history.events.items()]
    for _, process, event in merge(*streams, key=lambda entry: entry[0]):
        yield process, event


class _View:
    """What one process has seen of its present configuration."""

    def __init__(self, history: History, process: Process, sendings: dict[tuple[Ring, Process], list[Message]]) -> None:
        self._history = history
        self._process = process
        self._sendings = sendings
        self.enter(Ring(0, 0))

    def enter(self, ring: Ring) -> None:
        self.ring = ring
        self.past: Clock = {}
        """How many messages of each sender precede whatever this process sends next."""
        self._delivered: set[Message] = set()
        self._complete: Clock = {}
        """How many messages of each sender, counted from the first, were delivered or could not be."""

    def missing(self, needed: Clock) -> Message | None:
        """A message that should be here and is not, given how many of each sender's are needed."""
        for sender, count in needed.items():
            have = self._complete.get(sender, 0)
            if have >= count:
                continue
            messages = self._sendings.get((self.ring, sender), [])
            while have < count and self._excused(messages[have]):
                have += 1
            self._complete[sender] = have
            if have < count:
                return messages[have]
        return None

    def _excused(self, message: Message) -> bool:
        return message in self._delivered or self._history.had_no_beginning(self._process, self._history.sent[message])

    def deliver(self, message: Message, clock: Clock) -> None:
        """Take the message and its past into this process's own past."""
        self._delivered.add(message)
        past = self.past
        for sender, count in clock.items():
            if past.get(sender, 0) < count:
                past[sender] = count
        past[message.sender] = max(past.get(message.sender, 0), clock[message.sender] + 1)
