"""Supervised programs and real daemons, the distribution's or ours: hung ones start again, quorum decides who may run."""

from __future__ import annotations

import sys

import pytest

from libcmap import Cmap
from tests.cluster.supervised import (
    INTERVAL_MS,
    QUORUM_RESTART,
    Supervised,
    check_that_a_hung_program_is_restarted,
    check_that_a_program_marked_failed_stays_in_the_map,
)
from tests.interop.clients import NODES
from tests.lab import CHECKOUT, Lab, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]


def supervised(lab: Lab) -> Supervised:
    program = (sys.executable, "-m", "tests.cluster.supervised_program", str(INTERVAL_MS), str(int(QUORUM_RESTART)))
    return Supervised(lab.node(1).popen("env", f"PYTHONPATH={CHECKOUT}", *program))


def test_a_hung_program_is_warned_killed_and_restarted(lab: Lab, cmap: Cmap) -> None:
    check_that_a_hung_program_is_restarted(supervised(lab), cmap)


def test_a_program_marked_failed_is_not_restarted(lab: Lab, cmap: Cmap) -> None:
    check_that_a_program_marked_failed_stays_in_the_map(supervised(lab), cmap)


def test_a_program_that_loses_quorum_is_killed_and_its_successor_waits_for_quorum(lab: Lab, cmap: Cmap) -> None:
    program = supervised(lab)
    program.expect("started")
    lab.partition(NODES[1:], NODES[:1])
    try:
        program.expect("warned", f"instance 2 {program.supervisor} nothing")
        wait_until(lambda: program.state(cmap) == "waiting for quorum", "the map to say that the program waits")
    finally:
        lab.heal()
    program.expect("started")
    assert program.state(cmap) == "running"
    program.tell("stop")
    program.expect("stopped")
    program.tell("exit 0")
    assert program.end() == 0
    assert program.keys(cmap) == {}
    lab.wait_ring(NODES)
