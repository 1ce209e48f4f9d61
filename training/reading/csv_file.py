"""CSV files: detection of the dialect (separator, decimal mark, encoding), and a check that it is one table.

A first pass with the standard library's reader checks that every line has a value for each column, which
pandas doesn't check. pandas reads the values in a second pass.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import pandas as pd

from app.errors import BadData
from app.modelling.artifact import Spelling
from app.modelling.columns import MISSING_SPELLINGS
from training.settings import CsvSettings

Decimal = Literal[".", ","]

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
SAMPLE_LINES = 200
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
EXPORTED_INDEX = re.compile(r"Unnamed: \d+|__index_level_\d+__")

_decimal_comma = re.compile(r"[+-]?\d+,\d+").fullmatch
_thousands = re.compile(r"[+-]?\d{1,3}(,\d{3})+").fullmatch
_decimal_point = re.compile(r"[+-]?\d*\.\d+").fullmatch


@dataclass(frozen=True)
class CsvFile:
    """A CSV file with the dialect that it is written in."""

    path: Path
    encoding: str
    separator: str
    decimal: Decimal
    na_values: frozenset[str]
    header: tuple[str, ...]

    @property
    def dialect(self) -> str:
        """Return in words how the file is written."""
        return f"separator {self.separator!r}, decimal {self.decimal!r}, {self.encoding}"

    @property
    def spelling(self) -> Spelling | None:
        """Return how the file spells numbers and missing values, None for the usual way."""
        if self.decimal == "." and self.na_values == MISSING_SPELLINGS:
            return None
        return Spelling(self.decimal, tuple(sorted(self.na_values)))

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the records with the number of their (last) line, but not the blank ones."""
        with self.path.open(encoding=self.encoding, newline="") as file:
            reader = csv.reader(file, delimiter=self.separator, skipinitialspace=True, strict=True)
            yield from ((reader.line_num, record) for record in reader if record)

    def line(self, row: int) -> int:
        """Return the line where a row stands, counted from 0 below the header."""
        return next(islice(self.records(), row + 1, None))[0]

    def read(self, names: Sequence[str], texts: set[str], target: str) -> pd.DataFrame:
        """Return columns as pandas infers them, those of mixed values and `texts` as text.

        In the target, nothing is taken for a missing value.
        """
        frame = self._read(names, texts | {target}, target)
        mixed = [str(name) for name in frame if frame[name].dtype == object]
        if mixed:
            frame[mixed] = self._read(mixed, set(mixed), target)
        return frame[list(names)]

    def _read(self, names: Sequence[str], texts: set[str], target: str) -> pd.DataFrame:
        missing = sorted(self.na_values)
        return pd.read_csv(
            self.path,
            sep=self.separator,
            decimal=self.decimal,
            encoding=self.encoding,
            header=0,
            names=list(self.header),
            usecols=list(names),
            index_col=False,
            dtype=dict.fromkeys(texts.intersection(names), str),
            na_values={name: missing for name in names if name != target},
            keep_default_na=False,
            skipinitialspace=True,
        )


def open_csv(path: Path, settings: CsvSettings) -> CsvFile:
    """Return the file with its dialect, given or detected. Raises BadData when it isn't one table."""
    try:
        encoding = settings.encoding or _detect_encoding(path)
        sample = _sample(path, encoding)
        separator = settings.separator or _detect_separator(sample)
        na_values = MISSING_SPELLINGS if settings.na_values is None else {"", *settings.na_values}
        header = tuple(name.strip() for name in next(_records(sample, separator), []))
        decimal = settings.decimal or _detect_decimal(sample, separator)
        file = CsvFile(path, encoding, separator, decimal, frozenset(na_values), header)
        _check_header(file, sample)
        _check_records(file)
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02x}"
        advice = "set encoding in [tool.milestone2.csv], such as 'cp1252' for a file from Windows"
        raise BadData(f"{path}: not readable as CSV in {error.encoding.upper()}: {byte}; {advice}") from error
    except (OSError, UnicodeError, csv.Error) as error:
        raise BadData(f"{path}: not readable as CSV: {error}") from error
    return file


def _detect_encoding(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(3)
    return next((name for mark, name in BYTE_ORDER_MARKS.items() if start.startswith(mark)), "utf-8")


def _sample(path: Path, encoding: str) -> list[str]:
    with path.open(encoding=encoding, newline="") as file:
        return list(islice(file, SAMPLE_LINES))


def _records(lines: Sequence[str], separator: str) -> Iterator[list[str]]:
    """Yield the sample's records; the last one may lack its end."""
    return (record for record in csv.reader(lines, delimiter=separator, skipinitialspace=True) if record)


def _detect_separator(sample: Sequence[str]) -> str:
    """Return the separator that splits every record alike, and into the most values."""

    def columns(separator: str) -> tuple[bool, int]:
        widths = [len(record) for record in _records(sample, separator)] or [0]
        return widths[0] > 1 and len(set(widths)) == 1, widths[0]

    return max(SEPARATORS, key=columns)


def _detect_decimal(sample: Sequence[str], separator: str) -> Decimal:
    """Return a comma where numbers can have no other meaning, else a point."""
    values = [value.strip() for record in _records(sample, separator) for value in record]
    commas = [value for value in values if _decimal_comma(value)]
    clear = any(not _thousands(value) for value in commas)
    return "," if separator != "," and clear and not any(map(_decimal_point, values)) else "."


def _check_header(file: CsvFile, sample: Sequence[str]) -> None:
    header = file.header
    widths = {each: len(next(_records(sample, each), [])) for each in SEPARATORS}
    best = max(widths, key=lambda each: widths[each])
    if len(header) == 1 and widths[best] > 1 and best != file.separator:
        advice = f"set separator = {best!r} in [tool.milestone2.csv]" if best != "," else "leave it out"
        raise BadData(
            f"{file.path}: one column with the separator {file.separator!r}, "
            f"but it looks like {SEPARATORS[best]}; {advice}"
        )
    if not header:
        raise BadData(f"{file.path}: no rows under a header line")
    check_names(str(file.path), header)


def check_names(source: str, names: Sequence[str]) -> None:
    """Raise BadData for a column without a name of its own."""
    if not names[0] or EXPORTED_INDEX.fullmatch(names[0]):
        raise BadData(
            f"{source}: the first column has no name, like an index that pandas has written; "
            "delete it, or write the file with index=False: a model would learn the rows' numbers"
        )
    for number, name in enumerate(names, 1):
        if not name:
            raise BadData(
                f"{source}: column {number} has no name; delete it (spreadsheets add empty ones at the end)"
            )
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise BadData(f"{source}: the header names a column twice: {', '.join(repeated)}")


def _check_records(file: CsvFile) -> None:
    rows = -1
    for line, record in file.records():
        rows += 1
        if len(record) != len(file.header):
            found = f"{len(record)} values under {len(file.header)} columns"
            raise BadData(f"{file.path}, line {line}: {found}{_quote_hint(file)}")
    if rows < 1:
        raise BadData(f"{file.path}: no rows under a header line")


def _quote_hint(file: CsvFile) -> str:
    return "; decimal commas need another separator, or quotes" if file.separator == "," else ""
