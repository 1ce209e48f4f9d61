"""Strict reader of JSON into frozen dataclasses: each field once and no other, exact types, finite numbers.

A field with a default may be missing: files of an earlier version lack it.

Pydantic is not used because its import takes longer than the service may take to start.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from math import isfinite
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from app.errors import ArtifactError

Record = TypeVar("Record")

EXACT_INTEGERS = 2**53  # doubles hold every integer up to here
SHOWN = 80  # characters of a refused value in the message
_WORDS: dict[object, str] = {
    str: "a string",
    int: "an integer",
    float: "a finite number",
    dict: "an object",
    list: "a list",
    bool: "true or false",
}


def parse(content: bytes | bytearray, place: str) -> object:
    """Return what the JSON in UTF-8 says; `place` says where it stands. Raises ArtifactError."""
    try:
        return json.loads(content.decode(), parse_constant=_no_number, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"model: {place} is not JSON: {error}; train again") from error


def read(kind: type[Record], value: object, place: str) -> Record:
    """Return a parsed value as a dataclass of strings, numbers, dataclasses, tuples and dicts of these.

    Raises ArtifactError, which names the part at fault.
    """
    record: Record = _read(kind, value, f"{place}: ")
    return record


def _no_number(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is no number")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError(f"an object has a field twice, of {', '.join(entries)[:SHOWN]}")
    return entries


def _read(kind: Any, value: Any, place: str) -> Any:
    if is_dataclass(kind):
        return _record(kind, _check_type(dict, value, place), place)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value if value in arguments else _refuse(f"one of {', '.join(arguments)}", value, place)
    if origin is tuple:
        return _items(arguments[0], _check_type(list, value, place), place)
    if origin is dict:
        entries = _check_type(dict, value, place)
        return {name: _read(arguments[1], entry, _below(place, name)) for name, entry in entries.items()}
    if origin is not None:  # a type, or None
        return None if value is None else _read(arguments[0], value, place)
    return _number(value, place) if kind is float else _check_type(kind, value, place)


def _record(kind: Any, value: dict[str, Any], place: str) -> Any:
    hints, needed = _fields(kind)
    for name in [*value, *hints]:
        if name not in hints:
            _refuse("no such field", value[name], _below(place, name))
        if name in needed and name not in value:
            _refuse("this field", None, _below(place, name))
    return kind(**{name: _read(hints[name], given, _below(place, name)) for name, given in value.items()})


@cache
def _fields(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the types of a dataclass's fields by their names, and the names of those without a default."""
    hints, found = get_type_hints(kind), fields(kind)
    needed = frozenset(each.name for each in found if each.default is MISSING)
    return {each.name: hints[each.name] for each in found}, needed


def _items(kind: Any, values: list[Any], place: str) -> tuple[Any, ...]:
    if kind is float and set(map(type, values)) <= {float} and all(map(isfinite, values)):
        return tuple(values)  # the usual case of a long list
    return tuple(_read(kind, value, f"{place}[{index}]") for index, value in enumerate(values))


def _number(value: Any, place: str) -> float:
    if type(value) is int and abs(value) <= EXACT_INTEGERS:
        return float(value)
    number: float = _check_type(float, value, place)
    return number if isfinite(number) else _refuse("a finite number", value, place)


def _check_type(kind: type, value: Any, place: str) -> Any:
    return value if type(value) is kind else _refuse(_WORDS[kind], value, place)


def _below(place: str, name: str) -> str:
    return f"{place}{name}" if place.endswith(": ") else f"{place}.{name}"


def _refuse(expected: str, value: object, place: str) -> NoReturn:
    shown = "nothing" if value is None else f"{value!r:.{SHOWN}}"
    raise ArtifactError(f"model: {place.removesuffix(': ')}: expected {expected}, got {shown}; train again")
