"""Known errors in a text, and the advice of the most specific one."""

import re
from collections.abc import Iterable, Mapping

from advice.identity_signals import IDENTITY_SIGNALS
from advice.resource_signals import RESOURCE_SIGNALS
from advice.signals import NAMES, Signal
from advice.signature_signals import SIGNATURE_SIGNALS

# The more special comes first: of several that show, an error message has the first.
SIGNALS = (*SIGNATURE_SIGNALS, *IDENTITY_SIGNALS, *RESOURCE_SIGNALS)
# What wraps an error on its way into a log: escapes of JSON, quotes of all kinds, frames, line ends.
_ESCAPED_QUOTE = re.compile(r"\\+([\"'])")
_LINE_END = re.compile(r"\\+[nrt]|\\\s*\n\s*\\?|[│╷╵]")
_QUOTE = re.compile('["`\u2018\u2019\u201c\u201d]')
_BROKEN = re.compile(r"[ │]*\n[ │]*")
_MAX_TEXT = 1024 * 1024  # characters


def plain(text: str) -> str:
    """Return a text in one line, with every quote as ' and without what JSON escapes."""
    text = _ESCAPED_QUOTE.sub(r"\1", text)
    return " ".join(_QUOTE.sub("'", _LINE_END.sub(" ", text)).split())


def find_signals(text: str) -> list[Signal]:
    """Return the known errors that a text shows, without those that a more special one covers.

    A terminal breaks lines also within words, so that a text is looked at in both ways.
    """
    text = text[:_MAX_TEXT]
    ways = {plain(text), plain(_BROKEN.sub("", text))}
    found = [each for each in SIGNALS if _shows(each, ways)]
    covered = {name for each in found for name in each.covers}
    return [each for each in found if each.name not in covered]


def _shows(signal: Signal, ways: Iterable[str]) -> bool:
    return any(re.search(signal.pattern, way, re.IGNORECASE) for way in ways)


def advice(text: str, claims: Mapping[str, object] | None = None, **known: str) -> str:
    """Return what a message about an error is to go on with: the claims that matter, cause and fix.

    Nothing of it when the error is not known, nor claims where none are given.
    """
    found = next(iter(find_signals(text)), None)
    shown = (
        [f"{name}={claims[name]!r}" for name in found.claims if name in claims] if found and claims else []
    )
    lines = [f"  claims: {', '.join(shown)}"] if shown else []
    return "".join(f"\n{line}" for line in [*lines, *([solution(found, known)] if found else [])])


def solution(signal: Signal, known: Mapping[str, str]) -> str:
    """Return the cause and the fix of a known error, two lines, with the names that are known."""
    names = {**NAMES, **known}
    return f"  cause: {signal.cause.format_map(names)}\n  fix: {signal.fix.format_map(names)}"
