"""Table of preparation steps: the fields of each, and its effect on a row (docs/model-format.md, "Steps").

To add one, write a class, add it to KINDS and its name to OPERATIONS, and a case to `apply` in scorer.c.
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import nan
from typing import Literal, Protocol

from app.errors import ArtifactError
from app.modelling import strict_json

# The place of a name is the operation's number in scorer.c.
OPERATIONS = (
    *("add", "subtract", "multiply", "divide", "clip", "impute", "indicate"),
    *("ordinal", "one_hot", "select"),
)
MAX_NUMBERS = 1_000_000  # columns and numbers of all steps
Columns = tuple[int, ...] | None  # None: all of them
Program = tuple[Sequence[int], Sequence[float]]

_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
}


class Step(Protocol):
    """One change of a row."""

    @property
    def operation(self) -> str:
        """Return the name of the operation."""

    def faults(self, width: int) -> Iterator[str]:
        """Yield why the step cannot change rows of this width."""

    def width(self, before: int) -> int:
        """Return how wide a row is after the step."""

    def apply(self, row: list[float]) -> list[float]:
        """Return the changed row; the given one may be changed."""

    def program(self, width: int) -> Program:
        """Return the columns and the numbers that scorer.c takes for rows of this width."""


class _InPlace:
    """A step that leaves a row as wide as it is."""

    def width(self, before: int) -> int:
        """Return how wide a row is after the step."""
        return before


@dataclass(frozen=True)
class Arithmetic(_InPlace):
    """Change each column by a number."""

    operation: Literal["add", "subtract", "multiply", "divide"]
    columns: Columns
    values: tuple[float, ...]

    def faults(self, width: int) -> Iterator[str]:
        """Yield why the step cannot change rows of this width."""
        yield from _column_faults(self.columns, width)
        yield from _number_faults(self.operation, self.values, len(_chosen(self.columns, width)))
        if self.operation == "divide" and 0 in self.values:
            yield "divide takes no zero"

    def apply(self, row: list[float]) -> list[float]:
        """Return the changed row."""
        change = _ARITHMETIC[self.operation]
        for column, value in zip(_chosen(self.columns, len(row)), self.values, strict=True):
            row[column] = change(row[column], value)
        return row

    def program(self, width: int) -> Program:
        """Return the columns and the numbers that scorer.c takes."""
        return _chosen(self.columns, width), self.values


@dataclass(frozen=True)
class Clip(_InPlace):
    """Limit columns."""

    operation: Literal["clip"]
    columns: Columns
    minimum: float
    maximum: float

    def faults(self, width: int) -> Iterator[str]:
        """Yield why the step cannot change rows of this width."""
        yield from _column_faults(self.columns, width)
        if self.minimum > self.maximum:
            yield "clip takes a minimum that is not above the maximum"

    def apply(self, row: list[float]) -> list[float]:
        """Return the changed row."""
        for column in _chosen(self.columns, len(row)):
            if row[column] < self.minimum:
                row[column] = self.minimum
            elif row[column] > self.maximum:
                row[column] = self.maximum
        return row

    def program(self, width: int) -> Program:
        """Return the columns and the numbers that scorer.c takes."""
        return _chosen(self.columns, width), (self.minimum, self.maximum)


@dataclass(frozen=True)
class Impute(_InPlace):
    """Replace missing values by each column's number."""

    operation: Literal["impute"]
    columns: Columns
    values: tuple[float, ...]

    def faults(self, width: int) -> Iterator[str]:
        """Yield why the step cannot change rows of this width."""
        yield from _column_faults(self.columns, width)
        yield from _number_faults(self.operation, self.values, len(_chosen(self.columns, width)))

    def apply(self, row: list[float]) -> list[float]:
        """Return the changed row."""
        for column, value in zip(_chosen(self.columns, len(row)), self.values, strict=True):
            if _is_missing(row[column]):
                row[column] = value
        return row

    def program(self, width: int) -> Program:
        """Return the columns and the numbers that scorer.c takes."""
        return _chosen(self.columns, width), self.values


@dataclass(frozen=True)
class Indicate:
    """Append for each column whether its value is missing."""

    operation: Literal["indicate"]
    columns: Columns

    def faults(self, width: int) -> Iterator[str]:
        """Yield why the step cannot change rows of this width."""
        yield from _column_faults(self.columns, width)

    def width(self, before: int) -> int:
        """Return how wide a row is after the step."""
        return before + len(_chosen(self.columns, before))

    def apply(self, row: list[float]) -> list[float]:
        """Return the changed row."""
        return row + [float(_is_missing(row[column])) for column in _chosen(self.columns, len(row))]

    def program(self, width: int) -> Program:
        """Return the columns and the numbers that scorer.c takes."""
        return _chosen(self.columns, width), ()


@dataclass(frozen=True)
class Ordinal(_InPlace):
    """Replace each known code by a value."""

    operation: Literal["ordinal"]
    column: int
    codes: tuple[float, ...]
    values: tuple[float | None, ...]
    other: float | None
    missing: float | None

    def faults(self, width: int) -> Iterator[str]:
        """Yield why the step cannot change rows of this width."""
        yield from _column_faults((self.column,), width)
        yield from _number_faults(self.operation, self.values, len(self.codes))
        if any(before >= after for before, after in zip(self.codes, self.codes[1:], strict=False)):
            yield "ordinal takes distinct codes in ascending order"

    def apply(self, row: list[float]) -> list[float]:
        """Return the changed row."""
        value = row[self.column]
        row[self.column] = _number(self.missing if _is_missing(value) else self._value_of(value))
        return row

    def _value_of(self, code: float) -> float | None:
        place = bisect_left(self.codes, code)
        return self.values[place] if self.codes[place : place + 1] == (code,) else self.other

    def program(self, width: int) -> Program:
        """Return the columns and the numbers that scorer.c takes."""
        return (self.column,), [*map(_number, (self.other, self.missing, *self.codes, *self.values))]


@dataclass(frozen=True)
class OneHot:
    """Append for each code whether the column has it; None stands for a missing value."""

    operation: Literal["one_hot"]
    column: int
    codes: tuple[float | None, ...]

    def faults(self, width: int) -> Iterator[str]:
        """Yield why the step cannot change rows of this width."""
        yield from _column_faults((self.column,), width)
        if len(set(self.codes)) < len(self.codes):
            yield "one_hot takes distinct codes"

    def width(self, before: int) -> int:
        """Return how wide a row is after the step."""
        return before + len(self.codes)

    def apply(self, row: list[float]) -> list[float]:
        """Return the changed row."""
        value = None if _is_missing(row[self.column]) else row[self.column]
        return row + [float(value == code) for code in self.codes]

    def program(self, width: int) -> Program:
        """Return the columns and the numbers that scorer.c takes."""
        return (self.column,), [*map(_number, self.codes)]


@dataclass(frozen=True)
class Select:
    """Make a new row of columns."""

    operation: Literal["select"]
    columns: tuple[int, ...]

    def faults(self, width: int) -> Iterator[str]:
        """Yield why the step cannot change rows of this width."""
        yield from _column_faults(tuple(set(self.columns)), width)
        if not self.columns:
            yield "select takes one column or more"

    def width(self, before: int) -> int:
        """Return how wide a row is after the step."""
        return len(self.columns)

    def apply(self, row: list[float]) -> list[float]:
        """Return the changed row."""
        return [row[column] for column in self.columns]

    def program(self, width: int) -> Program:
        """Return the columns and the numbers that scorer.c takes."""
        return self.columns, ()


KINDS: dict[str, type[Step]] = {
    **dict.fromkeys(_ARITHMETIC, Arithmetic),
    "clip": Clip,
    "impute": Impute,
    "indicate": Indicate,
    "ordinal": Ordinal,
    "one_hot": OneHot,
    "select": Select,
}


def read(document: object, place: str) -> Step:
    """Return a step of a JSON document. Raises ArtifactError, which names the part at fault."""
    operation = document.get("operation") if isinstance(document, dict) else None
    kind = KINDS.get(operation) if isinstance(operation, str) else None
    if kind is None:
        names = ", ".join(OPERATIONS)
        raise ArtifactError(
            f"model: {place}.operation: expected one of {names}, got {operation!r:.80}; train again"
        )
    return strict_json.read(kind, document, place)


def faults(steps: Iterable[Step], features: int, limit: int) -> Iterator[str]:
    """Yield what is wrong with steps that begin with `features` columns and may not exceed `limit`."""
    width, numbers = features, 0
    for number, step in enumerate(steps):
        yield from (f"steps[{number}]: {fault}" for fault in step.faults(width))
        numbers += sum(map(len, step.program(width)))
        if numbers > MAX_NUMBERS:
            yield f"expected steps of at most {MAX_NUMBERS} columns and numbers"
        width = step.width(width)
        if width > limit:
            yield f"steps[{number}]: expected rows of at most {limit} columns, got {width}"


def widths(steps: Iterable[Step], features: int) -> list[int]:
    """Return how wide a row is before the first step and after each."""
    found = [features]
    for step in steps:
        found.append(step.width(found[-1]))
    return found


def prepare(steps: Iterable[Step], row: Sequence[float]) -> Sequence[float]:
    """Return the row after all steps; the given one stays as it is."""
    changed = list(row)
    for step in steps:
        changed = step.apply(changed)
    return changed


def _chosen(columns: Columns, width: int) -> Sequence[int]:
    return range(width) if columns is None else columns


def _column_faults(columns: Columns, width: int) -> Iterator[str]:
    chosen = () if columns is None else columns
    if not all(0 <= column < width for column in chosen):
        yield f"expected columns below {width}"
    if len(set(chosen)) < len(chosen):
        yield "expected distinct columns"


def _number_faults(operation: str, values: Sequence[object], expected: int) -> Iterator[str]:
    if len(values) != expected:
        yield f"{operation} takes {expected} values, got {len(values)}"


def _is_missing(value: float) -> bool:
    return value != value


def _number(value: float | None) -> float:
    return nan if value is None else value
