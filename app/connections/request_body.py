"""Read the body of POST /predict: what is accepted has one meaning.

There are two readings. The strict one takes the body apart and says what is wrong with it. The quick one
costs a third of that and knows only good bodies: whatever it takes the strict one takes too, as the same
numbers.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import chain
from json.scanner import make_scanner
from typing import Any

from app.errors import InvalidInput

SHOWN = 80  # characters of a refused value that are sent back
BATCH_FIELDS = ("instances", "parameters")

_scan = make_scanner(json.JSONDecoder(parse_int=float))  # type: ignore[arg-type]  # typeshed has no decoder in mind


@dataclass(frozen=True)
class NotANumber:
    """A literal that JSON forbids (NaN, Infinity) or that no double holds (1e400), as it was written."""

    literal: str


@dataclass(frozen=True)
class Batch:
    """Rows that are answered together."""

    rows: list[list[float]]


def quick_features(body: bytes, count: int) -> list[float] | None:
    """Return the body's `features`, or None when only the strict reading knows what the body is."""
    features = _only_field(body, "features")
    return features if features is not None and _is_row(features, count) else None


def parse(body: bytes, count: int, max_rows: int) -> list[float] | Batch:
    """Return the body's `features`, `count` finite numbers, or its `instances`, up to `max_rows` such lists.

    Raises InvalidInput for anything else.
    """
    quick = _only_field(body, "instances")
    if quick and len(quick) <= max_rows and _are_rows(quick, count):
        return Batch(quick)
    document = parse_object(body)
    if "instances" in document:
        return Batch(_instances(document, count, max_rows))
    for name in document:
        if name != "features":
            raise InvalidInput(_name(name), "no field but features", "one more field")
    if "features" not in document:
        raise InvalidInput("features", f"a list of {count} numbers", "no such field")
    return numbers("features", document["features"], count)


def parse_object(body: bytes) -> dict[str, Any]:
    """Return a body that is a JSON object, its numbers as doubles. Raises InvalidInput."""
    document = _parse(_decode(body))
    if not isinstance(document, dict):
        raise InvalidInput("body", "a JSON object", shown(document))
    return document


def numbers(name: str, values: object, count: int) -> list[float]:
    """Return a field that is a list of `count` finite numbers. Raises InvalidInput."""
    if not isinstance(values, list):
        raise InvalidInput(name, f"a list of {count} numbers", shown(values))
    for index, value in enumerate(values[:count]):
        if not isinstance(value, float):
            raise InvalidInput(f"{name}[{index}]", "a finite number", shown(value))
    if len(values) != count:
        raise InvalidInput(name, f"{count} numbers", str(len(values)))
    return values


def check_rows(name: str, rows: int, max_rows: int) -> None:
    """Raise InvalidInput for no rows, and for too many."""
    if not 1 <= rows <= max_rows:
        raise InvalidInput(name, f"1 to {max_rows} rows", str(rows))


def shown(value: object) -> str:
    """Return the start of a value as JSON, in ASCII so that a lone surrogate can be sent back."""
    match value:
        case NotANumber():
            text = value.literal
        case dict():
            text = "an object"
        case list():
            text = "a list"
        case _:
            text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _only_field(body: bytes, name: str) -> list[Any] | None:
    # Two quotes are one string, so an object that has one has just this field, just once, and nothing to tell
    # apart inside of it. Not even NaN and 1e400 are read differently: as numbers that aren't finite.
    if body.count(b'"') != 2:
        return None
    try:
        document, end = _scan(body.decode("ascii"), 0)
    except (StopIteration, ValueError, RecursionError):
        return None
    if end != len(body) or type(document) is not dict:
        return None
    values = document.get(name)
    return values if type(values) is list else None


def _is_row(values: list[Any], count: int) -> bool:
    return len(values) == count and set(map(type, values)) == {float} and math.isfinite(sum(values))


def _are_rows(values: list[Any], count: int) -> bool:
    if set(map(type, values)) != {list} or set(map(len, values)) != {count}:
        return False
    flat = list(chain.from_iterable(values))
    return _is_row(flat, len(flat))


def _instances(document: dict[str, Any], count: int, max_rows: int) -> list[list[float]]:
    for name in document:
        if name not in BATCH_FIELDS:
            raise InvalidInput(_name(name), f"no field but {' and '.join(BATCH_FIELDS)}", "one more field")
    if document.get("parameters") not in (None, {}):
        raise InvalidInput("parameters", "no parameters", shown(document["parameters"]))
    rows = document["instances"]
    if not isinstance(rows, list):
        raise InvalidInput("instances", "a list of rows", shown(rows))
    check_rows("instances", len(rows), max_rows)
    return [numbers(f"instances[{index}]", row, count) for index, row in enumerate(rows)]


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
    return shown(field).strip('"')
