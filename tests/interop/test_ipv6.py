"""Two nodes of ours on IPv6, with an engine that their configuration loads: one line comes out of both, by one order."""

from __future__ import annotations

import struct

import pytest

from coroipc.caller import BlockingCaller
from tests.lab import Lab, wait_until

pytestmark = pytest.mark.interop

LINE = b"maintenance begins"


def test_a_ring_on_ipv6_carries_the_messages_of_a_loaded_engine() -> None:
    with Lab(2) as lab:
        addresses = {number: f"fd82::{number}" for number in (1, 2)}
        nodes = [{"ring0_addr": address, "name": f"node{number}", "nodeid": number} for number, address in addresses.items()]
        for number, address in addresses.items():
            lab.node(number).run("ip", "address", "add", f"{address}/64", "dev", "eth0", "nodad")
        for number in addresses:
            lab.our_node(
                number,
                totem={"token": 1000, "ip_version": "ipv6"},
                nodelist={"node": nodes},
                engines={"name": "example", "import": "docs.example_engine:Example", "id": 8, "crash_policy": "restart"},
                system={"local_node": f"node{number}"},
            )
        lab.wait_ring(addresses)
        with lab.node(1).network():
            caller = BlockingCaller("example")
        with caller:
            caller.call(struct.pack("<i4xi4x", 0, 16 + len(LINE)) + LINE)
        for number in addresses:
            line = f"node 1: {LINE.decode()}"
            wait_until(lambda n=number, text=line: text in lab.node(n).log(), f"node {number} to log the line")  # type: ignore[misc]
        assert "fd82::2" in lab.node(1).run("corosync-cmapctl", "-g", "runtime.members.2.ip").stdout
