"""Kinds of settings: how the text of a scalar becomes a typed value of the map, and what the user may write.

Each is a pydantic annotation (``Annotated[int, Whole(...)]``): the models in ``schema`` are tables of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from coroipc.map_values import ValueType
from corosyncd.config.yaml_file import Scalar
from corosyncd.keyspace.key_space import MAXIMUM_VALUE_LENGTH
from corosyncd.keyspace.values import Value, number, text

RANGES: dict[ValueType, tuple[int, int]] = {
    ValueType.UINT8: (0, 0xFF),
    ValueType.UINT16: (0, 0xFFFF),
    ValueType.INT32: (-(1 << 31), (1 << 31) - 1),
    ValueType.UINT32: (0, 0xFFFFFFFF),
    ValueType.UINT64: (0, 0xFFFFFFFFFFFFFFFF),
}

# As strtoll reads it: leading blanks, a sign, decimal digits only; 010 is ten.
_DECIMAL = re.compile(r"[ \t]*[+-]?[0-9]+", re.ASCII)
_BOOLEANS = {"true": 0, "True": 0, "TRUE": 0, "false": 1, "False": 1, "FALSE": 1}


class Kind:
    """Base of the kinds.

    ``parse`` turns a scalar into a value of the map or raises ValueError; ``allowed`` says what may stand there.
    """

    allowed: str

    def parse(self, scalar: Scalar) -> Value:
        """The typed value of a scalar."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic call ``parse``."""
        return core_schema.no_info_plain_validator_function(self.parse)


def translated(scalar: Scalar, booleans: tuple[str, str] | None) -> str:
    """The scalar's text; an unquoted true or false becomes the word that this flag uses for it."""
    if booleans is not None and scalar.plain and scalar.text in _BOOLEANS:
        return booleans[_BOOLEANS[scalar.text]]
    return scalar.text


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number of a fixed-size type, perhaps in a narrower range; a ``flag`` takes true and false for 1 and 0."""

    stored: ValueType
    minimum: int | None = None
    maximum: int | None = None
    flag: bool = False

    @property
    def allowed(self) -> str:  # type: ignore[override]
        """The range in words."""
        low, high = self._range()
        flag = ", or true or false" if self.flag else ""
        return f"the number {low}" if low == high else f"a whole decimal number from {low} to {high}{flag}"

    def _range(self) -> tuple[int, int]:
        low, high = RANGES[self.stored]
        return (low if self.minimum is None else self.minimum, high if self.maximum is None else self.maximum)

    def parse(self, scalar: Scalar) -> Value:
        """Decimal digits only, within the range."""
        word = translated(scalar, ("1", "0") if self.flag else None)
        low, high = self._range()
        # Longer than any number of the widest type: not converted, since that takes time that grows with the square.
        if len(word) > 64 or _DECIMAL.fullmatch(word) is None or not low <= int(word) <= high:
            raise ValueError(self.allowed)
        return number(self.stored, int(word))


@dataclass(frozen=True)
class Choice(Kind):
    """One of several words; ``booleans`` are the words for an unquoted true and false."""

    words: tuple[str, ...]
    booleans: tuple[str, str] | None = None
    any_case: bool = False

    @property
    def allowed(self) -> str:  # type: ignore[override]
        """The words."""
        return "one of: " + ", ".join(self.words)

    def parse(self, scalar: Scalar) -> Value:
        """Exactly one of the words, kept as written."""
        word = translated(scalar, self.booleans)
        if (word.lower() if self.any_case else word) not in self.words:
            raise ValueError(self.allowed)
        return text(word)


@dataclass(frozen=True)
class Text(Kind):
    """Any text of limited length (bytes of UTF-8), perhaps of a certain form."""

    maximum: int = MAXIMUM_VALUE_LENGTH - 1
    pattern: str = ""
    described: str = ""

    @property
    def allowed(self) -> str:  # type: ignore[override]
        """The form in words."""
        return self.described or f"a text of at most {self.maximum} bytes"

    def parse(self, scalar: Scalar) -> Value:
        """The text as it is; a NUL would end it early in the map."""
        word = scalar.text
        fits = len(word.encode("utf-8", "surrogateescape")) <= self.maximum and "\0" not in word
        if not fits or (self.pattern and re.fullmatch(self.pattern, word, re.ASCII) is None):
            raise ValueError(self.allowed)
        return text(word)


_DSCP_NAMES = {
    **{f"cs{group}": group << 3 for group in range(8)},
    **{f"af{group}{drop}": group << 3 | drop << 1 for group in range(1, 5) for drop in range(1, 4)},
    "ef": 46,
}


@dataclass(frozen=True)
class Dscp(Kind):
    """A differentiated-services code point by number or by name, stored as a number."""

    allowed = "a number from 0 to 63 (decimal, 0x hexadecimal, 0 octal), or one of: cs0 to cs7, af11 to af43, ef"

    def parse(self, scalar: Scalar) -> Value:
        """A name in any case, or a number in C notation."""
        word = scalar.text.lower()
        if word in _DSCP_NAMES:
            return number(ValueType.UINT8, _DSCP_NAMES[word])
        for pattern, base in (("0x[0-9a-f]{1,8}", 16), ("0[0-7]{0,8}", 8), ("[1-9][0-9]{0,8}", 10)):
            if re.fullmatch(pattern, word) and int(word, base) <= 63:
                return number(ValueType.UINT8, int(word, base))
        raise ValueError(self.allowed)
