"""Helpers of the configuration's tests: files, and a host of which everything is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from corosyncd.config.addresses import Address
from corosyncd.config.load import HostFacts, Loaded, load


@dataclass
class FakeResolver:
    """Names and addresses as the test says; numeric addresses resolve to themselves."""

    names: dict[str, list[str]] = field(default_factory=dict)
    reverses: dict[str, str] = field(default_factory=dict)
    ip_version: str = ""
    asked: list[str] = field(default_factory=list)

    def addresses(self, name: str) -> list[str]:
        self.asked.append(name)
        return self.names.get(name, [name] if name[:1].isdigit() or ":" in name else [])

    def reverse(self, address: str) -> str | None:
        self.asked.append(address)
        return self.reverses.get(address)

    def lookup(self, name: str) -> Address | None:
        found = self.addresses(name)
        return Address(6 if ":" in found[0] else 4, found[0]) if found else None


MINIMAL = """\
totem:
  version: 2
  transport: udpu
nodelist:
  node:
    - {ring0_addr: 10.84.0.1, name: node1, nodeid: 1}
    - {ring0_addr: 10.84.0.2, name: node2, nodeid: 2}
"""


def load_text(
    directory: Path,
    text: str,
    *,
    strict: bool = False,
    hint: str = "",
    host_name: str = "node1",
    addresses: tuple[str, ...] = (),
    resolver: FakeResolver | None = None,
) -> Loaded:
    """Load a file with this text on a host that has the users haclient (90, group 91) and nobody else."""
    path = directory / "corosync.yaml"
    path.write_text(text)
    known = resolver or FakeResolver()

    def make_resolver(ip_version: str) -> FakeResolver:
        known.ip_version = ip_version
        return known

    host = HostFacts(
        name=lambda: host_name,
        addresses=lambda: list(addresses),
        resolver=make_resolver,
        user_id={"haclient": 90}.get,
        group_id={"haclient": 91}.get,
        state_directory=lambda: str(directory),
    )
    return load(str(path), strict=strict, hint=hint, host=host)


def errors(loaded: Loaded) -> list[str]:
    """Errors as ``line:column: key: message`` without the file."""
    return [":".join(str(problem).split(":")[1:]) if problem.line else str(problem) for problem in loaded.errors]


def warnings(loaded: Loaded) -> list[str]:
    """Warnings in the same form."""
    return [":".join(str(problem).split(":")[1:]) if problem.line else str(problem) for problem in loaded.warnings]


def with_section(section: str) -> str:
    """The smallest good file and one more section."""
    return MINIMAL + section


def with_totem(line: str) -> str:
    """The smallest good file with one more key of totem; it stands in line 4, column 3."""
    return MINIMAL.replace("  transport: udpu\n", f"  transport: udpu\n  {line}\n")
