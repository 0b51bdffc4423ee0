"""Which entry of the nodelist is this host (reference config section 5)."""

from __future__ import annotations

import socket

import pytest

from corosyncd.config.addresses import SystemResolver, interface_addresses
from corosyncd.config.local_node import Candidate, find, find_hinted
from tests.unit.config_files import FakeResolver


def named(*pairs: tuple[str, str]) -> list[Candidate]:
    return [Candidate(name, address) for name, address in pairs]


@pytest.mark.parametrize(
    ("host", "candidates", "position"),
    [
        ("b", [("a", "10.0.0.1"), ("b", "10.0.0.2")], 1),
        ("b.example.org", [("b", "10.0.0.1"), ("b.example.org", "10.0.0.2")], 1),
        ("b.example.org", [("b", "10.0.0.1"), ("b.example", "10.0.0.2")], 1),
        ("b.example.org", [("a", "10.0.0.1"), ("b", "10.0.0.2")], 1),
        ("b", [("a.example.org", "10.0.0.1"), ("b.example.org", "10.0.0.2")], 1),
        ("b.one.org", [("a", "x"), ("b.two.org", "y")], 1),
        ("b", [("", "a"), ("", "b")], 1),
        ("b", [("x", "b"), ("b", "x")], 0),
        ("elsewhere", [("a", "10.0.0.1")], None),
    ],
)
def test_the_host_name_is_looked_for_whole_then_shortened(
    host: str, candidates: list[tuple[str, str]], position: int | None
) -> None:
    assert find(named(*candidates), host, [], FakeResolver()) == position


def test_entries_are_compared_in_the_order_of_the_map() -> None:
    entries = named(*[("same" if position in (2, 10) else f"n{position}", "") for position in range(12)])
    assert find(entries, "same", [], FakeResolver()) == 10


def test_a_local_address_is_known_by_its_reverse_name_then_its_short_form_then_itself() -> None:
    entries = named(("a", "10.0.0.1"), ("b.example", "10.0.0.2"), ("c", "10.0.0.3"))
    resolver = FakeResolver(reverses={"192.0.2.1": "b.example", "192.0.2.2": "c.example"})
    assert find(entries, "x", ["192.0.2.1"], resolver) == 1
    assert find(entries, "x", ["192.0.2.2"], resolver) == 2
    assert find(entries, "x", ["10.0.0.3"], resolver) == 2
    assert find(entries, "x", ["192.0.2.9", "10.0.0.1"], resolver) == 0


def test_the_first_local_address_that_fits_wins_over_later_ones() -> None:
    entries = named(("a", "10.0.0.1"), ("b", "10.0.0.2"))
    assert find(entries, "x", ["10.0.0.2", "10.0.0.1"], FakeResolver()) == 1


def test_names_are_resolved_last() -> None:
    entries = named(("a", "ring-a"), ("b", "ring-b"))
    resolver = FakeResolver(names={"ring-a": ["10.0.0.1"], "ring-b": ["192.0.2.1", "10.0.0.2"]})
    assert find(entries, "x", ["10.0.0.2"], resolver) == 1
    assert find(entries, "x", ["10.0.0.9"], resolver) is None


def test_addresses_are_compared_by_what_they_mean() -> None:
    assert find(named(("", "fd00:0::1")), "x", ["fd00::1"], FakeResolver()) == 0


def test_reverse_names_are_not_asked_for_where_the_nodelist_has_no_names() -> None:
    resolver = FakeResolver()
    assert find(named(("", "10.0.0.1"), ("", "10.0.0.2")), "x", ["127.0.0.1", "10.0.0.2"], resolver) == 1
    assert resolver.asked == []


def test_a_hint_is_a_name_before_an_address_before_a_node_id() -> None:
    entries = [
        Candidate("a", "127.0.0.1", 3, ("127.0.0.1",)),
        Candidate("3", "127.0.0.2", 2, ("127.0.0.2",)),
        Candidate("c", "127.0.0.3", 1, ("127.0.0.3",)),
    ]
    assert [find_hinted(entries, hint) for hint in ("3", "127.0.0.1", "1", "127.0.0.9", "0")] == [1, 0, 2, None, None]


def test_the_interfaces_of_this_host_include_loopback() -> None:
    assert "127.0.0.1" in interface_addresses()


def test_literals_resolve_by_the_allowed_families() -> None:
    assert SystemResolver("ipv6-4").lookup("127.0.0.2") == (4, "127.0.0.2")
    assert SystemResolver("ipv6").lookup("127.0.0.2") is None
    assert SystemResolver("ipv4").lookup("127.0.0.2") == (4, "127.0.0.2")
    assert SystemResolver("ipv4").lookup("x" * 300) is None


def test_the_preferred_family_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}

    def resolve(name: str, port: None, family: int, type: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(family, type, 0, "", (answers[socket.AddressFamily(family)], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert SystemResolver("ipv6-4").lookup("both") == (6, "2001:db8::1")
    assert SystemResolver("ipv4-6").lookup("both") == (4, "192.0.2.1")
    assert SystemResolver("ipv4-6").addresses("both") == ["192.0.2.1", "2001:db8::1"]
