"""A configuration file, as a slip of a hand or a broken disk leaves it: read, checked and resolved whole.

Claims: every fault is a problem with a place in the file and an exit status, or the file is good and then can be handed to the
daemon as it is: its answer survives the way between the processes, the timers derive, the log settings are read.
"""

from __future__ import annotations

import os
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from msgpack import packb

from corosyncd.config import helper
from corosyncd.config.addresses import Address
from corosyncd.config.load import HostFacts, load
from corosyncd.keyspace.key_space import KeySpace
from corosyncd.log.settings import from_keys
from corosyncd.totem.timeouts import derive
from fuzz.target import claim
from tests.unit.config_files import MINIMAL

EXAMPLE: Final = Path(__file__).resolve().parents[2] / "etc" / "corosync.yaml.example"
LARGEST_FILE: Final = 6000
"""Bytes of one input: reading YAML takes a millisecond a hundred of them."""
STRICT, WITHOUT_HINT = 1, 2
"""Flags in an input's first byte."""
SECTIONS: Final = (
    "totem: {version: 2, transport: udpu, token: 5000, interface: [{linknumber: 0, mcastport: 5405}]}\n",
    "system: {sched_rr: no, local_node: 2, state_dir: /tmp, instance: two, client_queue_limit: 1000000}\n",
    "quorum: {provider: corosync_votequorum, expected_votes: 2, two_node: 1, device: {model: net, votes: 1}}\n",
    "logging: {to_syslog: no, timestamp: hires, format: json, logger_subsys: [{subsys: TOTEM, debug: on}]}\n",
    "uidgid: [{uid: [haclient, 7]}, {gid: haclient}]\nresources: {watchdog_device: off}\n",
    "engines: [{name: toy, import: 'toy.engine:Engine', id: 9, crash_policy: leave}]\n",
    "nodelist: {node: [{ring0_addr: 10.84.0.1, nodeid: 1, ring1_addr: a.b, quorum_votes: 3}, {ring0_addr: '::1', nodeid: 2}]}\n",
    "a: &x [b]\nc: *x\n",
    "totem {\n  version: 2\n}\n",
    "---\n{}\n---\n[]\n",
    "'\\ud800': !!binary aGk=\n? {a: b}\n: >-\n  folded\n",
)


class ConfigurationTarget:
    """An input: flags, then the file."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self._file = os.memfd_create("configuration", os.MFD_CLOEXEC)
        self._path = f"/proc/self/fd/{self._file}"
        example = EXAMPLE.read_text()
        files = [MINIMAL, *(MINIMAL + section for section in SECTIONS), *SECTIONS, *example.split("\n\n"), example]
        self.seeds = [bytes((flags,)) + file.encode() for flags in (0, STRICT, WITHOUT_HINT) for file in files]
        self._host = HostFacts(
            name=lambda: "node1",
            addresses=lambda: ["10.84.0.1"],
            resolver=lambda ip_version: _Numeric(),
            user_id={"haclient": 90}.get,
            group_id={"haclient": 91}.get,
            state_directory=lambda: "/tmp",
        )

    def run(self, data: bytes) -> None:
        """One file."""
        flags, content = (data[0] if data else 0), data[1:LARGEST_FILE]
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, content, 0)
        loaded = load(self._path, strict=bool(flags & STRICT), hint="" if flags & WITHOUT_HINT else "1", host=self._host)
        for problem in loaded.errors:
            claim(problem.status > 0 and bool(problem.message), f"an error has a status and a text: {problem}")
            self.dropped[f"exit status {problem.status}"] += 1
        self.dropped["warning"] += len(loaded.warnings)
        answer = helper.decode(self._path, packb(loaded.document(), unicode_errors="surrogateescape"))
        claim(answer.errors == loaded.errors and answer.keys == loaded.keys, f"the answer arrives as sent: {answer.errors}")
        if not loaded.errors:
            derive(answer.settings["totem"], answer.settings["node_count"])
            from_keys(answer.keys, "/tmp")
            space = KeySpace()
            refused = [name for name, value in answer.keys if space.set(name, value, client=False)[0] != 1]
            claim(not refused, f"the map takes every key of a good file: {refused}")


class _Numeric:
    """A host without names."""

    def addresses(self, name: str) -> list[str]:
        found = self.lookup(name)
        return [found.text] if found else []

    def reverse(self, address: str) -> str | None:
        return None

    def lookup(self, name: str) -> Address | None:
        try:
            address = ip_address(name)
        except ValueError:
            return None
        return Address(address.version, str(address))
