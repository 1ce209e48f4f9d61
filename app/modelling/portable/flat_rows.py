"""Rows of doubles in one block of memory, as the library takes them; to Python they are lists."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import overload

from app.modelling.portable.model import Row, doubles


@dataclass(frozen=True)
class FlatRows(Sequence[list[float]]):
    """Rows of `width` doubles; a part of them shares their memory."""

    numbers: memoryview[float]  # "d", writable, as ctypes takes no other address
    width: int

    @classmethod
    def of(cls, rows: Iterable[Row], width: int) -> FlatRows:
        """Return rows in one block. Raises ValueError for rows of another width."""
        if isinstance(rows, FlatRows):
            found = rows
        else:
            kept = list(rows)
            found = cls(doubles(chain.from_iterable(kept)), width)
            if any(len(row) != width for row in kept):
                raise ValueError(f"expected rows of {width} features")
        if found.width != width:
            raise ValueError(f"expected rows of {width} features")
        return found

    @property
    def address(self) -> int:
        """Return where the memory begins."""
        if not len(self.numbers):
            return 0
        return ctypes.addressof(ctypes.c_char.from_buffer(self.numbers.cast("B")))

    def __len__(self) -> int:
        return len(self.numbers) // self.width

    @overload
    def __getitem__(self, index: int) -> list[float]: ...
    @overload
    def __getitem__(self, index: slice) -> FlatRows: ...
    def __getitem__(self, index: int | slice) -> list[float] | FlatRows:
        if isinstance(index, slice):
            start, stop, _ = index.indices(len(self))
            return FlatRows(self.numbers[start * self.width : stop * self.width], self.width)
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        first = index % len(self) * self.width
        return [*self.numbers[first : first + self.width]]
