"""The calls of a quorum device and the order of notifications, on three stock nodes and on three of ours: one suite for both."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import pytest

from coroipc.errors import Exist, InvalidParameter, MessageError, NotExist, TryAgain
from coroipc.library import BlockingLibrary
from libcmap import Cmap, Map
from libquorum import Model, Quorum, QuorumNotificationV0
from libquorum import NodeListNotification as QuorumNodeList
from libquorum import QuorumNotification as QuorumQuorum
from libvotequorum import (
    ExpectedVotesNotification,
    InfoFlag,
    NodeListNotification,
    NodeState,
    QuorumNotification,
    Track,
    Votequorum,
)
from tests.interop.clients import NODES, Clients
from tests.interop.conftest import DAEMONS
from tests.lab import DEADLINE, Lab, Node, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

NAME, OTHER = "Disk", "Tape"
TOTEM = {"token": 1000, "token_coefficient": 0, "consensus": 3000}
"""A ring that has lost a node without a word stays stuck for as long as a test needs; one that leaves does not."""
DEVICE = {"model": "net", "votes": 1}
REGISTERED = InfoFlag.QDEVICE_REGISTERED
ALIVE = REGISTERED | InfoFlag.QDEVICE_ALIVE
CASTS = ALIVE | InfoFlag.QDEVICE_CAST_VOTE
STOCK_TEXT = (
    "totem {\n" + "".join(f"  {key}: {value}\n" for key, value in TOTEM.items()) + "}\n"
    "quorum {\n  device {\n" + "".join(f"    {key}: {value}\n" for key, value in DEVICE.items()) + "  }\n}\n"
)
LETTERS: dict[type, str] = {
    NodeListNotification: "N",
    ExpectedVotesNotification: "E",
    QuorumNotification: "Q",
    QuorumNodeList: "n",
    QuorumQuorum: "q",
    QuorumNotificationV0: "0",
}


@pytest.fixture(scope="module", params=DAEMONS)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A ring of three daemons of one kind that take a quorum device of one vote."""
    with Lab(len(NODES)) as lab:
        for number in NODES:
            configure(lab, number, request.param).start()
        lab.wait_ring(NODES)
        yield lab


def configure(lab: Lab, number: int, kind: str = "") -> Node:
    """Write a node's configuration; of the kind that it has already, where none is named."""
    if (kind or lab.node(number).command[0]) in ("stock", "corosync"):
        return lab.configure_stock(number, STOCK_TEXT)
    return lab.configure_ours(number, totem=dict(TOTEM), quorum={"device": DEVICE})


@pytest.fixture
def votequorum(clients: Clients) -> Iterator[Votequorum]:
    """A connection to node 1 that knows its ring; what is registered at the test's end is unregistered."""
    library = clients.open(Votequorum)
    yield library
    for number in NODES:
        node = clients.open(Votequorum, node=number)
        if node.getinfo().flags & REGISTERED:
            node.qdevice_unregister(node.getinfo().qdevice_name)
    wait_until(lambda: not any(clients.open(Votequorum, node=number).getinfo().qdevice_name for number in NODES), "no device")


def ring_of(votequorum: Votequorum) -> tuple[int, int]:
    """The ring id that a poll has to name."""
    votequorum.trackstart(flags=Track.CURRENT)
    nodes, _ = votequorum.next_event(DEADLINE), votequorum.next_event(DEADLINE)
    assert isinstance(nodes, NodeListNotification)
    return nodes.ring_nodeid, nodes.ring_sequence


def device_flags(votequorum: Votequorum, node: int = 0) -> InfoFlag:
    """What is known of a node's device."""
    return InfoFlag(votequorum.getinfo(node).flags) & (CASTS | InfoFlag.QDEVICE_MASTER_WINS)


def test_a_device_is_registered_under_one_name_in_the_whole_cluster(clients: Clients, votequorum: Votequorum) -> None:
    votequorum.qdevice_register(NAME)
    info = votequorum.getinfo()
    assert (info.qdevice_votes, info.qdevice_name) == (1, NAME)
    votequorum.qdevice_register(NAME)
    with pytest.raises(Exist):
        votequorum.qdevice_register(OTHER)
    second = clients.open(Votequorum, node=2)
    wait_until(lambda: second.getinfo(1).flags & REGISTERED, "the registration on another node")
    with pytest.raises(Exist):
        second.qdevice_register(OTHER)
    second.qdevice_register(NAME)
    wait_until(lambda: device_flags(votequorum) == device_flags(votequorum, 2) == REGISTERED, "the flags")
    clients.open(Votequorum).qdevice_register(NAME)
    votequorum.qdevice_unregister(NAME)
    with pytest.raises(NotExist):
        votequorum.qdevice_unregister(NAME)
    with pytest.raises(Exist):  # Another node's device still has the name.
        votequorum.qdevice_register(OTHER)
    second.qdevice_unregister(NAME)
    wait_until(lambda: not votequorum.getinfo().qdevice_name, "no name any more")
    votequorum.qdevice_register(OTHER)
    assert votequorum.getinfo().qdevice_name == OTHER


def test_a_registration_outlives_its_program(clients: Clients, votequorum: Votequorum) -> None:
    with contextlib.closing(clients.open(Votequorum)) as program:
        program.qdevice_register(NAME)
    assert device_flags(votequorum) == REGISTERED
    votequorum.qdevice_poll(NAME, True, *ring_of(votequorum))


def test_a_poll_counts_for_the_present_ring_only_and_says_how_the_device_votes(votequorum: Votequorum) -> None:
    votequorum.qdevice_register(NAME)
    node, sequence = ring_of(votequorum)
    for ring in ((node, sequence - 1), (node, sequence + 4), (node + 1, sequence)):
        with pytest.raises(MessageError):
            votequorum.qdevice_poll(NAME, True, *ring)
    with pytest.raises(InvalidParameter):
        votequorum.qdevice_poll(OTHER, True, node, sequence)
    assert device_flags(votequorum) == REGISTERED
    votequorum.qdevice_poll(NAME, True, node, sequence)
    assert (device_flags(votequorum), votequorum.getinfo().total_votes) == (CASTS, 4)
    votequorum.qdevice_poll(NAME, False, node, sequence)
    assert (device_flags(votequorum), votequorum.getinfo().total_votes) == (ALIVE, 3)


def test_a_device_is_renamed_everywhere_by_whoever_knows_its_name(clients: Clients, votequorum: Votequorum) -> None:
    votequorum.qdevice_register(NAME)
    with pytest.raises(InvalidParameter):
        votequorum.qdevice_update(OTHER, NAME)
    with pytest.raises(InvalidParameter):
        votequorum.qdevice_update(NAME, "")
    votequorum.qdevice_update(NAME, OTHER)
    for number in NODES:
        node = clients.open(Votequorum, node=number)
        wait_until(lambda node=node: node.getinfo().qdevice_name == OTHER, "the new name")  # type: ignore[misc]
    with pytest.raises(InvalidParameter):
        votequorum.qdevice_unregister(NAME)


def test_a_device_may_be_given_the_last_word(votequorum: Votequorum) -> None:
    votequorum.qdevice_register(NAME)
    with pytest.raises(InvalidParameter):
        votequorum.qdevice_master_wins(OTHER, True)
    votequorum.qdevice_master_wins(NAME, True)
    assert device_flags(votequorum) == REGISTERED | InfoFlag.QDEVICE_MASTER_WINS
    votequorum.qdevice_master_wins(NAME, False)
    assert device_flags(votequorum) == REGISTERED


@contextlib.contextmanager
def stuck(lab: Lab, clients: Clients) -> Iterator[None]:
    """Node 2 stands still, and the ring without it is not formed yet: nothing goes round."""
    statistics = clients.open(Cmap, node=1)
    statistics.set_current_map(Map.STATS)
    entered = statistics.get("stats.srp.gather_entered")
    standing = lab.node(2).process
    assert standing is not None
    standing.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: statistics.get("stats.srp.gather_entered") != entered, "the end of the ring", explain=lab.node(1).log)
        yield
    finally:
        standing.send_signal(signal.SIGCONT)
        lab.wait_ring(NODES)


def test_a_second_registration_is_told_to_try_again_while_the_first_is_on_its_way(
    lab: Lab, clients: Clients, votequorum: Votequorum
) -> None:
    programs = [clients.open(Votequorum), clients.open(Votequorum)]
    with ThreadPoolExecutor(len(programs)) as pool:
        with stuck(lab, clients):
            answers: list[Future[Any]] = [pool.submit(program.qdevice_register, NAME) for program in programs]
            done, waiting = wait(answers, DEADLINE, FIRST_COMPLETED)
            assert [type(answer.exception()) for answer in done] == [TryAgain]
            assert len(waiting) == 1, "the other one is answered when its message has gone round"
            assert not device_flags(votequorum)
        assert waiting.pop().result(DEADLINE) is None
    assert device_flags(votequorum) == REGISTERED


def test_each_connection_is_told_of_a_ring_in_stock_s_order(lab: Lab, clients: Clients, votequorum: Votequorum) -> None:
    """Node lists and risen expected votes before the decision; a round that is begun again begins with its list again."""
    new, old = clients.open(Quorum), clients.open(Quorum, Model.V0)
    for connection in (votequorum, new, old):
        connection.trackstart(flags=Track.CHANGES_ONLY)
    lab.node(3).stop()
    assert re.fullmatch("(N+Q)+", told(votequorum, lambda event: is_decision(event, {3: NodeState.DEAD})))
    assert re.fullmatch("(n+q)+", told(new, lambda event: getattr(event, "members", ()) == (1, 2) and not is_list(event)))
    assert re.fullmatch("0+", told(old, lambda event: getattr(event, "members", ()) == (1, 2)))

    lab.list_nodes(NODES, {3: 2})
    configure(lab, 3).start()
    lab.list_nodes(NODES)
    rising = told(votequorum, lambda event: is_decision(event, {3: NodeState.MEMBER}))
    # Risen expected votes are told at once: where this is the node's first ring, with its first message, before any list.
    assert re.fullmatch("(E*N+E*Q)+", rising)
    assert rising.count("E") == 1
    assert votequorum.getinfo().expected_votes == 5
    assert re.fullmatch("(n+q)+", told(new, lambda event: getattr(event, "members", ()) == NODES and not is_list(event)))
    assert re.fullmatch("0+", told(old, lambda event: getattr(event, "members", ()) == NODES))

    votequorum.setvotes(1, 3)
    wait_until(lambda: votequorum.getinfo().total_votes == 3, "one vote of node 3")
    votequorum.setexpected(4)
    assert told(votequorum, lambda event: isinstance(event, ExpectedVotesNotification) and event.expected_votes == 4)[-1] == "E"


def told(connection: BlockingLibrary[Any], until: Callable[[Any], bool]) -> str:
    """The kinds of the events that came, a letter each, up to one that is accepted."""
    letters = ""
    for event in connection.events(DEADLINE):
        letters += LETTERS[type(event)]
        if until(event):
            return letters
    raise AssertionError(f"after {letters!r} nothing came")


def is_decision(event: object, states: dict[int, NodeState]) -> bool:
    """Whether it is votequorum's decision with these nodes in these states."""
    return isinstance(event, QuorumNotification) and states.items() <= dict(event.nodes).items()


def is_list(event: object) -> bool:
    """Whether it is the quorum service's list of a ring that is not decided on yet."""
    return isinstance(event, QuorumNodeList)
