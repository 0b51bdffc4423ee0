"""Work spread over processes: everything comes back in order, and nothing that goes wrong with one thing touches another."""

from __future__ import annotations

import os
import signal
from itertools import islice

import pytest

from corosyncsim.spread import each


def squared(number: int) -> int:
    if number == 3:
        raise ValueError("three is odd")
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_the_order_of_the_things_and_an_error_belongs_to_its_own(jobs: int) -> None:
    done = list(each(squared, (4, 3, 2, 1), jobs))
    assert [one.of for one in done] == [4, 3, 2, 1]
    assert [one.result for one in done] == [16, None, 4, 1]
    assert [one.failure.endswith("ValueError: three is odd") for one in done] == [False, True, False, False]


def test_a_process_that_dies_takes_no_other_with_it() -> None:
    done = list(each(squared, (4, 5, 6), 2))
    assert [one.result for one in done] == [16, None, 36]
    assert done[1].failure == f"its process ended with status {-signal.SIGKILL}"


def test_whoever_stops_asking_ends_what_is_under_way() -> None:
    reader, writer = os.pipe()

    def stay(number: int) -> int:
        if number:
            signal.pause()
        return number

    spread = each(stay, range(4), 2)
    assert [one.of for one in islice(spread, 1)] == [0]
    spread.close()
    os.close(writer)
    assert os.read(reader, 1) == b"", "processes that are left would hold the other end"
    os.close(reader)
