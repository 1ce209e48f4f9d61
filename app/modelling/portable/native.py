"""Native scorer: `libscorer.so` through ctypes, so it needs no Python headers and runs on every Python.

`python docker/compile_scorer.py` compiles it from scorer.c and rows.c, and so does the Dockerfile. Without
the library, the Python scorer predicts the same.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from app.errors import ArtifactError
from app.modelling.portable import trees
from app.modelling.portable.flat_rows import FlatRows
from app.modelling.portable.model import Model, Row, Scores
from app.modelling.portable.operations import OPERATIONS

LIBRARY = Path(__file__).with_name("libscorer.so")
ABI = 3  # the same number stands in scorer.c
NUMBERS_AT_ONCE = 1_000_000  # of rows and scores: bounds the memory for a batch
DOUBLE = 8

_Pointer = ctypes.c_void_p


class _Step(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int32) for name in ("operation", "columns", "first_column", "numbers", "first_number")
    ]


class _Model(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("features", "width", "widest", "scores", "steps", "trees")),
        *(
            (name, ctypes.c_int64)
            for name in ("nodes", "leaves", "bitsets", "words", "is_single", "has_categories")
        ),
        *((name, _Pointer) for name in ("step", "columns_at", "numbers_at", "start_at", "coefficients_at")),
        *((name, _Pointer) for name in ("sizes_at", "outputs_at", "nodes_at", "leaves_at", "bitsets_at")),
        ("divisor", ctypes.c_double),
    ]


@cache
def library(path: Path) -> ctypes.PyDLL | None:
    """Return the library, or None when there is none. Raises ArtifactError for one of another version.

    Its functions keep Python's lock: a call for one row is shorter than giving the lock away.
    """
    if not path.is_file():
        return None
    found = ctypes.PyDLL(str(path))
    for name in ("abi_version", "scratch_size", "check_trees", "has_categories", "read_rows"):
        getattr(found, name).restype = ctypes.c_int64
    found.scratch_size.argtypes = [_Pointer, ctypes.c_int64]
    found.score.argtypes = [_Pointer, _Pointer, ctypes.c_int64, _Pointer, _Pointer]
    found.read_rows.argtypes = [
        ctypes.c_char_p,
        _Pointer,
        ctypes.c_int64,
        *[_Pointer] * 2,
        ctypes.c_int64,
        _Pointer,
    ]
    found.count_bins.argtypes = [_Pointer, ctypes.c_int64, ctypes.c_int64, *[_Pointer] * 3]
    found.score.restype = found.count_bins.restype = None
    expected = ABI * 1000 + ctypes.sizeof(_Model)
    if (version := found.abi_version()) != expected:
        raise ArtifactError(
            f"model: {path} has version {version}, this service needs {expected}; "
            "run `python docker/compile_scorer.py`"
        )
    return found


@dataclass(frozen=True)
class NativeScorer:
    """A checked model in the library's hands, with the memory that it points to."""

    features: int
    outputs: int
    address: int
    row_scratch: int
    library: ctypes.PyDLL
    unlocked: ctypes.CDLL
    memory: tuple[object, ...]

    def one(self, row: Row) -> Scores:
        """Return a row's scores."""
        work = array("d", row)
        if len(work) != self.features:
            raise ValueError(f"expected {self.features} features, got {len(work)}")
        work.frombytes(bytes(DOUBLE * (self.outputs + self.row_scratch)))
        address, end = work.buffer_info()[0], self.features + self.outputs
        scores = address + DOUBLE * self.features
        self.library.score(self.address, address, 1, scores, scores + DOUBLE * self.outputs)
        return work[self.features] if self.outputs == 1 else tuple(work[self.features : end])

    def many(self, rows: Iterable[Row]) -> list[Scores]:
        """Return each row's scores; other threads run meanwhile."""
        waiting = rows if isinstance(rows, FlatRows) else list(rows)
        found: list[Scores] = []
        together = max(1, NUMBERS_AT_ONCE // (self.features + self.outputs))
        for first in range(0, len(waiting), together):
            found += self._scores(FlatRows.of(waiting[first : first + together], self.features))
        return found

    def _scores(self, rows: FlatRows) -> list[Scores]:
        scores = array("d", bytes(DOUBLE * self.outputs * len(rows)))
        scratch = array("d", bytes(DOUBLE * self.library.scratch_size(self.address, len(rows))))
        addresses = [each.buffer_info()[0] for each in (scores, scratch)]
        self.unlocked.score(self.address, rows.address, len(rows), *addresses)
        if self.outputs == 1:
            return scores.tolist()
        return [*zip(*(scores[index :: self.outputs] for index in range(self.outputs)), strict=True)]


def native_scorer(model: Model, place: str, path: Path) -> NativeScorer | None:
    """Return the model's scorer, or None without the library.

    Raises ArtifactError for trees that aren't right.
    """
    found = library(path)
    if found is None:
        return None
    structure, memory = _structure(model)
    if model.forest:
        position = ctypes.c_int64()
        if fault := found.check_trees(ctypes.byref(structure), ctypes.byref(position)):
            raise ArtifactError(f"model: {place}: {trees.FAULTS[fault - 1](position.value)}; train again")
        structure.has_categories = found.has_categories(ctypes.byref(structure))
    unlocked = ctypes.CDLL(str(path))
    unlocked.score.argtypes, unlocked.score.restype = found.score.argtypes, None
    address = ctypes.addressof(structure)
    return NativeScorer(
        model.features,
        len(model.start),
        address,
        row_scratch=found.scratch_size(address, 1),
        library=found,
        unlocked=unlocked,
        memory=(structure, *memory),
    )


def _structure(model: Model) -> tuple[_Model, list[object]]:
    """Return what the library takes, and the memory that must live as long."""
    widths, forest = model.widths, model.forest
    steps, columns, numbers = _program(model)
    coefficients = memoryview(array("d")) if model.coefficients is None else model.coefficients
    structure = _Model(
        features=model.features,
        width=widths[-1],
        widest=max(widths),
        scores=len(model.start),
        steps=len(model.steps),
        divisor=model.divisor,
        step=ctypes.addressof(steps),
    )
    memory: list[object] = [steps]
    arrays = {
        "columns_at": memoryview(columns),
        "numbers_at": memoryview(numbers),
        "start_at": memoryview(array("d", model.start)),
        "coefficients_at": coefficients,
    }
    if forest:
        structure.trees, structure.nodes = len(forest.sizes), len(forest.kinds)
        structure.leaves, structure.words = len(forest.leaves), forest.words
        structure.bitsets = len(forest.bitsets) // forest.words if forest.words else 0
        structure.is_single = forest.precision == "single"
        arrays |= {"sizes_at": forest.sizes, "outputs_at": forest.outputs, "nodes_at": forest.nodes}
        arrays |= {"leaves_at": forest.leaves, "bitsets_at": forest.bitsets}
    for name, view in arrays.items():
        memory.append(view)
        if len(view):
            setattr(structure, name, ctypes.addressof(ctypes.c_char.from_buffer(view.cast("B"))))
    return structure, memory


def _program(model: Model) -> tuple[Any, array[int], array[float]]:
    """Return the steps for the library, with the columns and numbers that they refer to."""
    columns, numbers = array("i"), array("d")

    def encode() -> Iterator[_Step]:
        for step, width in zip(model.steps, model.widths, strict=False):
            chosen, values = step.program(width)
            yield _Step(
                OPERATIONS.index(step.operation), len(chosen), len(columns), len(values), len(numbers)
            )
            columns.extend(chosen)
            numbers.extend(values)

    steps = (_Step * max(1, len(model.steps)))(*encode())
    return steps, columns, numbers
