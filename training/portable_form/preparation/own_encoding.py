"""Categories that an estimator encodes itself, between its input and its trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.modelling.portable.operations import Step
from training.portable_form.preparation.prepared_row import Names, PreparedRow

NAN = float("nan")


@dataclass(frozen=True)
class OwnEncoding:
    """Values by their numbers in the trees, for columns of an estimator's input, and the columns' order.

    An unknown category is a missing value to the trees.
    """

    names: Sequence[Names]
    categories: Mapping[int, Sequence[Any]]
    order: Sequence[int]

    def apply(self, row: PreparedRow, at: Sequence[int]) -> list[int]:
        """Write the encoding's steps on columns, and return its output columns."""
        for index, values in self.categories.items():
            codes = [row.code(at[index], value) for value in values]
            numbers = {code: float(number) for number, code in enumerate(codes) if code is not None}
            row.ordinal(at[index], numbers, NAN, NAN)
        return [at[index] for index in self.order]

    def steps(self) -> tuple[Step, ...]:
        """Return the encoding as steps of its own."""
        row = PreparedRow(self.names)
        return row.finish(self.apply(row, range(len(self.names))))

    def decode(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return rows as the estimator takes them, of rows as its trees do."""
        row = PreparedRow(self.names)
        found = np.empty_like(rows)
        found[:, list(self.order)] = rows
        for index, values in self.categories.items():
            codes = [row.code(index, value) for value in values]
            known = np.array([NAN if code is None else code for code in codes] + [NAN])
            numbers = np.where(found[:, index] < len(codes), found[:, index], len(codes))
            found[:, index] = known[numbers.astype(np.intp)]
        return found
