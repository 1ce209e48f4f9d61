"""Long bodies: counted, and refused when too large, before they are parsed; batches are read in slices.

A slice is some rows of `instances`. Every body that can be read in slices is also accepted by the strict
reading, as the same numbers: tests/service/api/test_long_bodies.py compares the two. The native library, if
there is one, reads most rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from app.connections.request_body import as_rows
from app.connections.row_reader import RowReader
from app.errors import InvalidInput
from app.modelling.columns import Row
from app.modelling.native_rows import NativeRows

LONG_BYTES = 4096  # a shorter body is parsed at once
SLICE_BYTES = 32 * 1024
SLICE_NUMBERS = 16 * 1024
NATIVE_NUMBERS = 32 * 1024  # that the library reads at once, in about a millisecond
SPARE = 16  # lists and numbers beside the rows'
STRINGS_AT_ONCE = 1000  # that are passed over, in less than a millisecond
STRINGS, OBJECTS, WORDS = 1000, 1000, 1000  # of a body that is worth a look at what is wrong with it

Rows = Sequence[Row]

_SPACE = rb"[ \t\r\n]*+"
_start = re.compile(_SPACE + rb"\{" + _SPACE + rb'"instances"' + _SPACE + rb":" + _SPACE + rb"\[").match
_is_named = re.compile(_SPACE.join((rb"", rb"\{", rb'"[a-z_]+"', rb":", rb"\[", rb"\{"))).match
_parameters = rb'(?:,%b"parameters"%b:%b(?:null|\{%b\})%b)?' % ((_SPACE,) * 5)
_end = re.compile(rb"\]" + _SPACE + _parameters + rb"\}" + _SPACE).fullmatch
_integer_zero = re.compile(rb"-0(?=[\],\s])")
_any_integer_zero = re.compile(rb"-0(?=[\],}\s])").search
_string = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL).finditer  # one without an end, too
_object = re.compile(_SPACE + rb"\{").match
_comma = re.compile(_SPACE + rb",").match


class NotInSlices(Exception):
    """Only the strict reading knows what the body is."""


def check_size(body: bytes, reader: RowReader, max_rows: int) -> Iterator[None]:
    """Refuse a long body with more values or brackets than the reader's rows have, a part at each step.

    Raises InvalidInput before any parsing.
    """
    if reader.is_numbers_only and not _is_named(body):
        return _check_numbers(body, reader.count, max_rows)
    return _check_values(body, reader, max_rows)


def _check_values(body: bytes, reader: RowReader, max_rows: int) -> Iterator[None]:
    """Bound rows by name and rows with strings, in which brackets may stand too."""
    most = max_rows * (reader.count + 1)
    strings, limit = body.count(b'"') // 2, 2 * most + STRINGS
    if strings > limit and not reader.has_texts:  # which may have any number of quotes inside
        raise InvalidInput("body", f"at most {limit} strings", f"{strings}")
    yield
    for mark, noun in ((b"[", "lists"), (b"{", "objects")):
        if body.count(mark) > most + STRINGS:
            yield from _check_outside_of_strings(body, mark, most + STRINGS, noun)
        yield


def _check_outside_of_strings(body: bytes, mark: bytes, limit: int, noun: str) -> Iterator[None]:
    at = found = 0
    for number, string in enumerate(_string(body)):
        found += body.count(mark, at, string.start())
        at = string.end()
        if found > limit:
            break
        if number % STRINGS_AT_ONCE == 0:
            yield
    found += body.count(mark, at)
    if found > limit:
        raise InvalidInput("body", f"at most {limit} {noun}", "more")


def _check_numbers(body: bytes, count: int, max_rows: int) -> Iterator[None]:
    lists = body.count(b"[")
    if lists > max_rows + SPARE:
        raise InvalidInput("body", f"1 to {max_rows} rows", f"{lists - 1}")
    yield
    numbers = body.count(b",")
    if numbers > max_rows * count + SPARE:
        raise InvalidInput("body", f"at most {max_rows} rows of {count} numbers", f"{numbers + 1} numbers")
    yield
    strings = body.count(b'"') // 2
    if strings > STRINGS:
        raise InvalidInput("body", f"at most {STRINGS} strings", f"{strings}")
    yield
    objects = body.count(b"{")
    if objects > OBJECTS:
        raise InvalidInput("body", f"at most {OBJECTS} objects", f"{objects}")
    yield
    words = body.count(b"u") + body.count(b"s")  # null, true and false have one of these
    if words > WORDS:
        raise InvalidInput("body", f"at most {WORDS} values that are no numbers", f"{words}")


def is_batch(body: bytes) -> bool:
    """Return whether a body begins as a batch does."""
    return _start(body) is not None


def slices(body: bytes, count: int, native: NativeRows | None = None) -> Iterator[Rows]:
    """Yield the rows of a batch, `count` doubles each, some at once.

    Raises NotInSlices, before the first or later, for what is no such batch and for one in an unusual form.
    """
    start, last = _start(body), body.rfind(b"]")
    if start is None or not _end(body, last):
        raise NotInSlices
    at: int | None = start.end()
    most = max(1, NATIVE_NUMBERS // count)
    while at is not None:
        rows: Rows = ()
        if native:
            rows, cut = native.read(body, at, most)
        if not rows:
            cut = (body.find(b"]", at + SLICE_BYTES, last) + 1) or last
            rows = _read_slice(b"[%b]" % body[at:cut], count)
        yield rows
        at = _next_start(body, cut, last)


def _next_start(body: bytes, cut: int, last: int) -> int | None:
    """Return where the rows behind a slice start, None behind the last one; raises NotInSlices."""
    if cut == last:
        return None
    comma = _comma(body, cut, last)
    if comma is None:
        raise NotInSlices
    return comma.end()


def _read_slice(text: bytes, count: int) -> list[list[float]]:
    if text.count(b",") > max(SLICE_NUMBERS, 2 * count):  # it would take too long to see that it is wrong
        raise NotInSlices
    try:
        rows = as_rows(orjson.loads(text), count, text)
        if rows is None and b"-0" in text:
            text = _integer_zero.sub(b"-0.0", text)  # an integer loses its sign
            rows = as_rows(orjson.loads(text), count, text)
    except ValueError:
        raise NotInSlices from None
    if not rows:
        raise NotInSlices
    return rows


def is_mixed(body: bytes, reader: RowReader, *, reads_null: bool = False) -> bool:
    """Return whether a batch's rows are more than lists of numbers, and of null where that is read, too."""
    start = _start(body)
    return (
        not reader.is_numeric
        or (b"null" in body and not reads_null)
        or (start is not None and _object(body, start.end()) is not None)
    )


def mixed_slices(body: bytes, reader: RowReader) -> Iterator[Rows]:
    """Yield the rows of a batch of any columns, encoded, in lists or by name, some at once.

    A slice that is JSON by itself ends outside of a string and behind a row. Raises NotInSlices as `slices`
    does, and where there are escapes.
    """
    start, last = _start(body), body.rfind(b"]")
    if start is None or not _end(body, last) or b"\\" in body:
        raise NotInSlices
    at: int | None = start.end()
    mark = b"}" if _object(body, start.end()) else b"]"
    while at is not None:
        cut = (body.find(mark, at + SLICE_BYTES, last) + 1) or last
        yield _read_mixed_slice(b"[%b]" % body[at:cut], reader)
        at = _next_start(body, cut, last)


def _read_mixed_slice(text: bytes, reader: RowReader) -> list[Row]:
    if text.count(b",") > max(SLICE_NUMBERS, 2 * reader.count) or _any_integer_zero(text):
        raise NotInSlices
    try:
        values = orjson.loads(text)
    except ValueError:
        raise NotInSlices from None
    rows = [row for row in map(reader.quick, values) if row is not None]
    # orjson takes a name twice. Without escapes, each two quotes are a string: none but those that are seen.
    if not rows or len(rows) < len(values) or text.count(b'"') != 2 * sum(map(_strings, values)):
        raise NotInSlices
    return rows


def _strings(row: Any) -> int:
    """Return how many strings a row has, with its names if it is an object."""
    if type(row) is dict:
        return len(row) + sum(type(value) is str for value in row.values())
    return sum(type(value) is str for value in row)
