"""The tree of a YAML file: untyped scalars with their places, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from corosyncd.config import yaml_file
from corosyncd.config.problems import MAXIMUM_PROBLEMS, Place, Problems
from corosyncd.config.yaml_file import Mapping, Scalar, Sequence, parse, read


def tree(text: str) -> Mapping:
    problems = Problems()
    root = parse("f", text.encode(), problems)
    assert problems.errors == []
    return root


def refusal(data: bytes) -> str:
    problems = Problems()
    assert parse("f", data, problems).entries == []
    (only,) = problems.errors
    return str(only)


def test_scalars_keep_their_text_and_place() -> None:
    root = tree("a: 1\nb:\n  - no\n  - 'x'\n")
    assert [(key.text, key.place) for key, _ in root.entries] == [("a", Place("f", 1, 1)), ("b", Place("f", 2, 1))]
    assert root.entries[0][1] == Scalar("1", Place("f", 1, 4), True)
    items = root.entries[1][1]
    assert isinstance(items, Sequence)
    assert items.items == [Scalar("no", Place("f", 3, 5), True), Scalar("x", Place("f", 4, 5), False)]


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "true", "null", "~", "010", "0x1f", "1e3", "1.0", "2024-01-01", "<<"])
def test_no_word_becomes_anything_but_itself(word: str) -> None:
    value = tree(f"key: {word}").entries[0][1]
    assert isinstance(value, Scalar)
    assert value.text == word


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_an_empty_mapping(text: str) -> None:
    assert tree(text).entries == []


def test_a_key_twice_is_an_error_that_names_both_lines() -> None:
    problems = Problems()
    parse("f", b"a: 1\nb: 2\na: 3\nb: 4\n", problems)
    assert [str(problem) for problem in problems.errors] == [
        "f:3:1: a: the key stands here twice (first in line 1); remove one, or write a list under one",
        "f:4:1: b: the key stands here twice (first in line 2); remove one, or write a list under one",
    ]


CONF = [
    "totem {\n  version: 2\n}\n",
    "# comment\n\ntotem{\n\tversion: 2\n\ttransport: udpu\n}\n",
    "totem: {\n  version: 2\n  token: 1000\n}\n",
    "nodelist {\n  node {\n    ring0_addr: a\n  }\n}\r\n",
    "logging {\n}\n",
    "totem {\n  cluster_name: caf\xe9\n}\n",
]


@pytest.mark.parametrize("text", CONF)
def test_a_corosync_conf_in_its_place_gets_one_error_that_says_what_is_expected(text: str) -> None:
    message = refusal(text.encode("latin-1"))
    assert message.startswith(
        f"f:{3 if text.startswith('#') else 1}:1: f is written in the format of corosync.conf; YAML is expected"
    )


def test_yaml_with_braces_is_yaml() -> None:
    assert len(tree("totem: {\n  version: 2,\n  transport: udpu\n}\n").entries) == 1


@pytest.mark.parametrize(
    ("data", "begin"),
    [
        (b"a: [1\n", "f:2:1: this is not YAML"),
        (b"a: 1\n  b: 2\n", "f:2:4: this is not YAML"),
        (b"a:\n\tb: 2\n", "f:2:1: this is not YAML"),
        (b"- a\n- b\n", "f:1:1: sections are expected"),
        (b"just words\n", "f:1:1: sections are expected"),
        (b"a: &x 1\nb: *x\n", "f:2:4: aliases (*x) are not supported"),
        (b"a: &x [*x]\n", "f:1:8: aliases"),
        (b"a: !!int 1\n", "f:1:4: tags"),
        (b"a: 1\n---\nb: 2\n", "f:2:1: a second YAML document"),
        (b"? [a, b]\n: 1\n", "f:1:3: a key must be a single word"),
        (b"a: 1\nb: \xff\n", "f:2:4: the file is not UTF-8"),
        (b"a: \x07\n", "f: this is not YAML"),
        (b"a: " + b"[" * 20 + b"]" * 20 + b"\n", "f:1:19: sections are nested deeper than 16"),
    ],
)
def test_what_is_no_tree_is_refused_at_its_place(data: bytes, begin: str) -> None:
    assert refusal(data).startswith(begin)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    problems = Problems()
    read(str(tmp_path / "absent"), problems)
    read(str(tmp_path), problems)
    assert [problem.message for problem in problems.errors] == [
        "cannot read the file: No such file or directory",
        "cannot read the file: Is a directory",
    ]


def test_a_file_larger_than_the_limit_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_file, "MAXIMUM_FILE_SIZE", 10)
    (tmp_path / "f").write_text("a: 12345678\n")
    problems = Problems()
    assert read(str(tmp_path / "f"), problems).entries == []
    assert "larger than 10 bytes" in problems.errors[0].message


def test_problems_beyond_the_limit_are_counted() -> None:
    problems = Problems()
    for line in range(MAXIMUM_PROBLEMS + 7, 0, -1):
        problems.error(Place("f", line, 1), "k", "m")
    found, _ = problems.finished()
    assert len(found) == MAXIMUM_PROBLEMS + 1
    assert found[-1].message == "and 7 more errors; correct these first"
    assert [problem.line for problem in found[:-1]] == sorted(problem.line for problem in found[:-1])
