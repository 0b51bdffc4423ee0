"""The example of docs/loadable_engine.md does what that page says."""

from __future__ import annotations

import re
import struct
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from coroipc.errors import Status
from coroipc.layouts import response_status, status_response
from docs.example_engine import LINE_LIMIT, SAY, Example
from tests.unit.fake_host import Cluster

PAGE = Path(__file__).parents[2] / "docs" / "loadable_engine.md"


def say(line: bytes) -> bytes:
    return struct.pack("<i4xi4x", SAY, 16 + len(line)) + line


def test_a_line_is_logged_on_every_node_and_answered_when_it_has_come_back() -> None:
    cluster = Cluster(Example, [1, 2, 3])
    client = cluster[2].connect()
    assert cluster[2].request(client, say(b"hello")) == []
    cluster.run()
    assert [node.host.lines for node in cluster.nodes.values()] == [[("notice", "node 2: hello")]] * 3
    assert cluster[2].host.take_responses(client) == [status_response(SAY)]
    assert not cluster[1].host.responses
    assert not cluster[3].host.responses


def test_all_nodes_log_the_lines_of_all_programs_in_one_order() -> None:
    cluster = Cluster(Example, [1, 2, 3])
    for node in cluster.nodes.values():
        for number in range(3):
            node.request(node.connect(), say(f"line {number}".encode()))
    cluster.run()
    logs = [node.host.lines for node in cluster.nodes.values()]
    assert len(logs[0]) == 9
    assert logs[0] == logs[1] == logs[2]


def test_a_line_that_is_too_long_is_refused() -> None:
    cluster = Cluster(Example, [1])
    (response,) = cluster[1].request(cluster[1].connect(), say(b"x" * (LINE_LIMIT + 1)))
    assert response_status(response) == Status.TOO_BIG
    assert not cluster[1].host.multicasts


def test_a_program_that_has_gone_is_not_answered_but_its_line_is_logged() -> None:
    cluster = Cluster(Example, [1])
    client = cluster[1].connect()
    cluster[1].request(client, say(b"last words"))
    cluster[1].disconnect(client)
    cluster.run()
    assert cluster[1].host.lines == [("notice", "node 1: last words")]
    assert not cluster[1].host.responses


def test_a_message_cut_short_is_one_that_the_host_can_drop() -> None:
    cluster = Cluster(Example, [1])
    with pytest.raises(struct.error):
        cluster[1].engine.deliver(1, SAY, bytes(20))


def test_the_page_s_configuration_loads_the_example() -> None:
    block = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    (entry,) = yaml.safe_load(block.group(1))["engines"]
    module, _, name = entry["import"].partition(":")
    assert getattr(import_module(module), name) is Example
    assert (entry["name"], entry["id"]) == (Example.description.name, Example.description.service_id)
    assert entry["crash_policy"] in ("restart", "leave")


def test_the_page_s_client_code_is_valid_and_its_request_is_the_example_s() -> None:
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    sent: list[bytes] = []

    class Recorder:
        def __init__(self, service: str) -> None:
            assert service == Example.description.name

        def __enter__(self) -> Recorder:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def call(self, request: bytes) -> None:
            sent.append(request)

    source = block.group(1).replace("from coroipc.caller import BlockingCaller\n", "")
    exec(compile(source, str(PAGE), "exec"), {"BlockingCaller": Recorder})
    assert sent == [say(b"maintenance begins")]
