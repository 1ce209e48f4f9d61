"""Predictions for a file of rows: `python -m app score rows.csv`.

The rows are predicted as POST /predict does, by the model in MODEL_DIR, some thousands at a time. A CSV file
has a header line with the features' names in any order; other columns are ignored. Numbers and missing
values are read as in the file that the model was trained on. The output is CSV: `prediction`, and
`label` where the target has classes.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import IO, Any

from app.errors import AppError, InvalidInput
from app.modelling import model_loader
from app.modelling.artifact import Spelling
from app.modelling.columns import MISSING_SPELLINGS, NUMERIC, Column, Row
from app.modelling.predictor import Predictor, Result, label

CHUNK = 10_000  # rows
PARQUET = (".parquet", ".pq")
SEPARATORS = ",;\t|"
STANDARD = "-"
USUAL = Spelling(".", tuple(MISSING_SPELLINGS))


@dataclass(frozen=True)
class Chunk:
    """Encoded rows, and the place of each in its file."""

    rows: list[Row]
    places: list[str]


def main(arguments: Sequence[str], model_dir: Path) -> int:
    """Predict a file's rows and return the exit status: 0, 1 for a row or model that fails."""
    parser = argparse.ArgumentParser(prog="python -m app score", description="Predict the rows of a file.")
    parser.add_argument("rows", help="CSV or Parquet file, or - for CSV from the standard input")
    parser.add_argument("--output", default=STANDARD, help="CSV file to write (the standard output)")
    options = parser.parse_args(arguments)
    try:
        score(options.rows, options.output, model_dir)
    except (AppError, OSError, UnicodeError, csv.Error) as error:
        print(f"score: {error}", file=sys.stderr)
        return 1
    return 0


def score(rows: str, output: str, model_dir: Path) -> None:
    """Write the predictions for a file's rows.

    Raises ArtifactError when there is no model, InvalidInput for a row that it doesn't take.
    """
    predictor = model_loader.load(model_dir)
    with ExitStack() as stack:
        if Path(rows).suffix in PARQUET:
            chunks = _read_parquet(rows, predictor.columns)
        else:
            source = sys.stdin if rows == STANDARD else stack.enter_context(_open(rows, "r", "utf-8-sig"))
            chunks = _read_csv(source, rows, predictor)
        target = sys.stdout if output == STANDARD else stack.enter_context(_open(output, "w", "utf-8"))
        for lines in _format_lines(predictor, chunks):
            target.writelines(lines)


def _open(path: str, mode: str, encoding: str) -> IO[str]:
    return Path(path).open(mode, encoding=encoding, newline="")


def _read_csv(file: IO[str], name: str, predictor: Predictor) -> Iterator[Chunk]:
    columns = predictor.columns
    first = file.readline()
    separator = max(SEPARATORS, key=first.count)
    header = [each.strip() for each in next(csv.reader([first], delimiter=separator), [])]
    chosen = [_position(header, column.feature.name, name) for column in columns]
    reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
    encode = _encoder(columns, name, predictor.card.spelling or USUAL)
    filled = ((reader.line_num + 1, record) for record in reader if record)
    while records := list(islice(filled, CHUNK)):
        for line, record in records:
            if len(record) != len(header):
                raise InvalidInput(f"{name}, line {line}", f"{len(header)} values", str(len(record)))
        rows = [encode([record[place] for place in chosen], line) for line, record in records]
        yield Chunk(rows, [f"line {line}" for line, _ in records])


def _position(header: Sequence[str], feature: str, name: str) -> int:
    if header.count(feature) != 1:
        expected = f"one column {feature!r} in the header"
        raise InvalidInput(name, expected, f"{header.count(feature)}; there are {', '.join(header)[:200]}")
    return header.index(feature)


def _encoder(columns: Sequence[Column], name: str, spelling: Spelling) -> Callable[[Sequence[str], int], Row]:
    """Return what encodes a line's values."""
    numbers_only = all(column.feature.kind in NUMERIC for column in columns)
    missing = frozenset(spelling.missing)
    have_commas = [spelling.decimal == "," and each.feature.kind in ("number", "integer") for each in columns]

    def encode(values: Sequence[str], line: int) -> Row:
        if any(have_commas):
            pairs = zip(values, have_commas, strict=True)
            values = [_replace_comma(value) if has_comma else value for value, has_comma in pairs]
        if numbers_only and (row := _numbers(values)):
            return row
        found = []
        for column, value in zip(columns, values, strict=True):
            encoded = column.parse(value, missing)
            if encoded is None:
                place = f"{name}, line {line}, column {column.feature.name!r}"
                raise InvalidInput(place, column.expected, repr(value))
            found.append(encoded)
        return found

    return encode


def _replace_comma(value: str) -> str:
    """Replace a decimal comma by a point; a number with a point becomes invalid."""
    return value.replace(",", ".") if "." not in value else f"{value},"


def _numbers(values: Sequence[str]) -> Row | None:
    """Return finite numbers quickly, or None for what needs a closer look."""
    text = "".join(values)
    if not text.isascii() or "_" in text:
        return None
    try:
        row = [*map(float, values)]
    except ValueError:
        return None
    return row if isfinite(sum(row)) else None


def _read_parquet(path: str, columns: Sequence[Column]) -> Iterator[Chunk]:
    try:
        from pyarrow import ArrowException, parquet
    except ModuleNotFoundError:
        raise InvalidInput(path, "a CSV file, as pyarrow is not installed", "a Parquet file") from None
    try:
        file = parquet.ParquetFile(path)
        for column in columns:
            _position(file.schema_arrow.names, column.feature.name, path)
        first = 1
        for batch in file.iter_batches(CHUNK, columns=[column.feature.name for column in columns]):
            table = batch.to_pydict()
            places = [f"row {number}" for number in range(first, first + batch.num_rows)]
            encoded = [_encode_column(column, table[column.feature.name], path, places) for column in columns]
            yield Chunk([list(row) for row in zip(*encoded, strict=True)], places)
            first += batch.num_rows
    except ArrowException as error:
        raise InvalidInput(path, "a Parquet file", str(error)) from error


def _encode_column(column: Column, values: Iterable[Any], path: str, places: Sequence[str]) -> list[Any]:
    found = []
    for value, place in zip(values, places, strict=True):
        encoded = column.encode(_plain(column, value))
        if encoded is None:
            name = f"{path}, {place}, column {column.feature.name!r}"
            raise InvalidInput(name, column.expected, repr(value))
        found.append(encoded)
    return found


def _plain(column: Column, value: Any) -> object:
    """Return a file's value as a client would send it."""
    if value is None or value != value:
        return None
    if column.feature.kind in ("category", "text"):
        return str(value)
    return bool(value) if column.feature.kind == "boolean" and value in (0, 1) else _number(value)


def _number(value: object) -> object:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _format_lines(predictor: Predictor, chunks: Iterable[Chunk]) -> Iterator[list[str]]:
    """Yield the lines of the output, the header first."""
    has_label = bool(predictor.card.classes)
    yield ["prediction,label\n" if has_label else "prediction\n"]
    for chunk in chunks:
        results = _predict(predictor, chunk)
        if has_label:
            names = {each: _quote(each) for each in predictor.card.classes}
            yield [f"{result!r},{names[label(predictor.card, result)]}\n" for result in results]
        else:
            yield [f"{result!r}\n" for result in results]


def _predict(predictor: Predictor, chunk: Chunk) -> list[Result]:
    try:
        return predictor.predict_all(chunk.rows)
    except InvalidInput as error:
        index = re.match(r"instances\[(\d+)\]", error.name)
        place = chunk.places[int(index[1])] if index else f"{chunk.places[0]} and below"
        raise InvalidInput(place, error.expected, error.received) from error


def _quote(text: str) -> str:
    """Return a value as CSV has it."""
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if re.search(r'[",\r\n]', text) else text
