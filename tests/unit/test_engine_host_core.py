"""The engine's end of the link: every word is answered as the boundary demands, requests are judged, replicas follow."""

from __future__ import annotations

import struct
from collections.abc import Hashable
from typing import Any, ClassVar

import pytest

from coroipc.errors import Status
from corosyncd.engines.engine import (
    Client,
    ConfigurationError,
    Description,
    Engine,
    Host,
    KeyChange,
    KeyOperation,
    MulticastClass,
    SharedFile,
)
from corosyncd.engines.host import MORE_OF_SNAPSHOT, EngineHost
from corosyncd.keyspace.values import NO_VALUE, text, uint8
from corosyncd.link.frames import Direction, Frame, decode
from corosyncd.link.outbox import Outbox
from corosyncd.link.vocabulary import ToEngine, ToExecutive
from corosyncd.totem.events import NO_RING, RingId

RING = RingId(1, 4)
ONE = uint8(1)


class ToyEngine(Engine):
    """Writes down what it is told."""

    description: ClassVar[Description] = Description(
        name="toy",
        service_id=9,
        load_name="corosync_toy",
        title="toy service",
        functions=3,
        requests=4,
        flow_controlled=frozenset({1, 2}),
        unanswered=frozenset({2}),
        synchronised=True,
        tracked=("toy.",),
    )
    refuse: ClassVar[str] = ""

    def __init__(self, host: Host, kept: bytes | None = None) -> None:
        super().__init__(host, kept)
        self.told: list[Any] = []
        self.step_result = True
        self.activate_result = True

    def start(self) -> None:
        if self.host.key("toy.refuse") is not None:
            raise ConfigurationError("toy.refuse is set")
        self.told.append("start")

    def configuration_changed(self, transitional: tuple[int, ...], members: tuple[int, ...], ring_id: RingId) -> None:
        self.told.append(("configuration", transitional, members, ring_id))

    def sync_step(self) -> bool:
        self.host.multicast(0, [b"sync data"], MulticastClass.SYNC)
        return self.step_result

    def sync_activate(self) -> bool:
        return self.activate_result

    def sync_abort(self) -> None:
        self.told.append("abort")

    def sync_complete(self) -> None:
        self.told.append("complete")

    def deliver(self, source: int, function: int, message: bytes) -> None:
        if message == b"short":
            raise struct.error("too short")
        if message.startswith(b"bad"):
            raise ValueError(message.decode())
        if message == b"bug":
            raise KeyError("bug")
        self.told.append((source, function, message))

    def request(self, client: Client, request_id: int, body: bytes) -> None:
        if body.endswith(b"fail"):
            raise RuntimeError("a bug in a handler")
        self.told.append((client.pid, request_id, len(body)))
        if request_id == 2:
            self.host.multicast(1, [body])
        else:
            self.host.respond(client, b"served")

    def client_gone(self, client: Client) -> None:
        self.host.multicast(2, [b"left"])

    def keys_changed(self, changes: list[KeyChange]) -> None:
        self.told.append([(change.event, change.name) for change in changes])

    def keys_changed_result(self, token: Hashable, statuses: list[int]) -> None:
        self.told.append(("result", token, statuses))

    def quorum_changed(self, quorate: bool, members: tuple[int, ...], ring_id: RingId) -> None:
        self.told.append(("quorum", quorate, members, ring_id))

    def timer(self, token: Hashable) -> None:
        self.told.append(("timer", token))

    def stop(self) -> None:
        self.host.multicast(2, [b"last words"])


class FakePrograms:
    """Stands where the IPC server does."""

    def __init__(self) -> None:
        self.responses: list[bytes] = []
        self.refusals: list[int] = []
        self.disconnected: list[tuple[int, str]] = []
        self.gates: list[int] = []
        self.accepting: list[bool] = []
        self.clients: list[Client] = []

    def respond(self, client: Client, response: bytes) -> None:
        self.responses.append(response)

    def count_refusal(self, client: Client, status: int) -> None:
        self.refusals.append(status)

    def notify(self, client: Client, event: bytes) -> None:
        raise AssertionError("the toy engine sends no events")

    def disconnect(self, client: Client, reason: str) -> None:
        self.disconnected.append((client.pid, reason))

    def take_file(self, client: Client, path: bytes, prefix: str, size: int) -> SharedFile:
        raise AssertionError("the toy engine takes no files")

    def set_flow_control(self, client: Client, value: int) -> None:
        raise AssertionError("the toy engine leaves flow control alone")

    def set_gate(self, flow: int) -> None:
        self.gates.append(flow)

    def accept(self, accepting: bool) -> None:
        self.accepting.append(accepting)

    def close_all(self) -> list[Client]:
        return self.clients

    def statistics(self) -> dict[str, list[Any]]:
        return {"stats.ipcs.toy": [8, b"12345678"]}

    def clear_statistics(self) -> None:
        self.accepting.clear()


class Bench:
    """An engine host with its far end in the test's hands."""

    def __init__(self, engine: type[ToyEngine] = ToyEngine) -> None:
        self.outbox = Outbox(Direction.TO_EXECUTIVE)
        self.programs = FakePrograms()
        self.lines: list[tuple[str, str]] = []
        self.host = EngineHost(engine, 1, None, self.outbox, self.programs, lambda level, line: self.lines.append((level, line)))
        self.engine: ToyEngine = self.host._engine  # type: ignore[assignment]
        self.ring_id = NO_RING

    def say(self, *entries: list[Any], bodies: list[bytes] | None = None) -> list[Frame]:
        self.host.receive(Frame(self.ring_id, list(entries), bodies or []))
        return self.said()

    def said(self) -> list[Frame]:
        self.outbox.seal()
        frames = []
        while (pieces := self.outbox.head()) is not None:
            frames.append(decode(b"".join(pieces), Direction.TO_EXECUTIVE))
            self.outbox.pop()
        return frames

    def words(self, *entries: list[Any], bodies: list[bytes] | None = None) -> list[int]:
        return [entry[0] for frame in self.say(*entries, bodies=bodies) for entry in frame.entries]

    def run(self, credit: int = 1 << 20) -> Bench:
        """Bring the engine to where it serves."""
        self.say([ToEngine.KEYS, 0, []], [ToEngine.CREDIT, credit])
        self.ring_id = RING
        self.say([ToEngine.CONFIGURATION, [], [1, 2]])
        self.say([ToEngine.SYNC_COMPLETE])
        self.engine.told.clear()
        return self


def key(name: str, value: Any = ONE, event: int = 4) -> list[Any]:
    return [event, name, *value, *NO_VALUE]


def request(number: int, tail: bytes = b"") -> bytes:
    return struct.pack("=i4xi4x", number, 16 + len(tail)) + tail


CLIENT = Client(7, 4711, 1000, 1000)


def test_hello_names_everything_and_asks_for_the_access_keys_too() -> None:
    bench = Bench()
    bench.host.hello()
    (frame,) = bench.said()
    fields = frame.entries[0][1]
    assert frame.entries[0][0] == ToExecutive.HELLO
    assert (fields["service_id"], fields["functions"], fields["flow_controlled"]) == (9, 3, [1, 2])
    assert fields["tracked"] == ["toy.", "uidgid."]


def test_the_engine_starts_with_the_last_part_of_the_snapshot() -> None:
    bench = Bench()
    assert bench.words([ToEngine.KEYS, MORE_OF_SNAPSHOT, [key("toy.b")]]) == []
    assert bench.words([ToEngine.KEYS, 0, [key("toy.a", text("x"))]]) == [ToExecutive.READY]
    assert bench.engine.told == ["start"]
    assert [name for name, _ in bench.host.keys("toy.")] == ["toy.a", "toy.b"]


def test_an_engine_that_refuses_the_configuration_says_why() -> None:
    (frame,) = Bench().say([ToEngine.KEYS, 0, [key("toy.refuse")]])
    assert frame.entries == [[ToExecutive.REFUSED, "toy.refuse is set"]]


def test_key_changes_are_applied_then_told_then_confirmed_and_access_keys_stay_with_the_host() -> None:
    bench = Bench().run()
    frames = bench.say([ToEngine.KEYS, 5, [key("toy.a"), key("uidgid.uid.1000")]], [ToEngine.KEYS, 0, [key("toy.b")]])
    assert frames[0].entries == [[ToExecutive.KEYS_CONFIRM, 5]]
    assert bench.engine.told == [[(4, "toy.a")], [(4, "toy.b")]]
    assert bench.host.allowed(1000, 1000)
    bench.say([ToEngine.KEYS, 0, [[1, "uidgid.uid.1000", *NO_VALUE, *uint8(1)]]])
    assert not bench.host.allowed(1000, 1000)


def test_a_key_with_the_type_of_no_value_is_there_until_it_is_deleted() -> None:
    bench = Bench().run()
    bench.say([ToEngine.KEYS, 0, [key("toy.a", NO_VALUE)]])
    assert bench.host.key("toy.a") == NO_VALUE
    assert list(bench.host.keys("toy.")) == [("toy.a", NO_VALUE)]
    bench.say([ToEngine.KEYS, 0, [key("toy.a", NO_VALUE, event=1)]])
    assert bench.host.key("toy.a") is None


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("uidgid.uid.5", uint8(1), True),
        ("uidgid.config.uid.5", uint8(1), True),
        ("uidgid.gid.6", uint8(1), True),
        ("uidgid.config.gid.6", uint8(1), True),
        ("uidgid.uid.6", uint8(1), False),
        ("uidgid.uid.5", uint8(0), False),
        ("uidgid.uid.5", text("1"), False),
    ],
)
def test_only_a_u8_of_one_under_the_right_name_lets_a_user_in(name: str, value: Any, allowed: bool) -> None:
    bench = Bench().run()
    bench.say([ToEngine.KEYS, 0, [key(name, value)]])
    assert bench.host.allowed(5, 6) is allowed


def test_a_sync_round_is_answered_word_by_word_with_its_ring_id() -> None:
    bench = Bench().run()
    bench.ring_id = RingId(1, 8)
    frames = bench.say([ToEngine.CONFIGURATION, [1], [1, 3]])
    assert frames == [(RingId(1, 8), [[ToExecutive.GATE_CLOSED]], [])]
    assert bench.engine.told == [("configuration", (1,), (1, 3), RingId(1, 8))]
    assert bench.host.in_sync
    (frame,) = bench.say([ToEngine.SYNC_STEP])
    assert frame.entries == [[ToExecutive.MULTICAST, MulticastClass.SYNC, [25]], [ToExecutive.SYNC_STEP_DONE]]
    assert frame.bodies == [struct.pack("<i4xi4x", 9 << 16, 25) + b"sync data"]
    assert bench.words([ToEngine.SYNC_ACTIVATE]) == [ToExecutive.SYNC_ACTIVATED]
    bench.say([ToEngine.SYNC_COMPLETE])
    assert not bench.host.in_sync
    assert bench.programs.gates[-2:] == [2, 0]


def test_an_open_step_is_done_when_the_engine_says_so_and_not_after_an_abort() -> None:
    bench = Bench().run()
    bench.engine.step_result = bench.engine.activate_result = False
    bench.say([ToEngine.CONFIGURATION, [1], [1]])
    assert bench.words([ToEngine.SYNC_STEP]) == [ToExecutive.MULTICAST]
    bench.host.sync_step_done()
    bench.host.sync_step_done()
    assert [frame.entries for frame in bench.said()] == [[[ToExecutive.SYNC_STEP_DONE]]]
    assert bench.words([ToEngine.SYNC_ACTIVATE]) == []
    bench.say([ToEngine.SYNC_ABORT])
    bench.host.sync_activated()
    assert bench.said() == []
    assert bench.engine.told[-1] == "abort"


def test_an_engine_in_an_open_step_is_alive_and_says_so_behind_all_that_came_before() -> None:
    bench = Bench().run()
    bench.engine.step_result = False
    bench.say([ToEngine.CONFIGURATION, [1], [1]])
    asked = [ToEngine.SYNC_STEP], [ToEngine.DELIVER, [1, 0, 4]], [ToEngine.ALIVE]
    assert bench.words(*asked, bodies=[b"data"]) == [ToExecutive.MULTICAST, ToExecutive.CONSUMED, ToExecutive.ALIVE]


def test_sync_multicasts_outside_the_step_are_dropped_and_counted() -> None:
    bench = Bench().run()
    bench.host.multicast(0, [b"late"], MulticastClass.SYNC)
    assert bench.said() == []
    assert bench.host.out_of_step == 1


def test_deliveries_are_handed_on_in_order_and_confirmed_in_bytes() -> None:
    bench = Bench().run()
    frames = bench.say([ToEngine.DELIVER, [1, 0, 3, 2, 1, 2]], [ToEngine.DELIVER, [1, 2, 1]], bodies=[b"abc", b"de", b"f"])
    assert bench.engine.told == [(1, 0, b"abc"), (2, 1, b"de"), (1, 2, b"f")]
    assert frames[0].entries == [[ToExecutive.CONSUMED, 5], [ToExecutive.CONSUMED, 1]]


def test_undecodable_messages_are_counted_by_reason_and_the_rest_is_delivered() -> None:
    bench = Bench().run()
    bodies = [b"short", b"good", b"bad one", b"x"]
    bench.say([ToEngine.DELIVER, [1, 0, 5, 1, 0, 4, 1, 1, 7, 1, 3, 1]], bodies=bodies)
    assert bench.engine.told == [(1, 0, b"good")]
    assert bench.host.undecodable.counts == {"short_0": 1, "malformed_1": 1, "unknown_function": 1}


def test_what_stands_in_undecodable_messages_makes_no_more_reasons_and_the_log_has_the_first_of_each() -> None:
    bench = Bench().run()
    for number in range(5):
        body = b"bad %d" % number
        bench.say([ToEngine.DELIVER, [3, 0, len(body)]], bodies=[body])
    assert bench.host.undecodable.counts == {"malformed_0": 5}
    (line,) = [text for level, text in bench.lines if level == "warning"]
    assert "node 3" in line
    assert "function 0: bad 0" in line
    (frame,) = bench.say([ToEngine.STATISTICS_REQUEST, 12])
    values = frame.entries[0][2]
    assert (
        values["stats.services.toy.undecodable"] == values["stats.services.toy.undecodable.malformed_0"] == [8, b"\5" + bytes(7)]
    )


def test_a_failure_while_applying_is_the_engines_death() -> None:
    with pytest.raises(KeyError):
        Bench().run().say([ToEngine.DELIVER, [1, 0, 3]], bodies=[b"bug"])


def test_a_request_out_of_range_is_answered_invalid_parameter_with_id_0() -> None:
    bench = Bench().run()
    for number in (-3, 4, 2**31 - 1):
        assert bench.host.serve(CLIENT, request(number))
    assert bench.programs.responses == [struct.pack("=i4xi4xi4x", 0, 24, Status.INVALID_PARAM)] * 3
    assert bench.programs.refusals == [Status.INVALID_PARAM] * 3


def test_requests_that_need_the_ring_are_told_to_try_again_while_synchronising_and_others_are_served() -> None:
    bench = Bench().run()
    bench.say([ToEngine.CONFIGURATION, [1], [1]])
    assert bench.host.serve(CLIENT, request(1))
    assert bench.host.serve(CLIENT, request(0))
    assert bench.programs.responses == [struct.pack("=i4xi4xi4x", 0, 24, Status.TRY_AGAIN), b"served"]
    assert bench.programs.refusals == [Status.TRY_AGAIN]


def test_an_unanswered_multicast_waits_for_the_round_and_for_room_and_is_never_lost() -> None:
    bench = Bench().run(credit=4000)
    bench.say([ToEngine.CONFIGURATION, [1], [1]])
    assert not bench.host.serve(CLIENT, request(2, b"m"))
    bench.say([ToEngine.SYNC_COMPLETE])
    assert bench.host.serve(CLIENT, request(2, bytes(2940)))
    assert not bench.host.serve(CLIENT, request(2, b"m"))
    bench.programs.gates.clear()
    bench.say([ToEngine.CREDIT, 3000])
    assert bench.programs.gates == [0]
    assert bench.host.serve(CLIENT, request(2, b"m"))


def test_the_flow_word_is_2_when_room_runs_short_and_0_when_half_is_back() -> None:
    bench = Bench().run(credit=100_000)
    bench.programs.gates.clear()
    assert bench.host.serve(CLIENT, request(2, bytes(70_000)))
    assert bench.programs.gates == []
    assert bench.host.serve(CLIENT, request(2, bytes(10_000)))
    assert bench.programs.gates == [2]
    bench.say([ToEngine.CREDIT, 20_000])
    assert bench.programs.gates[-1] == 2
    bench.say([ToEngine.CREDIT, 20_000])
    assert bench.programs.gates[-1] == 0


def test_an_engine_open_during_sync_keeps_reading() -> None:
    class Open(ToyEngine):
        description = Description("open", 10, "corosync_open", "open", requests=1, open_during_sync=True)

    bench = Bench(Open).run()
    bench.programs.gates.clear()
    bench.say([ToEngine.CONFIGURATION, [1], [1]])
    assert 2 not in bench.programs.gates
    assert bench.host.serve(CLIENT, request(0))
    assert bench.programs.responses == [b"served"]


def test_a_handler_that_fails_costs_its_client_only() -> None:
    bench = Bench().run()
    assert bench.host.serve(CLIENT, request(0, b"fail"))
    assert bench.programs.disconnected == [(4711, "request 0 failed")]
    assert "RuntimeError: a bug in a handler" in bench.lines[0][1]


def test_a_request_without_a_whole_header_costs_its_client() -> None:
    bench = Bench().run()
    assert bench.host.serve(CLIENT, b"\0" * 15)
    assert bench.programs.disconnected[0][0] == 4711


def test_programs_may_connect_after_the_first_complete_round() -> None:
    bench = Bench()
    bench.say([ToEngine.KEYS, 0, []], [ToEngine.CONFIGURATION, [], [1]])
    assert bench.programs.accepting == []
    bench.say([ToEngine.SYNC_COMPLETE])
    assert bench.programs.accepting == [True]


def test_answers_find_the_token_that_asked() -> None:
    bench = Bench().run()
    bench.host.change_keys([KeyOperation("set", "toy.a", uint8(3))], token=("any", 1))
    bench.host.change_keys([KeyOperation("delete", "toy.b", NO_VALUE, 0, False)])
    (frame,) = bench.said()
    number = frame.entries[0][1]
    assert frame.entries[0][2] == [["set", "toy.a", 2, b"\x03", 0, True]]
    assert frame.entries[1] == [ToExecutive.KEYS_CHANGE, None, [["delete", "toy.b", 0, b"", 0, False]]]
    bench.say([ToEngine.KEYS_RESULT, number, [1]])
    assert bench.engine.told == [("result", ("any", 1), [1])]


def test_a_quorum_decision_is_told_then_confirmed_and_a_new_one_bears_its_own_ring_id() -> None:
    bench = Bench().run()
    assert bench.words([ToEngine.QUORUM, True, [1, 2], 3]) == [ToExecutive.QUORUM_CONFIRM]
    assert bench.engine.told == [("quorum", True, (1, 2), RING)]
    bench.host.set_quorate(True, (1, 2), NO_RING)
    bench.host.keep(b"blob")
    assert [(frame.ring_id, frame.entries) for frame in bench.said()] == [
        (NO_RING, [[ToExecutive.SET_QUORATE, True, [1, 2]]]),
        (RING, [[ToExecutive.KEEP, b"blob"]]),
    ]


def test_timers_expire_in_order_and_a_token_has_only_one() -> None:
    bench = Bench().run()
    bench.host.at(10.0)
    for seconds, token in ((3.0, "late"), (1.0, "first"), (2.0, "gone"), (5.0, "first")):
        bench.host.after(seconds, token)
    bench.host.cancel("gone")
    assert bench.host.next_timer() == 13.0
    bench.host.at(15.0)
    bench.host.handle_timer()
    assert bench.engine.told == [("timer", "late"), ("timer", "first")]
    assert bench.host.next_timer() is None


def test_stop_closes_the_clients_hands_over_the_leaves_and_says_stopped_last() -> None:
    bench = Bench().run()
    bench.programs.clients = [CLIENT, Client(8, 1, 0, 0)]
    (frame,) = bench.say([ToEngine.STOP])
    assert [body[16:] for body in frame.bodies] == [b"left", b"left", b"last words"]
    assert frame.entries[-1] == [ToExecutive.STOPPED]
    bench.say([ToEngine.CONFIGURATION, [1], [1]], [ToEngine.SYNC_COMPLETE])
    assert bench.programs.accepting[-1] is False


def test_counters_are_given_and_cleared_on_request() -> None:
    bench = Bench().run()
    bench.host.out_of_step = 3
    (frame,) = bench.say([ToEngine.STATISTICS_REQUEST, 12])
    own = {"stats.services.toy.undecodable": [8, bytes(8)], "stats.services.toy.out_of_step": [8, b"\3" + bytes(7)]}
    assert frame.entries == [[ToExecutive.STATISTICS, 12, {"stats.ipcs.toy": [8, b"12345678"], **own}]]
    bench.say([ToEngine.CLEAR_STATISTICS, "totem"])
    assert bench.host.out_of_step == 3
    bench.say([ToEngine.CLEAR_STATISTICS, "all"])
    assert bench.host.out_of_step == 0
