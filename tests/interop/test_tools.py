"""The distribution's commands, unmodified, on a ring of ours and on a stock ring with the same configuration: no difference.

What cannot be equal is masked (dates, ring ids, pids, connection pointers, the lab's number in addresses) or is a counter; what
differs on purpose stands in a list with its reason, and an entry of such a list that is not needed any more fails the test too.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.clients import NODES
from tests.interop.transcripts import Member
from tests.lab import DEADLINE, Lab, Node, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

TOKEN_MS = 1000
CMAP, CFG, QUORUM, CPG = "corosync-cmapctl", "corosync-cfgtool", "corosync-quorumtool", "corosync-cpgtool"
KEYS_OF_A_CONNECTION = 13
LONG_KEY = "lab." + "k" * 252
LONG_VALUE = "v" * 16385


@dataclass(frozen=True)
class Pair:
    """The two rings."""

    stock: Lab
    ours: Lab

    def both(self, act: Callable[[Node], str], node: int = 1) -> tuple[str, str]:
        """The same done on a node of either ring: (stock's outcome, ours)."""
        return act(self.stock.node(node)), act(self.ours.node(node))


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Two rings of three nodes."""
    with Lab(len(NODES)) as stock, Lab(len(NODES)) as ours:
        for number in NODES:
            stock.stock_node(number, f"totem {{\n  token: {TOKEN_MS}\n}}\n")
            ours.our_node(number, totem={"token": TOKEN_MS}, logging={"logfile": "/var/log/corosync/corosync.log"})
        ours.wait_ring(NODES)
        stock.wait_ring(NODES)
        yield Pair(stock, ours)


@pytest.fixture(scope="module")
def groups(pair: Pair, program: Path) -> Iterator[dict[int, str]]:
    """Members of groups, in the same order in both rings: their pids with a name for each that is the same in both."""
    names: dict[int, str] = {}
    with contextlib.ExitStack() as stack:
        for lab in (pair.stock, pair.ours):
            for position, (node, group) in enumerate(
                ((1, "first"), (2, "first"), (1, "first"), (3, "other one"), (2, "t\\b\tü"))
            ):
                member = Member(lab.node(node), group, program)
                stack.callback(member.discard)
                member.wait_joined()
                names[member.process.pid] = f"pid{position}"
        yield names


def mask(text: str, lab: Lab) -> str:
    """Take out what two rings cannot have in common."""
    text = text.replace(f"10.82.{lab.number}.", "10.82.LAB.")
    text = re.sub(r"^(Date:  +).*$", r"\1…", text, flags=re.MULTILINE)
    text = re.sub(r"^(Ring ID: +[0-9a-f]+)\.[0-9a-f]+$", r"\1.…", text, flags=re.MULTILINE)
    return re.sub(r"(stats\.ipcs\.service\d+)\.\d+\.0x[0-9a-f]+\.", r"\1.PID.POINTER.", text)


def outcome(done: subprocess.CompletedProcess[str], lab: Lab) -> str:
    """All that a caller of a command can see, for comparison."""
    return f"exit status {done.returncode}\n-- output\n{mask(done.stdout, lab)}-- errors\n{mask(done.stderr, lab)}"


def run(node: Node, *commands: tuple[str, ...]) -> str:
    """The outcomes of commands in a row."""
    return "".join(outcome(node.run(*command, check=False), node.lab) for command in commands)


def words(command: str) -> tuple[str, ...]:
    """A row of the table as words; ``␣`` stands for a blank inside one of them."""
    return tuple(word.replace("␣", " ") for word in command.split())


# What is read, and what is refused: each row leaves the rings as they were.

COMMANDS = [
    f"{QUORUM} -s",
    f"{QUORUM}",
    f"{QUORUM} -l",
    f"{QUORUM} -p",
    f"{QUORUM} -p -s",
    f"{QUORUM} -i",
    f"{QUORUM} -l -i",
    f"{QUORUM} -siH",  # Proxmox
    f"{QUORUM} -l -a",
    f"{QUORUM} -l -o a",
    f"{QUORUM} -l -o i",
    f"{QUORUM} -l -o n",
    f"{QUORUM} -o z",
    f"{QUORUM} -e 0",
    f"{QUORUM} -e abc",
    f"{QUORUM} -e 1",  # would make the ring quorate with one node: refused by the daemon
    f"{QUORUM} -v -1",
    f"{QUORUM} -n x",
    f"{QUORUM} -n 99 -v 1",
    f"{QUORUM} -f",
    f"{QUORUM} -V",
    f"{QUORUM} -h",
    f"{QUORUM} -Z",
    f"{CFG} -s",
    f"{CFG} -s -b",
    f"{CFG} -s -i 10.82.0.1",
    f"{CFG} -n",
    f"{CFG}",
    f"{CFG} -h",
    f"{CFG} -x",
    f"{CFG} -a 1",
    f"{CFG} -a 3",
    f"{CFG} -a 9",
    f"{CFG} -a abc",
    f"{CFG} -k 0",
    f"{CFG} -k 99",
    f"{CFG} -L",
    f"{CMAP} -h",
    f"{CMAP} -x",
    f"{CMAP} -g totem.version totem.cluster_name",
    f"{CMAP} -q -g totem.version",
    f"{CMAP} -b -g totem.version",
    f"{CMAP} -g totem.version nosuch totem.transport",
    f"{CMAP} totem.v",
    f"{CMAP} nosuch",
    f"{CMAP} nosuch totem.v",
    f"{CMAP} nodelist.",
    f"{CMAP} -q nodelist. quorum.",
    f"{CMAP} -b runtime.config",
    f"{CMAP} runtime.config.totem.token",  # crmsh relies on the order of the answers
    f"{CMAP} -g nosuch",
    f"{CMAP} -g te",
    f"{CMAP} -d nosuch",
    f"{CMAP} -d totem.version",
    f"{CMAP} -D totem.version",
    f"{CMAP} -D nosuch",
    f"{CMAP} -s totem.version u32 2",
    f"{CMAP} -s nodelist.node.0.name str x",
    f"{CMAP} -s runtime.config.totem.token u32 5",
    f"{CMAP} -s uidgid.config.uid.0 u8 1",
    f"{CMAP} -s config.reload_in_progress u8 0",
    f"{CMAP} -s quorum.wait_for_all u8 1",
    f"{CMAP} -s te u8 1",
    f"{CMAP} -s lab,x u8 1",
    f"{CMAP} -s {LONG_KEY} u8 1",
    f"{CMAP} -s lab.x str {LONG_VALUE}",
    f"{CMAP} -s lab.x bin /dev/null",
    f"{CMAP} -s lab.x u8 300",
    f"{CMAP} -s lab.x u8 abc",
    f"{CMAP} -s lab.x foo 1",
    f"{CMAP} -s lab.x u8",
    f"{CMAP} -s",
    f"{CMAP} -g",
    f"{CMAP} -t",
    f"{CMAP} -m foo",
    f"{CMAP} -C foo",
    f"{CMAP} -p /nosuch",
    f"{CMAP} -m stats -g stats.srp.nosuch",
    f"{CMAP} -m stats -s stats.srp.mcast_rx u64 1",
    f"{CMAP} -m stats -d stats.srp.mcast_rx",
    f"{CMAP} -m stats -s stats.clear.foo u8 1",
    f"{CMAP} -m stats -g stats.clear.all",
    f"{CPG} -h",
    f"{CPG} -x",
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[:60])
def test_a_command_cannot_tell_the_rings_apart(pair: Pair, command: str) -> None:
    stock, ours = pair.both(lambda node: run(node, words(command)))
    assert ours == stock


@pytest.mark.parametrize("command", [f"{QUORUM} -s", f"{CMAP} totem.", f"{CFG} -s", f"{CFG} -R", CPG])
def test_a_user_without_permission_is_refused_in_the_same_words(pair: Pair, command: str) -> None:
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    stock, ours = pair.both(lambda node: run(node, (*nobody, *words(command))))
    assert ours == stock


# What changes something, with what shows the change. The last command of each row undoes it.

SEQUENCES = {
    "every type of value": [
        *(f"{CMAP} -s lab.{kind} {kind} {value}" for kind, value in (("u8", 255), ("u16", 65535), ("u32", 7), ("flt", 1.5))),
        *(f"{CMAP} -s -- lab.{kind} {kind} -1" for kind in ("i8", "i16", "i32", "i64", "dbl")),
        f"{CMAP} -s lab.u64 u64 18446744073709551615",
        f"{CMAP} -s lab.str str some␣words",
        f"{CMAP} -s lab.bin bin /etc/hostname",
        f"{CMAP} lab.",
        f"{CMAP} -b lab.",
        f"{CMAP} -q lab.",
        f"{CMAP} -d lab.u8 lab.u8 lab.u16",
        f"{CMAP} lab.u",
        f"{CMAP} -D lab.",
    ],
    "a key changes its type": [
        f"{CMAP} -s lab.key u8 1",
        f"{CMAP} -s lab.key str one",
        f"{CMAP} -g lab.key",
        f"{CMAP} -d lab.key",
        f"{CMAP} -g lab.key",
    ],
    "keys that look read-only and are not": [
        f"{CMAP} -s quorum.lab u8 1",
        f"{CMAP} -s runtime.members.7.ip str x",
        f"{CMAP} -s resources.lab u8 1",
        f"{CMAP} -d quorum.lab runtime.members.7.ip resources.lab",
    ],
    # It is switched off before it is deleted: stock still reads the old value of a key that is being deleted.
    "two_node on a running ring": [
        f"{CMAP} -s quorum.two_node u8 1",
        f"{QUORUM} -s",
        f"{CMAP} -s quorum.two_node u8 0",
        f"{QUORUM} -s",
        f"{CMAP} -d quorum.two_node",
        f"{QUORUM} -s",
    ],
    "statistics are cleared": [f"{CMAP} -C {what}" for what in ("ipc", "totem", "knet", "schedmiss", "all")],
    "votes of another node": [
        f"{QUORUM} -n 2 -v 2",
        f"{QUORUM} -s",
        f"{QUORUM} -n 2 -v 0",
        f"{QUORUM} -s",
        f"{QUORUM} -n 2 -v 1",
        f"{QUORUM} -e 3",
        f"{QUORUM} -s",
    ],
    "expected votes": [f"{QUORUM} -e 5", f"{QUORUM} -s", f"{QUORUM} -e 3", f"{QUORUM} -s"],
}


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_change_and_what_shows_it(pair: Pair, sequence: str) -> None:
    stock, ours = pair.both(lambda node: run(node, *map(words, SEQUENCES[sequence])))
    assert ours == stock


def test_a_file_of_cmap_commands(pair: Pair, tmp_path: Path) -> None:
    file = tmp_path / "commands"
    file.write_text("# a comment\n\nlab.a u32 7\nlab.b str word\n^lab.a\n^nosuch\nlab.d u8 1\n^^lab.d\nlab.c u8\nlab.e u8 1\n")
    stock, ours = pair.both(lambda node: run(node, (CMAP, "-p", str(file)), (CMAP, "lab."), (CMAP, "-D", "lab.")))
    assert ours == stock


@pytest.mark.parametrize("options", ["", "-e", "-d:", "-n", "-n -d,", "-n -e"])
def test_groups_are_listed_in_the_same_order(pair: Pair, groups: dict[int, str], options: str) -> None:
    def listed(node: Node) -> str:
        return re.sub(r"\b\d+\b", lambda number: groups.get(int(number[0]), number[0]), run(node, (CPG, *options.split())))

    stock, ours = (re.sub(" +pid", " pid", text) for text in pair.both(listed))
    assert ours == stock
    assert "first" in ours


# Watching.


class Watcher:
    """A cmapctl that watches; told to quit at the end of its block."""

    def __init__(self, node: Node, options: str) -> None:
        """Watches already."""
        self.lab = node.lab
        self.lines: list[str] = []
        self.unmasked = ""
        """The last of them, as it was written."""
        self.status: int | None = None
        self._process = node.popen("stdbuf", "-oL", CMAP, *options.split())
        self.read_until('Type "q" to finish')

    def read_until(self, pattern: str) -> None:
        """Read lines up to one that matches."""
        self.read(1)
        while not re.match(pattern, self.lines[-1]):
            self.read(1)

    def read(self, count: int) -> None:
        """Read so many lines."""
        assert self._process.stdout is not None
        for _ in range(count):
            line = self._process.stdout.readline()
            assert line, f"the watcher ended; it had said {self.lines}"
            self.unmasked = line
            self.lines.append(mask(line, self.lab).strip())

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *unused: object) -> None:
        rest, _ = self._process.communicate("q\n", timeout=DEADLINE)
        self.lines += mask(rest, self.lab).splitlines()
        self.status = self._process.returncode


CHANGES = [
    f"{CMAP} -s lab.key u32 1",
    f"{CMAP} -s lab.key u32 2",
    f"{CMAP} -s lab.key u32 2",  # an equal value is no change
    f"{CMAP} -s lab.key u8 2",
    f"{CMAP} -s lab.keys str more",
    f"{CMAP} -D lab.keys",
    f"{CMAP} -s lab.key bin /etc/hostname",
    f"{CMAP} -d lab.key",
]


@pytest.mark.parametrize("options", ["-t lab.key", "-T lab.", "-b -T lab.k"])
def test_a_watcher_is_told_the_same(pair: Pair, options: str) -> None:
    def seen(node: Node) -> tuple[list[str], int | None]:
        with Watcher(node, options) as watcher:
            run(node, *map(words, CHANGES))
            watcher.read_until(r"delete> lab\.key ")
        return watcher.lines, watcher.status

    stock, ours = seen(pair.stock.node(1)), seen(pair.ours.node(1))
    assert ours == stock


def test_a_watcher_of_connections_sees_a_program_come_and_go(pair: Pair, program: Path) -> None:
    def seen(node: Node) -> set[str]:
        with Watcher(node, "-m stats -T stats.ipcs.service2") as watcher:
            member = Member(node, "watched", program)
            member.wait_joined()
            watcher.read(KEYS_OF_A_CONNECTION)
            member.end()
            watcher.read(KEYS_OF_A_CONNECTION)
        return {re.sub(r"= \d+$", "= …", line) for line in watcher.lines}

    stock, ours = seen(pair.stock.node(1)), seen(pair.ours.node(1))
    assert ours == stock
    assert "create> stats.ipcs.service2.PID.POINTER.procname (str) = participant" in ours


@pytest.mark.parametrize(("tool", "connections"), [(f"{QUORUM} -s", 4), (CPG, 2), (f"{CFG} -s", 2), (f"{CMAP} totem.version", 1)])
def test_a_watcher_of_connections_misses_no_program_however_short_it_lives(pair: Pair, tool: str, connections: int) -> None:
    def seen(node: Node) -> list[str]:
        found: list[str] = []
        with Watcher(node, "-m stats -T stats.ipcs.") as watcher:
            process = node.popen(*tool.split())
            process.communicate(timeout=DEADLINE)
            while len(found) < 2 * connections * KEYS_OF_A_CONNECTION:
                watcher.read(1)
                # The end of an earlier program may be told here too.
                if f".{process.pid}.0x" in watcher.unmasked:
                    found.append(watcher.lines[-1])
        # A tool that ends may leave events unsent, as the scheduler has it: the last values of its counters are not compared.
        return sorted(re.sub(r"^(delete> .* = )\d+$", r"\1…", line) for line in found)

    stock, ours = pair.both(seen)
    assert ours == stock


def test_the_monitor_of_quorum_shows_the_present_state_at_once(pair: Pair) -> None:
    def seen(node: Node) -> str:
        monitor = node.popen("stdbuf", "-oL", QUORUM, "-m")
        assert monitor.stdout is not None
        lines = [monitor.stdout.readline()]
        while "node3" not in lines[-1]:
            lines.append(monitor.stdout.readline())
        lines.append(monitor.stdout.readline())
        monitor.kill()
        return mask("".join(lines), node.lab)

    stock, ours = pair.both(seen)
    assert ours == stock


# The whole map.

ONLY_OURS = {r"system\.(log|run|state)_dir$": "the lab gives our nodes folders of their own by name, stock ones by mounts"}
ONLY_OURS_STATISTICS = {
    r"stats\.srp\.dropped\.": "frames and messages that were dropped, by reason",
    r"stats\.totem\.": "pairs of nodes that cannot hear each other, probes, early accusations and pauses",
    r"stats\.net\.": "what the transport could not receive or send",
    r"stats\.services\.": "messages that no engine could take or decode",
}
COUNTERS = {
    r"runtime\.services\..*\.[rt]x$": "messages that depend on how many rings were formed at the start",
    r"runtime\.members\.\d+\.join_count$": "the same",
}
RELOADED = {r"totem\.interface\.0\.bindnetaddr$": "stock forgets what it derived from the node list at the first reload"}
_KEY = re.compile(r"(\S+) \((\w+)\)(?: = (.*))?")


def dump(node: Node, *options: str) -> dict[str, tuple[str, str]]:
    """Every key with its type and value, as corosync-cmapctl prints them."""
    lines = mask(node.run(CMAP, *options).stdout, node.lab).splitlines()
    found = {}
    for line in lines:
        match = _KEY.fullmatch(line)
        assert match is not None, line
        found[match[1]] = (match[2], match[3])
    return found


def without(keys: dict[str, tuple[str, str]], exceptions: dict[str, str]) -> dict[str, tuple[str, str]]:
    """The keys that no exception names; every exception must name one."""
    stale = [pattern for pattern in exceptions if not any(re.match(pattern, key) for key in keys)]
    assert not stale, f"exceptions without a key: {stale}"
    return {key: entry for key, entry in keys.items() if not any(re.match(pattern, key) for pattern in exceptions)}


def test_the_maps_have_the_same_keys_types_and_values(pair: Pair) -> None:
    stock = dump(pair.stock.node(1))
    ours = without(dump(pair.ours.node(1)), ONLY_OURS)
    assert {key: kind for key, (kind, _) in ours.items()} == {key: kind for key, (kind, _) in stock.items()}
    assert without(ours, COUNTERS) == without(stock, COUNTERS)
    assert list(ours) == list(stock), "the order of the keys"


def test_the_statistics_have_the_same_keys_and_types(pair: Pair, groups: dict[int, str]) -> None:
    stock = dump(pair.stock.node(1), "-m", "stats")
    ours = without(dump(pair.ours.node(1), "-m", "stats"), ONLY_OURS_STATISTICS)
    assert "stats.ipcs.service2.PID.POINTER.procname" in ours
    assert {key: kind for key, (kind, _) in ours.items()} == {key: kind for key, (kind, _) in stock.items()}


def test_a_reload_says_the_same_and_leaves_the_same_map(pair: Pair) -> None:
    stock, ours = pair.both(lambda node: run(node, (CFG, "-R")))
    assert ours == stock
    after_stock = without(dump(pair.stock.node(1)), COUNTERS)
    after_ours = without(dump(pair.ours.node(1)), ONLY_OURS | COUNTERS | RELOADED)
    assert after_ours == after_stock


# Nodes that end: these come last.


def test_a_node_that_is_killed_by_command_ends_alike_and_the_others_show_it_alike(pair: Pair) -> None:
    stock, ours = pair.both(lambda node: run(node, (CFG, "-k", "3")))
    assert ours == stock
    statuses = [lab.node(3).wait_end() for lab in (pair.stock, pair.ours)]
    assert statuses == [255, 255]
    for lab in (pair.stock, pair.ours):
        lab.wait_ring({1, 2})
    commands = (
        f"{QUORUM} -s",
        f"{CFG} -s",
        f"{CFG} -s -b",
        f"{CFG} -n",
        f"{CFG} -a 3",
        f"{CFG} -k 3",
        f"{CMAP} runtime.members.3",
    )
    stock, ours = pair.both(lambda node: run(node, *map(words, commands)))
    assert ours == stock


def test_a_node_that_is_shut_down_by_command_leaves_the_other_without_quorum(pair: Pair) -> None:
    stock, ours = pair.both(lambda node: run(node, (CFG, "-H")), node=2)
    assert ours == stock
    statuses = [lab.node(2).wait_end() for lab in (pair.stock, pair.ours)]
    assert statuses == [0, 0]
    for lab in (pair.stock, pair.ours):
        lab.wait_ring({1})
        node = lab.node(1)
        wait_until(lambda node=node: node.run(QUORUM, "-s", check=False).returncode == 2, "the loss of quorum")  # type: ignore[misc]
    commands = (
        f"{QUORUM} -s",
        f"{QUORUM} -l",
        f"{CFG} -s",
        f"{CFG} -s -b",
        f"{CMAP} runtime.members",
        f"{CMAP} runtime.votequorum",
    )
    stock, ours = pair.both(lambda node: re.sub(r"join_count.*", "join_count …", run(node, *map(words, commands))))
    assert ours == stock
