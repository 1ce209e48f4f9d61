"""Encoding of rows: values from clients and files as the doubles that a model takes.

Numbers and integers stay as they are, a boolean is 0 or 1, a missing value is NaN. A category is its place in
the model's list of categories, or -1 if it is not there. A text stays a text: no portable model has one.
Training, the service and `python -m app score` share this.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.errors import ArtifactError
from app.modelling import artifact, strict_json
from app.modelling.artifact import Card, Feature

UNKNOWN = -1.0
NUMERIC = ("number", "integer")
NAMES_SHOWN = 20  # categories that a refusal lists
# What stands for a missing value in a file: the spellings that pandas knows (its documentation of read_csv).
MISSING_SPELLINGS = frozenset(
    {
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    }
)
BOOLEANS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}

Value = Any  # a double; in a column of texts also a string
Row = Sequence[Value]


@dataclass(frozen=True)
class Categories:
    """The content of `categories.json`: the categories by column, in the order of their codes."""

    columns: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Column:
    """One column of the model's input, with all categories that the model knows."""

    feature: Feature
    categories: tuple[str, ...] = ()
    codes: Mapping[str, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        codes = {name: float(code) for code, name in enumerate(self.categories)}
        object.__setattr__(self, "codes", codes)

    @property
    def expected(self) -> str:
        """Return in words what the column takes."""
        kind = self.feature.kind
        words = "true or false" if kind == "boolean" else "a string" if kind == "text" else "a finite number"
        if kind == "category":
            names = [json.dumps(name) for name in self.feature.categories[:NAMES_SHOWN]]
            others = ["…"] if len(self.categories) > len(names) else []
            words = "a string" if self.feature.unknown else f"one of {', '.join([*names, *others])}"
        return f"{words}, or null" if self.feature.missing else words

    def encode(self, value: object) -> Value | None:
        """Return a JSON value, its numbers read as doubles, encoded; or None if the column takes no such."""
        if value is None:
            return math.nan if self.feature.missing else None
        match self.feature.kind:
            case "number" | "integer":
                return value if type(value) is float and math.isfinite(value) else None
            case "boolean":
                return float(value) if type(value) is bool else None
            case "category":
                return self._code(value) if type(value) is str else None
        return value if type(value) is str else None

    def decode(self, value: Value) -> float | bool | str | None:
        """Return an encoded value as JSON has it; what an unknown category was is not known any more."""
        if value != value:
            return None
        if self.feature.kind == "category":
            return self.categories[int(value)] if value >= 0 else ""
        return bool(value) if self.feature.kind == "boolean" else value

    def parse(self, text: str, missing: Container[str] = MISSING_SPELLINGS) -> Value | None:
        """Return a value as a file spells it, encoded, or None when the column doesn't take it."""
        text = text.strip()
        if self.feature.kind == "text" or text in self.codes:
            return self.encode(text)
        if text in missing:
            return self.encode(None)
        if self.feature.kind == "category":
            return self._code(text)
        return BOOLEANS.get(text.lower()) if self.feature.kind == "boolean" else parse_number(text)

    def typical(self) -> Value:
        """Return an encoded value that every model must take. Raises ArtifactError without one."""
        match self.feature.kind:
            case "text":
                return ""
            case "category":
                return 0.0
            case "boolean":
                return float(self._median() >= 0.5)
        return self._median()

    def _median(self) -> float:
        try:
            return self.feature.quantiles["0.5"]
        except KeyError:
            raise ArtifactError("model: the card has no median of a feature; train again") from None

    def _code(self, name: str) -> float | None:
        return self.codes.get(name, UNKNOWN if self.feature.unknown else None)


def parse_number(text: str) -> float | None:
    """Return the finite number that a text spells in ASCII without underscores, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and text.isascii() and "_" not in text else None


def is_numeric(card: Card) -> bool:
    """Return whether a row of finite numbers is its own encoding."""
    return all(each.kind in NUMERIC for each in card.features)


def typical_row(columns: Sequence[Column]) -> list[Value]:
    """Return a row of medians and most frequent categories. Raises ArtifactError when a card has none."""
    return [column.typical() for column in columns]


def write(columns: Sequence[Column]) -> bytes | None:
    """Return the content of `categories.json`, or None when no column has categories."""
    names = {each.feature.name: each.categories for each in columns if each.feature.kind == "category"}
    return artifact.as_json(names) if names else None


def load(folder: Path, card: Card) -> tuple[Column, ...]:
    """Return the columns of a card. Raises ArtifactError when the list of categories isn't the card's."""
    known = _read_categories(folder, card)
    columns = tuple(Column(each, known.pop(each.name, ())) for each in card.features)
    if known or not all(map(_is_whole, columns)):
        raise ArtifactError(
            f"model: {folder / artifact.CATEGORIES_FILE} isn't the list of its card's categories; train again"
        )
    return columns


def _is_whole(column: Column) -> bool:
    """Return whether the column's categories are different, and begin with those of the card."""
    feature, names = column.feature, column.categories
    beginning = names[: len(feature.categories)] == feature.categories
    count = len(feature.categories) + feature.rare
    return (
        beginning and len(column.codes) == len(names) == count and (feature.kind == "category") == (count > 0)
    )


def _read_categories(folder: Path, card: Card) -> dict[str, tuple[str, ...]]:
    if card.categories_sha256 is None:
        return {}
    path = folder / artifact.CATEGORIES_FILE
    document = strict_json.parse(
        artifact.read_known(path, card.categories_sha256, artifact.MAX_BYTES), str(path)
    )
    return strict_json.read(Categories, {"columns": document}, str(path)).columns
