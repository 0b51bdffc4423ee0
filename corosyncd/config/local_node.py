"""Which entry of the nodelist is this host.

Source: corosync.conf(5) "nodelist", reference config section 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import NamedTuple, Protocol


class Resolver(Protocol):
    """What the search asks about names and addresses."""

    def addresses(self, name: str) -> list[str]:
        """Every numeric address of a name, empty where there is none."""

    def reverse(self, address: str) -> str | None:
        """The name of a numeric address, None where there is none."""


class Candidate(NamedTuple):
    """How an entry may be recognised; "" where a field is not set. ``addresses`` are those of all links."""

    name: str
    ring0_address: str
    node_id: int = 0
    addresses: tuple[str, ...] = ()


def find_hinted(candidates: Sequence[Candidate], hint: str) -> int | None:
    """The entry that ``system.local_node`` names: by name, else by an address as written, else by node id."""
    forms: tuple[list[set[str]], ...] = (
        [{candidate.name} for candidate in candidates],
        [set(candidate.addresses) for candidate in candidates],
        [{str(candidate.node_id)} if candidate.node_id else set() for candidate in candidates],
    )
    for form in forms:
        for position, known in enumerate(form):
            if hint in known:
                return position
    return None


def find(candidates: Sequence[Candidate], host_name: str, local_addresses: Iterable[str], resolver: Resolver) -> int | None:
    """The position of this host's entry, None where none fits. The first of these hits counts:

    1. the host name; 2. the host name without its domain parts, taken off one by one; 3. the short host name against names cut
    at their first dot; 4. for each local address its reverse name, that name's short form, the address itself; 5. the
    candidates' names, resolved, against the local addresses.
    """
    fields = list(_in_map_order(candidates))
    addresses = list(local_addresses)
    found = _by_host_name(fields, host_name)
    if found is None:
        found = _by_local_address(fields, addresses, resolver)
    if found is None:
        known = {_canonical(address) for address in addresses}
        found = next((position for position, text in fields if known & {_canonical(a) for a in resolver.addresses(text)}), None)
    return found


def _in_map_order(candidates: Sequence[Candidate]) -> Iterator[tuple[int, str]]:
    """(position, text) of every name and ring0_addr in the order of the map: node.10 comes before node.2."""
    for position in sorted(range(len(candidates)), key=str):
        for text in (candidates[position].name, candidates[position].ring0_address):
            if text:
                yield position, text


def _first(fields: list[tuple[int, str]], wanted: str) -> int | None:
    return next((position for position, text in fields if text == wanted), None)


def _by_host_name(fields: list[tuple[int, str]], host_name: str) -> int | None:
    name = host_name
    while name:
        found = _first(fields, name)
        if found is not None:
            return found
        name = name.rpartition(".")[0]
    short = host_name.partition(".")[0]
    return next((position for position, text in fields if short and text.partition(".")[0] == short), None)


def _by_local_address(fields: list[tuple[int, str]], addresses: list[str], resolver: Resolver) -> int | None:
    # A reverse name can only equal a field that is a name: without one, the resolver is spared.
    names_exist = any(_canonical(text) == text and not _is_address(text) for _, text in fields)
    for address in addresses:
        reverse = resolver.reverse(address) if names_exist else None
        forms = [reverse, reverse.partition(".")[0]] if reverse else []
        for form in [*forms, address]:
            found = _first(fields, form)
            if found is not None:
                return found
    return None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _canonical(text: str) -> str:
    """A numeric address in its one spelling; other texts unchanged."""
    try:
        return str(ip_address(text))
    except ValueError:
        return text
