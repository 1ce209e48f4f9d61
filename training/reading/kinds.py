"""Kinds of columns: number, integer, boolean, category or text, inferred from the values or given.

Values that only look like numbers (a decimal comma, thousands separators) and dates are refused, not taken
for categories. A column with more numbers than other values is one of numbers with something wrong in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api import types

from app.errors import BadData
from app.modelling.artifact import Kind
from app.modelling.columns import BOOLEANS, parse_number

RARE_ROWS = 5  # a category of fewer rows is named nowhere but in the model
MOST_CATEGORIES = 1000
WORDS_OF_A_TEXT = 4  # on average
EXACT_INTEGERS = 2.0**53
KIND_ADVICE = 'in [tool.milestone2.columns], such as {name!r} = {{kind = "category"}}'

_decimal_comma = re.compile(r"[+-]?\d*,\d+", re.ASCII).fullmatch
_thousands = re.compile(r"[+-]?\d{1,3}([ ,.'\u00a0\u202f]\d{3})+([.,]\d+)?", re.ASCII).fullmatch
_date = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T]\d{1,2}:\d{2}.*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}( \d{1,2}:\d{2}.*)?"
).fullmatch


@dataclass(frozen=True)
class Source:
    """Source of a column, to name the place of a wrong value."""

    name: str
    missing: frozenset[str]
    place: Callable[[str, int], str]


def convert(series: pd.Series, given: Kind | None, source: Source) -> tuple[Kind, pd.Series]:
    """Return the column's kind, and the column with that kind's dtype. Raises BadData."""
    name = str(series.name)
    if types.is_datetime64_any_dtype(series) or types.is_timedelta64_dtype(series):
        raise _date_refused(f"{source.name}, column {name!r}")
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    if types.is_numeric_dtype(series) and given not in ("category", "text"):
        return _numeric(series, given, source)
    texts = _texts(series, source)
    if not texts.notna().any():
        raise BadData(f"{source.name}, column {name!r}: no row has a value; leave it out with `features`")
    kind = given or _infer(texts, source)
    if kind == "number" and given is None:
        return _numeric(_as_number(texts, source), None, source)
    return kind, _CONVERSIONS[kind](texts, source)


def _numeric(series: pd.Series, given: Kind | None, source: Source) -> tuple[Kind, pd.Series]:
    """Take the numbers and booleans that pandas has read."""
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isnan(values).all():
        raise BadData(
            f"{source.name}, column {series.name!r}: no row has a value; leave it out with `features`"
        )
    _check_each(series, ~np.isinf(values), "a finite number", source)
    if given == "boolean" or (given is None and types.is_bool_dtype(series)):
        _check_each(series, np.isnan(values) | np.isin(values, (0, 1)), "true or false", source)
        return "boolean", _as(series, values, np.bool_)
    seen = values[~np.isnan(values)]
    integral = bool((np.abs(seen) <= EXACT_INTEGERS).all() and (seen == np.rint(seen)).all())
    if given == "integer":
        fits = np.isnan(values) | (values == np.rint(values))
        _check_each(series, fits, "an integer", source)
    kind: Kind = given or ("integer" if integral else "number")
    return kind, _as(series, values, np.int64 if kind == "integer" and integral else np.float64)


def _as(series: pd.Series, values: np.ndarray, kind: type) -> pd.Series:
    """Return numbers in a dtype, or as doubles when one is missing."""
    if kind is not np.float64 and not np.isnan(values).any():
        return series if series.dtype == kind else pd.Series(values.astype(kind), series.index)
    return series if series.dtype == np.float64 else pd.Series(values, series.index)


def _texts(series: pd.Series, source: Source) -> pd.Series:
    """Return the values as stripped strings, missing ones as NaN."""
    known = {value: str(value).strip() for value in series.dropna().unique()}
    kept = {value: text for value, text in known.items() if text not in source.missing}
    texts = series.astype(object).map(kept)
    return texts.where(texts.notna(), np.nan)


def _infer(texts: pd.Series, source: Source) -> Kind:
    counts = texts.value_counts()
    values, rows = [str(value) for value in counts.index], int(counts.sum())
    numbers = {value for value in values if parse_number(value) is not None}
    if len(numbers) == len(values):
        return "number"
    if all(value.lower() in BOOLEANS for value in values):
        return "boolean"
    odd = {value: reason for value in values if (reason := odd_number(value))}
    like = counts.loc[[value for value in values if value in numbers or value in odd]].sum()
    if 2 * like > rows:
        raise _number_refused(texts, numbers, odd, source)
    if 2 * counts.loc[[value for value in values if _date(value)]].sum() > rows:
        raise _date_refused(f"{source.name}, column {texts.name!r}")
    return "text" if _are_texts(counts) else "category"


def odd_number(text: str) -> str | None:
    """Return what is wrong with a text that is a number to people or to Python but not here, or None."""
    if _decimal_comma(text) and not _thousands(text):
        return 'a decimal comma; set decimal = "," in [tool.milestone2.csv]'
    if _thousands(text):
        return "a thousands separator; write numbers without it"
    try:
        float(text)
    except ValueError:
        return None
    if not text.isascii():
        return "digits other than 0 to 9"
    return "an underscore in a number" if "_" in text else "a number that isn't finite"


def _are_texts(counts: pd.Series) -> bool:
    words = sum(len(str(value).split()) for value in counts.index)
    long = len(counts) > RARE_ROWS and words >= WORDS_OF_A_TEXT * len(counts)
    return long or len(counts) > MOST_CATEGORIES or int(counts.iloc[0]) < RARE_ROWS


def _number_refused(texts: pd.Series, numbers: set[str], odd: Mapping[str, str], source: Source) -> BadData:
    wrong = [index for index, value in enumerate(texts) if isinstance(value, str) and value not in numbers]
    first = next((index for index in wrong if texts.iloc[index] in odd), wrong[0])
    value = texts.iloc[first]
    place = source.place(str(texts.name), first)
    if value in odd:
        return BadData(f"{place}: {value!r} has {odd[value]}")
    advice = KIND_ADVICE.format(name=str(texts.name))
    return BadData(
        f"{place}: expected a finite number like most, got {value!r}; if that is how a missing value is "
        f"written, add it to na_values in [tool.milestone2.csv], else set the column's kind {advice}"
    )


def _date_refused(place: str) -> BadData:
    return BadData(
        f"{place}: dates are no features; turn them into numbers first, such as days since an event, the "
        "month or the weekday, or leave the column out with `features`"
    )


def _as_number(texts: pd.Series, source: Source) -> pd.Series:
    values = {value: parse_number(value) for value in texts.dropna().unique()}
    for value, number in values.items():
        if number is None:
            wrong = odd_number(value)
            place = source.place(str(texts.name), _first(texts, value))
            raise BadData(
                f"{place}: {value!r} has {wrong}" if wrong else _type_error(place, "a finite number", value)
            )
    return texts.map(values).astype(np.float64)


def _as_integer(texts: pd.Series, source: Source) -> pd.Series:
    return _numeric(_as_number(texts, source), "integer", source)[1]


def _as_boolean(texts: pd.Series, source: Source) -> pd.Series:
    values = {value: BOOLEANS.get(value.lower()) for value in texts.dropna().unique()}
    for value, number in values.items():
        if number is None:
            place = source.place(str(texts.name), _first(texts, value))
            raise BadData(_type_error(place, "true or false", value))
    return _numeric(texts.map(values).astype(np.float64), "boolean", source)[1]


def _as_category(texts: pd.Series, source: Source) -> pd.Series:
    counts = texts.value_counts()
    if len(counts) > MOST_CATEGORIES or counts.iloc[0] < RARE_ROWS:
        raise BadData(
            f"{source.name}, column {texts.name!r}: {len(counts)} categories, the most frequent of "
            f"{counts.iloc[0]} rows: expected at most {MOST_CATEGORIES}, one of {RARE_ROWS} rows; "
            "leave the column out with `features`"
        )
    return texts.astype(pd.CategoricalDtype(sorted(map(str, counts.index))))


def _as_text(texts: pd.Series, source: Source) -> pd.Series:
    return texts.astype(object).where(texts.notna(), None)


_CONVERSIONS: dict[Kind, Callable[[pd.Series, Source], pd.Series]] = {
    "number": _as_number,
    "integer": _as_integer,
    "boolean": _as_boolean,
    "category": _as_category,
    "text": _as_text,
}


def _check_each(series: pd.Series, fits: np.ndarray, expected: str, source: Source) -> None:
    if not fits.all():
        first = int(np.argmin(fits))
        place = source.place(str(series.name), first)
        raise BadData(_type_error(place, expected, str(series.iloc[first])))


def _type_error(place: str, expected: str, value: str) -> str:
    return f"{place}: expected {expected}, got {value!r}"


def _first(texts: pd.Series, value: str) -> int:
    return int(np.argmax((texts == value).to_numpy()))
