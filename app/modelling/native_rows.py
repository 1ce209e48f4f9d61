"""Reader of rows from JSON, and counter of their bins, in the native library (rows.c).

Python does the same where there is no library, and for rows that this reader isn't certain of.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, chain
from pathlib import Path

from app.modelling.artifact import Feature
from app.modelling.portable.flat_rows import FlatRows
from app.modelling.portable.native import DOUBLE, LIBRARY, library

POWERS = range(-326, 309)  # of ten; rows.c has the same
BITS = 128
LEAST_BYTES = 2  # of a value with the comma or the bracket behind it


@dataclass(frozen=True)
class NativeRows:
    """The library's reader and counter for the rows of one model."""

    library: ctypes.PyDLL
    features: Sequence[Feature]
    takes_null: bytes
    powers: array[int]
    edges_at: array[int]
    edges: array[float]

    @property
    def width(self) -> int:
        """Return how many values a row has."""
        return len(self.features)

    def read(self, text: bytes, place: int, most: int) -> tuple[FlatRows, int]:
        """Return rows, `most` of them at most, and where the text goes on behind the last.

        Rows are written as JSON, with commas between. The first that isn't certain to be numbers, null where
        a value may be missing, ends them: there may be none.
        """
        width = self.width
        fitting = (len(text) - place) // (LEAST_BYTES * width) + 1
        numbers = array("d", bytes(DOUBLE * width * min(most, fitting)))
        end = ctypes.c_int64(place)
        count = self.library.read_rows(
            *(text, ctypes.byref(end), width, self.takes_null, self.powers.buffer_info()[0]),
            *(min(most, fitting), numbers.buffer_info()[0]),
        )
        return FlatRows(memoryview(numbers).cast("B").cast("d")[: count * width], width), end.value

    def count(self, rows: FlatRows) -> list[list[int]]:
        """Return for each feature how many values are in each of its bins, missing ones in the last."""
        counts = array("q", bytes(8 * (len(self.edges) + 2 * len(self.features))))
        pointers = [each.buffer_info()[0] for each in (self.edges_at, self.edges, counts)]
        self.library.count_bins(rows.address, len(rows), rows.width, *pointers)
        found = []
        for column, feature in enumerate(self.features):
            first, last = self.edges_at[column] + 2 * column, self.edges_at[column + 1] + 2 * column
            found.append(counts[first : last + 1 + feature.missing].tolist())
        return found


def native_rows(features: Sequence[Feature], path: Path = LIBRARY) -> NativeRows | None:
    """Return what reads and counts rows of these features, all numbers; None without the library."""
    found = library(path)
    if found is None:
        return None
    return NativeRows(
        found,
        features,
        takes_null=bytes(each.missing for each in features),
        powers=powers_of_five(),
        edges_at=array("q", accumulate((len(each.bins.edges) for each in features), initial=0)),
        edges=array("d", chain.from_iterable(each.bins.edges for each in features)),
    )


@cache
def powers_of_five() -> array[int]:
    """Return the first 128 bits of each power, the upper half of them first."""
    halves = array("Q")
    for power in POWERS:
        number = 5 ** abs(power)
        if power < 0:
            first = (1 << (number.bit_length() + BITS - 1)) // number
        else:
            first = (number << BITS) >> number.bit_length()
        halves.extend(divmod(first, 1 << 64))
    return halves
