"""A YAML file as a tree of untyped scalars that know their line and column.

Every scalar is text: ``no`` is the word "no", never a boolean (YAML 1.1 would make it one), and ``010`` stays ``010``. What a
word means is for the schema to say. Anchors, tags and several documents are refused, so that the tree is a tree and bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from corosyncd.config.problems import Place, Problems

MAXIMUM_FILE_SIZE = 4 << 20
"""Bytes; 384 nodes with every key take less than 200 KiB."""
MAXIMUM_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Scalar:
    """One word or number as written; ``plain`` is False where it was quoted."""

    text: str
    place: Place
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and what stands under them, in file order; no key twice."""

    entries: list[tuple[Scalar, Node]]
    place: Place


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: list[Node]
    place: Place


Node = Scalar | Mapping | Sequence

# A line that opens a section of corosync.conf, and one that closes it. YAML may contain either; a file that is not YAML and
# has both is one.
_SECTION_OPEN = re.compile(r"^[ \t]*[A-Za-z0-9._/-]+[ \t:]*\{[ \t]*\r?$", re.MULTILINE)
_SECTION_CLOSE = re.compile(r"^[ \t]*\}[ \t]*\r?$", re.MULTILINE)


class _Refused(Exception):
    """The document cannot become a tree; the problem is the message."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


def read(path: str, problems: Problems) -> Mapping:
    """The tree of a file. What is wrong goes to ``problems``, and an empty mapping stands for a file that cannot be read."""
    nothing = Mapping([], Place(path))
    try:
        with open(path, "rb") as file:
            data = file.read(MAXIMUM_FILE_SIZE + 1)
    except OSError as error:
        problems.error(Place(path), "", f"cannot read the file: {error.strerror}")
        return nothing
    if len(data) > MAXIMUM_FILE_SIZE:
        problems.error(Place(path), "", f"the file is larger than {MAXIMUM_FILE_SIZE} bytes; is it a configuration?")
        return nothing
    return parse(path, data, problems)


def parse(path: str, data: bytes, problems: Problems) -> Mapping:
    """The tree of a file's bytes; see ``read``."""
    try:
        root = _Builder(path, data.decode("utf-8"), problems).document()
        if isinstance(root, Scalar) and root.plain and not root.text:
            return Mapping([], root.place)
        if isinstance(root, Mapping):
            return root
        raise _Refused(root.place, "sections are expected at the top of the file, such as 'totem:'")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = error.start - before.rfind(b"\n")
        refused = _Refused(Place(path, before.count(b"\n") + 1, column), "the file is not UTF-8 text; save it as UTF-8")
    except _Refused as error:
        refused = error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(path, mark.line + 1, mark.column + 1) if mark else Place(path)
        context = f" {error.context}" if error.context else ""
        refused = _Refused(place, f"this is not YAML: {error.problem}{context}; correct the line or the one before it")
    except yaml.YAMLError as error:
        refused = _Refused(Place(path), f"this is not YAML: {' '.join(str(error).split())}")
    text = data.decode("utf-8", "replace")
    opening = _SECTION_OPEN.search(text)
    if opening and _SECTION_CLOSE.search(text):
        refused = _Refused(
            Place(path, text.count("\n", 0, opening.start()) + 1, 1),
            f"{path} is written in the format of corosync.conf; YAML is expected here: a section is 'totem:' with its keys"
            " indented below it, without braces",
        )
    problems.error(refused.place, "", refused.message)
    return Mapping([], Place(path))


class _Builder:
    """Turns parser events into nodes."""

    def __init__(self, path: str, text: str, problems: Problems) -> None:
        self._path = path
        self._problems = problems
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.BaseLoader)

    def document(self) -> Node:
        """The one document of the stream; an empty stream is an empty scalar."""
        next(self._events)  # stream start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return Scalar("", Place(self._path, 1, 1))
        root = self._node(next(self._events), 0)
        next(self._events)  # document end
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise _Refused(self._place(event), "a second YAML document begins here; keep everything in one, without '---'")
        return root

    def _place(self, event: Any) -> Place:
        return Place(self._path, event.start_mark.line + 1, event.start_mark.column + 1)

    def _node(self, event: Any, depth: int) -> Node:
        place = self._place(event)
        if isinstance(event, yaml.AliasEvent):
            raise _Refused(place, f"aliases (*{event.anchor}) are not supported; write the value out")
        if event.tag not in (None, "!"):
            raise _Refused(place, f"tags ({event.tag}) are not supported; remove the tag")
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(event.value, place, event.style is None)
        if depth == MAXIMUM_DEPTH:
            raise _Refused(place, f"sections are nested deeper than {MAXIMUM_DEPTH} levels")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(place, depth + 1)
        return self._mapping(place, depth + 1)

    def _sequence(self, place: Place, depth: int) -> Sequence:
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth))
        return Sequence(items, place)

    def _mapping(self, place: Place, depth: int) -> Mapping:
        entries: dict[str, tuple[Scalar, Node]] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth)
            node = self._node(next(self._events), depth)
            if not isinstance(key, Scalar):
                raise _Refused(key.place, "a key must be a single word")
            if key.text in entries:
                first = entries[key.text][0].place.line
                self._problems.error(
                    key.place,
                    key.text,
                    f"the key stands here twice (first in line {first}); remove one, or write a list under one",
                    found=key.text,
                )
                continue
            entries[key.text] = (key, node)
        return Mapping(list(entries.values()), place)
