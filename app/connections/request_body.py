"""Readers of the body of POST /predict; every accepted body has one meaning.

The strict reader parses the body and reports what is wrong with it. The quick one, by orjson, costs a tenth
of that and accepts only good bodies. The strict one accepts all of these, too, as the same numbers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson

from app.connections.row_reader import NotANumber, RowReader, describe_value
from app.errors import InvalidInput
from app.modelling.columns import Row

BATCH_FIELDS = ("instances", "parameters")
DOUBLES, NUMBERS = {float}, {float, int}

_integer_zero = re.compile(rb"-0[^.eE]").search


@dataclass(frozen=True)
class Batch:
    """Rows that are answered together, encoded."""

    rows: Sequence[Row]


def quick_features(body: bytes, count: int) -> list[float] | None:
    """Return the body's `features`, or None when only the strict reading knows what the body is."""
    if body.count(b",") != count - 1:  # what has too much in it isn't parsed to find that out
        return None
    features = _only_field(body, "features")
    return None if features is None else _as_row(features, count, body)


def quick_row(body: bytes, reader: RowReader) -> Row | None:
    """Return what `features` holds, by place or by name; None when only the strict reading knows it."""
    if b"\\" in body:
        return None
    try:
        document = orjson.loads(body)
    except ValueError:
        return None
    if type(document) is not dict or document.keys() != {"features"}:
        return None
    row = reader.quick(features := document["features"])
    if row is None or (b"-0" in body and _integer_zero(body)):
        return None
    # orjson takes a name twice. Without escapes, each two quotes are a string: none but those that are seen.
    values = features.values() if type(features) is dict else features
    names = len(features) if type(features) is dict else 0
    strings = 1 + names + sum(type(value) is str for value in values)
    return row if body.count(b'"') == 2 * strings else None


def parse(body: bytes, reader: RowReader, max_rows: int) -> Row | Batch:
    """Return the body's `features`, one row, or its `instances`, up to `max_rows` rows, all encoded.

    Raises InvalidInput for anything else.
    """
    quick = _only_field(body, "instances") if reader.is_numeric else None
    if quick and len(quick) <= max_rows and (rows := as_rows(quick, reader.count, body)):
        return Batch(rows)
    document = parse_object(body)
    if "instances" in document:
        return Batch(_instances(document, reader, max_rows))
    for name in document:
        if name != "features":
            raise InvalidInput(_name(name), "no field but features", "one more field")
    if "features" not in document:
        raise InvalidInput("features", f"a list of {reader.count} {reader.noun}", "no such field")
    return reader.read("features", document["features"])


def parse_object(body: bytes) -> dict[str, Any]:
    """Return a body that is a JSON object, its numbers as doubles. Raises InvalidInput."""
    document = _parse(_decode(body))
    if not isinstance(document, dict):
        raise InvalidInput("body", "a JSON object", describe_value(document))
    return document


def check_rows(name: str, rows: int, max_rows: int) -> None:
    """Raise InvalidInput for no rows, and for too many."""
    if not 1 <= rows <= max_rows:
        raise InvalidInput(name, f"1 to {max_rows} rows", str(rows))


def _only_field(body: bytes, name: str) -> list[Any] | None:
    # Two quotes are one string: the object has just this field, just once, and no other string inside.
    # orjson accepts nothing that the strict reading refuses, and neither NaN nor 1e400.
    if body.count(b'"') != 2:
        return None
    try:
        document = orjson.loads(body)
    except ValueError:
        return None
    values = document.get(name) if type(document) is dict else None
    return values if type(values) is list else None


def _as_row(values: list[Any], count: int, body: bytes) -> list[float] | None:
    """Return values as doubles if they are as many numbers."""
    if len(values) != count:
        return None
    kinds = set(map(type, values))
    if kinds == DOUBLES:
        return values
    # An integer loses the sign of its zero.
    return (
        list(map(float, values)) if kinds <= NUMBERS and not (b"-0" in body and _integer_zero(body)) else None
    )


def as_rows(values: list[Any], count: int, body: bytes) -> list[list[float]] | None:
    """Return rows of as many doubles each, if the values are lists of as many numbers."""
    if set(map(type, values)) != {list} or set(map(len, values)) != {count}:
        return None
    kinds = set(map(type, chain.from_iterable(values)))
    if kinds == DOUBLES:
        return values
    good = kinds <= NUMBERS and not _integer_zero(body)
    return [list(map(float, row)) for row in values] if good else None


def _instances(document: dict[str, Any], reader: RowReader, max_rows: int) -> list[Row]:
    for name in document:
        if name not in BATCH_FIELDS:
            raise InvalidInput(_name(name), f"no field but {' and '.join(BATCH_FIELDS)}", "one more field")
    if document.get("parameters") not in (None, {}):
        raise InvalidInput("parameters", "no parameters", describe_value(document["parameters"]))
    rows = document["instances"]
    if not isinstance(rows, list):
        raise InvalidInput("instances", "a list of rows", describe_value(rows))
    check_rows("instances", len(rows), max_rows)
    return [reader.read(f"instances[{index}]", row) for index, row in enumerate(rows)]


def _decode(body: bytes) -> str:
    if not body:
        raise InvalidInput("body", "a JSON object", "nothing")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            "body", "JSON in UTF-8", f"byte 0x{body[error.start]:02x} at {error.start}"
        ) from None
    if text.startswith("\ufeff"):
        raise InvalidInput("body", "JSON in UTF-8 without a byte order mark", "a byte order mark")
    return text


def _parse(text: str) -> object:
    try:
        return json.loads(
            text,
            parse_float=_number,
            parse_int=_number,
            parse_constant=NotANumber,
            object_pairs_hook=_unique,
        )
    except json.JSONDecodeError as error:
        raise InvalidInput("body", "JSON", f"an error at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise InvalidInput("body", "a JSON object", "nesting too deep to read") from None


def _number(literal: str) -> float | NotANumber:
    """Read integers as doubles too: the model works in nothing else, and their digits have no limit."""
    value = float(literal)
    return value if math.isfinite(value) else NotANumber(literal)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in pairs:
        if name in fields:
            raise InvalidInput(_name(name), "each field once", "the field again")
        fields[name] = value
    return fields


def _name(field: str) -> str:
    return describe_value(field).strip('"')
