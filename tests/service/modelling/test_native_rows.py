"""The library's reader and counter of rows beside Python's: the same bits, the same counts."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from app.metrics import RowCounts
from app.modelling.artifact import Bins, Feature
from app.modelling.native_rows import NativeRows, native_rows
from app.modelling.portable.flat_rows import FlatRows
from tests.service.random_texts import random_features, random_text

TEXTS = 800
PLAIN = [Feature(name, 0.0, 1.0, {}, Bins((0.5,), (0.5, 0.5)), missing=name == "b") for name in "ab"]


@pytest.fixture(scope="module")
def reader(native_library: Path) -> NativeRows:
    found = native_rows(PLAIN, native_library)
    assert found
    return found


def test_rows_are_read_to_the_last_bit_and_counted_as_python_does(native_library: Path) -> None:
    chance, read = random.Random(3), 0
    for _ in range(TEXTS):
        features = random_features(chance)
        native, counts = native_rows(features, native_library), RowCounts(features)
        assert native
        text = random_text(chance, len(features))
        rows, place = native.read(text, 0, 9)
        strict = json.loads(b"[%b" % text.rstrip(b"}"), parse_int=float)
        expected = [[math.nan if value is None else value for value in row] for row in strict]
        assert repr([*rows]) == repr(expected[: len(rows)])
        if len(rows) == len(expected):
            assert text[place:] == b"]}"
        counts.count([*rows]) if len(rows) else None
        assert native.count(rows) == counts.bins
        read += len(rows)
    assert read > TEXTS


def test_ordinary_doubles_are_all_read(reader: NativeRows) -> None:
    chance = random.Random(4)
    rows = [[chance.gauss(0, 10.0 ** chance.randint(-9, 9)), float(number)] for number in range(5000)]
    found, _ = reader.read(json.dumps(rows)[1:].encode(), 0, 5000)
    assert [*found] == rows


UNCERTAIN = ["", "-", "+1", "01", "-01", "1.", ".5", "1e", "1e+", "0x1", "1_0", "NaN", "Infinity", "true"]
UNCERTAIN += ['"1"', "[1]", "{}", "nul", "null", "1e999", "1e99999", "5e-324", "123456789012345678901"]
UNCERTAIN += ["9007199254740993"]


@pytest.mark.parametrize("value", UNCERTAIN)
def test_what_is_not_certain_is_left_to_another_reader(reader: NativeRows, value: str) -> None:
    text = b"[1,2],[%b,3],[4,5]]" % value.encode()
    rows, place = reader.read(text, 0, 9)
    assert [*rows] == [[1.0, 2.0]]
    assert place == 5


@pytest.mark.parametrize("row", [b"[1]", b"[1,2,3]", b"[1,2", b"1,2]", b"[1 2]", b"[,2]", b"[1,,2]", b"\x00"])
def test_rows_of_another_form_are_not_read(reader: NativeRows, row: bytes) -> None:
    rows, place = reader.read(row, 0, 9)
    assert (len(rows), place) == (0, 0)


def test_null_is_read_where_a_value_may_be_missing(reader: NativeRows) -> None:
    rows, _ = reader.read(b"[-0,null] ,\n[1.5e0, 2],[null,1]", 0, 9)
    assert repr([*rows]) == "[[-0.0, nan], [1.5, 2.0]]"
    assert reader.count(rows) == [[1, 1], [0, 1, 1]]


def test_a_limit_of_rows_is_kept_and_the_rest_can_be_read_then(reader: NativeRows) -> None:
    text = b"[1,2],[3,4],[5,6]]"
    first, place = reader.read(text, 0, 2)
    rest, end = reader.read(text, place + 1, 2)
    assert ([*first], [*rest], end) == ([[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]], len(text) - 1)


def test_without_the_library_there_is_no_reader(tmp_path: Path) -> None:
    assert native_rows(PLAIN, tmp_path / "missing.so") is None


def test_flat_rows_are_lists_to_python() -> None:
    rows = FlatRows.of([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], 2)
    assert [len(rows), rows[0], rows[-1]] == [3, [1.0, 2.0], [5.0, 6.0]]
    assert [*rows[1:]] == [[3.0, 4.0], [5.0, 6.0]]
    assert FlatRows.of(rows, 2) is rows
    with pytest.raises(IndexError):
        rows[3]
    for width, wrong in ((2, [[1.0], [1.0, 2.0, 3.0]]), (3, rows)):
        with pytest.raises(ValueError, match=f"expected rows of {width} features"):
            FlatRows.of(wrong, width)
