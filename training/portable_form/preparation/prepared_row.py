"""Prepared row: the columns that a row has while steps are written, and what their numbers stand for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from app.errors import NotPortable
from app.modelling.columns import Column
from app.modelling.portable.operations import (
    Arithmetic,
    Clip,
    Impute,
    Indicate,
    OneHot,
    Ordinal,
    Select,
    Step,
)

Names = list[str] | None  # what the codes of a category stand for; None for a number
Transform = Callable[[Any, list[int]], list[int]]


class PreparedRow:
    """The steps so far, and the columns of a row behind them; a form appends to both.

    A form gets the positions of its transformer's input columns, which no other form uses, and returns those
    of its output columns. Positions stay what they are: steps change columns in place, or append others.
    """

    def __init__(self, names: Iterable[Names]) -> None:
        self.names: list[Names] = [None if known is None else list(known) for known in names]
        self.steps: list[Step] = []

    def finish(self, outputs: Sequence[int]) -> tuple[Step, ...]:
        """Return all steps; the last one makes the outputs the row."""
        if list(outputs) != list(range(len(self.names))):
            self.steps.append(Select("select", tuple(outputs)))
        for position in outputs:
            if self.names[position] is not None:
                raise NotPortable("a column of categories reaches the model without an encoder")
        return tuple(self.steps)

    def arithmetic(self, operation: Any, at: Sequence[int], values: Iterable[Any] | None) -> None:
        """Change each column by a number; None changes nothing."""
        if values is not None:
            self.steps.append(Arithmetic(operation, self._columns(at), tuple(map(float, values))))

    def clip(self, at: Sequence[int], limits: Sequence[Any] | None) -> None:
        """Limit columns to a smallest and a largest value; None changes nothing."""
        if limits is not None:
            self.steps.append(Clip("clip", self._columns(at), float(limits[0]), float(limits[1])))

    def impute(self, at: Sequence[int], values: Iterable[Any]) -> None:
        """Replace missing values."""
        codes = [self._code_of(position, value) for position, value in zip(at, values, strict=True)]
        self.steps.append(Impute("impute", self._columns(at), tuple(codes)))

    def indicate(self, at: Sequence[int]) -> list[int]:
        """Append whether values are missing."""
        self.steps.append(Indicate("indicate", self._columns(at)))
        return self._append(len(at))

    def ordinal(self, position: int, codes: dict[float, float], other: float, missing: float) -> None:
        """Replace codes by numbers; a NaN stands for a missing one."""
        known = sorted(codes)
        values = tuple(_or_none(codes[code]) for code in known)
        step = Ordinal("ordinal", position, tuple(known), values, _or_none(other), _or_none(missing))
        self.steps.append(step)
        self.names[position] = None

    def one_hot(self, position: int, codes: Sequence[float | None]) -> list[int]:
        """Append for each code whether the column has it."""
        if codes:
            self.steps.append(OneHot("one_hot", position, tuple(codes)))
        return self._append(len(codes))

    def copy(self, at: Sequence[int]) -> list[int]:
        """Append columns again."""
        if not at:
            return []
        self.steps.append(Select("select", (*range(len(self.names)), *at)))
        new = self._append(len(at))
        for old, position in zip(at, new, strict=True):
            known = self.names[old]
            self.names[position] = None if known is None else list(known)
        return new

    def code(self, position: int, value: Any) -> float | None:
        """Return the number that stands for a value in a column, or None for a missing one."""
        if value is None or value != value:
            return None
        names = self.names[position]
        if names is None:
            return float(value)
        if str(value) not in names:
            names.append(str(value))  # no row has it, but a step may put it there
        return float(names.index(str(value)))

    def _code_of(self, position: int, value: Any) -> float:
        code = self.code(position, value)
        if code is None:
            raise NotPortable("imputing a missing value has no portable form")
        return code

    def _columns(self, at: Sequence[int]) -> tuple[int, ...] | None:
        return None if list(at) == list(range(len(self.names))) else tuple(at)

    def _append(self, count: int) -> list[int]:
        first = len(self.names)
        self.names += [None] * count
        return list(range(first, first + count))


def names_of(columns: Iterable[Column]) -> list[Names]:
    """Return what the codes in a row's columns stand for. Raises NotPortable for a column of texts."""
    return [_names(column) for column in columns]


def _names(column: Column) -> Names:
    if column.feature.kind == "text":
        raise NotPortable(f"a column of texts ({column.feature.name}) has no portable form")
    return list(column.categories) if column.feature.kind == "category" else None


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
