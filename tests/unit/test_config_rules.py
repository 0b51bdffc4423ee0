"""Rules between keys, and the nodelist (reference config sections 3.1, 3.2, 4, 5 and 13)."""

from __future__ import annotations

from pathlib import Path

import pytest

from corosyncd.keyspace.values import text, uint32
from tests.unit.config_files import MINIMAL, FakeResolver, errors, load_text, warnings, with_section, with_totem

HEAD = "totem: {version: 2, transport: udpu}\n"


@pytest.mark.parametrize("transport", ["", "  transport: knet\n", "  transport: udp\n"])
def test_only_udpu_is_available(transport: str, tmp_path: Path) -> None:
    (problem,) = load_text(tmp_path, MINIMAL.replace("  transport: udpu\n", transport)).errors
    assert (problem.key, problem.allowed, problem.status) == ("totem.transport", "udpu", 8)
    assert problem.message.endswith(
        "is not available in this version; write 'transport: udpu' in the totem section, on every node"
    )


def test_a_transport_that_does_not_exist_is_reported_once(tmp_path: Path) -> None:
    file = MINIMAL.replace("transport: udpu", "transport: UDPU")
    assert errors(load_text(tmp_path, file)) == ['3:14: totem.transport: found "UDPU"; give one of: knet, udpu, udp']


@pytest.mark.parametrize(
    ("line", "key"),
    [("crypto_cipher: aes256", "crypto_cipher"), ("crypto_hash: sha256", "crypto_hash"), ("secauth: on", "secauth")],
)
def test_encryption_that_would_do_nothing_is_refused(line: str, key: str, tmp_path: Path) -> None:
    (problem,) = load_text(tmp_path, with_totem(line)).errors
    assert problem.key == f"totem.{key}"
    assert "work with the knet transport only" in problem.message


def test_encryption_switched_off_is_fine(tmp_path: Path) -> None:
    file = with_totem("secauth: on\n  crypto_cipher: none\n  crypto_hash: none")
    assert load_text(tmp_path, file).errors == []


@pytest.mark.parametrize(
    ("line", "key", "gist"),
    [
        ("token: 125", "token", "Not appropriate token or token_retransmits_before_loss_const value set"),
        ("token: 20", "token", "The token timeout parameter (20 ms) may not be less than (30 ms)"),
        (
            "token_retransmit: 29",
            "token_retransmit",
            "The token retransmit timeout parameter (29 ms) may not be less than (30 ms)",
        ),
        (
            "token_retransmits_before_loss_const: 1000",
            "token_retransmits_before_loss_const",
            "Not appropriate token or token_retransmits_before_loss_const value set",
        ),
        ("hold: 13", "hold", "The token hold timeout parameter (13 ms) may not be less than (14 ms)"),
        ("join: 29", "join", "The join timeout parameter (29 ms) may not be less than (30 ms)"),
        ("consensus: 29", "consensus", "The consensus timeout parameter (29 ms) may not be less than (30 ms)"),
        ("consensus: 40", "consensus", "The consensus timeout parameter (40 ms) may not be less than join timeout (50 ms)"),
        ("merge: 29", "merge", "The merge timeout parameter (29 ms) may not be less than (30 ms)"),
        ("downcheck: 29", "downcheck", "The downcheck timeout parameter (29 ms) may not be less than (30 ms)"),
        ("max_network_delay: 29", "max_network_delay", "The max_network_delay parameter (29 ms) may not be less than (30 ms)"),
        ("netmtu: 100", "netmtu", "The netmtu parameter (100 bytes) must be between 256 and 65536"),
        ("window_size: 2049", "window_size", "The window_size parameter (2049 frames) must be between 1 and 2048"),
        ("token: 4294967295", "token", "The consensus parameter (5153960754) may not be more than 4294967295"),
    ],
)
def test_values_that_stock_refuses_are_refused_at_their_key(line: str, key: str, gist: str, tmp_path: Path) -> None:
    loaded = load_text(tmp_path, with_totem(line))
    assert [(problem.key, problem.line, problem.status) for problem in loaded.errors] == [(f"totem.{key}", 4, 8)]
    assert loaded.errors[0].message.startswith(gist + "; ")


def test_the_smallest_token_of_two_nodes_is_accepted(tmp_path: Path) -> None:
    assert errors(load_text(tmp_path, with_totem("token: 126\n  consensus: 200"))) == []


def test_the_token_grows_with_the_nodes(tmp_path: Path) -> None:
    three = with_totem("token: 125") + "    - {ring0_addr: 10.84.0.3, nodeid: 3}\n"
    assert errors(load_text(tmp_path, three)) == []


def test_every_bad_timer_is_reported_at_once(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, with_totem("join: 1\n  merge: 1\n  hold: 1\n  downcheck: 1"))
    assert [problem.key for problem in loaded.errors] == ["totem.join", "totem.merge", "totem.hold", "totem.downcheck"]


def test_zero_asks_for_the_default(tmp_path: Path) -> None:
    file = with_totem("token: 0\n  join: 0\n  consensus: 0\n  hold: 0\n  merge: 0\n  netmtu: 0\n  max_network_delay: 0")
    assert errors(load_text(tmp_path, file)) == []


@pytest.mark.parametrize(
    ("interface", "key", "gist"),
    [
        ("{knet_link_priority: 2}", "totem.interface.0.knet_link_priority", "links have priorities with the knet transport only"),
        ("{ttl: 2}", "totem.interface.0.ttl", "only multicast transports have a ttl"),
        ("{ttl: 256}", "totem.interface.ttl", 'found "256"; give a whole decimal number from 0 to 255'),
        ("{mcastport: 65536}", "totem.interface.mcastport", 'found "65536"; give a whole decimal number from 0 to 65535'),
        ("{mcastaddr: 10.0.0.1}", "totem.interface.0.mcastaddr", '"10.0.0.1" is not a multicast address'),
        ("{mcastaddr: abc}", "totem.interface.0.mcastaddr", '"abc" is not a multicast address'),
        ("{bindnetaddr: abc}", "totem.interface.0.bindnetaddr", '"abc" is not a numeric address'),
        ("{knet_transport: tcp}", "totem.interface.knet_transport", 'found "tcp"; give one of: udp, sctp'),
        ("{linknumber: 8, mcastport: 5}", "totem.interface.linknumber", "link number 8 is too high"),
        ("{linknumber: 1, mcastport: 5}", "totem.interface.linknumber", "link 1 is configured here, but no node has ring1_addr"),
        ("{member: [{addr: x}]}", "totem.interface.member.addr", "only memberaddr may stand"),
    ],
)
def test_bad_links_are_refused(interface: str, key: str, gist: str, tmp_path: Path) -> None:
    (problem,) = load_text(tmp_path, with_totem(f"interface: {interface}")).errors
    assert problem.key == key
    assert problem.message.startswith(gist)


@pytest.mark.parametrize(
    "interface", ["{ttl: 1}", "{knet_link_priority: 1}", "{mcastaddr: 239.1.1.1}", "{linknumber: 200}", "[]", ""]
)
def test_links_that_say_what_holds_anyway_are_fine(interface: str, tmp_path: Path) -> None:
    assert errors(load_text(tmp_path, with_totem(f"interface: {interface}"))) == []


def test_settings_that_do_not_do_what_they_seem_to_warn(tmp_path: Path) -> None:
    file = with_totem("interface: [{bindnetaddr: 10.84.0.9, member: [{memberaddr: 10.84.0.1}]}]")
    file += "resources: {watchdog_timeout: 1}\nlogging: {to_logfile: yes}\n"
    loaded = load_text(tmp_path, file)
    assert errors(loaded) == []
    assert [problem.key for problem in loaded.warnings] == [
        "totem.interface.0.bindnetaddr",
        "totem.interface.member",
        "resources.watchdog_timeout",
        "logging.to_logfile",
    ]
    assert dict(loaded.keys)["totem.interface.0.bindnetaddr"] == text("10.84.0.1")


@pytest.mark.parametrize("file", [HEAD, HEAD + "nodelist: {}\n", HEAD + "nodelist: {node: [{name: a, nodeid: 1}]}\n"])
def test_a_ring_without_addresses_is_refused(file: str, tmp_path: Path) -> None:
    (problem,) = load_text(tmp_path, file).errors
    assert problem.key == "nodelist"
    assert problem.message.startswith("no node has an address")


def nodes(*entries: str) -> str:
    return HEAD + "nodelist:\n  node:\n" + "".join(f"    - {{{entry}}}\n" for entry in entries)


def test_node_ids_are_made_from_ipv4_addresses(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, nodes("ring0_addr: 10.84.0.1", "ring0_addr: 200.84.0.2, nodeid: 0"), hint="10.84.0.1")
    assert loaded.errors == []
    assert [node["node_id"] for node in loaded.nodes] == [173277185, 200 << 24 | 84 << 16 | 2]
    assert dict(loaded.keys)["nodelist.node.0.nodeid"] == uint32(173277185)
    assert loaded.local == {"node_id": 173277185, "position": 0, "address": "10.84.0.1", "family": 4, "port": 5405}


def test_the_high_bit_of_a_made_id_is_cleared_on_demand(tmp_path: Path) -> None:
    file = nodes("ring0_addr: 200.84.0.2").replace("udpu}", "udpu, clear_node_high_bit: yes}")
    assert load_text(tmp_path, file, hint="200.84.0.2").nodes[0]["node_id"] == 72 << 24 | 84 << 16 | 2


def test_ipv6_needs_node_ids(tmp_path: Path) -> None:
    (problem,) = load_text(tmp_path, nodes("ring0_addr: 'fd00::1', name: node1")).errors
    assert (problem.key, problem.line) == ("nodelist.node.0.nodeid", 4)
    loaded = load_text(tmp_path, nodes("ring0_addr: 'fd00::1', name: node1, nodeid: 7"))
    assert loaded.errors == []
    assert loaded.local == {"node_id": 7, "position": 0, "address": "fd00::1", "family": 6, "port": 5405}


@pytest.mark.parametrize(
    ("entries", "key", "gist"),
    [
        (
            ("ring0_addr: 10.0.0.1, nodeid: 1, name: node1", "ring0_addr: 10.0.0.2, nodeid: 1"),
            "1.nodeid",
            "the node id 1 is taken",
        ),
        (
            ("ring0_addr: 10.0.0.1, nodeid: 167772162, name: node1", "ring0_addr: 10.0.0.2"),
            "1.nodeid",
            "the node id 167772162 (made from 10.0.0.2) is taken by the node in line 4",
        ),
        (
            ("ring0_addr: 10.0.0.1, nodeid: 1, name: node1", "ring0_addr: 'fd00::2', nodeid: 2"),
            "1.ring0_addr",
            "fd00::2 is IPv6, but 10.0.0.1 is IPv4",
        ),
        (
            ("ring0_addr: 10.0.0.1, nodeid: 1, name: node1", "ring0_addr: nowhere, nodeid: 2"),
            "1.ring0_addr",
            'the address "nowhere" cannot be resolved',
        ),
        (
            ("ring0_addr: 10.0.0.1, nodeid: 1, name: node1", "ring0_addr: 0.0.0.0, nodeid: 2"),
            "1.ring0_addr",
            "0.0.0.0 is not the address of a node",
        ),
        (
            ("ring0_addr: 10.0.0.1, nodeid: 1, name: node1", "ring0_addr: 'fd00::2', nodeid: two"),
            "1.nodeid",
            'found "two"; give a whole decimal number',
        ),
        (("ring0_addr: 10.0.0.1, ring8_addr: 10.0.0.1, name: node1",), "0.ring8_addr", "link number 8 is too high"),
        (
            ("ring0_addr: 10.0.0.1, ring1_addr: 10.0.1.1, name: node1",),
            "0.ring1_addr",
            "2 links are configured, but udpu has one",
        ),
        (
            ("ring0_addr: 10.0.0.1, nodeid: 1, name: node1", "ring1_addr: 10.0.0.2, nodeid: 2"),
            "1.ring1_addr",
            "2 links are configured, but udpu has one",
        ),
    ],
)
def test_bad_nodelists_are_refused(entries: tuple[str, ...], key: str, gist: str, tmp_path: Path) -> None:
    (problem,) = load_text(tmp_path, nodes(*entries)).errors
    assert problem.key == f"nodelist.node.{key}"
    assert problem.message.startswith(gist)
    assert problem.status == 8


def test_more_than_384_nodes_are_refused(tmp_path: Path) -> None:
    entries = [f"ring0_addr: 10.0.{n // 250}.{n % 250}, nodeid: {n + 1}" for n in range(385)]
    (problem,) = load_text(tmp_path, nodes(*entries), hint="1").errors
    assert problem.message == "the nodelist has 385 nodes; at most 384 are possible"
    assert problem.line == 4 + 384


def test_what_stock_accepts_and_cannot_work_is_warned_of(tmp_path: Path) -> None:
    file = nodes("ring0_addr: 10.0.0.1, nodeid: 1, name: node1", "nodeid: 2", "ring0_addr: 10.0.0.1, nodeid: 3")
    loaded = load_text(tmp_path, file)
    assert errors(loaded) == []
    assert [problem.key for problem in loaded.warnings] == ["nodelist.node.1", "nodelist.node.2.ring0_addr"]
    assert [node["node_id"] for node in loaded.nodes] == [1, 3]


def test_only_a_link_other_than_0_is_used_as_it_stands(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, nodes("ring1_addr: 10.0.0.1, nodeid: 1, name: node1"))
    assert errors(loaded) == []
    assert dict(loaded.keys)["totem.interface.1.bindnetaddr"] == text("10.0.0.1")
    assert loaded.local is not None
    assert loaded.local["port"] == 5406
    assert loaded.settings["node_count"] == 0


@pytest.mark.parametrize(("written", "port"), [("5500", 5500), ("0", 5405)])
def test_the_port_is_the_links(written: str, port: int, tmp_path: Path) -> None:
    loaded = load_text(tmp_path, with_totem(f"interface: [{{mcastport: {written}}}]"))
    assert loaded.local is not None
    assert loaded.local["port"] == port


def test_names_resolve_under_ip_version(tmp_path: Path) -> None:
    resolver = FakeResolver({"a.example": ["10.0.0.7"]})
    file = nodes("ring0_addr: a.example, nodeid: 1, name: node1").replace("udpu}", "udpu, ip_version: ipv4}")
    loaded = load_text(tmp_path, file, resolver=resolver)
    assert resolver.ip_version == "ipv4"
    assert loaded.nodes == [{"node_id": 1, "name": "node1", "address": "10.0.0.7", "family": 4, "position": 0}]
    load_text(tmp_path, MINIMAL, resolver=resolver)
    assert resolver.ip_version == "ipv6-4"


def test_a_host_that_is_not_in_the_nodelist_is_told_so(tmp_path: Path) -> None:
    (problem,) = load_text(tmp_path, MINIMAL, host_name="elsewhere").errors
    assert problem.key == "nodelist"
    assert problem.message.startswith('no node is this host ("elsewhere")')
    (problem,) = load_text(tmp_path, with_section("system: {local_node: node9}\n")).errors
    assert (problem.line, problem.column, problem.found) == (8, 22, "node9")


@pytest.mark.parametrize("hint", ["node2", "2", "10.84.0.2"])
def test_the_local_node_may_be_named(hint: str, tmp_path: Path) -> None:
    loaded = load_text(tmp_path, with_section(f"system: {{local_node: {hint}}}\n"))
    assert loaded.local is not None
    assert loaded.local["position"] == 1
    assert dict(loaded.keys)["nodelist.local_node_pos"] == uint32(1)
    overridden = load_text(tmp_path, with_section(f"system: {{local_node: {hint}}}\n"), hint="1")
    assert overridden.local is not None
    assert overridden.local["position"] == 0


def test_the_local_node_needs_an_address(tmp_path: Path) -> None:
    file = nodes("nodeid: 1, name: node1", "ring0_addr: 10.0.0.2, nodeid: 2")
    (problem,) = load_text(tmp_path, file).errors
    assert problem.key == "nodelist.node.0.ring0_addr"


def test_settings_hold_the_defaults(tmp_path: Path) -> None:
    settings = load_text(tmp_path, MINIMAL).settings
    assert settings == {
        "instance": "",
        "run_dir": "/run",
        "state_dir": str(tmp_path),
        "log_dir": "/var/log/corosync",
        "socket_dir": "",
        "link_semaphores": "posix",
        "client_queue_limit": None,
        "user_connection_limit": None,
        "sched_rr": "auto",
        "priority": None,
        "move_to_root_cgroup": "auto",
        "quorum_provider": "",
        "cluster_name": "",
        "transport": "udpu",
        "ip_version": "ipv6-4",
        "totem": {"block_unlisted_ips": 1, "cancel_token_hold_on_retransmit": 0, "fast_failover": 1},
        "node_count": 2,
        "engines": [],
    }


def test_settings_hold_what_the_file_says(tmp_path: Path) -> None:
    section = (
        "system: {instance: x, run_dir: /r, log_dir: /l, link_semaphores: sysv, sched_rr: no, priority: min, socket_dir: /s,\n"
        "  client_queue_limit: 4000000, user_connection_limit: 9}\n"
    )
    file = (
        with_totem("token: 1000\n  block_unlisted_ips: no\n  cancel_token_hold_on_retransmit: yes\n  fast_failover: no") + section
    )
    settings = load_text(tmp_path, file).settings
    assert settings["totem"] == {"token": 1000, "block_unlisted_ips": 0, "cancel_token_hold_on_retransmit": 1, "fast_failover": 0}
    chosen = {
        name: settings[name]
        for name in ("instance", "run_dir", "log_dir", "link_semaphores", "sched_rr", "priority", "socket_dir")
    } | {name: settings[name] for name in ("client_queue_limit", "user_connection_limit")}
    assert chosen == {
        "instance": "x", "run_dir": "/r", "log_dir": "/l", "link_semaphores": "sysv", "sched_rr": "no", "priority": "min",
        "socket_dir": "/s", "client_queue_limit": 4000000, "user_connection_limit": 9,
    }  # fmt: skip


def test_a_good_file_has_no_warnings(tmp_path: Path) -> None:
    assert warnings(load_text(tmp_path, MINIMAL)) == []
