"""The keys of votequorum(5): read, checked against each other, and turned into rules.

The order of the checks and their texts are part of the interface: operators know them from stock daemons.

Source: votequorum(5), reference services section 4.6, config section 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol
from zlib import crc32

from corosyncd.engines.engine import ConfigurationError
from corosyncd.engines.votequorum.decision import LARGEST_NUMBER, LARGEST_VOTE_SUM, Rules, TieBreaker
from corosyncd.keyspace.rules import EXPECTED_VOTES_TRACKING_KEYS
from corosyncd.keyspace.values import Value

DEFAULT_WINDOW_MS = 10000
DEFAULT_DEVICE_TIMEOUT_MS = 10000
DEFAULT_DEVICE_SYNC_TIMEOUT_MS = 30000
PREFIXES = ("quorum.", "nodelist.")
CANCEL_WAITING_KEY = "quorum.cancel_wait_for_all"
"""Below one of the prefixes, but an order to the running node, not configuration."""
_NODE_PREFIX = "nodelist.node."


class Keys(Protocol):
    """Where the configuration is read from: the engine's replica of the map."""

    def key(self, name: str) -> Value | None:
        """One key's value."""

    def keys(self, prefix: str = "") -> Iterator[tuple[str, Value]]:
        """All keys below a prefix, in byte order."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration that passed its checks."""

    votes: int
    """Of the local node."""
    expected_votes: int
    rules: Rules
    initial_tie_breaker: TieBreaker
    """As configured at start: each later reading begins with it again, since odd and even vote sums come and go."""
    waiting_follows_two_node: bool
    """wait_for_all was never configured: it is on exactly while two_node is."""
    device_configured: bool
    device_usable: bool
    """Programs may register a quorum device and vote through it."""
    device_votes: int
    window_ms: int = DEFAULT_WINDOW_MS
    device_timeout_ms: int = DEFAULT_DEVICE_TIMEOUT_MS
    device_sync_timeout_ms: int = DEFAULT_DEVICE_SYNC_TIMEOUT_MS
    fingerprint: int = 0
    """Of the keys read: a successor sees whether they have changed since."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reading gives: the settings and what the operator is to be told (stock priority word, text)."""

    settings: Settings
    notices: tuple[tuple[str, str], ...]


class Conflict(Exception):
    """The configuration contradicts itself; refuses a start, and leaves the data of a running node as they are."""


@dataclass(frozen=True, slots=True)
class _NodeList:
    """The votes in ``nodelist``."""

    count: int = 0
    total: int = 0
    own: int = 1


@dataclass(frozen=True, slots=True)
class _Device:
    """``quorum.device``: ``votes`` is None where the key is absent."""

    configured: bool
    votes: int | None
    timeout_ms: int
    sync_timeout_ms: int


class _Reader:
    """One pass over the keys, in the order of section 4.6; ``previous`` is None at the node's start.

    At run time a conflict with the device does not refuse the configuration: the device is put out of use instead.
    """

    def __init__(self, keys: Keys, own_id: int, previous: Settings | None, *, device_registered: bool) -> None:
        self._keys = keys
        self._own_id = own_id
        self._previous = previous
        self._device_registered = device_registered
        self._device_usable = True
        self.notices: list[tuple[str, str]] = []

    def read(self, tracking_barrier: int) -> Settings:
        """All checks; raises Conflict."""
        nodelist = self._nodelist()
        device = self._device()
        expected = self._number("quorum.expected_votes", 0)
        two_node = self._flag("quorum.two_node")
        if not nodelist.count and not expected:
            raise Conflict("configuration error: nodelist or quorum.expected_votes must be configured!")
        two_node = self._two_node_or_device(two_node, device)
        rules, follows = self._rules(two_node)
        initial = rules.tie_breaker
        rules = self._tie_breaker_allowed(rules, nodelist)
        device_votes, nodelist_expected = self._device_votes(device, rules, nodelist, expected)
        if rules.expected_votes_tracking:
            expected = self._tracked(tracking_barrier, nodelist_expected if nodelist.count else 0, expected)
        settings = Settings(
            votes=nodelist.own if nodelist.count else self._number("quorum.votes", 1),
            expected_votes=expected or nodelist_expected,
            rules=rules,
            initial_tie_breaker=initial,
            waiting_follows_two_node=follows,
            device_configured=device.configured,
            device_usable=self._device_usable,
            device_votes=device_votes,
            window_ms=self._window(),
            device_timeout_ms=device.timeout_ms,
            device_sync_timeout_ms=device.sync_timeout_ms,
            fingerprint=fingerprint(self._keys),
        )
        self._check_sums(settings, nodelist)
        return settings

    # Reading ----------------------------------------------------------------------------------------------------------------

    def _number(self, name: str, default: int) -> int:
        value = self._keys.key(name)
        number = value.python() if value is not None else default
        # Clients may write any type and number here; what no vote or time can be counts as absent.
        return number if isinstance(number, int) and 0 <= number <= LARGEST_NUMBER else default

    def _flag(self, name: str) -> bool:
        return self._number(name, 0) != 0

    def _text(self, name: str) -> str:
        value = self._keys.key(name)
        text = value.python() if value is not None else ""
        return text if isinstance(text, str) else ""

    def _window(self) -> int:
        if self._previous is not None:
            return self._previous.window_ms
        return self._number("quorum.last_man_standing_window", DEFAULT_WINDOW_MS)

    def _nodelist(self) -> _NodeList:
        positions = {name[len(_NODE_PREFIX) :].partition(".")[0] for name, _ in self._keys.keys(_NODE_PREFIX)}
        total = 0
        own = 1
        for position in positions:
            votes = self._number(f"{_NODE_PREFIX}{position}.quorum_votes", 1)
            total += votes
            if self._number(f"{_NODE_PREFIX}{position}.nodeid", 0) == self._own_id:
                own = votes
        return _NodeList(len(positions), total, own)

    def _device(self) -> _Device:
        votes = self._number("quorum.device.votes", -1)
        return _Device(
            configured=self._text("quorum.device.model") != "",
            votes=votes if votes >= 0 else None,
            timeout_ms=self._number("quorum.device.timeout", DEFAULT_DEVICE_TIMEOUT_MS),
            sync_timeout_ms=self._number("quorum.device.sync_timeout", DEFAULT_DEVICE_SYNC_TIMEOUT_MS),
        )

    def _rules(self, two_node: bool) -> tuple[Rules, bool]:
        """The options; those that cannot change at run time come from the previous settings, where there are any."""
        if self._previous is None:
            rules, follows = self._rules_at_start(), self._keys.key("quorum.wait_for_all") is None
        else:
            rules, follows = self._previous.rules, self._previous.waiting_follows_two_node
            rules = replace(rules, tie_breaker=self._previous.initial_tie_breaker)
        if follows:
            rules = replace(rules, wait_for_all=two_node)
        if two_node and rules.tie_breaker is not TieBreaker.NONE:
            self._note("crit", "two_node and auto_tie_breaker are both specified but are not compatible: two_node is disabled")
            two_node = False
        return replace(rules, two_node=two_node), follows

    def _rules_at_start(self) -> Rules:
        tie_breaker, nodes = self._tie_breaker()
        return Rules(
            wait_for_all=self._flag("quorum.wait_for_all"),
            last_man_standing=self._flag("quorum.last_man_standing"),
            tie_breaker=tie_breaker,
            tie_breaker_nodes=nodes,
            allow_downscale=self._flag("quorum.allow_downscale"),
            expected_votes_tracking=any(map(self._flag, EXPECTED_VOTES_TRACKING_KEYS)),
        )

    def _tie_breaker(self) -> tuple[TieBreaker, tuple[int, ...]]:
        words = self._text("quorum.auto_tie_breaker_node").split()
        if not self._flag("quorum.auto_tie_breaker"):
            if words:
                self._note("warning", "auto_tie_breaker_node has no effect without auto_tie_breaker")
            return TieBreaker.NONE, ()
        if words in ([], ["lowest"]):
            return TieBreaker.LOWEST, ()
        if words == ["highest"]:
            return TieBreaker.HIGHEST, ()
        nodes = tuple(_leading_numbers(words))
        if not nodes:
            self._note(
                "crit", "auto_tie_breaker_node is neither lowest, highest nor a list of node ids: auto_tie_breaker is disabled"
            )
            return TieBreaker.NONE, ()
        return TieBreaker.LIST, nodes

    # Checks -----------------------------------------------------------------------------------------------------------------

    def _two_node_or_device(self, two_node: bool, device: _Device) -> bool:
        if not (two_node and device.configured):
            return two_node
        text = "configuration error: two_node and quorum device cannot be configured at the same time!"
        if self._previous is None:
            raise Conflict(text)
        if self._device_registered:
            self._note("crit", f"{text} The quorum device is registered: two_node is disabled")
            return False
        self._note("crit", f"{text} The quorum device is not registered: its operation is disabled")
        self._device_usable = False
        return True

    def _tie_breaker_allowed(self, rules: Rules, nodelist: _NodeList) -> Rules:
        """An isolated majority of an odd cluster and the tie breaker's half could both be quorate, unless all must meet first."""
        if rules.tie_breaker is TieBreaker.NONE or nodelist.total % 2 == 0 or rules.wait_for_all:
            return rules
        if rules.last_man_standing:
            raise Conflict("configuration error: auto_tie_breaker & last_man_standing not available in odd sized cluster")
        self._note("warning", "auto_tie_breaker needs wait_for_all in an odd sized cluster: auto_tie_breaker is disabled")
        return replace(rules, tie_breaker=TieBreaker.NONE)

    def _device_votes(self, device: _Device, rules: Rules, nodelist: _NodeList, expected: int) -> tuple[int, int]:
        """The device's votes, and what the nodelist makes of expected_votes."""
        if not device.configured:
            return 0, nodelist.total
        for option in ("last_man_standing", "auto_tie_breaker", "allow_downscale"):
            on = rules.tie_breaker is not TieBreaker.NONE if option == "auto_tie_breaker" else getattr(rules, option)
            if on:
                self._refuse_device(f"configuration error: quorum.device is not compatible with {option}")
        if device.votes is None and expected:
            self._refuse_device("configuration error: quorum.device.votes must be specified when quorum.expected_votes is set")
        elif device.votes is None and nodelist.count != nodelist.total:
            self._refuse_device("configuration error: quorum.device.votes must be specified when not all nodes votes 1")
        elif device.votes is None:
            return nodelist.total - 1, 2 * nodelist.total - 1
        elif expected and expected - device.votes < 2:
            self._refuse_device("configuration error: quorum.device.votes is too high or expected_votes is too low")
        if device.votes is None:
            # Out of use, and nobody can say what it would vote; the others may still count what it did.
            return self._previous.device_votes if self._previous is not None else 0, nodelist.total
        return device.votes, nodelist.total

    def _tracked(self, barrier: int, nodelist_expected: int, expected: int) -> int:
        """The expected votes with expected_votes_tracking; 0 leaves them to the nodelist.

        As on stock nodes they replace what is configured. What an earlier life has stored (which stock nodes fail to do) is a
        minimum: nodes may have been added since.
        """
        if not nodelist_expected:
            return max(barrier, expected)
        return max(barrier, nodelist_expected) if self._previous is None else barrier

    def _refuse_device(self, text: str) -> None:
        if self._previous is None:
            raise Conflict(text)
        self._note("crit", f"{text}: the quorum device's operation is disabled")
        self._device_usable = False

    def _check_sums(self, settings: Settings, nodelist: _NodeList) -> None:
        tracked = " (the highest ever seen, from the file ev_tracking)" if settings.rules.expected_votes_tracking else ""
        sums = {
            f"quorum.expected_votes{tracked}": settings.expected_votes,
            "the sum of votes": max(nodelist.total, settings.votes) + settings.device_votes,
        }
        for name, value in sums.items():
            if value > LARGEST_VOTE_SUM:
                raise Conflict(f"configuration error: {name} is {value}: {too_many_votes()}")

    def _note(self, level: str, text: str) -> None:
        self.notices.append((level, text))


def too_many_votes() -> str:
    """Why a sum of votes is refused that stock would accept and then wrap."""
    return f"more than {LARGEST_VOTE_SUM} votes need a quorum beyond the 8 bits that other nodes of this protocol hold it in"


def _leading_numbers(words: list[str]) -> Iterator[int]:
    for word in words:
        if not (word.isascii() and word.isdigit()):
            return
        yield int(word)


def fingerprint(keys: Keys) -> int:
    """A check sum over everything that a reading looks at."""
    check_sum = 0
    for prefix in PREFIXES:
        for name, value in keys.keys(prefix):
            if name != CANCEL_WAITING_KEY:
                check_sum = crc32(value.data, crc32(f"{name}={value.type}:".encode(), check_sum))
    return check_sum


def read_at_start(keys: Keys, own_id: int, tracking_barrier: int) -> Reading:
    """The node's first reading. Raises ConfigurationError with stock's text."""
    reader = _Reader(keys, own_id, None, device_registered=False)
    try:
        return Reading(reader.read(tracking_barrier), tuple(reader.notices))
    except Conflict as conflict:
        raise ConfigurationError(str(conflict)) from conflict


def read_again(keys: Keys, own_id: int, tracking_barrier: int, previous: Settings, *, device_registered: bool) -> Reading:
    """A reading at run time. Raises Conflict: the previous settings stay in force."""
    reader = _Reader(keys, own_id, previous, device_registered=device_registered)
    return Reading(reader.read(tracking_barrier), tuple(reader.notices))
