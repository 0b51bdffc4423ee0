"""A process that was not scheduled reads first what waited, and accuses nobody for what it could not hear (totem.md §3.4)."""

from __future__ import annotations

from corosyncd.totem.ring import State
from corosyncd.totem.wire import MembJoin, Reason, encode_memb_join
from tests.unit.totem_cluster import formed


def nothing_waits() -> None:
    """The sockets are empty."""


def test_after_a_pause_waiting_joins_are_dropped_and_the_token_gets_a_grace() -> None:
    cluster = formed(2)
    cluster.run(2)
    ring = cluster[1].ring
    pause = cluster.parameters.token * 0.9
    cluster.now += pause

    def read_dry() -> None:
        ring.receive(encode_memb_join(MembJoin(0, 2, 0, 2, 99, (2,), (1,))), 0, cluster.now)
        ring.receive(encode_memb_join(MembJoin(0, 3, 0, 3, 99, (3,), ())), 0, cluster.now)

    ring.catch_up(pause, cluster.now, read_dry)
    assert ring.state is State.OPERATIONAL
    assert ring.statistics.dropped[Reason.STALE_JOIN] == 2
    cluster[1].act()
    assert ring.statistics.pauses == 1
    ring.receive(encode_memb_join(MembJoin(0, 3, 0, 3, 99, (3,), ())), 0, cluster.now)
    assert ring.state is State.GATHER


def test_pauses_are_told_with_their_length_and_a_remedy_and_not_too_often() -> None:
    cluster = formed(2)
    ring = cluster[1].ring
    for pause in (1.25, 2.0, 60.0):
        cluster.now += pause
        ring.catch_up(pause, cluster.now, nothing_waits)
    cluster[1].act()
    first, second = [notice for notice in cluster[1].notices if notice.level == "warning"]
    assert first.text.startswith("Process pause detected for 1250 ms, flushing membership messages: ")
    assert "a fifth of the token timeout (3000 ms)" in first.text
    assert "raise totem.token" in first.text
    assert " 60000 ms" in second.text
    assert ring.statistics.pauses == 3


def test_a_node_that_was_away_while_it_gathered_does_not_accuse_who_could_not_be_heard() -> None:
    cluster = formed(3)
    cluster[1].ring.force_gather(cluster.now)
    cluster[1].act()
    pause = cluster.parameters.consensus + 1
    cluster.now += pause
    ring = cluster[1].ring
    ring.catch_up(pause, cluster.now, nothing_waits)
    cluster[1].act()
    assert (ring.state, ring.statistics.consensus_timeouts) == (State.GATHER, 0)
    cluster.run_until(lambda: cluster.formed((1, 2, 3)), 1.0)


def test_refusals_from_before_a_pause_prove_nothing_behind_it() -> None:
    cluster = formed(2)
    ring = cluster[1].ring
    for _ in range(2):
        cluster.now += 0.1
        ring.handle_timer(cluster.now)
        ring.peer_port_refused(2, 2, cluster.now)
    ring.catch_up(1.0, cluster.now, nothing_waits)
    cluster.now += 0.1
    ring.handle_timer(cluster.now)
    ring.peer_port_refused(2, 2, cluster.now)
    cluster.now += 0.02
    ring.handle_timer(cluster.now)
    assert ring.state is State.OPERATIONAL
