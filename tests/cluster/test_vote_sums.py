"""Sums of votes whose majority does not fit stock nodes' eight bits are refused wherever they come from, with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from coroipc.errors import InvalidParameter
from libcfg import Cfg
from libcmap import Cmap
from libvotequorum import Votequorum
from tests.cluster.harness import Cluster

SERVICE_REFUSED = 20
TOO_MANY = 510
REASON = "more than 509 votes need a quorum beyond the 8 bits"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"quorum": {"expected_votes": TOO_MANY}}, f"quorum.expected_votes is {TOO_MANY}"),
        ({"quorum": {"device": {"model": "net", "votes": TOO_MANY - 1}}}, f"the sum of votes is {TOO_MANY}"),
    ],
    ids=["expected votes", "a device's votes"],
)
def test_too_many_votes_refuse_the_start(changes: dict[str, dict[str, Any]], what: str) -> None:
    with Cluster(1, start=False) as cluster:
        cluster.configure(cluster[1], **changes)
        cluster[1].start()
        assert cluster[1].wait_end() == SERVICE_REFUSED
        assert cluster[1].logged(what)
        assert cluster[1].logged(REASON)


def test_too_many_votes_are_refused_to_programs_operators_and_a_changed_file() -> None:
    with Cluster(1) as cluster:
        node = cluster[1]
        node.wait_members((1,))
        with node.connect(Votequorum) as votequorum, node.connect(Cmap) as cmap, node.connect(Cfg) as cfg:
            before = votequorum.getinfo()
            for call in (votequorum.setexpected, votequorum.setvotes):
                with pytest.raises(InvalidParameter):
                    call(TOO_MANY)
            node.wait_logged(f"{TOO_MANY} votes were refused: {REASON}", 2)
            cmap.set("quorum.expected_votes", TOO_MANY)
            node.wait_logged(f"quorum.expected_votes is {TOO_MANY}: {REASON}", 1)
            cmap.delete("quorum.expected_votes")
            cluster.configure(node, quorum={"expected_votes": TOO_MANY})
            cfg.reload_configuration()
            node.wait_logged(f"quorum.expected_votes is {TOO_MANY}: {REASON}", 2)
            assert votequorum.getinfo() == before
