"""Every key of the file: its type in the map, its range and choices, and the errors (reference config sections 2 to 11)."""

from __future__ import annotations

from pathlib import Path

import pytest

from coroipc.map_values import ValueType
from corosyncd.config import schema
from corosyncd.config.kinds import Whole
from corosyncd.keyspace.values import Value, int32, text, uint8, uint16, uint32, uint64
from tests.unit.config_files import MINIMAL, errors, load_text, warnings, with_section, with_totem

WORKED_EXAMPLE = """\
totem:
  version: 2
  cluster_name: hacluster
  config_version: 7
  transport: udpu
  token: 3000
  token_coefficient: 650
  block_unlisted_ips: "yes"
  interface:                 # always a list
    - linknumber: 0
      mcastport: 5405
nodelist:
  node:                      # always a list; order gives nodelist.node.<pos>
    - ring0_addr: 10.84.0.1
      name: node1
      nodeid: 1
      quorum_votes: 1
    - {ring0_addr: 10.84.0.2, name: node2, nodeid: 2}
    - {ring0_addr: 10.84.0.3, name: node3, nodeid: 3}
quorum:
  provider: corosync_votequorum
  wait_for_all: 1
  device:
    model: net
    votes: 1
    net: {host: qnetd.example.org, algorithm: ffsplit, tls: "on"}
logging:
  to_stderr: "no"
  to_syslog: "yes"
  to_logfile: "yes"
  logfile: LOGFILE
  timestamp: hires
  debug: "off"
  logger_subsys:             # always a list
    - subsys: QUORUM
      debug: "on"
system: {sched_rr: "yes", move_to_root_cgroup: auto}
resources:
  watchdog_device: "off"
  system: {memory_used: {max: 80, recovery: none}}
uidgid:                      # always a list of sections; a repeated key becomes a list
  - {uid: [haclient, "1001"], gid: haclient}
nozzle: {name: noz0, ipaddr: 192.168.9.0, ipprefix: 24}
"""


def test_the_worked_example_gives_the_keys_of_a_stock_daemon(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, WORKED_EXAMPLE.replace("LOGFILE", f"{tmp_path}/corosync.log"))
    assert loaded.errors == []
    assert warnings(loaded) == ["43:16: nozzle.name: a nozzle device needs the knet transport; the section is ignored"]
    assert dict(loaded.keys) == {
        "totem.version": uint32(2),
        "totem.cluster_name": text("hacluster"),
        "totem.config_version": uint64(7),
        "totem.transport": text("udpu"),
        "totem.token": uint32(3000),
        "totem.token_coefficient": uint32(650),
        "totem.block_unlisted_ips": text("yes"),
        "totem.interface.0.mcastport": uint16(5405),
        "totem.interface.0.bindnetaddr": text("10.84.0.1"),
        "nodelist.local_node_pos": uint32(0),
        "nodelist.node.0.ring0_addr": text("10.84.0.1"),
        "nodelist.node.0.name": text("node1"),
        "nodelist.node.0.nodeid": uint32(1),
        "nodelist.node.0.quorum_votes": uint32(1),
        "nodelist.node.1.ring0_addr": text("10.84.0.2"),
        "nodelist.node.1.name": text("node2"),
        "nodelist.node.1.nodeid": uint32(2),
        "nodelist.node.2.ring0_addr": text("10.84.0.3"),
        "nodelist.node.2.name": text("node3"),
        "nodelist.node.2.nodeid": uint32(3),
        "quorum.provider": text("corosync_votequorum"),
        "quorum.wait_for_all": uint8(1),
        "quorum.device.model": text("net"),
        "quorum.device.votes": uint32(1),
        "quorum.device.net.host": text("qnetd.example.org"),
        "quorum.device.net.algorithm": text("ffsplit"),
        "quorum.device.net.tls": text("on"),
        "logging.to_stderr": text("no"),
        "logging.to_syslog": text("yes"),
        "logging.to_logfile": text("yes"),
        "logging.logfile": text(f"{tmp_path}/corosync.log"),
        "logging.timestamp": text("hires"),
        "logging.debug": text("off"),
        "logging.logger_subsys.QUORUM.subsys": text("QUORUM"),
        "logging.logger_subsys.QUORUM.debug": text("on"),
        "system.sched_rr": text("yes"),
        "system.move_to_root_cgroup": text("auto"),
        "resources.watchdog_device": text("off"),
        "resources.system.memory_used.max": text("80"),
        "resources.system.memory_used.recovery": text("none"),
        "uidgid.config.uid.90": uint8(1),
        "uidgid.config.uid.1001": uint8(1),
        "uidgid.config.gid.91": uint8(1),
        "nozzle.name": text("noz0"),
        "nozzle.ipaddr": text("192.168.9.0"),
        "nozzle.ipprefix": text("24"),
    }


def value_of(tmp_path: Path, file: str, key: str) -> Value:
    loaded = load_text(tmp_path, file)
    assert errors(loaded) == []
    return dict(loaded.keys)[key]


U32_OF_TOTEM = [
    "token", "token_coefficient", "token_retransmit", "hold", "join", "send_join", "consensus", "merge", "downcheck",
    "fail_recv_const", "seqno_unchanged_const", "heartbeat_failures_allowed", "max_network_delay", "window_size",
    "max_messages", "miss_count_const", "netmtu", "knet_mtu", "knet_pmtud_interval", "knet_compression_threshold",
]  # fmt: skip


@pytest.mark.parametrize("key", U32_OF_TOTEM)
def test_numbers_of_totem_are_u32(key: str, tmp_path: Path) -> None:
    assert value_of(tmp_path, with_totem(f"{key}: 01000"), f"totem.{key}") == uint32(1000)
    loaded = load_text(tmp_path, with_totem(f"{key}: 4294967296"))
    column = len(key) + 5
    assert errors(loaded) == [f'4:{column}: totem.{key}: found "4294967296"; give a whole decimal number from 0 to 4294967295']


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("config_version: 18446744073709551615", "config_version", uint64(2**64 - 1)),
        ("knet_compression_level: -3", "knet_compression_level", int32(-3)),
        ("token_warning: 0", "token_warning", uint32(0)),
        ("ip_dscp: 46", "ip_dscp", uint8(46)),
        ("token_retransmits_before_loss_const: 010", "token_retransmits_before_loss_const", uint32(10)),
        ("ip_dscp: 0x2e", "ip_dscp", uint8(46)),
        ("ip_dscp: 056", "ip_dscp", uint8(46)),
        ("ip_dscp: EF", "ip_dscp", uint8(46)),
        ("ip_dscp: af43", "ip_dscp", uint8(38)),
        ("ip_dscp: cs7", "ip_dscp", uint8(56)),
        ("ip_version: ipv4-6", "ip_version", text("ipv4-6")),
        ("link_mode: rr", "link_mode", text("rr")),
        ("crypto_hash: none", "crypto_hash", text("none")),
        ("keyfile: /x y", "keyfile", text("/x y")),
        ("clear_node_high_bit: yes", "clear_node_high_bit", text("yes")),
        ("block_unlisted_ips: false", "block_unlisted_ips", text("no")),
        ("cancel_token_hold_on_retransmit: True", "cancel_token_hold_on_retransmit", text("yes")),
        ("secauth: false", "secauth", text("off")),
        ('cluster_name: "true"', "cluster_name", text("true")),
        ("cluster_name:", "cluster_name", text("")),
        ("cluster_name: 0x10", "cluster_name", text("0x10")),
        ("token: [1000, 2000]", "token", uint32(2000)),
        ("token: +2000", "token", uint32(2000)),
    ],
)
def test_other_keys_of_totem(line: str, key: str, value: Value, tmp_path: Path) -> None:
    assert value_of(tmp_path, with_totem(line), f"totem.{key}") == value


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("token: abc", "a whole decimal number from 0 to 4294967295"),
        ("token: 0x10", "a whole decimal number from 0 to 4294967295"),
        ("token: 1.5", "a whole decimal number from 0 to 4294967295"),
        ("token: -5", "a whole decimal number from 0 to 4294967295"),
        ("token: 1_000", "a whole decimal number from 0 to 4294967295"),
        ("token: ٣٠٠", "a whole decimal number from 0 to 4294967295"),
        ("token:", "a whole decimal number from 0 to 4294967295"),
        ("token: " + "9" * 100, "a whole decimal number from 0 to 4294967295"),
        ("config_version: -1", "a whole decimal number from 0 to 18446744073709551615"),
        ("token_warning: 101", "a whole decimal number from 0 to 100"),
        ("ip_dscp: 64", "a number from 0 to 63 (decimal, 0x hexadecimal, 0 octal), or one of: cs0 to cs7, af11 to af43, ef"),
        ("ip_version: ipv5", "one of: ipv4, ipv6, ipv4-6, ipv6-4"),
        ("link_mode: Passive", "one of: passive, active, rr"),
        ("crypto_cipher: des", "one of: none, aes256, aes192, aes128"),
        ("crypto_hash: crc", "one of: none, md5, sha1, sha256, sha384, sha512"),
        ("crypto_model: own", "one of: nss, openssl, gcrypt"),
        ("knet_compression_model: none", "one of: zlib, lz4, lz4hc, lzo2, lzma, bzip2, zstd"),
        ("block_unlisted_ips: maybe", "one of: yes, no"),
        ('block_unlisted_ips: "true"', "one of: yes, no"),
        ("secauth: yes", "one of: on, off"),
    ],
)
def test_a_bad_value_is_reported_with_its_place_and_what_is_allowed(line: str, allowed: str, tmp_path: Path) -> None:
    loaded = load_text(tmp_path, with_totem(line))
    (problem,) = loaded.errors
    key, _, value = line.partition(":")
    assert (problem.line, problem.key, problem.allowed, problem.status) == (4, f"totem.{key}", allowed, 8)
    assert problem.column == (len(key) + 5 if value.strip() else len(key) + 4)
    assert problem.found == value.strip().strip('"')[:80]
    assert problem.message.endswith(f"; give {allowed}")


def test_the_version_must_be_2(tmp_path: Path) -> None:
    assert errors(load_text(tmp_path, MINIMAL.replace("version: 2", "version: 3"))) == [
        '2:12: totem.version: found "3"; give the number 2'
    ]
    missing = errors(load_text(tmp_path, MINIMAL.replace("  version: 2\n", "")))
    assert missing == ["2:3: totem.version: the version of the configuration is missing; add 'version: 2' to the totem section"]


QUORUM_FLAGS = ["two_node", "wait_for_all", "last_man_standing", "auto_tie_breaker", "allow_downscale", "expected_votes_tracking"]


@pytest.mark.parametrize("key", QUORUM_FLAGS)
@pytest.mark.parametrize(("written", "stored"), [("0", 0), ("1", 1), ("255", 255), ("true", 1), ("FALSE", 0)])
def test_flags_of_quorum_are_u8(key: str, written: str, stored: int, tmp_path: Path) -> None:
    assert value_of(tmp_path, with_section(f"quorum: {{{key}: {written}}}\n"), f"quorum.{key}") == uint8(stored)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("quorum: {expected_votes: 5}", "quorum.expected_votes", uint32(5)),
        ("quorum: {votes: 2}", "quorum.votes", uint32(2)),
        ("quorum: {last_man_standing_window: 5000}", "quorum.last_man_standing_window", uint32(5000)),
        ("quorum: {auto_tie_breaker_node: 1 2}", "quorum.auto_tie_breaker_node", text("1 2")),
        ("quorum: {device: {timeout: 9}}", "quorum.device.timeout", uint32(9)),
        ("quorum: {device: {sync_timeout: 9}}", "quorum.device.sync_timeout", uint32(9)),
        ("quorum: {device: {master_wins: true}}", "quorum.device.master_wins", uint8(1)),
        ("quorum: {device: {heuristics: {mode: on}}}", "quorum.device.heuristics.mode", text("on")),
        ("resources: {watchdog_timeout: 10}", "resources.watchdog_timeout", uint32(10)),
        ("resources: {system: {memory_used: {poll_period: 500}}}", "resources.system.memory_used.poll_period", uint64(500)),
        ("resources: {system: {load_15min: {poll_period: 500}}}", "resources.system.load_15min.poll_period", text("500")),
        ("system: {qb_ipc_type: shm}", "system.qb_ipc_type", text("shm")),
        ("system: {priority: -20}", "system.priority", text("-20")),
        ("system: {priority: max}", "system.priority", text("max")),
        ("system: {sched_rr: false}", "system.sched_rr", text("no")),
        ("system: {allow_knet_handle_fallback: no}", "system.allow_knet_handle_fallback", text("no")),
        ("system: {instance: blue-1}", "system.instance", text("blue-1")),
        ("system: {link_semaphores: sysv}", "system.link_semaphores", text("sysv")),
        ("system: {client_queue_limit: 1048576}", "system.client_queue_limit", uint32(1048576)),
        ("system: {user_connection_limit: 1}", "system.user_connection_limit", uint32(1)),
        ("system: {run_dir: /run/x}", "system.run_dir", text("/run/x")),
        ("system: {socket_dir: /run/x}", "system.socket_dir", text("/run/x")),
        ("logging: {debug: true}", "logging.debug", text("on")),
        ("logging: {timestamp: false}", "logging.timestamp", text("off")),
        ("logging: {to_stderr: true}", "logging.to_stderr", text("yes")),
        ("logging: {to_syslog: off}", "logging.to_syslog", text("off")),
        ("logging: {syslog_priority: WARNING}", "logging.syslog_priority", text("WARNING")),
        ("logging: {syslog_facility: local7}", "logging.syslog_facility", text("local7")),
        ("logging: {blackbox: off}", "logging.blackbox", text("off")),
        ("logging: {format: json}", "logging.format", text("json")),
        ("logging: {logger_subsys: {subsys: QB, debug: trace}}", "logging.logger_subsys.QB.debug", text("trace")),
        ("logging: {logger_subsys: [{subsys: QB, debug: [on, off]}]}", "logging.logger_subsys.QB.debug", text("on")),
        (
            "logging: {logger_subsys: [{subsys: QB, debug: on}, {subsys: QB, debug: off}]}",
            "logging.logger_subsys.QB.debug",
            text("off"),
        ),
        ("logging: {logging_daemon: [{name: corosync, debug: on}]}", "logging.debug", text("on")),
        ("logging: {logging_daemon: [{name: corosync, subsys: QB, debug: on}]}", "logging.logger_subsys.QB.debug", text("on")),
        (
            "logging: {logging_daemon: [{name: other, subsys: QB, debug: on}]}",
            "logging.logging_daemon.other.QB.debug",
            text("on"),
        ),
    ],
)
def test_keys_of_the_other_sections(section: str, key: str, value: Value, tmp_path: Path) -> None:
    assert value_of(tmp_path, with_section(section + "\n"), key) == value


@pytest.mark.parametrize(
    ("section", "key", "status"),
    [
        ("logging: {timestamp: maybe}", "logging.timestamp", 7),
        ("logging: {fileline: yes}", "logging.fileline", 7),
        ("logging: {function_name: 1}", "logging.function_name", 7),
        ("logging: {blackbox: no}", "logging.blackbox", 7),
        ("logging: {to_stderr: 1}", "logging.to_stderr", 7),
        ("logging: {to_syslog: maybe}", "logging.to_syslog", 7),
        ("logging: {to_logfile: maybe}", "logging.to_logfile", 7),
        ("logging: {syslog_facility: local8}", "logging.syslog_facility", 7),
        ("logging: {syslog_priority: loud}", "logging.syslog_priority", 7),
        ("logging: {logfile_priority: trace}", "logging.logfile_priority", 7),
        ("logging: {debug: yes}", "logging.debug", 7),
        ("logging: {format: xml}", "logging.format", 7),
        ("logging: {logger_subsys: [{debug: on}]}", "logging.logger_subsys.subsys", 7),
        ("logging: {logger_subsys: [{subsys: %s}]}" % ("x" * 64), "logging.logger_subsys.subsys", 7),
        ("logging: {logging_daemon: [{debug: on}]}", "logging.logging_daemon.name", 7),
        ("logging: {logfile: /}", "logging.logfile", 7),
        ("logging: {logfile: /nonexistent/dir/x.log}", "logging.logfile", 7),
        ("logging: [1]", "logging", 7),
        ("quorum: {device: {votes: x}}", "quorum.device.votes", 8),
        ("quorum: {two_node: 256}", "quorum.two_node", 8),
        ("quorum: {two_node: yes}", "quorum.two_node", 8),
        ("system: {qb_ipc_type: pipe}", "system.qb_ipc_type", 8),
        ("system: {sched_rr: on}", "system.sched_rr", 8),
        ("system: {priority: high}", "system.priority", 8),
        ("system: {move_to_root_cgroup: maybe}", "system.move_to_root_cgroup", 8),
        ("system: {allow_knet_handle_fallback: 1}", "system.allow_knet_handle_fallback", 8),
        ("system: {instance: a/b}", "system.instance", 8),
        ("system: {instance: %s}" % ("x" * 33), "system.instance", 8),
        ("system: {link_semaphores: futex}", "system.link_semaphores", 8),
        ("system: {client_queue_limit: 1048575}", "system.client_queue_limit", 8),
        ("system: {user_connection_limit: 0}", "system.user_connection_limit", 8),
        ("system: {run_dir: relative}", "system.run_dir", 8),
        ("system: {state_dir: /nonexistent/dir}", "system.state_dir", 16),
        ("system: 5", "system", 8),
        ("uidgid: [{uid: nobodyhere}]", "uidgid.uid", 8),
        ("uidgid: [{gid: nobodyhere}]", "uidgid.gid", 8),
        ("uidgid: [{user: root}]", "uidgid.user", 8),
        ("engines: [{name: Bad Name, import: m:C, id: 8}]", "engines.name", 8),
        ("engines: [{name: good, import: m, id: 8}]", "engines.import", 8),
        ("engines: [{name: good, import: m:C, id: 7}]", "engines.id", 8),
        ("engines: [{name: good, import: m:C, id: 64}]", "engines.id", 8),
        ("engines: [{name: good, import: m:C, id: 8, crash_policy: panic}]", "engines.crash_policy", 8),
        ("engines: [{import: m:C, id: 8}]", "engines.name", 8),
        ("engines: [{name: a, import: m:C, id: 8}, {name: b, import: m:C, id: 8}]", "engines.id", 8),
        ("engines: [{name: a, import: m:C, id: 8}, {name: a, import: m:C, id: 9}]", "engines.name", 8),
        ("bad name: {a: 1}", "bad name.a", 8),
    ],
)
def test_errors_carry_the_key_and_the_exit_status(section: str, key: str, status: int, tmp_path: Path) -> None:
    loaded = load_text(tmp_path, with_section(section + "\n"))
    assert [(problem.key, problem.status, problem.line) for problem in loaded.errors] == [(key, status, 8)]


def test_all_errors_are_reported_at_once_in_file_order(tmp_path: Path) -> None:
    file = """\
totem:
  version: 2
  transport: udpu
  token: abc
  join: 5
nodelist:
  node:
    - {ring0_addr: 10.84.0.1, nodeid: x, name: node1}
    - {ring0_addr: nowhere, nodeid: 2}
quorum:
  two_node: 2000
logging:
  debug: loud
uidgid:
  - uid: nobodyhere
"""
    assert errors(load_text(tmp_path, file)) == [
        '4:10: totem.token: found "abc"; give a whole decimal number from 0 to 4294967295',
        "5:9: totem.join: The join timeout parameter (5 ms) may not be less than (30 ms); correct join, or"
        " leave it out for the default",
        '8:39: nodelist.node.0.nodeid: found "x"; give a whole decimal number from 0 to 4294967295',
        '9:20: nodelist.node.1.ring0_addr: the address "nowhere" cannot be resolved (ip_version ipv6-4); give a numeric address,'
        " or a name that this host can resolve",
        '11:13: quorum.two_node: found "2000"; give a whole decimal number from 0 to 255, or true or false',
        '13:10: logging.debug: found "loud"; give one of: on, off, trace',
        '15:10: uidgid.uid: there is no user "nobodyhere" on this host; give the name or number of one that exists',
    ]


@pytest.mark.parametrize(
    ("file", "place", "key", "near"),
    [
        (with_totem("tokn: 5"), (4, 3), "totem.tokn", "token"),
        (with_totem("Version: 2"), (4, 3), "totem.Version", "version"),
        (with_section("quorm: {provider: x}\n"), (8, 1), "quorm", "quorum"),
        (with_section("quorum: {devise: {votes: 1}}\n"), (8, 10), "quorum.devise", "device"),
        (with_section("quorum: {device: {vots: 1}}\n"), (8, 19), "quorum.device.vots", "votes"),
        (with_section("logging: {loger_subsys: [{subsys: QB}]}\n"), (8, 11), "logging.loger_subsys", "logger_subsys"),
        (with_section("system: {instanse: a}\n"), (8, 10), "system.instanse", "instance"),
        (
            with_section("engines: [{name: a, import: m:C, id: 9, crash_polcy: leave}]\n"),
            (8, 41),
            "engines.crash_polcy",
            "crash_policy",
        ),
        (MINIMAL.replace("name: node1,", "nam: node1,"), (6, 31), "nodelist.node.0.nam", "name"),
        (with_totem("interface: {mcastprt: 5405}"), (4, 15), "totem.interface.mcastprt", "mcastport"),
    ],
)
def test_an_unknown_key_gets_a_warning_with_the_nearest_name(
    file: str, place: tuple[int, int], key: str, near: str, tmp_path: Path
) -> None:
    loaded = load_text(tmp_path, file, hint="1")
    assert errors(loaded) == []
    (warning,) = loaded.warnings
    assert (warning.line, warning.column, warning.key) == (*place, key)
    assert warning.message == f'unknown key: did you mean "{near}"?'
    strict = load_text(tmp_path, file, hint="1", strict=True)
    assert [(problem.key, problem.message) for problem in strict.errors] == [(key, warning.message)]


def test_unknown_keys_are_stored_as_text(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, with_section("zzz: {a: 1, b: {c: [2, 3]}}\nservice: {name: pload}\nfree.key: 010\n"))
    keys = dict(loaded.keys)
    assert [keys[name] for name in ("zzz.a", "zzz.b.c", "service.name", "free.key")] == [
        text("1"),
        text("3"),
        text("pload"),
        text("010"),
    ]
    assert [problem.key for problem in loaded.warnings] == ["zzz", "service", "free.key"]


def test_the_file_itself_may_ask_for_strictness(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, with_section("system: {strict: yes}\nzzz: {a: 1}\n"))
    assert [problem.key for problem in loaded.errors] == ["zzz"]


@pytest.mark.parametrize("key", ["rrp_mode: none", "threads: 2", "nodeid: 1", "vsftype: none"])
def test_obsolete_keys_warn_and_do_nothing(key: str, tmp_path: Path) -> None:
    loaded = load_text(tmp_path, with_totem(key))
    assert errors(loaded) == []
    (warning,) = loaded.warnings
    assert warning.message.startswith("this key is obsolete: ")


def test_a_section_given_more_than_once_is_merged_and_the_last_key_wins(tmp_path: Path) -> None:
    file = MINIMAL.replace(
        "totem:\n  version: 2\n  transport: udpu\n", "totem:\n  - {version: 2, token: 1000}\n  - {transport: udpu, token: 2000}\n"
    )
    assert value_of(tmp_path, file, "totem.token") == uint32(2000)


def test_interfaces_are_merged_by_link_number(tmp_path: Path) -> None:
    file = with_totem("interface: [{mcastport: 5000, knet_pong_count: 3}, {linknumber: 0, mcastport: 5001}, {linknumber: 3}]")
    keys = dict(load_text(tmp_path, file).keys)
    assert (keys["totem.interface.0.mcastport"], keys["totem.interface.0.knet_pong_count"]) == (uint16(5001), uint32(3))
    assert not any(name.startswith("totem.interface.3") or name.endswith("linknumber") for name in keys)


def test_engines_are_kept_for_the_daemon_and_in_the_map(tmp_path: Path) -> None:
    section = "engines: [{name: inventory, import: 'company.inventory:Engine', id: 9, crash_policy: leave},"
    section += " {name: b, import: 'm:C', id: 8}]\n"
    loaded = load_text(tmp_path, with_section(section))
    assert errors(loaded) == []
    assert loaded.settings["engines"] == [
        {"name": "inventory", "import": "company.inventory:Engine", "id": 9, "crash_policy": "leave"},
        {"name": "b", "import": "m:C", "id": 8, "crash_policy": "restart"},
    ]
    keys = dict(loaded.keys)
    assert keys["system.engines.0.import"] == text("company.inventory:Engine")
    assert keys["system.engines.1.id"] == uint8(8)


def test_users_of_the_directory_beside_the_file_are_granted_too(tmp_path: Path) -> None:
    users = tmp_path / "uidgid.d"
    users.mkdir()
    (users / "a.yaml").write_text("uidgid: {uid: 5}\n")
    (users / ".hidden.yaml").write_text("uidgid: {gid: [6, haclient]}\n")
    (users / "old.conf").write_text("uidgid {\n}\n")
    loaded = load_text(tmp_path, with_section("uidgid: [{uid: 4}, {uid: haclient}]\n"))
    assert errors(loaded) == []
    assert {name for name, _ in loaded.keys if name.startswith("uidgid.")} == {
        "uidgid.config.uid.4", "uidgid.config.uid.90", "uidgid.config.uid.5", "uidgid.config.gid.6", "uidgid.config.gid.91",
    }  # fmt: skip
    assert [Path(problem.file).name for problem in loaded.warnings] == ["old.conf"]


@pytest.mark.parametrize("content", ["totem: {version: 2}\n", "uidgid {\n  uid: 5\n}\n", "uidgid: {user: 5}\n", "uidgid: [\n"])
def test_a_bad_file_of_that_directory_is_an_error_in_that_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "uidgid.d").mkdir()
    (tmp_path / "uidgid.d" / "a.yaml").write_text(content)
    (problem,) = load_text(tmp_path, MINIMAL).errors
    assert problem.file == str(tmp_path / "uidgid.d" / "a.yaml")
    assert problem.status == 8


def test_every_table_row_has_a_kind() -> None:
    sections: list[type[schema.Section]] = [
        schema.Totem,
        schema.Interface,
        schema.Member,
        schema.Node,
        schema.Quorum,
        schema.Device,
        schema.Logging,
    ]
    sections += [schema.LoggerSubsystem, schema.LoggingDaemon, schema.System, schema.Resources, schema.MemoryUsed, schema.Load]
    sections += [schema.Nozzle, schema.LoadableEngine]
    for section in sections:
        for name, kind in section.kinds().items():
            assert kind.allowed, f"{section.__name__}.{name}"
    version = schema.Totem.kinds()["version"]
    assert isinstance(version, Whole)
    assert version.stored == ValueType.UINT32
