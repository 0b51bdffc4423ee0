"""Reads the whole document: every section into keys of the map, and the lists that need more than keys.

Nodes, links, loggers, users and loadable engines are lists in the file; their names in the map follow their positions,
numbers or names (reference config sections 4, 5, 7, 11 and 16).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from corosyncd.config import schema
from corosyncd.config.problems import STATUS_LOGGING, Place, Problems
from corosyncd.config.reader import Fields, Reader, quoted
from corosyncd.config.yaml_file import Mapping, Node, Scalar
from corosyncd.keyspace.values import Value, text, uint8

MAXIMUM_LINKS = 8
MAXIMUM_NODES = 384
MAXIMUM_ENGINES = 56
"""Service ids 8 to 63."""

_RING_ADDRESS = re.compile(r"ring([0-9]{1,3})_addr", re.ASCII)


@dataclass(slots=True)
class NodeEntry:
    """One node of the nodelist as written; ``addresses`` by link number."""

    position: int
    fields: Fields
    addresses: dict[int, Scalar]

    @property
    def name(self) -> str:
        """The node's name, "" where it has none."""
        return self.fields.text("name")

    @property
    def node_id(self) -> int:
        """The node id as written; 0 stands for none."""
        return self.fields.number("nodeid")


@dataclass(slots=True)
class Document:
    """The configuration as read, before the rules between its parts."""

    reader: Reader
    nodes: list[NodeEntry] = field(default_factory=list)
    links: dict[int, Place] = field(default_factory=dict)
    """Links that have keys of their own in ``totem.interface``, and where."""
    members: Place | None = None
    """Where an old ``member`` section stands."""
    engines: list[dict[str, str | int]] = field(default_factory=list)
    users: list[tuple[str, Scalar]] = field(default_factory=list)
    """("uid" or "gid", name or number) in file order."""


def wants_strict(tree: Mapping) -> bool:
    """Whether the file itself asks for ``system.strict``."""
    for key, node in tree.entries:
        if key.text == "system" and isinstance(node, Mapping):
            return any(name.text == "strict" and isinstance(v, Scalar) and v.text in ("yes", "true") for name, v in node.entries)
    return False


def read_document(tree: Mapping, problems: Problems, strict: bool) -> Document:
    """Read every section in file order."""
    reader = Reader(problems, strict, Place(tree.place.file))
    document = Document(reader)
    known = [*schema.TOP, *schema.TOP_LISTS, *schema.WITHOUT_EFFECT]
    lists: dict[str, Callable[[Document, Node], None]] = {
        "totem.interface": _read_interfaces,
        "nodelist.node": _read_nodes,
        "logging.logger_subsys": _read_loggers,
        "logging.logging_daemon": _read_logging_daemons,
    }
    for key, node in tree.entries:
        name = key.text
        if name in schema.TOP:
            for list_name, nodes in reader.section(schema.TOP[name], node, name).items():
                for item in nodes:
                    lists[f"{name}.{list_name}"](document, item)
        elif name == "uidgid":
            read_users(document, node)
        elif name == "engines":
            _read_engines(document, node)
        else:
            reader.judge_unknown(key, "", [] if name in schema.WITHOUT_EFFECT else known)
            reader.strings(node, name)
    return document


def read_users(document: Document, node: Node) -> None:
    """``uidgid``: who may connect; a key may hold a list."""
    reader = document.reader
    for mapping in reader.mappings(node, "uidgid"):
        for key, value in mapping.entries:
            if key.text in ("uid", "gid"):
                document.users += [(key.text, scalar) for scalar in reader.scalars(value, f"uidgid.{key.text}")]
            else:
                message = "only uid and gid may stand in a uidgid section; remove this key"
                reader.problems.error(key.place, f"uidgid.{key.text}", message, found=key.text, allowed="uid, gid")


def _read_interfaces(document: Document, node: Node) -> None:
    reader = document.reader
    for mapping in reader.mappings(node, "totem.interface"):
        fields = reader.fields(schema.Interface, mapping, "totem.interface")
        link = fields.number("linknumber")
        if fields.known.keys() - {"linknumber"} and link >= MAXIMUM_LINKS:
            message = f"link number {link} is too high; links are numbered from 0 to {MAXIMUM_LINKS - 1}"
            reader.problems.error(fields.place_of("linknumber"), "totem.interface.linknumber", message, found=str(link))
            continue
        for name, (value, scalar) in fields.known.items():
            if name != "linknumber":
                reader.store(f"totem.interface.{link}.{name}", value, scalar.place)
                document.links.setdefault(link, fields.place)
        for name, (value, scalar) in fields.unknown.items():
            reader.store(f"totem.interface.{name}", value, scalar.place)
        for name, (key, nested) in fields.nested.items():
            if name == "member":
                document.members = key.place
                _read_members(document, nested, link)
            else:
                reader.judge_unknown(key, "totem.interface", schema.Interface.kinds())
                reader.strings(nested, f"totem.interface.{name}")


def _read_members(document: Document, node: Node, link: int) -> None:
    reader = document.reader
    for position, mapping in enumerate(reader.mappings(node, "totem.interface.member")):
        for key, value in mapping.entries:
            if key.text == "memberaddr":
                for scalar in reader.scalars(value, "totem.interface.member.memberaddr")[-1:]:
                    reader.store(f"totem.interface.{link}.member.{position}", text(scalar.text), scalar.place)
            else:
                message = "only memberaddr may stand in a member section; remove this key"
                reader.problems.error(key.place, f"totem.interface.member.{key.text}", message, found=key.text)


def _read_nodes(document: Document, node: Node) -> None:
    reader = document.reader
    mappings = reader.mappings(node, "nodelist.node")
    if len(mappings) > MAXIMUM_NODES:
        message = f"the nodelist has {len(mappings)} nodes; at most {MAXIMUM_NODES} are possible"
        reader.problems.error(mappings[MAXIMUM_NODES].place, "nodelist.node", message, found=str(len(mappings)))
        mappings = mappings[:MAXIMUM_NODES]
    for position, mapping in enumerate(mappings):
        path = f"nodelist.node.{position}"
        known = Mapping([entry for entry in mapping.entries if not _is_high_link(document, entry[0], path)], mapping.place)
        fields = reader.fields(schema.Node, known, path)
        reader.store_fields(fields, path + ".")
        for name, (key, nested) in fields.nested.items():
            reader.judge_unknown(key, path, schema.Node.kinds())
            reader.strings(nested, f"{path}.{name}")
        addresses = {}
        for name, (_, scalar) in fields.known.items():
            match = _RING_ADDRESS.fullmatch(name)
            if match:
                addresses[int(match[1])] = scalar
        document.nodes.append(NodeEntry(position, fields, addresses))


def _is_high_link(document: Document, key: Scalar, path: str) -> bool:
    """Report an address on a link that cannot exist."""
    match = _RING_ADDRESS.fullmatch(key.text)
    if match is None or int(match[1]) < MAXIMUM_LINKS:
        return False
    message = f"link number {match[1]} is too high; links are numbered from 0 to {MAXIMUM_LINKS - 1}"
    document.reader.problems.error(key.place, f"{path}.{key.text}", message, found=key.text, allowed="ring0_addr to ring7_addr")
    return True


def _read_loggers(document: Document, node: Node) -> None:
    reader = document.reader
    for mapping in reader.mappings(node, "logging.logger_subsys"):
        fields = reader.fields(schema.LoggerSubsystem, mapping, "logging.logger_subsys", first_wins=True)
        name = fields.text("subsys")
        if name:
            reader.store_fields(fields, f"logging.logger_subsys.{name}.")
        elif not any(key.text == "subsys" for key, _ in mapping.entries):
            message = "the subsystem's name is missing; add a line such as 'subsys: TOTEM'"
            reader.problems.error(mapping.place, "logging.logger_subsys.subsys", message, status=STATUS_LOGGING)
        _judge_nested(reader, fields, "logging.logger_subsys", f"logging.logger_subsys.{name}")


def _read_logging_daemons(document: Document, node: Node) -> None:
    reader = document.reader
    for mapping in reader.mappings(node, "logging.logging_daemon"):
        fields = reader.fields(schema.LoggingDaemon, mapping, "logging.logging_daemon", first_wins=True)
        daemon = fields.text("name")
        subsystem = fields.text("subsys")
        if not daemon:
            message = "the daemon's name is missing; better move these keys into logging or logger_subsys"
            reader.problems.error(mapping.place, "logging.logging_daemon.name", message, status=STATUS_LOGGING)
            continue
        prefix = "logging."
        if daemon != "corosync":
            prefix += f"logging_daemon.{daemon}." + (f"{subsystem}." if subsystem else "")
        elif subsystem:
            prefix += f"logger_subsys.{subsystem}."
        fields.known.pop("name")
        if not subsystem:
            fields.known.pop("subsys", None)
        reader.store_fields(fields, prefix)
        _judge_nested(reader, fields, "logging.logging_daemon", prefix.rstrip("."))


def _judge_nested(reader: Reader, fields: Fields, path: str, stored_under: str) -> None:
    for name, (key, nested) in fields.nested.items():
        reader.judge_unknown(key, path, schema.LoggerSubsystem.kinds())
        reader.strings(nested, f"{stored_under}.{name}")


def _read_engines(document: Document, node: Node) -> None:
    """``engines``: checked here for what the daemon needs to start them; stored under ``system.engines.<position>.``."""
    reader = document.reader
    mappings = reader.mappings(node, "engines")
    if len(mappings) > MAXIMUM_ENGINES:
        message = f"at most {MAXIMUM_ENGINES} engines can be loaded"
        reader.problems.error(mappings[MAXIMUM_ENGINES].place, "engines", message, found=str(len(mappings)))
        mappings = mappings[:MAXIMUM_ENGINES]
    for position, mapping in enumerate(mappings):
        fields = reader.fields(schema.LoadableEngine, mapping, "engines")
        given = {key.text for key, _ in mapping.entries}
        for name in ("name", "import", "id"):
            if name not in given:
                message = f"the engine's {name} is missing; give {schema.LoadableEngine.kinds()[name].allowed}"
                reader.problems.error(mapping.place, f"engines.{name}", message)
        reader.store_fields(fields, f"system.engines.{position}.")
        _judge_nested(reader, fields, "engines", f"system.engines.{position}")
        engine: dict[str, str | int] = {
            "name": fields.text("name"),
            "import": fields.text("import"),
            "id": fields.number("id"),
            "crash_policy": fields.text("crash_policy", "restart"),
        }
        for same in ("name", "id"):
            if any(other[same] == engine[same] and engine[same] for other in document.engines):
                message = f"another engine has the {same} {quoted(str(engine[same]))} already; give each its own"
                reader.problems.error(fields.place_of(same), f"engines.{same}", message, found=str(engine[same]))
        document.engines.append(engine)


def grant(document: Document, identifiers: dict[str, Callable[[str], int | None]]) -> None:
    """Store ``uidgid.config.<uid|gid>.<number>``; ``identifiers`` turns a user's or a group's name into its number."""
    reader = document.reader
    for kind, scalar in document.users:
        number = int(scalar.text) if re.fullmatch(r"[0-9]{1,10}", scalar.text, re.ASCII) else identifiers[kind](scalar.text)
        if number is None or number >= 1 << 32:
            what = "user" if kind == "uid" else "group"
            message = f"there is no {what} {quoted(scalar.text)} on this host; give the name or number of one that exists"
            reader.problems.error(scalar.place, f"uidgid.{kind}", message, found=scalar.text, allowed=f"an existing {what}")
            continue
        reader.store(f"uidgid.config.{kind}.{number}", _GRANTED, scalar.place)


_GRANTED: Value = uint8(1)
