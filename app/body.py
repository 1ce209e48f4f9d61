"""Read the body of POST /predict strictly: what is accepted has one meaning."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterable
from dataclasses import dataclass

import anyio

from app.errors import InvalidInput, TooLarge

MAX_BODY = 64 * 1024
BODY_SECONDS = 5  # less than a stopping server waits, so that a stalled client is told before it is cut off
SHOWN = 80  # characters of a refused value that are sent back


@dataclass(frozen=True)
class NotANumber:
    """A literal that JSON forbids (NaN, Infinity) or that no double holds (1e400), as it was written."""

    literal: str


async def read_body(chunks: AsyncIterable[bytes], announced: str | None) -> bytes:
    """Return the whole body, or raise TooLarge as soon as it is known to pass MAX_BODY.

    `announced` is the Content-Length header; a chunked body has none. Raises InvalidInput when the
    body is not all there after BODY_SECONDS.
    """
    if announced is not None and int(announced) > MAX_BODY:
        raise TooLarge("body", f"at most {MAX_BODY} bytes", f"{announced} bytes")
    body = bytearray()
    try:
        with anyio.fail_after(BODY_SECONDS):
            async for chunk in chunks:
                body += chunk
                if len(body) > MAX_BODY:
                    raise TooLarge("body", f"at most {MAX_BODY} bytes", "more")
    except TimeoutError:
        expected = f"all of it within {BODY_SECONDS} seconds"
        raise InvalidInput("body", expected, f"{len(body)} bytes and no end") from None
    return bytes(body)


def parse_features(body: bytes, count: int) -> list[float]:
    """Return the body's `features`: `count` finite numbers. Raises InvalidInput for anything else."""
    document = _parse(_decode(body))
    if not isinstance(document, dict):
        raise InvalidInput("body", "a JSON object", _shown(document))
    for name in document:
        if name != "features":
            raise InvalidInput(_name(name), "no field but features", "one more field")
    if "features" not in document:
        raise InvalidInput("features", f"a list of {count} numbers", "no such field")
    return _numbers(document["features"], count)


def _numbers(features: object, count: int) -> list[float]:
    if not isinstance(features, list):
        raise InvalidInput("features", f"a list of {count} numbers", _shown(features))
    for index, value in enumerate(features[:count]):
        if not isinstance(value, float):
            raise InvalidInput(f"features[{index}]", "a finite number", _shown(value))
    if len(features) != count:
        raise InvalidInput("features", f"{count} numbers", str(len(features)))
    return features


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
    return _shown(field).strip('"')


def _shown(value: object) -> str:
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
