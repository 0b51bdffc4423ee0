"""What a round showed, through the simulator's checkers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chaos.crowd import Member
from corosyncd.totem.events import ConfigurationKind
from corosyncsim import groups
from corosyncsim.checkers import check_history, group_changes, identity, inclusion, quorum
from corosyncsim.checkers.quorum import Belief
from corosyncsim.checkers.violation import Violation
from corosyncsim.history import History, Installed, Message, Process, Quiet, Ring


def of_programs(members: Sequence[Member], quiet: Quiet) -> Iterator[Violation]:
    """Virtual synchrony as the programs of the group saw it; its node id is the place in ``members``, from 1."""
    programs = [member.program for member in members]
    yield from check_history(groups.read(programs, quiet))
    yield from group_changes.check(programs)


def undelivered(members: Sequence[Member]) -> tuple[tuple[Process, Message], ...]:
    """What living programs sent and some living program was not delivered, of everything that they were asked for last."""
    names = groups.processes([member.program for member in members])
    live = [member for member in members if member.ended_at is None]
    missing = []
    for sender in live:
        process = names[sender.program.address]
        for receiver in live:
            if sender.program.sizes and receiver.last.get(sender.program.address) != sender.next_number - 1:
                missing.append((names[receiver.program.address], Message(process, sender.next_number - 1)))
    return tuple(missing)


def of_nodes(beliefs: Sequence[Belief], votes: int) -> Iterator[Violation]:
    """Quorum, and the rings that the nodes' quorum services told: one meaning each, with numbers that grow across restarts."""
    yield from quorum.check(beliefs, votes)
    history = History()
    for number in sorted({belief.node_id for belief in beliefs}):
        process = Process(number, 1)
        events = history.events[process] = []
        history.storage_losses[process] = 0
        last: Ring | None = None
        for belief in (belief for belief in beliefs if belief.node_id == number):
            ring = Ring(*belief.ring_id)
            if ring != last:  # The same ring again is another word about quorum, or a watcher that has connected again.
                members = tuple(sorted(belief.members))
                events.append(Installed(len(events), belief.begins, ConfigurationKind.REGULAR, ring, members))
            last = ring
    yield from identity.check(history)
    yield from inclusion.check(history)
