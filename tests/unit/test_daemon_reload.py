"""What becomes of a configuration that is read again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from corosyncd.config.helper import Outcome
from corosyncd.daemon.boot import STATUS_OK, Boot
from corosyncd.keyspace.values import Value, text


def test_of_two_reloads_the_later_one_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file was changed between the two, and the first reader is the slower one."""
    node = {"node_id": 1, "address": "127.0.0.1"}

    def outcome(version: str) -> Outcome:
        return Outcome(keys=[("totem.comment", text(version))], local=node, nodes=[node])

    taken: list[str] = []
    answers: list[int] = []
    boot = Boot(outcome("start"), Path("corosync.yaml"), False, None)
    loop = asyncio.new_event_loop()
    first_may_end = loop.create_future()
    readers = iter((first_may_end, None))
    contents = iter(("before", "after"))

    async def read(path: str, strict: bool, local_node: str) -> Outcome:
        content, wait = next(contents), next(readers)
        if wait is not None:
            await wait
        return outcome(content)

    def take(keys: list[tuple[str, Value]], now: float) -> None:
        taken.append(str(keys[0][1].python()))

    monkeypatch.setattr("corosyncd.daemon.boot.run_beside", read)
    executive = SimpleNamespace(apply_configuration=take)
    transport = SimpleNamespace(set_members=lambda members: None)

    def answer(status: int) -> None:
        answers.append(status)
        if len(answers) == 2:
            loop.stop()

    try:
        for _ in range(2):
            boot._reload(loop, executive, transport, answer)  # type: ignore[arg-type]
        loop.call_later(0.05, first_may_end.set_result, None)
        loop.call_later(5, loop.stop)
        loop.run_forever()
    finally:
        loop.close()
    assert taken == ["before", "after"]
    assert answers == [STATUS_OK, STATUS_OK]
