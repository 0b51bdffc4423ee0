"""Reads sections of the tree against their models, and keeps the typed keys with their places.

Every problem of a section is reported at once. An unknown key is stored as text, as a stock daemon does, with a warning that
names the nearest known key; under ``strict`` it is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import ValidationError

from corosyncd.config.kinds import Kind, Text
from corosyncd.config.problems import STATUS_CONFIGURATION, STATUS_LOGGING, Place, Problems
from corosyncd.config.schema import Section
from corosyncd.config.yaml_file import Mapping, Node, Scalar, Sequence
from corosyncd.keyspace.names import MAXIMUM_NAME_LENGTH, is_valid_name
from corosyncd.keyspace.values import Value

Typed = tuple[Value, Scalar]


@dataclass(slots=True)
class Fields:
    """What one mapping holds: typed values by key, unknown keys as text, and what is nested."""

    place: Place
    known: dict[str, Typed] = field(default_factory=dict)
    unknown: dict[str, Typed] = field(default_factory=dict)
    nested: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)

    def text(self, key: str, default: str = "") -> str:
        """A known key's value as text."""
        return str(self.known[key][0].python()) if key in self.known else default

    def number(self, key: str, default: int = 0) -> int:
        """A known integer key's value."""
        value = self.known[key][0].python() if key in self.known else default
        assert isinstance(value, int)
        return value

    def place_of(self, key: str) -> Place:
        """Where a key's value stands, else where the section begins."""
        return self.known[key][1].place if key in self.known else self.place


def status_of(path: str) -> int:
    """The exit status that an error in this key ends the start with."""
    return STATUS_LOGGING if path == "logging" or path.startswith("logging.") else STATUS_CONFIGURATION


class Reader:
    """Collects ``values`` (the keys of the map, in file order) and ``places`` (where each stands)."""

    def __init__(self, problems: Problems, strict: bool, whole: Place) -> None:
        """``strict`` makes unknown and obsolete keys errors; ``whole`` stands for the file."""
        self.problems = problems
        self.strict = strict
        self.values: dict[str, Value] = {}
        self.places: dict[str, Place] = {}
        self.sections: dict[str, Place] = {}
        self._whole = whole

    def store(self, name: str, value: Value, place: Place) -> None:
        """Put one key into the map's contents; a later one replaces an earlier one."""
        if not is_valid_name(name):
            message = f"this name cannot be a key of the map: letters, digits and . _ / : - up to {MAXIMUM_NAME_LENGTH} in all"
            self.problems.error(place, name, message, found=name, status=status_of(name))
            return
        self.values[name] = value
        self.places[name] = place

    def text(self, name: str, default: str = "") -> str:
        """The stored value of a key as text."""
        return str(self.values[name].python()) if name in self.values else default

    def number(self, name: str, default: int = 0) -> int:
        """The stored value of an integer key."""
        value = self.values[name].python() if name in self.values else default
        assert isinstance(value, int)
        return value

    def place(self, name: str) -> Place:
        """Where a key stands; where it is missing, its section, or the file as a whole."""
        if name in self.places:
            return self.places[name]
        section, _, _ = name.rpartition(".")
        return self.sections.get(name) or (self.place(section) if section else self._whole)

    def mappings(self, node: Node, path: str) -> list[Mapping]:
        """A section as the list of its occurrences: a list of mappings, one mapping, or nothing."""
        if isinstance(node, Mapping):
            return [node]
        if isinstance(node, Scalar):
            if node.plain and not node.text:
                return []
            self._wrong_form(node, path, "a section with keys below it")
            return []
        found = []
        for item in node.items:
            if isinstance(item, Mapping):
                found.append(item)
            else:
                self._wrong_form(item, path, "a list of sections")
        return found

    def scalars(self, node: Node, path: str) -> list[Scalar]:
        """A value, or a list of values: a key given more than once."""
        if isinstance(node, Scalar):
            return [node]
        if isinstance(node, Sequence):
            found = [item for item in node.items if isinstance(item, Scalar)]
            if len(found) == len(node.items):
                return found
        self._wrong_form(node, path, "a value, or a list of values")
        return []

    def fields(self, model: type[Section], mapping: Mapping, path: str, *, first_wins: bool = False) -> Fields:
        """Read one mapping against a model, without storing; of a repeated key the last value counts, or the first."""
        fields = Fields(mapping.place)
        kinds = model.kinds()
        raw: dict[str, Scalar] = {}
        for key, node in mapping.entries:
            if key.text in kinds:
                found = self.scalars(node, f"{path}.{key.text}")
                if found:
                    raw[key.text] = found[0 if first_wins else -1]
                self._judge_obsolete(model, key, path)
            elif isinstance(node, Scalar) or self._holds_values(node):
                self._read_unknown(fields, model, key, node, path)
            else:
                fields.nested[key.text] = (key, node)
        self._validate(fields, model, kinds, raw, path)
        return fields

    def section(self, model: type[Section], node: Node, path: str) -> dict[str, list[Node]]:
        """Read and store a section with all that is nested in it; returns the subsections that its model calls lists."""
        lists: dict[str, list[Node]] = {}
        for mapping in self.mappings(node, path):
            self.sections.setdefault(path, mapping.place)
            fields = self.fields(model, mapping, path)
            self.store_fields(fields, path + ".")
            for name, (key, nested) in fields.nested.items():
                if name in model.lists:
                    lists.setdefault(name, []).append(nested)
                elif name in model.sections:
                    self.section(model.sections[name], nested, f"{path}.{name}")
                else:
                    if not model.free:
                        self.judge_unknown(key, path, [*model.sections, *model.lists, *model.kinds()])
                    self.strings(nested, f"{path}.{name}")
        return lists

    def store_fields(self, fields: Fields, prefix: str) -> None:
        """Store everything of a mapping but what is nested."""
        for name, (value, scalar) in (fields.known | fields.unknown).items():
            self.store(prefix + name, value, scalar.place)

    def strings(self, node: Node, path: str) -> None:
        """Store a section that nobody here knows, as texts."""
        if isinstance(node, Scalar):
            self._store_text(node, path)
        elif isinstance(node, Mapping):
            for key, child in node.entries:
                self.strings(child, f"{path}.{key.text}")
        else:
            for item in node.items:
                self.strings(item, path)

    def judge_unknown(self, key: Scalar, path: str, known: Iterable[str]) -> None:
        """Warn of a key or section that no model has; an error under strict."""
        name = f"{path}.{key.text}" if path else key.text
        near = difflib.get_close_matches(key.text, list(known), n=1)
        advice = f'did you mean "{near[0]}"?' if near else "it is stored as text and nothing in the daemon reads it"
        self._doubt(key, name, f"unknown key: {advice}", f'"{near[0]}"' if near else "")

    def _doubt(self, key: Scalar, name: str, message: str, allowed: str = "") -> None:
        if self.strict:
            self.problems.error(key.place, name, message, found=key.text, allowed=allowed, status=status_of(name))
        else:
            self.problems.warning(key.place, name, message, found=key.text, allowed=allowed)

    def _judge_obsolete(self, model: type[Section], key: Scalar, path: str) -> None:
        if key.text in model.obsolete:
            self._doubt(key, f"{path}.{key.text}", f"this key is obsolete: {model.obsolete[key.text]}")

    def _wrong_form(self, node: Node, path: str, expected: str) -> None:
        found = node.text if isinstance(node, Scalar) else "a section" if isinstance(node, Mapping) else "a list"
        message = f"found {quoted(found)}, but {expected} is expected here"
        self.problems.error(node.place, path, message, found=found, allowed=expected, status=status_of(path))

    def _holds_values(self, node: Node) -> bool:
        """Whether a list repeats a key's value, as against a section (an empty list is a section that never occurs)."""
        return isinstance(node, Sequence) and bool(node.items) and not any(isinstance(item, Mapping) for item in node.items)

    def _read_unknown(self, fields: Fields, model: type[Section], key: Scalar, node: Node, path: str) -> None:
        name = f"{path}.{key.text}"
        if key.text in model.sections or key.text in model.lists:
            if not isinstance(node, Scalar) or node.text or not node.plain:
                self._wrong_form(node, name, "a section with keys below it")
            return
        if key.text in model.obsolete:
            self._judge_obsolete(model, key, path)
        else:
            self.judge_unknown(key, path, [*model.kinds(), *model.sections, *model.lists])
        for scalar in self.scalars(node, name)[-1:]:
            try:
                fields.unknown[key.text] = (Text().parse(scalar), scalar)
            except ValueError as error:
                self._refuse(scalar, name, str(error))

    def _store_text(self, scalar: Scalar, name: str) -> None:
        try:
            self.store(name, Text().parse(scalar), scalar.place)
        except ValueError as error:
            self._refuse(scalar, name, str(error))

    def _refuse(self, scalar: Scalar, path: str, allowed: str) -> None:
        message = f"found {quoted(scalar.text)}; give {allowed}"
        self.problems.error(scalar.place, path, message, found=scalar.text[:80], allowed=allowed, status=status_of(path))

    def _validate(self, fields: Fields, model: type[Section], kinds: dict[str, Kind], raw: dict[str, Scalar], path: str) -> None:
        """Let pydantic check all values of the mapping; the good ones are kept beside the errors of the others."""
        refused: set[str] = set()
        try:
            model.model_validate(raw)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                name = str(detail["loc"][0])
                refused.add(name)
                self._refuse(raw[name], f"{path}.{name}", kinds[name].allowed)
        fields.known.update({name: (kinds[name].parse(scalar), scalar) for name, scalar in raw.items() if name not in refused})


def quoted(found: str) -> str:
    """What the user wrote, for a message: in quotes, made printable and cut."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in found[:80])
    return f'"{printable}"' if printable else "nothing"
