"""docs/c_functions.md against the installed C headers and the Python libraries: no function is missing, nothing is invented."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.lab import CHECKOUT

pytestmark = pytest.mark.interop

HEADERS = ("cpg", "cmap", "cfg", "quorum", "votequorum", "sam")
INCLUDE = Path("/usr/include/corosync")
PAGE = CHECKOUT / "docs" / "c_functions.md"
NOTHING = "—"

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*$", re.MULTILINE)
_LINKAGE = re.compile(r'extern\s+"C"\s*\{')
_BODY = re.compile(r"\{[^{}]*\}")
_DECLARATION = re.compile(r"^[\w\s*]*?\b(\w+)\s*\(", re.DOTALL)
_ROW = re.compile(r"^\| `(\w+)` \| (.*?) \| (.*?) ?\|$", re.MULTILINE)
_PATH = re.compile(r"`(lib\w+)\.(\w+)(?:\.(\w+))?`")


def declared(text: str) -> set[str]:
    """The functions that a header declares or defines."""
    text = _LINKAGE.sub("", _DIRECTIVE.sub("", _COMMENT.sub("", text)))
    while _BODY.search(text):
        text = _BODY.sub(";", text)
    statements = (statement.strip() for statement in text.split(";"))
    matches = (_DECLARATION.match(statement) for statement in statements if not statement.startswith("typedef"))
    return {match[1] for match in matches if match}


class Row(NamedTuple):
    """A line of the page."""

    function: str
    python: str
    remark: str


ROWS = [Row(*match) for match in _ROW.findall(PAGE.read_text())]


def headers() -> dict[str, set[str]]:
    return {name: declared((INCLUDE / f"{name}.h").read_text()) for name in HEADERS}


def test_the_parser_sees_every_kind_of_declaration() -> None:
    header = """
    #define CALL(x) \\
        not_this_one(x)
    extern "C" {
    /* cs_error_t nor_this (int a); */
    typedef int (*callback_t) (void);
    typedef struct { callback_t function; int (*member) (int); } callbacks_t;
    struct status { char name[sizeof(struct sockaddr_in6)]; };
    cs_error_t first (int a, void (*function) (int));
    extern cs_error_t second(
        int b);
    const char *third(void);
    static inline int fourth (int c) { if (c) { return other(c); } return 0; }
    }
    """
    assert declared(header) == {"first", "second", "third", "fourth"}


@pytest.mark.parametrize("name", HEADERS)
def test_every_function_of_the_header_has_its_row(name: str) -> None:
    functions = headers()[name]
    assert len(functions) >= 10, "the header was not understood"
    assert functions - {row.function for row in ROWS} == set()


def test_the_page_invents_no_function_and_has_each_once() -> None:
    listed = [row.function for row in ROWS]
    assert sorted(listed) == sorted(set().union(*headers().values()))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.function)
def test_the_python_call_of_a_row_exists(row: Row) -> None:
    if row.python == NOTHING:
        assert row.remark, "a function is left out without a reason"
        return
    match = _PATH.fullmatch(row.python)
    assert match, row.python
    library, kind, member = match.groups()
    module = importlib.import_module(library)
    assert kind in module.__all__
    if member is not None:
        assert (getattr(getattr(module, kind), member).__doc__ or "").strip()


TWINS = {"close": "aclose", "dispatch": "__aiter__"}


WITH_TWIN = [row for row in ROWS if row.python != NOTHING and "libsam" not in row.python]


@pytest.mark.parametrize("row", WITH_TWIN, ids=lambda row: row.function)
def test_the_asyncio_twin_has_the_call_too(row: Row) -> None:
    match = _PATH.fullmatch(row.python)
    assert match
    library, kind, member = match.groups()
    twin = getattr(importlib.import_module(library), f"Async{kind}")
    assert member is None or hasattr(twin, TWINS.get(member, member))


def test_each_call_of_sam_names_its_c_function() -> None:
    for row in ROWS:
        match = _PATH.fullmatch(row.python)
        if match and match[1] == "libsam":
            call = getattr(getattr(importlib.import_module("libsam"), match[2]), match[3])
            assert f"C: {row.function}." in call.__doc__


def test_an_object_takes_the_attributes_that_stand_for_contexts() -> None:
    for row in ROWS:
        if "_context_" in row.function:
            service = row.function.split("_context_")[0]
            kind = getattr(importlib.import_module(f"lib{service}"), service.capitalize())
            kind.__new__(kind).application = row
