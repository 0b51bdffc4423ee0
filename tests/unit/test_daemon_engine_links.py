"""How the end of an engine's process is put, and who is not let in again for it."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corosyncd.daemon.engine_links import EngineLinks
from corosyncd.daemon.fork_server import Exited

STRANGER = os.getuid() + 4711


def end_of(status: int, noted: tuple[int, int]) -> tuple[str, set[int]]:
    """The reason of an engine's end, and the users that are refused from then on."""
    nothing = cast(Any, None)
    links = EngineLinks(nothing, nothing, {}, 1, {}, lambda subsystem, level, text: None)
    child = cast(Any, SimpleNamespace(end=SimpleNamespace(noted=noted)))
    return links._describe(child, Exited("cpg", 7, status)), links._refused_users


@pytest.mark.parametrize("number", [signal.SIGBUS, signal.SIGABRT])
def test_the_user_whose_memory_ended_an_engine_is_named_and_refused(number: signal.Signals) -> None:
    reason, refused = end_of(-number, (77, STRANGER))
    assert reason.startswith(f"killed by {number.name} while it used the memory of process 77 of user {STRANGER}")
    assert refused == {STRANGER}


@pytest.mark.parametrize("user", [0, os.getuid()])
def test_root_and_the_daemons_own_user_are_named_and_not_refused(user: int) -> None:
    reason, refused = end_of(-signal.SIGABRT, (77, user))
    assert f"process 77 of user {user}" in reason
    assert refused == set()


@pytest.mark.parametrize(("status", "noted"), [(-signal.SIGKILL, (77, STRANGER)), (-signal.SIGBUS, (0, 0)), (70, (77, STRANGER))])
def test_nobody_is_blamed_for_any_other_end(status: int, noted: tuple[int, int]) -> None:
    reason, refused = end_of(status, noted)
    assert "memory" not in reason
    assert refused == set()
