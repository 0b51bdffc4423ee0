"""The quorum engine: two models of events, bursts, membership differences, and clusters without a provider."""

from __future__ import annotations

import pytest

from coroipc.errors import Status
from coroipc.layouts import response_status, status_response
from corosyncd.engines.engine import Client, ConfigurationError
from corosyncd.engines.quorum import decision
from corosyncd.engines.quorum.decision import Change, Decision
from corosyncd.engines.quorum.engine import LOG_LIST_WIDTH, NOT_PRIMARY, PRIMARY, QuorumEngine, list_lines
from corosyncd.keyspace.values import text
from corosyncd.totem.events import RingId
from libquorum import messages
from libquorum.messages import Model, Provider, Request, Track
from tests.unit.fake_host import FakeHost
from tests.unit.quorum_cluster import QuorumCluster, configuration, quorum_engine

PROVIDER = {"quorum.provider": text("corosync_votequorum")}
RING = RingId(1, 0xD)


def connect(engine: QuorumEngine, model: int | None = None, track: int = 0) -> Client:
    """A client, its model asked for and its tracking started where wanted."""
    client = Client(id(object()), 100, 0, 0)
    engine.client_connected(client)
    if model is not None:
        engine.request(client, Request.MODEL_GETTYPE, messages.ModelGettypeRequest(model).encode())
    if track:
        engine.request(client, Request.TRACKSTART, messages.TrackstartRequest(track).encode())
    return client


def answers(engine: QuorumEngine, host: FakeHost, client: Client, body: bytes) -> bytes:
    host.take_responses(client)
    engine.request(client, int.from_bytes(body[:4], "little"), body)
    (response,) = host.take_responses(client)
    return response


def events(host: FakeHost, client: Client) -> list[messages.Event]:
    return [messages.decode_event(event) for event in host.take_events(client)]


def round_of(engine: QuorumEngine, members: tuple[int, ...], transitional: tuple[int, ...] = (), ring: RingId = RING) -> None:
    """A configuration and its round, up to the quorum engine's activation."""
    engine.configuration_changed(transitional, members, ring)
    assert engine.sync_step()
    assert engine.sync_activate()


# Membership -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settled", "companions", "members", "joined", "left"),
    [
        ((), (), (1,), (1,), ()),
        ((), (), (1, 2, 3), (1, 2, 3), ()),
        ((1,), (1,), (1, 2, 3), (2, 3), ()),
        ((1, 2, 3), (1, 2), (1, 2), (), (3,)),
        ((1, 2, 3), (1,), (1, 2, 3), (2, 3), (2, 3)),
        ((1, 2, 3), (1, 2, 3), (1, 2, 3), (), ()),
        ((1, 2), (1, 3), (1, 3), (3,), (2,)),
        ((1, 2, 3), (1, 2), (1, 3), (3,), (2, 3)),
    ],
)
def test_joined_and_left_are_told_from_what_the_last_round_settled(
    settled: tuple[int, ...],
    companions: tuple[int, ...],
    members: tuple[int, ...],
    joined: tuple[int, ...],
    left: tuple[int, ...],
) -> None:
    assert decision.compare(settled, frozenset(companions), members) == Change(members, joined, left)


def test_a_model_1_client_learns_the_members_at_activation_and_the_decision_later() -> None:
    engine, host = quorum_engine(PROVIDER)
    round_of(engine, (1,))
    client = connect(engine, Model.V1, Track.CHANGES_ONLY)
    round_of(engine, (1, 2, 3), (1,))
    assert events(host, client) == [messages.NodeListNotification(1, 0xD, (1, 2, 3), (2, 3), ())]
    engine.quorum_changed(True, (1, 2, 3), RING)
    assert events(host, client) == [messages.QuorumNotification(True, 1, 0xD, (1, 2, 3))]


@pytest.mark.parametrize("model", [None, 0])
def test_a_model_0_client_gets_the_decision_only(model: int | None) -> None:
    engine, host = quorum_engine(PROVIDER)
    client = connect(engine, model, Track.CHANGES_ONLY)
    round_of(engine, (1, 2))
    engine.quorum_changed(True, (1, 2), RING)
    assert events(host, client) == [messages.QuorumNotificationV0(True, 0xD, (1, 2))]


def test_a_round_that_is_aborted_settles_nothing() -> None:
    engine, host = quorum_engine(PROVIDER)
    round_of(engine, (1,))
    client = connect(engine, Model.V1, Track.CHANGES_ONLY)
    engine.configuration_changed((1,), (1, 2), RingId(1, 0x11))
    engine.sync_abort()
    round_of(engine, (1, 2), (1, 2), RingId(1, 0x15))
    assert events(host, client) == [messages.NodeListNotification(1, 0x15, (1, 2), (2,), ())]


def test_a_node_that_was_away_during_an_aborted_round_has_left_and_joined() -> None:
    engine, host = quorum_engine(PROVIDER)
    round_of(engine, (1, 2))
    client = connect(engine, Model.V1, Track.CHANGES_ONLY)
    for transitional, members in (((1,), (1,)), ((1,), (1, 2))):
        engine.configuration_changed(transitional, members, RingId(1, 0x11))
        engine.sync_abort()
    round_of(engine, (1, 2), (1, 2), RingId(1, 0x15))
    assert events(host, client) == [messages.NodeListNotification(1, 0x15, (1, 2), (2,), (2,))]


def test_the_decision_of_a_provider_may_change_without_a_new_ring() -> None:
    engine, host = quorum_engine(PROVIDER)
    round_of(engine, (1,))
    client = connect(engine, track=Track.CHANGES_ONLY)
    engine.quorum_changed(True, (1,), RING)
    engine.quorum_changed(False, (1,), RING)
    assert [event.quorate for event in events(host, client)] == [True, False]  # type: ignore[union-attr]


# Requests -------------------------------------------------------------------------------------------------------------------


def test_quorate_is_what_was_decided_last() -> None:
    engine, host = quorum_engine(PROVIDER)
    client = connect(engine)
    body = status_response(Request.GETQUORATE)
    assert not messages.GetquorateResponse.decode(answers(engine, host, client, body)).quorate
    engine.quorum_changed(True, (1,), RING)
    assert messages.GetquorateResponse.decode(answers(engine, host, client, body)).quorate


@pytest.mark.parametrize(("keys", "provider"), [({}, Provider.FREE), (PROVIDER, Provider.SET)])
def test_the_type_says_whether_there_is_a_provider(keys: dict, provider: Provider) -> None:  # type: ignore[type-arg]
    engine, host = quorum_engine(keys)
    client = connect(engine)
    response = answers(engine, host, client, status_response(Request.GETTYPE))
    assert (response[0], messages.GettypeResponse.decode(response).provider) == (4, provider)
    response = answers(engine, host, client, messages.ModelGettypeRequest(1).encode())
    assert (response[0], response[24]) == (5, provider)


def test_an_unknown_model_is_refused_and_changes_nothing() -> None:
    engine, host = quorum_engine(PROVIDER)
    client = connect(engine, Model.V1)
    response = answers(engine, host, client, messages.ModelGettypeRequest(2).encode())
    assert (response_status(response), len(response), response[0]) == (Status.INVALID_PARAM, 32, 5)
    engine.request(client, Request.TRACKSTART, messages.TrackstartRequest(1).encode())
    assert isinstance(events(host, client)[0], messages.NodeListNotification)


@pytest.mark.parametrize(("flags", "burst", "tracks"), [(0, 0, 0), (1, 1, 0), (2, 1, 1), (4, 0, 1), (6, 1, 1)])
@pytest.mark.parametrize("model", [Model.V0, Model.V1])
def test_trackstart_tells_the_present_state_and_registers_as_asked(flags: int, burst: int, tracks: int, model: Model) -> None:
    engine, host = quorum_engine(PROVIDER)
    round_of(engine, (1, 2))
    engine.quorum_changed(True, (1, 2), RING)
    client = connect(engine, model)
    assert response_status(answers(engine, host, client, messages.TrackstartRequest(flags).encode())) == Status.OK
    expected: list[messages.Event] = [messages.QuorumNotificationV0(True, 0xD, (1, 2))]
    if model is Model.V1:
        expected = [messages.NodeListNotification(1, 0xD, (1, 2), (), ()), messages.QuorumNotification(True, 1, 0xD, (1, 2))]
    assert events(host, client) == expected * burst
    engine.quorum_changed(False, (1, 2), RING)
    assert len(events(host, client)) == tracks


def test_the_burst_comes_before_the_answer_and_again_with_exist() -> None:
    engine, host = quorum_engine(PROVIDER)
    client = connect(engine, Model.V1, Track.CHANGES)
    assert len(events(host, client)) == 2
    for flags, burst in ((Track.CHANGES, 2), (Track.CURRENT, 2), (Track.CHANGES_ONLY, 0), (0, 0)):
        response = answers(engine, host, client, messages.TrackstartRequest(flags).encode())
        assert response_status(response) == Status.EXIST
        assert len(events(host, client)) == burst


def test_trackstop_is_always_ok() -> None:
    engine, host = quorum_engine(PROVIDER)
    client = connect(engine, track=Track.CHANGES_ONLY)
    for _ in range(2):
        assert response_status(answers(engine, host, client, status_response(Request.TRACKSTOP))) == Status.OK
    engine.quorum_changed(True, (1,), RING)
    assert events(host, client) == []


@pytest.mark.parametrize("request_id", [Request.TRACKSTART, Request.MODEL_GETTYPE])
def test_a_request_shorter_than_its_layout_gets_the_generic_error(request_id: int) -> None:
    engine, host = quorum_engine(PROVIDER)
    response = answers(engine, host, connect(engine), status_response(request_id)[:16])
    assert response == status_response(0, Status.INVALID_PARAM)


def test_a_client_that_is_gone_is_told_nothing() -> None:
    engine, host = quorum_engine(PROVIDER)
    client = connect(engine, track=Track.CHANGES_ONLY)
    engine.client_gone(client)
    engine.quorum_changed(True, (1,), RING)
    assert events(host, client) == []


# Providers ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "corosync_ykd", "nobody"])
def test_a_provider_that_does_not_exist_refuses_the_start(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^Invalid quorum provider"):
        quorum_engine({"quorum.provider": text(name)})


def test_without_a_provider_the_node_is_always_quorate_and_says_so_at_each_activation() -> None:
    engine, host = quorum_engine()
    client = connect(engine, track=Track.CHANGES_ONLY)
    assert messages.GetquorateResponse.decode(answers(engine, host, client, status_response(0))).quorate
    round_of(engine, (1, 2))
    assert host.quorate == [(True, (1, 2), RING)]
    engine.quorum_changed(*host.quorate.pop())
    assert events(host, client) == [messages.QuorumNotificationV0(True, 0xD, (1, 2))]
    assert not [line for line in host.lines if line[1] in (PRIMARY, NOT_PRIMARY)]


def test_with_a_provider_the_engine_decides_nothing_itself() -> None:
    engine, host = quorum_engine(PROVIDER)
    round_of(engine, (1, 2))
    assert host.quorate == []


# Log and successor ----------------------------------------------------------------------------------------------------------


def test_the_log_tells_of_members_and_of_changed_decisions_only() -> None:
    engine, host = quorum_engine(PROVIDER)
    round_of(engine, (1, 2, 3))
    engine.quorum_changed(True, (1, 2, 3), RING)
    round_of(engine, (1, 2), (1, 2))
    engine.quorum_changed(True, (1, 2), RING)
    engine.quorum_changed(False, (1, 2), RING)
    assert all(level == "notice" for level, _ in host.lines)
    assert [line for _, line in host.lines] == [
        "Using quorum provider corosync_votequorum",
        "Sync members[3]: 1 2 3",
        "Sync joined[3]: 1 2 3",
        PRIMARY,
        "Members[3]: 1 2 3",
        "Sync members[2]: 1 2",
        "Sync left[1]: 3",
        "Members[2]: 1 2",
        NOT_PRIMARY,
        "Members[2]: 1 2",
    ]


def test_long_lists_continue_on_further_lines() -> None:
    nodes = list(range(1, 201))
    lines = list_lines("Members", nodes)
    assert len(lines) > 1
    assert all(line.startswith("Members[200]: ") for line in lines)
    assert [line.endswith("\\") for line in lines] == [True] * (len(lines) - 1) + [False]
    assert all(len(line) <= LOG_LIST_WIDTH + len("Members[200]:\\") for line in lines)
    words = " ".join(line.removeprefix("Members[200]:").rstrip("\\") for line in lines).split()
    assert words == [str(node) for node in nodes]
    assert list_lines("Members", []) == ["Members[0]:"]


def test_a_successor_knows_the_last_decision_and_announces_no_change() -> None:
    engine, host = quorum_engine(PROVIDER)
    round_of(engine, (1, 2, 3))
    engine.quorum_changed(True, (1, 2, 3), RING)
    successor, host = quorum_engine(PROVIDER, host.kept)
    client = connect(successor, Model.V1, Track.CHANGES)
    assert events(host, client) == [
        messages.NodeListNotification(1, 0xD, (1, 2, 3), (), ()),
        messages.QuorumNotification(True, 1, 0xD, (1, 2, 3)),
    ]
    again = RingId(1, 0x11)
    round_of(successor, (1, 2, 3), (1, 2, 3), again)
    assert events(host, client) == [messages.NodeListNotification(1, 0x11, (1, 2, 3), (), ())]
    successor.quorum_changed(True, (1, 2, 3), again)
    assert PRIMARY not in [line for _, line in host.lines]


def test_what_is_kept_is_what_is_read() -> None:
    last = Decision(True, (1, 2), RING)
    assert decision.decode(decision.encode(last, (1, 2, 3))) == (last, (1, 2, 3))


# Both services of one node --------------------------------------------------------------------------------------------------


def test_programs_of_both_services_see_a_round_in_the_order_that_stock_gives_it() -> None:
    """Member list of quorum, member list of votequorum, decision of quorum, decision of votequorum."""
    from libvotequorum import messages as vote_messages

    ring = QuorumCluster([1, 2, 3], configuration([1, 2, 3]))
    node = ring[1]
    quorum, quorum_host = quorum_engine(PROVIDER)
    round_of(quorum, (1, 2, 3))
    programs = connect(quorum, Model.V1, Track.CHANGES_ONLY), node.connect()
    node.request(programs[1], vote_messages.TrackstartRequest(0, Track.CHANGES_ONLY).encode())
    seen: list[str] = []

    def look() -> None:
        seen.extend(f"quorum {type(event).__name__}" for event in events(quorum_host, programs[0]))
        seen.extend(
            f"votequorum {type(vote_messages.decode_event(event)).__name__}" for event in node.host.take_events(programs[1])
        )

    half = ring.install([1, 2])
    round_of(quorum, (1, 2), (1, 2), half.ring_id)
    look()
    ring.steps(half)
    look()
    node.engine.sync_activate()
    look()
    quorum.quorum_changed(*node.host.quorate.pop())
    look()
    node.engine.quorate_confirmed()
    look()
    assert seen == [
        "quorum NodeListNotification",
        "votequorum NodeListNotification",
        "quorum QuorumNotification",
        "votequorum QuorumNotification",
    ]
