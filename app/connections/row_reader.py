"""Strict reader of one row of features: a list in the card's order, or an object by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.errors import InvalidInput
from app.modelling.columns import NAMES_SHOWN, NUMERIC, Column, Row

SHOWN = 80  # characters of a refused value that are sent back


@dataclass(frozen=True)
class NotANumber:
    """A literal that JSON forbids (NaN, Infinity) or that no double holds (1e400), as it was written."""

    literal: str


class RowReader:
    """Reader of the rows of one model. It takes parsed JSON with all numbers as doubles."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.count = len(self.columns)
        self.names = {column.feature.name: column for column in self.columns}
        kinds = {column.feature.kind for column in self.columns}
        self.is_numeric = kinds <= set(NUMERIC)  # a row of finite numbers is its own encoding
        self.is_numbers_only = self.is_numeric and not any(each.feature.missing for each in self.columns)
        self.noun = "numbers" if self.is_numbers_only else "values"
        self.has_texts = "text" in kinds

    def read(self, place: str, value: object) -> Row:
        """Return a row encoded; `place` is where it stands, as in `instances[3]`. Raises InvalidInput."""
        if isinstance(value, dict):
            return self._encode(self._in_order(place, value), lambda index: self._name_place(place, index))
        if self.is_numbers_only:
            return numbers(place, value, self.count)
        if not isinstance(value, list):
            expected = f"a list of {self.count} values, or an object of them by name"
            raise InvalidInput(place, expected, describe_value(value))
        row = self._encode(value, lambda index: f"{place}[{index}]")
        if len(value) != self.count:
            raise InvalidInput(place, f"{self.count} values", str(len(value)))
        return row

    def quick(self, values: object) -> Row | None:
        """Return a list or an object, whose numbers may be integers, encoded; None if it isn't good."""
        if type(values) is dict:
            if values.keys() != self.names.keys():
                return None
            values = [values[name] for name in self.names]
        if type(values) is not list or len(values) != self.count:
            return None
        row = []
        for column, value in zip(self.columns, values, strict=True):
            encoded = column.encode(float(value) if type(value) is int else value)
            if encoded is None:
                return None
            row.append(encoded)
        return row

    def _in_order(self, place: str, values: dict[str, object]) -> list[object]:
        for name in values:
            if name not in self.names:
                known = [json.dumps(each) for each in [*self.names][:NAMES_SHOWN]]
                more = ["…"] if len(self.names) > len(known) else []
                expected = f"one of the names {', '.join([*known, *more])}"
                raise InvalidInput(f"{place}[{describe_value(name)}]", expected, "another name")
        for index, column in enumerate(self.columns):
            if column.feature.name not in values:
                raise InvalidInput(self._name_place(place, index), column.expected, "no such field")
        return [values[column.feature.name] for column in self.columns]

    def _name_place(self, place: str, index: int) -> str:
        return f"{place}[{describe_value(self.columns[index].feature.name)}]"

    def _encode(self, values: list[object], place: Callable[[int], str]) -> Row:
        row = []
        for index, (column, value) in enumerate(zip(self.columns, values, strict=False)):
            encoded = column.encode(value)
            if encoded is None:
                raise InvalidInput(place(index), column.expected, describe_value(value))
            row.append(encoded)
        return row


def numbers(name: str, values: object, count: int) -> list[float]:
    """Return a field that is a list of `count` finite numbers. Raises InvalidInput."""
    if not isinstance(values, list):
        raise InvalidInput(name, f"a list of {count} numbers", describe_value(values))
    for index, value in enumerate(values[:count]):
        if not isinstance(value, float):
            raise InvalidInput(f"{name}[{index}]", "a finite number", describe_value(value))
    if len(values) != count:
        raise InvalidInput(name, f"{count} numbers", str(len(values)))
    return values


def describe_value(value: object) -> str:
    """Return the start of a value as JSON, in ASCII so that a lone surrogate can be sent back."""
    match value:
        case NotANumber():
            text = value.literal
        case dict():
            text = "an object"
        case list():
            text = "a list"
        case _:
            text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
