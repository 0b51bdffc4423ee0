"""The client libraries against real daemons: three nodes, the distribution's or ours, one suite for both."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

import pytest

from coroipc.errors import (
    AccessDenied,
    Busy,
    CorosyncError,
    Exist,
    InvalidParameter,
    NameNotFound,
    NameTooLong,
    NotExist,
    NotSupported,
)
from libcfg import AsyncCfg, Cfg, ShutdownRequested
from libcmap import AsyncCmap, Cmap, KeyChange, Map, Track, Value, ValueType
from libcpg import Address, AsyncCpg, ConfigurationChange, Deliver, Reason, TotemConfiguration
from libquorum import (
    AsyncQuorum,
    Model,
    NodeListNotification,
    Provider,
    Quorum,
    QuorumNotification,
    QuorumNotificationV0,
)
from libquorum import Track as QuorumTrack
from libvotequorum import AsyncVotequorum, ExpectedVotesNotification, InfoFlag, Node, NodeState, Votequorum
from libvotequorum import NodeListNotification as VotequorumNodeList
from libvotequorum import QuorumNotification as VotequorumQuorum
from libvotequorum import Track as VotequorumTrack
from tests.interop.clients import NODES, OURSELVES, SHORT, Clients, event_of, joined
from tests.lab import DEADLINE, Lab, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]


# cmap

VALUES: list[tuple[ValueType, int | float | str | bytes]] = [
    (ValueType.INT8, -128),
    (ValueType.UINT8, 255),
    (ValueType.INT16, -32768),
    (ValueType.UINT16, 65535),
    (ValueType.INT32, -(2**31)),
    (ValueType.UINT32, 2**32 - 1),
    (ValueType.INT64, -(2**63)),
    (ValueType.UINT64, 2**64 - 1),
    (ValueType.FLOAT, 0.5),
    (ValueType.DOUBLE, -1.25e300),
    (ValueType.STRING, "text with ümlauts"),
    (ValueType.STRING, ""),
    (ValueType.STRING, "s" * 16000),
    (ValueType.BINARY, b"\0\1\2\xff"),
    (ValueType.BINARY, b"b" * 16384),
]


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=lambda item: repr(item)[:20])
def test_a_value_of_every_type_comes_back(cmap: Cmap, kind: ValueType, value: int | float | str | bytes) -> None:
    cmap.set("lab.value", value, kind)
    assert cmap.get_typed("lab.value") == Value(kind, value)
    cmap.delete("lab.value")
    with pytest.raises(NotExist):
        cmap.get("lab.value")


def test_a_value_past_the_limit_is_refused(cmap: Cmap) -> None:
    with pytest.raises(InvalidParameter):
        cmap.set("lab.value", b"b" * 16385)


@pytest.mark.parametrize("key", ["ab", "bad key", "bad,key", "k" * 256])
def test_a_key_of_a_wrong_length_or_with_wrong_characters_is_refused(cmap: Cmap, key: str) -> None:
    with pytest.raises(NameTooLong):
        cmap.set(key, 1)


def test_a_key_of_255_characters_is_allowed(cmap: Cmap) -> None:
    key = "lab." + "k" * 251
    cmap.set(key, 1)
    assert [entry.key for entry in cmap.iterate("lab.")] == [key]


def test_keys_of_the_configuration_are_read_only(cmap: Cmap) -> None:
    assert cmap.get("totem.cluster_name") == "lab"
    with pytest.raises(AccessDenied):
        cmap.set("totem.cluster_name", "other")
    with pytest.raises(AccessDenied):
        cmap.delete("totem.cluster_name")


def test_integers_wrap_at_the_width_of_their_type(cmap: Cmap) -> None:
    cmap.set("lab.small", 255, ValueType.UINT8)
    cmap.increment("lab.small")
    assert cmap.get("lab.small") == 0
    cmap.decrement("lab.small")
    assert cmap.get("lab.small") == 255
    cmap.adjust("lab.small", -55)
    assert cmap.get_typed("lab.small") == Value(ValueType.UINT8, 200)


def test_only_integers_that_exist_can_be_adjusted(cmap: Cmap) -> None:
    cmap.set("lab.text", "text")
    with pytest.raises(InvalidParameter):
        cmap.increment("lab.text")
    with pytest.raises(NotExist):
        cmap.increment("lab.absent")
    with pytest.raises(NotExist):
        cmap.delete("lab.absent")


def test_keys_are_iterated_in_byte_order_below_a_plain_prefix(cmap: Cmap) -> None:
    for key in ("lab.b", "lab.a/", "lab.a", "lab.a-", "lab.aa", "lab.a:", "lab.a_", "lab.aA", "lab.a.x"):
        cmap.set(key, key)
    found = list(cmap.items("lab.a"))
    assert [key for key, _ in found] == sorted(["lab.a/", "lab.a", "lab.a-", "lab.aa", "lab.a:", "lab.a_", "lab.aA", "lab.a.x"])
    assert all(value == Value(ValueType.STRING, key) for key, value in found)
    assert list(cmap.iterate("lab.none")) == []


def test_a_tracker_of_a_prefix_sees_adding_changing_and_removing_by_anybody(clients: Clients, cmap: Cmap) -> None:
    other = clients.open(Cmap)
    tracker = cmap.track("lab.", prefix=True)
    other.set("lab.key", 7)
    cmap.set("lab.key", "seven")
    other.delete("lab.key")
    events = [event_of(cmap, KeyChange) for _ in range(3)]
    number, text = Value(ValueType.UINT32, 7), Value(ValueType.STRING, "seven")
    assert events == [
        KeyChange(tracker.instance, "lab.key", Track.ADD, number, None),
        KeyChange(tracker.instance, "lab.key", Track.MODIFY, text, number),
        KeyChange(tracker.instance, "lab.key", Track.DELETE, None, text),
    ]


def test_a_tracker_of_a_key_sees_that_key_alone_and_only_what_it_asked_for(cmap: Cmap) -> None:
    cmap.set("lab.key", 1)
    cmap.track("lab.key", Track.MODIFY)
    cmap.set("lab.key.longer", 1)
    cmap.set("lab.key.longer", 2)
    cmap.set("lab.key", 1)  # The value it has: nobody is told.
    cmap.set("lab.key", 2)
    cmap.delete("lab.key")
    assert [(change.key, change.event) for change in cmap.events(SHORT)] == [("lab.key", Track.MODIFY)]


def test_a_change_fires_every_tracker_and_ended_ones_no_more(cmap: Cmap) -> None:
    whole, part = cmap.track("lab.", prefix=True), cmap.track("lab.key")
    cmap.set("lab.key", 1)
    assert [change.tracker for change in cmap.events(SHORT)] == [part.instance, whole.instance]
    cmap.untrack(whole)
    cmap.set("lab.key", 2)
    assert [change.tracker for change in cmap.events(SHORT)] == [part.instance]
    with pytest.raises(CorosyncError):
        cmap.untrack(whole)


def test_unknown_kinds_of_tracking_are_refused(cmap: Cmap) -> None:
    with pytest.raises(InvalidParameter):
        cmap.track("lab.key", Track(16))


def test_the_descriptor_is_readable_exactly_while_events_wait(cmap: Cmap) -> None:
    import select

    def readable() -> bool:
        return bool(select.select([cmap], [], [], SHORT)[0])

    cmap.track("lab.", prefix=True)
    assert not readable()
    cmap.set("lab.one", 1)
    cmap.set("lab.two", 2)
    assert readable()
    assert cmap.next_event(0) is not None
    assert readable()
    assert cmap.next_event(0) is not None
    assert not readable()


def test_statistics_are_read_and_reset_but_not_written(clients: Clients) -> None:
    stats = clients.open(Cmap, Map.STATS)
    received = stats.get_typed("stats.srp.orf_token_rx")
    assert received.kind == ValueType.UINT64
    assert isinstance(received.value, int)
    assert received.value > 0
    processes = {value.value for key, value in stats.items("stats.ipcs.service0.") if key.endswith(".procname")}
    assert processes
    assert all(processes)
    with pytest.raises(AccessDenied):
        stats.set("stats.srp.orf_token_rx", 0)
    with pytest.raises(NotSupported):
        stats.set("stats.clear.nothing", 0)
    with pytest.raises(NotExist):
        stats.get("totem.cluster_name")
    stats.set("stats.clear.totem", 1)


def test_the_map_can_be_changed_while_nothing_is_open(cmap: Cmap) -> None:
    with pytest.raises(NotExist):
        cmap.set_current_map(7)
    tracker = cmap.track("lab.key")
    with pytest.raises(Busy):
        cmap.set_current_map(Map.STATS)
    cmap.untrack(tracker)
    cmap.set_current_map(Map.STATS)
    assert next(iter(cmap.iterate())).key.startswith("stats.")
    cmap.set_current_map(Map.ICMAP)


# quorum and votequorum


def test_a_tracker_of_either_model_is_told_the_present_state(clients: Clients) -> None:
    new, old = clients.open(Quorum), clients.open(Quorum, Model.V0)
    assert new.provider == old.provider == Provider.SET
    assert new.getquorate()
    assert old.getquorate()
    new.trackstart(QuorumTrack.CURRENT)
    nodes, decision = new.next_event(DEADLINE), new.next_event(DEADLINE)
    assert isinstance(nodes, NodeListNotification)
    assert (nodes.members, nodes.joined, nodes.left, nodes.ring_nodeid) == (NODES, (), (), 1)
    assert decision == QuorumNotification(True, nodes.ring_nodeid, nodes.ring_sequence, NODES)
    old.trackstart(QuorumTrack.CHANGES)
    assert old.next_event(DEADLINE) == QuorumNotificationV0(True, nodes.ring_sequence, NODES)
    new.trackstop()
    new.trackstop()


def test_tracking_twice_is_refused_but_tells_the_state_again(clients: Clients) -> None:
    quorum = clients.open(Quorum)
    quorum.trackstart()
    for flags in (QuorumTrack.CHANGES, QuorumTrack.CURRENT, 0):
        with pytest.raises(Exist):
            quorum.trackstart(flags)
    assert len(list(quorum.events(SHORT))) == 6


def test_an_unknown_quorum_model_is_refused(lab: Lab) -> None:
    with lab.node(1).network(), pytest.raises(InvalidParameter):
        Quorum(5)


def test_votes_of_every_node_are_known(clients: Clients) -> None:
    votequorum = clients.open(Votequorum)
    for node in (0, *NODES):
        info = votequorum.getinfo(node)
        assert (info.nodeid, info.state, info.votes) == (node or 1, NodeState.MEMBER, 1)
        assert (info.expected_votes, info.highest_expected, info.total_votes, info.quorum) == (3, 3, 3, 2)
        assert InfoFlag(info.flags) == InfoFlag.QUORATE
        assert (info.qdevice_votes, info.qdevice_name) == (0, "")
    with pytest.raises(NotExist):
        votequorum.getinfo(77)


def test_a_votequorum_tracker_is_told_the_present_state_with_its_context(clients: Clients) -> None:
    votequorum = clients.open(Votequorum)
    with pytest.raises(NotExist):
        votequorum.trackstop()
    votequorum.trackstart(0xDEADBEEF01)
    nodes, decision = votequorum.next_event(DEADLINE), votequorum.next_event(DEADLINE)
    assert isinstance(nodes, VotequorumNodeList)
    assert (nodes.context, nodes.members, nodes.ring_nodeid) == (0xDEADBEEF01, NODES, 1)
    assert isinstance(decision, VotequorumQuorum)
    assert (decision.context, decision.quorate) == (0xDEADBEEF01, True)
    assert decision.nodes == (Node(2, NodeState.MEMBER), Node(3, NodeState.MEMBER), Node(1, NodeState.MEMBER))
    for flags in (VotequorumTrack.CHANGES, VotequorumTrack.CURRENT, 0):
        with pytest.raises(Exist):
            votequorum.trackstart(flags=flags)
    votequorum.trackstop()


def test_changed_expected_votes_are_told_on_every_node_and_impossible_ones_refused(clients: Clients) -> None:
    votequorum, other = clients.open(Votequorum), clients.open(Votequorum, node=2)
    other.trackstart(9)
    for impossible in (2, 100):
        with pytest.raises(InvalidParameter):
            votequorum.setexpected(impossible)
    try:
        votequorum.setexpected(4)
        assert event_of(other, ExpectedVotesNotification) == ExpectedVotesNotification(9, 4)
        assert other.getinfo().quorum == 3
    finally:
        votequorum.setexpected(3)
    assert event_of(other, ExpectedVotesNotification) == ExpectedVotesNotification(9, 3)


def test_changed_votes_of_a_node_count_at_once(clients: Clients) -> None:
    votequorum = clients.open(Votequorum)
    with pytest.raises(NameNotFound):
        votequorum.setvotes(1, 77)
    try:
        votequorum.setvotes(2, 3)
        # The sum is told at once, before the ring has brought the order; expected votes rise only with its delivery. An order
        # that is still on its way would undo the next one for a moment.
        wait_until(lambda: votequorum.getinfo().expected_votes == 4, "the expected votes that the ring's order raises")
        assert votequorum.getinfo().total_votes == 4
        assert votequorum.getinfo(3).votes == 2
    finally:
        votequorum.setvotes(1, 3)
        wait_until(lambda: votequorum.getinfo().total_votes == 3, "the sum of the votes")
        votequorum.setexpected(3)


def test_calls_of_a_device_that_is_not_registered_are_refused(clients: Clients) -> None:
    votequorum = clients.open(Votequorum)
    nodes = clients.open(Quorum)
    nodes.trackstart(QuorumTrack.CURRENT)
    ring = event_of(nodes, NodeListNotification)
    calls: tuple[Callable[[], None], ...] = (
        lambda: votequorum.qdevice_unregister("Qdevice"),
        lambda: votequorum.qdevice_update("Qdevice", "Other"),
        lambda: votequorum.qdevice_poll("Qdevice", True, ring.ring_nodeid, ring.ring_sequence),
        lambda: votequorum.qdevice_master_wins("Qdevice", True),
    )
    for call in calls:
        with pytest.raises(NotExist):
            call()
    with pytest.raises(InvalidParameter):
        votequorum.qdevice_register("")


# cfg


def test_a_node_knows_itself_its_links_and_the_others(clients: Clients, lab: Lab) -> None:
    cfg = clients.open(Cfg, node=2)
    assert cfg.local_nodeid() == 2
    for node in NODES:
        assert cfg.node_addresses(node) == (lab.node(node).address,)
        status = cfg.node_status(node)
        assert (status.nodeid, status.reachable) == (node, True)
        assert (status.links[0].enabled, status.links[0].connected) == (True, True)
        assert not any(link.enabled for link in status.links[1:])
    assert cfg.node_addresses() == (lab.node(2).address,)
    with pytest.raises(NotExist):
        cfg.node_addresses(77)
    assert [(link.name, link.status) for link in cfg.ring_status()] == [(f"0 {lab.node(2).address}", "OK")]


def test_calls_without_an_object_are_refused(clients: Clients) -> None:
    cfg = clients.open(Cfg)
    with pytest.raises(AccessDenied):
        cfg.replyto_shutdown(True)
    with pytest.raises(NotExist):
        cfg.kill_node(77, "no such node")
    with pytest.raises(NotSupported):
        cfg.ring_reenable()
    cfg.reopen_log_files()


def test_a_reload_returns_when_this_node_has_read_its_file(clients: Clients, cmap: Cmap) -> None:
    cmap.track("config.reload_in_progress")
    clients.open(Cfg).reload_configuration()
    changes = [event_of(cmap, KeyChange) for _ in range(2)]
    assert [change.new.value for change in changes if change.new is not None] == [1, 0]


def test_a_tracker_can_refuse_a_shutdown(clients: Clients, lab: Lab) -> None:
    async def program() -> None:
        with lab.node(3).network():
            voter, asker = AsyncCfg(), AsyncCfg()
            await voter.connect()
            await asker.connect()
        await voter.trackstart()
        async with asyncio.timeout(DEADLINE):
            attempt = asyncio.create_task(asker.try_shutdown())
            assert await voter.next_event() == ShutdownRequested(0)
            with pytest.raises(Exist):
                await voter.try_shutdown()
            await voter.replyto_shutdown(False)
            with pytest.raises(Busy):
                await attempt
        await voter.trackstop()
        await voter.aclose()
        await asker.aclose()

    asyncio.run(program())


# asyncio


async def use_the_map(cmap: AsyncCmap) -> None:
    tracker = await cmap.track("lab.", prefix=True)
    await cmap.set("lab.async", "value")
    await cmap.delete("lab.async")
    changes = [await cmap.next_event(), await cmap.next_event()]
    assert [change.event for change in changes if change is not None] == [Track.ADD, Track.DELETE]
    await cmap.untrack(tracker)
    assert ("totem.cluster_name", Value(ValueType.STRING, "lab")) in [item async for item in cmap.items("totem.")]


async def talk(near: AsyncCpg, far: AsyncCpg) -> None:
    for member in (near, far):
        await member.join("async")
    async for event in near:  # A message before the other one's join would not reach it.
        if isinstance(event, ConfigurationChange) and len(event.members) == 2:
            break
    data = os.urandom(1000) * 2000
    await near.mcast(data)
    async for event in far:
        if isinstance(event, Deliver):
            assert event.data == data
            break
    assert [entry.nodeid async for entry in near.iterate("async")] == [1, 2]
    await near.leave("async")


def test_the_asyncio_classes_talk_to_a_daemon_side_by_side(lab: Lab) -> None:
    async def program() -> None:
        async with contextlib.AsyncExitStack() as stack, asyncio.timeout(DEADLINE):
            cmap, cpg, far = AsyncCmap(), AsyncCpg(), AsyncCpg()
            quorum, votequorum, cfg = AsyncQuorum(), AsyncVotequorum(), AsyncCfg()
            for library, node in ((cmap, 1), (cpg, 1), (far, 2), (quorum, 1), (votequorum, 1), (cfg, 1)):
                with lab.node(node).network():  # The caller's thread starts in here, and inherits the network.
                    await stack.enter_async_context(library)
            await use_the_map(cmap)
            await talk(cpg, far)
            await quorum.trackstart()
            assert isinstance(await quorum.next_event(), NodeListNotification)
            await votequorum.trackstart(5)
            assert isinstance(await votequorum.next_event(), VotequorumNodeList)
            results = await asyncio.gather(cfg.local_nodeid(), quorum.getquorate(), votequorum.getinfo(2), cpg.local_nodeid())
            assert (results[0], results[1], results[2].nodeid, results[3]) == (1, True, 2, 1)

    asyncio.run(program())


# The ring


def test_trackers_of_every_service_see_a_node_go_and_come_back(clients: Clients, lab: Lab) -> None:
    new, old, votes = clients.open(Quorum), clients.open(Quorum, Model.V0), clients.open(Votequorum)
    cpg = joined(clients, "ring")
    gone = joined(clients, "ring", node=3)
    event_of(cpg, ConfigurationChange)
    for quorum in (new, old):
        quorum.trackstart(QuorumTrack.CHANGES_ONLY)
    votes.trackstart(1, QuorumTrack.CHANGES_ONLY)

    clients.open(Cfg).kill_node(3, "the test says so")
    assert lab.node(3).wait_end() != 0
    nodes = event_of(new, NodeListNotification)
    assert (nodes.members, nodes.joined, nodes.left) == ((1, 2), (), (3,))
    assert event_of(new, QuorumNotification) == QuorumNotification(True, 1, nodes.ring_sequence, (1, 2))
    assert event_of(old, QuorumNotificationV0) == QuorumNotificationV0(True, nodes.ring_sequence, (1, 2))
    assert event_of(votes, VotequorumNodeList).members == (1, 2)
    assert Node(3, NodeState.DEAD) in event_of(votes, VotequorumQuorum).nodes
    change = event_of(cpg, ConfigurationChange)
    assert (change.members, change.left) == ((Address(1, OURSELVES),), (Address(3, OURSELVES, Reason.NODE_DOWN),))
    assert event_of(cpg, TotemConfiguration).members == (1, 2)
    with pytest.raises(CorosyncError):
        gone.local_nodeid()

    lab.node(3).start()
    nodes = event_of(new, NodeListNotification)
    assert (nodes.members, nodes.joined, nodes.left) == (NODES, (3,), ())
    assert event_of(new, QuorumNotification).members == NODES
    assert event_of(old, QuorumNotificationV0).members == NODES
    assert Node(3, NodeState.MEMBER) in event_of(votes, VotequorumQuorum).nodes
    assert event_of(cpg, TotemConfiguration).members == NODES
    lab.wait_ring(NODES)
